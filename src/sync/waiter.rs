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
//! # Waits in signal handlers
//!
//! A signal handler that interrupts a wait may wait, too, although that is not supported, or may leave the wait by
//! siglongjmp(). The record is then in a queue, and a second queue in it would lose the waiters behind it in the first.
//! So the block of the thread notes that the record is leased (`WaiterLease`), and further waits use other records.
//!
//! The mutex of the queue protects the cells. The atomics other than `state` are hints, and may be stale.
//!
//! The file exceeds 400 lines with its documentation and tests: the pool of the records also defines what a thread
//! finds in a record that another one has used.

use crate::sys::atomic::{AtomicBool, AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::sys::calling_thread;
use crate::sys::futex;
use core::cell::Cell;
use core::{mem, ptr};

use crate::error::{Error, Result};
use crate::sync::adaptive_spin::{AdaptiveSpin, current_cpu_tag};
use crate::sync::broadcast_word;
use crate::sync::broadcast_word::BroadcastWord;
use crate::sync::fork_epoch::fork_epoch;
use crate::sync::fork_list::ForkEntry;
use crate::sync::list::{Linked, Links};
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sync::padded::Padded;
use crate::sync::wait_observer::{self, NOTIFY};
use crate::sys::annotate;
use crate::sys::libc_hooks::register_exit_hook;
use crate::sys::memory;
use crate::sys::offsets::offsets;
use crate::sys::probe;
use crate::sys::tls;
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

/// Returns what the block of the calling thread contains: the argument of `keep_after_fork`.
#[inline(always)]
pub(crate) fn in_block() -> usize {
    tls::with(|block| block.waiter.get())
}

/// Returns the calling thread's record. The exit hook returns it to the pool.
#[cfg(test)]
pub(crate) fn current() -> Result<&'static Waiter> {
    let _ = register_exit_hook();
    Waiter::mine()
}

/// In the per-thread block, beside the address of the record: the record may be in a queue, or enter one.
const LEASED: usize = 1;

/// The use of a record for one call that may enter queues, from `begin` until `end` or until it is dropped.
pub(crate) struct WaiterLease {
    /// 0 before the lease has begun, and after it has ended. In a signal handler that has interrupted another lease,
    /// what the block contained before; otherwise `LEASED`.
    outer: Cell<usize>,
    /// The fork epoch in which a lease in a signal handler has begun.
    epoch: Cell<u32>,
}

impl WaiterLease {
    #[inline(always)]
    pub(crate) fn new() -> WaiterLease {
        WaiterLease { outer: Cell::new(0), epoch: Cell::new(0) }
    }

    /// Returns the record: that of the calling thread, as a rule. The exit hook returns it to the pool. In a child of
    /// fork, the `BlockingCall` that begins next keeps it.
    #[inline]
    pub(crate) fn begin(&self) -> Result<&'static Waiter> {
        // If the hook cannot be registered, the record's 64 bytes leak when the thread exits; the wait need not fail.
        let _ = register_exit_hook();
        let before = tls::with(|block| block.waiter.get());
        let record = if before & LEASED == 0 { Waiter::mine()? } else { self.begin_nested()? };
        self.outer.set(if before & LEASED == 0 { LEASED } else { before });
        tls::with(|block| block.waiter.set(ptr::from_ref(record) as usize | LEASED));
        Ok(record)
    }

    #[cold]
    fn begin_nested(&self) -> Result<&'static Waiter> {
        let record = WAITER_POOL.lock().pop()?;
        self.epoch.set(fork_epoch());
        Ok(Waiter::assign(record))
    }

    /// The call uses the record no more. Does nothing if the lease has ended.
    #[inline]
    pub(crate) fn end(&self) {
        match self.outer.replace(0) {
            0 => {}
            LEASED => tls::with(|block| block.waiter.set(block.waiter.get() & !LEASED)),
            outer => self.end_nested(outer),
        }
    }

    #[cold]
    fn end_nested(&self, outer: usize) {
        let record = tls::with(|block| block.waiter.replace(outer)) & !LEASED;
        // In a child that the call has forked, the record is not in a chunk of this process: no other thread gets it.
        if fork_epoch() == self.epoch.get() {
            WAITER_POOL.lock().push(record as *const Waiter);
        }
    }
}

impl Drop for WaiterLease {
    #[inline]
    fn drop(&mut self) {
        self.end();
    }
}

impl Waiter {
    /// Returns the calling thread's record, which is allocated at the thread's first wait.
    fn mine() -> Result<&'static Waiter> {
        match Waiter::mine_if_allocated() {
            Some(mine) => Ok(mine),
            None => WAITER_POOL.lock().pop().map(Waiter::assign),
        }
    }

    /// Assigns this record to the calling thread.
    fn assign(record: *const Waiter) -> &'static Waiter {
        // SAFETY: records are never freed.
        let mine = unsafe { &*record };
        mine.native_id.store(calling_thread::native_id() as u32, Ordering::Relaxed);
        tls::with(|block| block.waiter.set(record as usize));
        mine
    }

    /// Returns the calling thread's record, and allocates one if possible: for callers that work without a record,
    /// possibly in a signal handler that has interrupted the pool. They wait for the pool's mutex, but not
    /// indefinitely.
    #[inline]
    pub(super) fn mine_or_try_allocate() -> Option<&'static Waiter> {
        Waiter::mine_if_allocated().or_else(Waiter::try_allocate)
    }

    #[cold]
    fn try_allocate() -> Option<&'static Waiter> {
        const MAX_TRIES: u32 = if cfg!(model) { 1 } else { 1000 };
        const PAUSE_NS: u64 = 100_000;
        for tries in 0..MAX_TRIES {
            if tries != 0 {
                futex::wait(&AtomicU32::new(0), 0, Deadline::now().add_ns(PAUSE_NS));
            }
            if let Some(mut pool) = WAITER_POOL.try_lock() {
                let record = pool.pop().ok()?;
                drop(pool);
                let _ = register_exit_hook();
                return Some(Waiter::assign(record));
            }
        }
        None
    }

    /// Returns the calling thread's record if it has one.
    pub(super) fn mine_if_allocated() -> Option<&'static Waiter> {
        // SAFETY: records are never freed.
        unsafe { ((tls::with(|block| block.waiter.get()) & !LEASED) as *const Waiter).as_ref() }
    }

    /// Runs a function of the program during a wait of the calling thread. The function may wait, too: with another
    /// record, since the thread's own may be in a queue.
    pub(crate) fn with_other_record<R>(f: impl FnOnce() -> R) -> R {
        let epoch = fork_epoch();
        let mine = tls::with(|block| block.waiter.get());
        let entry = ForkEntry::new(|record, _| Waiter::keep_after_fork(record));
        entry.add([mine, 0]);
        tls::with(|block| block.waiter.set(0));
        let result = f();
        // In a child that `f` has forked, the other record is not in a chunk of this process: no other thread gets it.
        if fork_epoch() == epoch {
            Waiter::release_current();
        }
        tls::with(|block| block.waiter.set(mine));
        result
    }

    /// Returns the calling thread's record to the pool, at thread exit. If the thread has left a wait by siglongjmp(),
    /// the record may still be in a queue, and is not used again.
    pub(crate) fn release_current() {
        let waiter = tls::with(|block| block.waiter.take());
        if waiter != 0 && waiter & LEASED == 0 {
            WAITER_POOL.lock().push(waiter as *const Waiter);
        }
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

    /// In a child of fork, for the record of its only thread, which may have forked during a wait: `record` is what the
    /// block contains, 0 if it has none. In a wait in a signal handler, or in a function that `with_other_record` runs,
    /// called for that record first, and then for the one of the outer wait.
    pub(crate) fn keep_after_fork(record: usize) {
        // SAFETY: NULL, or a record, which is never freed.
        let Some(record) = (unsafe { ((record & !LEASED) as *const Waiter).as_ref() }) else { return };
        record.native_id.store(calling_thread::native_id() as u32, Ordering::Relaxed);
        let state = record.state.load(Ordering::Relaxed);
        if is_queued(state) || matches!(state, RETRY | OFFERED) {
            record.state.store(FORKED, Ordering::Relaxed);
        }
        INHERITED.store(ptr::from_ref(record).cast_mut(), Ordering::Relaxed);
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

/// The free records. The pool allocates more in chunks, and touches each record of a chunk only when a thread needs it.
struct WaiterPool {
    /// The records that threads have returned, linked by `links.next`.
    free: *const Waiter,
    /// The first record of the last chunk that no thread has used yet, and how many there are.
    unused: *const Waiter,
    unused_count: usize,
}

impl WaiterPool {
    const EMPTY: Self = WaiterPool { free: ptr::null(), unused: ptr::null(), unused_count: 0 };
}

/// The chunks of records of this process, for reports: a list through the `next` of the first record of each chunk,
/// which serves no thread. Written under the mutex of the pool with release, read without it with acquire.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(crate) static CHUNKS: AtomicPtr<Waiter> = AtomicPtr::new(ptr::null_mut());
/// In a child of fork: the record of the thread that forked, which is in a chunk of the parent. If it has forked in a
/// function that `with_other_record` runs, or in a wait in a signal handler, that of the outer wait.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(crate) static INHERITED: AtomicPtr<Waiter> = AtomicPtr::new(ptr::null_mut());

/// In a child of fork: the records of the parent's threads, and the free ones, are no longer used.
pub(crate) fn after_fork_in_child() {
    INHERITED.store(ptr::null_mut(), Ordering::Relaxed);
    broadcast_word::after_fork_in_child();
    Waiter::keep_after_fork(tls::with(|block| block.waiter.get()));
    CHUNKS.store(ptr::null_mut(), Ordering::Relaxed);
}

/// Iterates over all records of this process. Takes no lock.
pub(crate) fn all() -> AllWaiters {
    AllWaiters {
        chunk: CHUNKS.load(Ordering::Acquire),
        index: 0,
        inherited: INHERITED.load(Ordering::Relaxed),
    }
}

pub(crate) struct AllWaiters {
    chunk: *const Waiter,
    /// The record of the chunk that was returned last.
    index: usize,
    inherited: *const Waiter,
}

impl Iterator for AllWaiters {
    type Item = &'static Waiter;

    fn next(&mut self) -> Option<&'static Waiter> {
        // SAFETY: chunks are never unmapped. The first record of a published chunk does not change.
        while let Some(first) = unsafe { self.chunk.as_ref() } {
            self.index += 1;
            if self.index < CHUNK_SIZE / size_of::<Waiter>() {
                // SAFETY: the index is in the chunk; records are never freed.
                return Some(unsafe { &*self.chunk.add(self.index) });
            }
            (self.chunk, self.index) = (first.links.next.get(), 0);
        }
        // SAFETY: NULL, or a record, which is never freed.
        unsafe { mem::replace(&mut self.inherited, ptr::null()).as_ref() }
    }
}

pub(crate) const CHUNK_SIZE: usize = 16 * 1024;

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static WAITER_POOL: Padded<InternalMutex<WaiterPool>> = Padded::new(InternalMutex::new(WaiterPool::EMPTY));

// SAFETY: the pool owns the records in its list.
unsafe impl Send for WaiterPool {}

impl ForkReset for WaiterPool {
    fn reset_in_child(&mut self) {
        // A thread of the parent may have been changing the list. Its records leak in the child: those of threads that
        // had exited, and the rest of the last chunk.
        *self = WaiterPool::EMPTY;
    }
}

impl WaiterPool {
    fn pop(&mut self) -> Result<*const Waiter> {
        // SAFETY: records are never freed; the pool owns this one.
        if let Some(waiter) = unsafe { self.free.as_ref() } {
            self.free = waiter.links.next.get();
            return Ok(waiter);
        }
        if self.unused_count == 0 {
            self.grow()?;
        }
        let waiter = self.unused;
        self.unused = waiter.wrapping_add(1);
        self.unused_count -= 1;
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
        let first = memory::map(0, CHUNK_SIZE).ok_or(Error::NoMemory)? as *mut Waiter;
        annotate::mark_untracked(first, CHUNK_SIZE);
        // Zeroed memory is a valid record (`IDLE`).
        self.unused = first.wrapping_add(1);
        self.unused_count = CHUNK_SIZE / size_of::<Waiter>() - 1;
        // SAFETY: the first record of the new chunk, which no other thread has yet.
        unsafe { (*first).links.next.set(CHUNKS.load(Ordering::Relaxed)) };
        CHUNKS.store(first, Ordering::Release);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_returns_each_record_once() {
        const COUNT: usize = CHUNK_SIZE / size_of::<Waiter>() + 10;
        let mut pool = WAITER_POOL.lock();
        let mut records: Vec<_> = (0..COUNT).map(|_| pool.pop().unwrap()).collect();
        let last = records[COUNT - 1];
        pool.push(last);
        assert!(ptr::eq(pool.pop().unwrap(), last));
        records.iter().for_each(|&record| pool.push(record));
        drop(pool);
        records.sort_unstable();
        records.dedup();
        assert_eq!(records.len(), COUNT);
        let published = all().map(ptr::from_ref).collect::<Vec<_>>();
        assert!(records.iter().all(|record| published.contains(record)));
    }

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
}
