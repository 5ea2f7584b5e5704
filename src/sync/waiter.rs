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
//! | `QUEUED` | in a queue, or being moved to another one; the waiter runs | the waiter: to `SPINNING` or `PARKED`, relaxed. `complete`: to one of the last five, release |
//! | `SPINNING` | as `QUEUED`; the waiter spins on this word | the waiter: to `QUEUED`, relaxed. `complete`: as above, and records the success of the spin |
//! | `PARKED` | as `QUEUED`; the waiter is parked, or about to park | the waiter, when the timeout expires: to `QUEUED`, relaxed. `complete`: as above, and returns the wake-up that the caller must make |
//! | `RETRY` | locks: woken to acquire the lock, still in the queue. Barriers: removed from the queue, to arrive again | locks, under the mutex: the waiter, before it parks again, to `QUEUED`, relaxed; `complete`, to `OFFERED` or `ABORTED` |
//! | `OFFERED` | locks: the lock is reserved for the waiter, which is still in the queue | under the mutex: the waiter that finds the offer gone, to `QUEUED`, relaxed; a thread that revokes the offer, to `RETRY`, relaxed; `complete`, to `GRANTED` or `ABORTED` |
//! | `GRANTED` | removed from the queue: the wait has succeeded, and a lock is handed off to the waiter | |
//! | `ABORTED` | removed from the queue: the wait has failed | |
//! | `FREED` | barriers: removed from the queue, since the barrier was freed | |
//!
//! The waiter reads the last five with acquire. After a wait, the record keeps its last state until the next wait
//! stores `QUEUED`, relaxed, or the thread exits and returns the record to the pool, as `IDLE`.
//!
//! The mutex of the queue protects the cells. The atomics other than `state` are hints, and may be stale.

use crate::sys::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use crate::sys::futex;
use core::cell::Cell;
use core::ptr;

use crate::error::{Error, Result};
use crate::sync::adaptive_spin::{AdaptiveSpin, current_cpu_tag, spin_until};
use crate::sync::list::{Linked, Links};
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sys::annotate;
use crate::sys::libc_hooks::register_exit_hook;
use crate::sys::memory;
use crate::sys::tls;
use crate::time::Deadline;

pub(crate) const IDLE: u32 = 0;
pub(crate) const QUEUED: u32 = 1;
const SPINNING: u32 = 2;
const PARKED: u32 = 3;
pub(crate) const RETRY: u32 = 4;
pub(crate) const GRANTED: u32 = 5;
pub(crate) const ABORTED: u32 = 6;
pub(crate) const OFFERED: u32 = 7;
pub(crate) const FREED: u32 = 8;

/// The record of one waiting thread; zeroed memory is a valid one.
#[repr(C, align(64))]
pub(crate) struct Waiter {
    state: AtomicU32,
    /// Set by a notify, which moves the waiter from the condition's queue to the lock's. The waiter does not count as
    /// blocked on the lock (`LockQueue::has_blocked_waiters`).
    pub(crate) notified: Cell<bool>,
    /// The waiter has been woken to acquire the lock (a designated waker), and is still in the queue.
    pub(crate) woken: Cell<bool>,
    /// The waiter was woken or offered the lock, and has not reacted: its thread may be in a signal handler.
    pub(crate) unresponsive: Cell<bool>,
    /// The waiter was woken to watch whether another waiter accepts an offered lock.
    pub(crate) is_watcher: Cell<bool>,
    /// The owner tag that the lock's word has when this waiter holds it.
    pub(crate) owner_tag: Cell<u64>,
    /// Whether the waiter may spin before it parks. Set when it enters a queue.
    pub(crate) may_spin: AtomicBool,
    /// The `current_cpu_tag` of the thread that called `complete`.
    waker_cpu: AtomicU8,
    /// The `current_cpu_tag` of the waiter when it last parked.
    parked_cpu: AtomicU8,
    links: Links<Waiter>,
}

impl Linked for Waiter {
    #[inline(always)]
    fn links(&self) -> &Links<Self> {
        &self.links
    }
}

// SAFETY: the cells are accessed under the mutex of the queue that contains the record, and otherwise only by the
// thread that owns the record.
unsafe impl Sync for Waiter {}

/// Returns the calling thread's record. The exit hook returns it to the pool.
pub(crate) fn current() -> Result<&'static Waiter> {
    // If the hook cannot be registered, the record's 64 bytes leak when the thread exits; the wait need not fail.
    let _ = register_exit_hook();
    Waiter::mine()
}

impl Waiter {
    /// Returns the calling thread's record, which is allocated at the thread's first wait.
    fn mine() -> Result<&'static Waiter> {
        tls::with(|block| {
            if block.waiter.get() == 0 {
                block.waiter.set(WAITER_POOL.lock().pop()? as usize);
            }
            // SAFETY: records are never freed.
            Ok(unsafe { &*(block.waiter.get() as *const Waiter) })
        })
    }

    /// Returns the calling thread's record to the pool, at thread exit.
    pub(crate) fn release_current() {
        let waiter = tls::with(|block| block.waiter.take()) as *const Waiter;
        if !waiter.is_null() {
            WAITER_POOL.lock().push(waiter);
        }
    }

    /// Prepares the calling thread's record for a queue that the thread is about to enter.
    pub(crate) fn prepare_to_wait(&self, owner_tag: u64) {
        self.notified.set(false);
        self.owner_tag.set(owner_tag);
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

    /// Revokes an offer, under the mutex of the queue. The waiter is then in the state of one that was woken to retry.
    pub(crate) fn revoke_offer(&self) {
        self.state.store(RETRY, Ordering::Relaxed);
    }

    #[inline]
    pub(crate) fn state(&self) -> u32 {
        self.state.load(Ordering::Acquire)
    }

    /// Changes the state of the calling thread's own record. Fails with the state that `complete` has stored, if it has
    /// been called.
    fn transition(&self, from: u32, to: u32) -> core::result::Result<(), u32> {
        self.state.compare_exchange(from, to, Ordering::Relaxed, Ordering::Acquire).map(drop)
    }

    /// Blocks until another thread calls `complete` on this record, and returns the state that it stored; returns
    /// `QUEUED` if the deadline passes first. Spins before it parks, if the object's `adaptive_spin` permits that.
    pub(crate) fn wait(&self, adaptive_spin: &AdaptiveSpin, deadline: Deadline) -> u32 {
        self.wait_on(&self.state, PARKED, adaptive_spin, deadline)
    }

    /// As `wait`, but parks on a futex word that several waiters share, while it is `expected`. The thread that
    /// completes the waiters then changes that word and wakes all of them.
    pub(crate) fn wait_on(
        &self,
        word: &AtomicU32,
        expected: u32,
        adaptive_spin: &AdaptiveSpin,
        deadline: Deadline,
    ) -> u32 {
        let may_spin = self.may_spin.load(Ordering::Relaxed);
        if let Some(until) = may_spin.then(|| adaptive_spin.try_start(deadline)).flatten() {
            if let Err(state) = self.transition(QUEUED, SPINNING) {
                adaptive_spin.finish(true);
                return state;
            }
            spin_until(until, || self.state.load(Ordering::Relaxed) != SPINNING);
            if let Err(state) = self.transition(SPINNING, QUEUED) {
                return state;
            }
            adaptive_spin.finish(false);
        }
        self.parked_cpu.store(current_cpu_tag(), Ordering::Relaxed);
        if let Err(state) = self.transition(QUEUED, PARKED) {
            return state;
        }
        while self.state() == PARKED {
            if !futex::wait(word, expected, deadline) {
                return self.transition(PARKED, QUEUED).err().unwrap_or(QUEUED);
            }
        }
        adaptive_spin.record_waker_cpu(self.waker_cpu.load(Ordering::Relaxed));
        self.state()
    }

    /// Ends the wait with this state, under the mutex of the queue; `adaptive_spin` is that of the object. If the
    /// record has been removed from the queue, the waiter may reuse it from now on, so that the caller must not access
    /// its cells any more. The caller may unlock the mutex before it makes the wake-up.
    #[must_use]
    pub(crate) fn complete(&self, state: u32, adaptive_spin: &AdaptiveSpin) -> PendingWake<'_> {
        self.waker_cpu.store(current_cpu_tag(), Ordering::Relaxed);
        let previous_state = self.state.swap(state, Ordering::Release);
        if previous_state == SPINNING {
            adaptive_spin.finish(true);
        }
        PendingWake {
            parked: (previous_state == PARKED).then_some(&self.state),
            was_spinning: previous_state == SPINNING,
        }
    }
}

/// The futex wake that the caller of `complete` must make, if the waiter was parked. It uses only the address of the
/// record, which may serve another wait by then.
pub(crate) struct PendingWake<'a> {
    parked: Option<&'a AtomicU32>,
    was_spinning: bool,
}

impl PendingWake<'_> {
    /// Returns whether the waiter was parked: for waiters that share a futex word, and are woken together.
    pub(crate) fn is_needed(&self) -> bool {
        self.parked.is_some()
    }

    /// Returns whether the waiter was spinning, and needs no wake-up.
    pub(crate) fn was_spinning(&self) -> bool {
        self.was_spinning
    }

    /// Wakes the waiter, if it was parked. Returns false if the waiter was in `PARKED` but no thread was parked: the
    /// waiter has not reached the futex yet, or is in a signal handler.
    pub(crate) fn wake(self) -> bool {
        self.parked.is_none_or(futex::wake_one)
    }
}

/// The free records, linked by `links.next`. The pool allocates more in chunks.
struct WaiterPool {
    free: *const Waiter,
}

const CHUNK_SIZE: usize = 16 * 1024;

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static WAITER_POOL: InternalMutex<WaiterPool> = InternalMutex::new(WaiterPool { free: ptr::null() });

// SAFETY: the pool owns the records in its list.
unsafe impl Send for WaiterPool {}

impl ForkReset for WaiterPool {
    fn reset_in_child(&mut self) {
        // A thread of the parent may have been changing the list. Its records leak in the child: those of threads that
        // had exited, and the rest of the last chunk.
        self.free = ptr::null();
    }
}

impl WaiterPool {
    fn pop(&mut self) -> Result<*const Waiter> {
        if self.free.is_null() {
            self.grow()?;
        }
        let waiter = self.free;
        // SAFETY: records are never freed; the pool owns this one.
        self.free = unsafe { (*waiter).links.next.get() };
        Ok(waiter)
    }

    fn push(&mut self, waiter: *const Waiter) {
        // SAFETY: records are never freed; the caller passes ownership to the pool.
        unsafe {
            (*waiter).state.store(IDLE, Ordering::Relaxed);
            (*waiter).links.next.set(self.free);
        }
        self.free = waiter;
    }

    fn grow(&mut self) -> Result<()> {
        let chunk = memory::map(0, CHUNK_SIZE).ok_or(Error::NoMemory)?;
        annotate::mark_untracked(chunk as *const Waiter, CHUNK_SIZE);
        for address in (chunk..chunk + CHUNK_SIZE).step_by(size_of::<Waiter>()).rev() {
            // Zeroed memory is a valid record (`IDLE`).
            self.push(address as *const Waiter);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_thread_has_its_own_waiter() {
        let mine = Waiter::mine().unwrap();
        assert!(ptr::eq(mine, Waiter::mine().unwrap()));
        let mine = ptr::from_ref(mine) as usize;
        std::thread::spawn(move || {
            assert_ne!(mine, ptr::from_ref(Waiter::mine().unwrap()) as usize);
            Waiter::release_current();
        })
        .join()
        .unwrap();
    }

    #[test]
    fn wait_returns_the_wakers_state_or_times_out() {
        let waiter = Waiter::mine().unwrap();
        let adaptive_spin = AdaptiveSpin::default();
        waiter.prepare_to_wait(0);
        assert_eq!(waiter.wait(&adaptive_spin, Deadline::now().add_ns(1_000_000)), QUEUED);
        waiter.complete(GRANTED, &adaptive_spin).wake();
        assert_eq!(waiter.wait(&adaptive_spin, Deadline::NEVER), GRANTED);
    }
}
