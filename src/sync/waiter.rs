//! The record on which a thread waits while it is in a wait queue.
//!
//! The waker stores to `state` and then wakes the threads that are parked on its address. By then the waiter may have
//! seen the new state and returned, or exited. So the record lies neither on the thread's stack nor in its thread-local
//! storage, but in memory that is never freed. The record of a thread that has exited serves the next one, which at
//! worst sees a spurious wakeup.
//!
//! # State
//!
//! All states are exact. "The waiter" is the thread that owns the record. `complete` is called by another thread that
//! holds the mutex of the queue.
//!
//! | state | meaning | who changes it, and with which ordering |
//! |---|---|---|
//! | `IDLE` | in the pool, or not used since it was taken from the pool | the waiter: to `QUEUED` before it enters a queue, relaxed |
//! | `QUEUED` | in a queue, or being moved to another one; the waiter runs | the waiter: to `SPINNING`, `PARKED` or `PARKED_TOGETHER`, relaxed. `complete`: to one of the six from `RETRY` to `NOTIFIED`, release. `notify_running`: to `NOTIFIED`, release |
//! | `SPINNING` | as `QUEUED`; the waiter spins on this word | the waiter: to `QUEUED`, relaxed. `complete` and `notify_running`: as above, and record the success of the spin |
//! | `PARKED` | as `QUEUED`; the waiter is parked, or about to park | the waiter, when the timeout expires: to `QUEUED`, relaxed. `complete`: as above, and returns the wake-up that the caller must make |
//! | `PARKED_TOGETHER` | conditions: as `PARKED`, but on the `BroadcastWord` of the lock | the waiter, when the timeout expires: to `QUEUED`, relaxed; when it is woken and its wait has not ended: to `PARKED`, relaxed. `complete`: as for `PARKED` |
//! | `RETRY` | locks: woken to acquire the lock, still in the queue. Barriers: removed from the queue, to arrive again | locks: the waiter, before it acquires the lock by barging, to `QUEUED`, relaxed. Under the mutex: the waiter, before it parks again, to `QUEUED`, relaxed; `try_offer`, to `OFFERED`, relaxed; `complete`, to `ABORTED` |
//! | `OFFERED` | locks: the lock is reserved for the waiter, which is still in the queue | under the mutex: the waiter that finds the offer gone, to `QUEUED`, relaxed; a thread that revokes the offer, to `RETRY`, relaxed; `complete`, to `GRANTED` or `ABORTED` |
//! | `GRANTED` | removed from the queue: the wait has succeeded, and a lock is handed off to the waiter | |
//! | `ABORTED` | removed from the queue: the wait has failed | |
//! | `FREED` | barriers: removed from the queue, since the barrier was freed | |
//! | `NOTIFIED` | conditions: removed from the condition's queue by a notify, which has found that the waiter runs, or from the lock's queue by a release, after a notify of waiters that park together. The waiter acquires the lock, and is in no queue | |
//! | `FORKED` | in no queue: a signal handler or a hang hook has forked during the wait, and this is the child. The waiter of a lock or a condition enters the queue again, that of a barrier arrives again | |
//!
//! In a child of fork, the record of its only thread changes from `QUEUED`, `SPINNING`, `PARKED`,
//! `PARKED_TOGETHER`, `RETRY` or `OFFERED` to `FORKED`, relaxed: the child empties the queue when it first uses it.
//!
//! The waiter reads the last seven of the table with acquire. After a wait, the record keeps its last state until the
//! next wait stores `QUEUED`, relaxed, or the thread exits and returns the record to the pool, as `IDLE`.
//!
//! The mutex of the queue protects the cells. The atomics other than `state` are hints, and may be stale.

use core::cell::Cell;
use core::ptr;

use crate::sync::adaptive_spin::{AdaptiveSpin, current_cpu_tag};
use crate::sync::broadcast_word::BroadcastWord;
use crate::sync::list::{Linked, Links};
use crate::sync::record_pool::Record;
use crate::sync::wait_observer::{self, NOTIFY};
use crate::sys::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::sys::futex;
use crate::sys::offsets::offsets;
use crate::sys::probe;
use crate::sys::tls;
#[cfg(all(test, not(model)))]
use crate::time::Deadline;

pub(crate) const IDLE: u32 = 0;
pub(crate) const QUEUED: u32 = 1;
pub(crate) const SPINNING: u32 = 2;
pub(crate) const PARKED: u32 = 3;
pub(crate) const RETRY: u32 = 4;
pub(crate) const GRANTED: u32 = 5;
pub(crate) const ABORTED: u32 = 6;
pub(crate) const OFFERED: u32 = 7;
pub(crate) const FREED: u32 = 8;
pub(crate) const NOTIFIED: u32 = 9;
pub(crate) const FORKED: u32 = 10;
pub(crate) const PARKED_TOGETHER: u32 = 11;

/// Returns whether the wait has neither ended nor been woken in this state.
pub(super) fn is_queued(state: u32) -> bool {
    matches!(state, QUEUED | SPINNING | PARKED | PARKED_TOGETHER)
}

/// Returns whether the record is in no queue in this state: the thread that has stored it has removed the record.
pub(crate) fn is_removed(state: u32) -> bool {
    matches!(state, GRANTED | ABORTED | FREED | NOTIFIED | FORKED)
}

/// Returns whether the thread is parked, or about to park, in this state.
pub(super) fn is_parked(state: u32) -> bool {
    matches!(state, PARKED | PARKED_TOGETHER)
}

/// What a thread waits for: see `sync::wait_note`. Zeroed memory is a valid note of a thread that does not wait.
#[repr(C)]
pub(crate) struct WaitNote {
    pub(super) since: AtomicU64,
    pub(super) until: AtomicU64,
    /// The handle of the object, or a constant of `sync::wait_note`.
    pub(super) object: AtomicUsize,
}

offsets!(WaitNoteOffsets of WaitNote: since, until, object);

/// The record of one waiting thread; zeroed memory is a valid one.
#[repr(C, align(64))]
pub(crate) struct Waiter {
    pub(super) state: AtomicU32,
    /// Set by a notify. The waiter wants the lock, in whose queue it may be, but does not count as blocked on it
    /// (`LockQueue::has_blocked_waiters`).
    pub(crate) notified: AtomicBool,
    /// The waiter has been woken to acquire the lock (a designated waker), and is still in the queue.
    pub(crate) woken: Cell<bool>,
    /// The waiter was woken or offered the lock, and has not reacted: its thread may be in a signal handler.
    pub(crate) unresponsive: Cell<bool>,
    /// The waiter was woken to watch whether another waiter accepts an offered lock.
    pub(crate) is_watcher: Cell<bool>,
    /// The owner tag that the lock's word has when this waiter holds it: that of its thread, or 0 if it waits for
    /// something else and has none.
    pub(crate) owner_tag: AtomicU64,
    /// Whether the waiter may spin before it parks. Set when it enters a queue.
    pub(crate) may_spin: AtomicBool,
    /// The `current_cpu_tag` of the thread that called `complete`.
    pub(super) waker_cpu: AtomicU8,
    /// The `current_cpu_tag` of the waiter when it last parked.
    pub(super) parked_cpu: AtomicU8,
    /// The waiter has been woken at a fairness deadline: at the next one, the lock is handed off to it.
    pub(crate) had_fair_wake: Cell<bool>,
    /// The thread's native ID. Together with the last field, for reports: see `sync::wait_note`.
    pub(super) native_id: AtomicU32,
    links: Links<Waiter>,
    pub(super) note: WaitNote,
}

offsets!(WaiterOffsets of Waiter: state, notified, owner_tag, native_id, links, note);

impl Linked for Waiter {
    #[inline(always)]
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

const _: () = assert!(size_of::<Waiter>() == 64);

// SAFETY: the cells are accessed under the mutex of the queue that contains the record, and otherwise only by the
// thread that owns the record.
unsafe impl Sync for Waiter {}

// SAFETY: zeros are a record in `IDLE`; the rest is as above.
unsafe impl Record for Waiter {}

/// In the per-thread block, beside the address of the record: the record may be in a queue, or enter one.
pub(super) const LEASED: usize = 1;

impl Waiter {
    /// Returns the calling thread's record if it has one.
    pub(super) fn mine_if_allocated() -> Option<&'static Waiter> {
        // SAFETY: records are never freed.
        unsafe { ((tls::with(|block| block.waiter.get()) & !LEASED) as *const Waiter).as_ref() }
    }

    /// Prepares the calling thread's record for a queue that the thread is about to enter.
    pub(crate) fn prepare_to_wait(&self, owner_tag: u64) {
        self.notified.store(false, Ordering::Relaxed);
        self.owner_tag.store(owner_tag, Ordering::Relaxed);
        self.state.store(QUEUED, Ordering::Relaxed);
    }

    /// Returns whether the waiter last parked on the calling thread's CPU, and so probably needs it to run.
    pub(crate) fn parked_on_this_cpu(&self) -> bool {
        self.parked_cpu.load(Ordering::Relaxed) == current_cpu_tag()
    }

    /// Prepares the calling thread's record, which is still in the queue, for another wait. Called under the mutex of
    /// the queue.
    pub(crate) fn set_queued(&self) {
        self.state.store(QUEUED, Ordering::Relaxed);
    }

    /// Returns whether the waiter is parked, or about to park, together with others.
    pub(crate) fn is_parked_together(&self) -> bool {
        self.state.load(Ordering::Relaxed) == PARKED_TOGETHER
    }

    /// Changes `RETRY` to `OFFERED`, under the mutex of the queue. Returns false if the waiter runs, and may have
    /// acquired the lock by barging.
    pub(crate) fn try_offer(&self) -> bool {
        self.transition(RETRY, OFFERED).is_ok()
    }

    /// Begins to acquire a lock by barging: the lock is not offered to this waiter before it has locked the mutex of
    /// the queue. Returns false if the waiter's state has changed.
    pub(crate) fn begin_barging(&self) -> bool {
        self.transition(RETRY, QUEUED).is_ok()
    }

    /// Revokes an offer, under the mutex of the queue. The waiter is then in the state of one that was woken to retry.
    pub(crate) fn revoke_offer(&self) {
        self.state.store(RETRY, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn state(&self) -> u32 {
        self.state.load(Ordering::Acquire)
    }

    #[cfg(all(test, not(model)))]
    pub(crate) fn set_state(&self, state: u32) {
        self.state.store(state, Ordering::Relaxed);
    }

    /// Parks on the record until any wake-up. Returns false if the deadline passes first.
    #[cfg(all(test, not(model)))]
    pub(crate) fn park_once(&self, deadline: Deadline) -> bool {
        futex::wait(&self.state, PARKED, deadline)
    }

    /// Changes the state, as a rule of the calling thread's own record. Fails with the state that another thread has
    /// stored.
    pub(super) fn transition(&self, from: u32, to: u32) -> core::result::Result<(), u32> {
        self.state.compare_exchange(from, to, Ordering::Relaxed, Ordering::Acquire).map(drop)
    }

    /// Wakes the thread if it is parked on its own record, although its wait has not ended: it parks again. Returns
    /// whether it was parked.
    pub(crate) fn wake_spuriously(&self) -> bool {
        futex::wake_all(&self.state)
    }

    /// Ends the wait with this state, under the mutex of the queue; `adaptive_spin` is that of the object. If the
    /// record has been removed from the queue, the waiter may reuse it from now on, so that the caller must not access
    /// its cells any more. The caller may unlock the mutex before it makes the wake-up.
    #[must_use]
    pub(crate) fn complete(&self, state: u32, adaptive_spin: &AdaptiveSpin) -> PendingWake<'_> {
        wait_observer::record_wake_unless_waiting(ptr::from_ref(self) as usize, || {
            Waiter::mine_if_allocated().is_some_and(Waiter::is_noted)
        });
        self.waker_cpu.store(current_cpu_tag(), Ordering::Relaxed);
        probe::wake(self);
        let previous_state = self.state.swap(state, Ordering::Release);
        if previous_state == SPINNING {
            adaptive_spin.finish(true);
        }
        PendingWake {
            parked: (previous_state == PARKED).then_some(&self.state),
            together: (previous_state == PARKED_TOGETHER).then(|| BroadcastWord::of(adaptive_spin)),
            was_running: matches!(previous_state, SPINNING | QUEUED),
        }
    }

    /// Marks a condition's waiter as notified, under the mutex of the queue.
    pub(crate) fn notify(&self) {
        // In this order, a waiter that begins its note between the two finds the flag, and one that begins it before
        // finds the record at the end of its wait.
        self.notified.store(true, Ordering::Relaxed);
        wait_observer::record_wake(ptr::from_ref(self) as usize | NOTIFY);
    }

    /// Ends the wait of a condition's waiter that has not parked, under the mutex of the queue, from which the caller
    /// has removed it. Returns false if it is parked, or about to park. Unlike `complete`, does not change the state of
    /// a parked waiter.
    pub(crate) fn notify_running(&self, adaptive_spin: &AdaptiveSpin) -> bool {
        self.notify();
        if self.state.compare_exchange(SPINNING, NOTIFIED, Ordering::Release, Ordering::Relaxed).is_ok() {
            adaptive_spin.finish(true);
            return true;
        }
        self.state.compare_exchange(QUEUED, NOTIFIED, Ordering::Release, Ordering::Relaxed).is_ok()
    }
}

/// The futex wake that the caller of `complete` must make, if the waiter was parked. It uses only the address of the
/// record, which may serve another wait by then.
pub(crate) struct PendingWake<'a> {
    parked: Option<&'a AtomicU32>,
    together: Option<BroadcastWord>,
    was_running: bool,
}

impl PendingWake<'_> {
    /// Returns whether the waiter was parked: for waiters that share a futex word, and are woken together.
    pub(crate) fn is_needed(&self) -> bool {
        self.parked.is_some()
    }

    /// Returns the word on which the waiter was parked together with others: the caller wakes all of them once, in
    /// place of `wake`.
    pub(super) fn together(&self) -> Option<BroadcastWord> {
        self.together
    }

    /// Returns whether the waiter had not parked, so that it needs no wake-up.
    pub(crate) fn was_running(&self) -> bool {
        self.was_running
    }

    /// Wakes the waiter, if it was parked. Returns false if the waiter was in `PARKED` but no thread was parked: the
    /// waiter has not reached the futex yet, or is in a signal handler.
    pub(crate) fn wake(self) -> bool {
        if let Some(word) = self.together {
            word.wake_all();
        }
        self.parked.is_none_or(futex::wake_one)
    }
}
