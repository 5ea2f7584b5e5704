//! Barrier: Python's `threading.Barrier`. A number of threads wait for each other, any number of times.
//!
//! The file exceeds 400 lines with its documentation and tests, which are almost half of it.
//!
//! # State
//!
//! Everything that changes is in [`Round`], under its mutex, which also orders it, except `header.word`:
//!
//! | bits | meaning | who changes it | exact or stale |
//! |---|---|---|---|
//! | 0 to 6 | generation and `LIVE` of the slot | `handle`; the thread that destroys the barrier clears `LIVE` | exact |
//! | 7 `USED` | the barrier may not be in its initial state | a thread that arrives, aborts, resets or sets the default timeout, under the mutex, before it does so and if `LIVE` is set; acquire and release | exact if clear. It is not cleared before the slot is reused |
//!
//! If the thread that has cleared `LIVE` finds no `USED`, it does not lock the mutex: no thread waits or changes the
//! barrier, and none will.
//!
//! | state | next state | who |
//! |---|---|---|
//! | filling: `arrived` < parties | filling, `arrived` + 1 | a thread that arrives and is not the last |
//! | | filling with `arrived` = 0; all waiters are `GRANTED` | the last thread to arrive, if there is no action |
//! | | acting: `action_owner` is set | the last thread to arrive, if there is an action |
//! | | broken; all waiters are `ABORTED`, `arrived` = 0 | abort, or a waiter that times out |
//! | | filling with `arrived` = 0; all waiters are `ABORTED` | reset |
//! | | destroyed; all waiters are `FREED` | destroy: the waiters arrived while the last reference was released |
//! | acting | acting, `interrupted` | abort or reset; the last of them determines whether the next state is broken or filling |
//! | | filling with `arrived` = 0; all waiters are `GRANTED` | the thread that runs the action, if this succeeds without interruption |
//! | | filling with `arrived` = 0; all waiters are `ABORTED` | the same, if reset interrupted it |
//! | | broken; all waiters are `ABORTED`, `arrived` = 0 | the same, if the action failed or abort interrupted it |
//! | | destroyed | destroy, if no other thread waits; the end of the action then clears what is left |
//! | broken | filling with `arrived` = 0 | reset |
//! | | destroyed | destroy |
//!
//! While the action runs, a waiter that times out continues to wait, and threads that arrive wait in `next_waiting` for
//! its end, and then arrive again.
//!
//! The outcome is stored in the waiter. A released waiter does not access the round any more, since the barrier may
//! have been freed.
//!
//! A child of fork has none of the waiters: the first thread that locks the mutex there empties both queues. It also
//! resets `arrived` and `action_owner`, unless the action has forked: then it continues in the child. A thread that has
//! forked in a signal handler during its wait arrives again there.

use crate::sys::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use core::ffi::c_void;

use crate::callbacks::{Action, AtomicCallback};
use crate::error::{Error, Result};
use crate::handle::blocking_call::BlockingCall;
use crate::handle::header::{Header, TAG};
use crate::handle::note;
use crate::handle::note::Named;
use crate::handle::{Handle, Object, ObjectKind};
use crate::sync::adaptive_spin::AdaptiveSpin;
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sync::own_waiter::OwnWaiter;
use crate::sync::park::ParkPlace;
use crate::sync::wait_note::QueueNote;
use crate::sync::wait_queue::WaitQueue;
use crate::sync::waiter::{ABORTED, FORKED, FREED, GRANTED, QUEUED, RETRY, Waiter};
use crate::sync::waiter_pool::WaiterLease;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::futex;
use crate::sys::offsets::offsets;
use crate::sys::pthread;
use crate::thread::ident::{self, OWNER_SHIFT};
use crate::time::{Deadline, FOREVER, Timeout};

const USED: u64 = 1 << 7;

/// A barrier at which a fixed number of threads wait for each other. Python: `threading.Barrier`.
///
/// When the last one arrives, all waits return, and the barrier can be used again. A timeout or an abort breaks it:
/// waits return [`Error::BrokenBarrier`] until a reset. [`ActionBarrier`](crate::ActionBarrier) runs a closure before
/// the waits return.
///
/// ```
/// use threading::{Barrier, Thread, Timeout};
///
/// let barrier = Barrier::new(2)?;
/// let other = {
///     let barrier = barrier.clone();
///     Thread::new(move || { barrier.wait().unwrap(); })?
/// };
/// other.start()?;
/// let arrival = barrier.wait()?;
/// assert!(arrival < 2);
/// other.join(Timeout::FOREVER)?;
///
/// barrier.abort()?;
/// assert_eq!(barrier.wait(), Err(threading::Error::BrokenBarrier));
/// # Ok::<(), threading::Error>(())
/// ```
#[repr(C, align(128))]
pub struct Barrier {
    header: Header,
    round: InternalMutex<Round>,
    adaptive_spin: AdaptiveSpin,
    /// The futex word on which all waiters park. It is incremented under the mutex whenever waiters are released. A
    /// thread that is about to park misses its wake-up only if 2^32 increments happen before it does.
    round_number: AtomicU32,
    /// Written when the barrier is created, like the next two.
    parties: AtomicUsize,
    action: AtomicCallback<Action>,
    arg: AtomicPtr<c_void>,
    /// The default timeout in seconds, the bits of an `f64`. `timeout` and `acting` also serve as annotation addresses.
    timeout: AtomicU64,
    /// A copy of `Round::action_owner`, for reports, which read it without the mutex. In a child of fork, it may be
    /// that of a thread of the parent.
    acting: AtomicU64,
}

#[cfg(not(model))]
const _: () = assert!(size_of::<Barrier>() == 128);

offsets!(BarrierOffsets of Barrier: parties, acting);

struct Round {
    waiting: WaitQueue,
    /// Threads that have arrived while the action runs.
    next_waiting: WaitQueue,
    arrived: usize,
    /// The owner tag of the thread that runs the action, 0 if none does.
    action_owner: u64,
    broken: bool,
    /// Whether abort or reset was called while the action ran.
    interrupted: bool,
    /// Whether a parked waiter has been released. It is woken after the mutex is unlocked, because it would otherwise
    /// block on the mutex.
    wake_needed: bool,
}

impl ForkReset for Round {
    fn reset_in_child(&mut self) {
        self.waiting.reset_in_child();
        self.next_waiting.reset_in_child();
        // If the action has forked, it continues in the child.
        if self.action_owner == 0 || ident::exists_only_in_parent(self.action_owner >> OWNER_SHIFT) {
            self.action_owner = 0;
            self.arrived = 0;
        }
    }
}

impl Round {
    fn has_waiters(&self) -> bool {
        !(self.waiting.is_empty() && self.next_waiting.is_empty())
    }

    /// Releases all waiters with this outcome, and lets the threads in `next_waiting` arrive again.
    fn release_waiters(&mut self, barrier: &Barrier, outcome: u32) {
        self.arrived = 0;
        while let Some(waiter) = self.waiting.pop() {
            self.wake_needed |= waiter.complete(outcome, &barrier.adaptive_spin).is_needed();
        }
        while let Some(waiter) = self.next_waiting.pop() {
            self.wake_needed |= waiter.complete(RETRY, &barrier.adaptive_spin).is_needed();
        }
        // Last, so that a waiter that finds the new number also finds its new state.
        barrier.round_number.fetch_add(1, Ordering::Release);
    }
}

// SAFETY: zero is a barrier without waiters; it is shareable in any state; it begins with its header.
unsafe impl Object for Barrier {
    const KIND: ObjectKind = ObjectKind::Barrier;

    fn header(&self) -> &Header {
        &self.header
    }

    fn is_busy(&self, tag: u64) -> bool {
        let has_waiters = |barrier: &Self| barrier.with_round(|round| round.has_waiters());
        self.is_used() && Handle::is_alive_and(self, tag, has_waiters)
    }

    fn invalidate(&self, tag: u64) {
        self.header.clear_live(tag);
        if !self.is_used() {
            return;
        }
        self.with_round(|round| {
            if round.has_waiters() {
                round.release_waiters(self, FREED);
            }
            round.arrived = 0;
            round.broken = false;
        });
    }

    /// If the thread was about to park or parked, its waiter has become `FORKED`. It finds that when the word has
    /// another value.
    fn keep_blocking_call(&'static self, _tag: u64, _waiter: &OwnWaiter) {
        self.round_number.fetch_add(1, Ordering::Relaxed);
    }

    fn finalize(&self) {
        note::free_of(self.header());
    }
}

/// What a thread that arrives does next.
enum Arrival {
    /// It waits for the others, and has this arrival index.
    Wait(usize),
    /// It is the last to arrive, with this arrival index, and runs the action. Without an action, it has released the
    /// others.
    Last(usize),
    /// It waits for the end of the action, and arrives again.
    WaitForNextRound,
}

impl Named for Barrier {}

impl Handle<Barrier> {
    /// Creates a barrier for `parties` threads. The last thread to arrive calls the action, if there is one. The safe
    /// form is [`ActionBarrier`](crate::ActionBarrier).
    ///
    /// # Safety
    /// It must be safe to call `action` with `arg` in any thread until the barrier is freed.
    pub unsafe fn new(parties: usize, action: Option<Action>, arg: *mut c_void) -> Result<Self> {
        if parties == 0 {
            return Err(Error::NoParties);
        }
        Handle::create(0, |barrier: &Barrier, _| {
            barrier.parties.store(parties, Ordering::Release);
            barrier.action.store(action, Ordering::Release);
            barrier.arg.store(arg, Ordering::Release);
            barrier.timeout.store(FOREVER.to_bits(), Ordering::Release);
            barrier.acting.store(0, Ordering::Relaxed);
        })
    }

    /// Sets the default timeout, which [`Handle::wait`] uses.
    pub fn set_timeout(self, seconds: f64) -> Result<()> {
        self.or_handle_error(Timeout::new(seconds))?;
        let (_, tag) = self.slot()?;
        let barrier = self.pin()?;
        barrier.with_used_round(tag, |_| {
            barrier.timeout.store(seconds.to_bits(), Ordering::Relaxed);
            Ok(())
        })
    }

    /// Waits until all threads have arrived, with the default timeout. Returns the arrival index.
    pub fn wait(self) -> Result<usize> {
        let seconds = self.read(|barrier| f64::from_bits(barrier.timeout.load(Ordering::Acquire)))?;
        self.wait_timeout(Timeout::new(seconds)?)
    }

    /// Waits until all threads have arrived. Returns the arrival index. If the timeout expires, the barrier breaks.
    pub fn wait_timeout(self, timeout: Timeout) -> Result<usize> {
        let (_, tag) = self.check()?;
        let lease = WaiterLease::new();
        let waiter = lease.begin()?;
        let call = BlockingCall::new(self);
        let barrier = call.begin()?;
        let mut deadline = None;
        loop {
            let (arrival, round_number) = barrier.arrive(tag, waiter)?;
            match arrival {
                Arrival::WaitForNextRound => barrier.park(waiter, round_number, Deadline::NEVER),
                Arrival::Last(arrival_index) => {
                    // The action may wait.
                    lease.end();
                    return barrier.finish_round(tag, arrival_index, round_number);
                }
                Arrival::Wait(arrival_index) => {
                    let deadline = *deadline.get_or_insert_with(|| timeout.deadline());
                    let outcome = barrier.wait_for_release(waiter, round_number, deadline);
                    happens_after(barrier.annotation_address(round_number));
                    return match outcome {
                        GRANTED => Ok(arrival_index),
                        FREED => Err(Error::Handle),
                        // This is a child that a signal handler has forked: this thread is the first to arrive.
                        FORKED => continue,
                        _ => Err(Error::BrokenBarrier),
                    };
                }
            };
        }
    }

    /// Resets the barrier to its initial, unbroken state. Waits in progress fail with [`Error::BrokenBarrier`].
    pub fn reset(self) -> Result<()> {
        self.break_or_reset(false)
    }

    /// Breaks the barrier. Waits in progress, and all waits until a reset, fail with [`Error::BrokenBarrier`].
    pub fn abort(self) -> Result<()> {
        self.break_or_reset(true)
    }

    fn break_or_reset(self, broken: bool) -> Result<()> {
        let (_, tag) = self.slot()?;
        let barrier = &*self.pin()?;
        barrier.with_used_round(tag, |round| {
            happens_before(barrier.annotation_address(barrier.round_number.load(Ordering::Relaxed)));
            round.interrupted = round.action_owner != 0;
            round.broken = broken;
            if round.action_owner == 0 {
                round.release_waiters(barrier, ABORTED);
            }
            Ok(())
        })
    }

    /// The number of threads for which the barrier waits.
    pub fn parties(self) -> Result<usize> {
        self.read(|barrier| barrier.parties.load(Ordering::Acquire))
    }

    /// The number of threads that have arrived, 0 if the barrier is broken; a snapshot.
    pub fn n_waiting(self) -> Result<usize> {
        self.read_round(|barrier, round| {
            happens_after(barrier.annotation_address(barrier.round_number.load(Ordering::Relaxed)));
            // An abort during the action leaves `arrived` to the thread that runs it.
            if round.broken { 0 } else { round.arrived }
        })
    }

    /// Whether the barrier is broken; a snapshot.
    pub fn broken(self) -> Result<bool> {
        self.read_round(|_, round| round.broken)
    }

    fn read_round<R>(self, f: impl FnOnce(&Barrier, &Round) -> R) -> Result<R> {
        // Pinned: without its object, the memory of the slot may contain an object of another kind instead of a mutex.
        self.with_pinned(|barrier| {
            let read = barrier.with_round(|round| f(barrier, round));
            // The barrier may have been freed since it was pinned.
            self.check().map(|_| read)
        })
    }
}

impl Barrier {
    fn is_used(&self) -> bool {
        self.header.word.load(Ordering::Relaxed) & USED != 0
    }

    /// Sets `USED`, and calls `f` with the mutex held. Fails if the barrier has been destroyed.
    fn with_used_round<R>(&self, tag: u64, f: impl FnOnce(&mut Round) -> Result<R>) -> Result<R> {
        self.with_round(|round| {
            let word = self.header.word.load(Ordering::Acquire);
            let set_used = || {
                self.header
                    .word
                    .compare_exchange(tag, tag | USED, Ordering::AcqRel, Ordering::Relaxed)
                    .is_ok()
            };
            if word & TAG == tag && (word & USED != 0 || set_used()) { f(round) } else { Err(Error::Handle) }
        })
    }

    /// Calls `f` with the mutex held, and wakes the waiters that it has released once the mutex is unlocked.
    fn with_round<R>(&self, f: impl FnOnce(&mut Round) -> R) -> R {
        let mut round = self.round.lock();
        let result = f(&mut round);
        let wake_needed = core::mem::take(&mut round.wake_needed);
        drop(round);
        if wake_needed {
            futex::wake_all(&self.round_number);
        }
        result
    }

    /// The address that stands for the round in annotations for race detectors: a field's address serves as a unique
    /// tag. It alternates, since threads may arrive for the next round before all of this one have returned.
    fn annotation_address(&self, round_number: u32) -> &AtomicU64 {
        if round_number % 2 == 0 { &self.timeout } else { &self.acting }
    }

    /// The calling thread arrives. Also returns the round number, which does not change while the thread has to wait.
    fn arrive(&self, tag: u64, waiter: &'static Waiter) -> Result<(Arrival, u32)> {
        self.with_used_round(tag, |round| {
            if round.action_owner == ident::owner_tag() {
                return Err(Error::BarrierInAction);
            }
            let round_number = self.round_number.load(Ordering::Relaxed);
            if round.action_owner != 0 {
                waiter.prepare_to_wait(ident::owner_tag());
                round.next_waiting.push_back(waiter);
                return Ok((Arrival::WaitForNextRound, round_number));
            }
            if round.broken {
                return Err(Error::BrokenBarrier);
            }
            let arrival_index = round.arrived;
            round.arrived += 1;
            happens_before(self.annotation_address(round_number));
            if round.arrived < self.parties.load(Ordering::Acquire) {
                waiter.prepare_to_wait(ident::owner_tag());
                round.waiting.push_back(waiter);
                // With two parties, the other one may be on another CPU; with more, some probably need this CPU.
                waiter.may_spin.store(self.parties.load(Ordering::Acquire) == 2, Ordering::Relaxed);
                return Ok((Arrival::Wait(arrival_index), round_number));
            }
            if self.action.load(Ordering::Acquire).is_none() {
                round.release_waiters(self, GRANTED);
            } else {
                round.action_owner = ident::owner_tag();
                self.acting.store(round.action_owner, Ordering::Relaxed);
                round.interrupted = false;
            }
            Ok((Arrival::Last(arrival_index), round_number))
        })
    }

    /// For the last thread to arrive: if there is an action, calls it and then releases the waiters.
    fn finish_round(&self, tag: u64, arrival_index: usize, round_number: u32) -> Result<usize> {
        happens_after(self.annotation_address(round_number));
        let Some(action) = self.action.load(Ordering::Acquire) else { return Ok(arrival_index) };
        // SAFETY: the caller of `new` has promised that the action may be called with this argument. Both are still this
        // barrier's, since the slot is pinned.
        let failed = pthread::call_user(|| unsafe { action(self.arg.load(Ordering::Acquire)) }) != 0;
        happens_before(self.annotation_address(round_number));
        self.with_round(|round| {
            round.action_owner = 0;
            self.acting.store(0, Ordering::Relaxed);
            let interrupted = round.interrupted;
            if failed {
                round.broken = true;
            }
            round.release_waiters(self, if failed || interrupted { ABORTED } else { GRANTED });
            if !self.header.is_live(tag) {
                // Freed by its own action: leave the slot as a new barrier must find it.
                round.broken = false;
            }
            match (failed, interrupted) {
                (true, _) => Err(Error::Callback),
                (false, true) => Err(Error::BrokenBarrier),
                (false, false) => Ok(arrival_index),
            }
        })
    }

    /// Waits for the end of the round. Returns the outcome: `GRANTED`, `ABORTED`, `FREED`, or `FORKED` in a child that
    /// a signal handler of this thread has forked. A timeout breaks the barrier, unless the action runs.
    fn wait_for_release(&self, waiter: &'static Waiter, round_number: u32, deadline: Deadline) -> u32 {
        let mut outcome = self.park(waiter, round_number, deadline);
        if outcome == QUEUED {
            self.with_round(|round| {
                if waiter.state() == QUEUED && round.action_owner == 0 {
                    round.broken = true;
                    round.release_waiters(self, ABORTED);
                }
            });
            outcome = self.park(waiter, round_number, Deadline::NEVER);
        }
        outcome
    }

    /// Returns the number of threads for which the barrier waits, without a lock.
    pub(crate) fn unlocked_parties(&self) -> usize {
        self.parties.load(Ordering::Acquire)
    }

    /// Returns the identifier of the thread that runs the action, without a lock; `None` if no thread does.
    pub(crate) fn unlocked_acting_thread(&self) -> Option<u64> {
        let acting = self.acting.load(Ordering::Relaxed) >> OWNER_SHIFT;
        (acting != 0 && !ident::exists_only_in_parent(acting)).then_some(acting)
    }

    fn park(&self, waiter: &'static Waiter, round_number: u32, deadline: Deadline) -> u32 {
        let mut note = QueueNote::new(waiter, self.header.handle_bits(), deadline);
        let outcome = waiter.wait_on(
            &mut ParkPlace::Word(&self.round_number, round_number),
            &mut note,
            &self.adaptive_spin,
            deadline,
        );
        if outcome == QUEUED {
            note.set_timed_out();
        }
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ffi::c_int;
    use core::ptr;
    use std::thread;

    fn barrier(parties: usize) -> Handle<Barrier> {
        // SAFETY: there is no action.
        unsafe { Handle::<Barrier>::new(parties, None, ptr::null_mut()) }.unwrap()
    }

    #[test]
    fn all_threads_return_with_distinct_arrival_indices() {
        let barrier = barrier(4);
        for _ in 0..500 {
            let threads: Vec<_> = (0..4).map(|_| thread::spawn(move || barrier.wait().unwrap())).collect();
            let mut arrival_indices: Vec<_> =
                threads.into_iter().map(|thread| thread.join().unwrap()).collect();
            arrival_indices.sort_unstable();
            assert_eq!(arrival_indices, [0, 1, 2, 3]);
        }
        barrier.free().unwrap();
    }

    #[test]
    fn a_timeout_breaks_the_barrier_until_reset() {
        let barrier = barrier(2);
        assert_eq!(barrier.wait_timeout(Timeout::new(0.005).unwrap()), Err(Error::BrokenBarrier));
        assert_eq!(barrier.wait(), Err(Error::BrokenBarrier));
        assert_eq!(barrier.n_waiting(), Ok(0));
        barrier.reset().unwrap();
        let other = thread::spawn(move || barrier.wait());
        barrier.wait().unwrap();
        other.join().unwrap().unwrap();
        barrier.free().unwrap();
    }

    #[test]
    fn a_barrier_in_a_reused_slot_is_not_broken() {
        for _ in 0..200 {
            let used = barrier(2);
            used.abort().unwrap();
            assert_eq!(used.broken(), Ok(true));
            used.free().unwrap();
            assert_eq!((used.broken(), used.parties()), (Err(Error::Handle), Err(Error::Handle)));
            assert_eq!(used.set_timeout(1.0), Err(Error::Handle));
            let unused = barrier(3);
            assert_eq!((unused.broken(), unused.n_waiting(), unused.parties()), (Ok(false), Ok(0), Ok(3)));
            unused.free().unwrap();
        }
    }

    #[test]
    fn an_action_may_abort_its_barrier_but_not_wait() {
        unsafe extern "C-unwind" fn action(arg: *mut c_void) -> c_int {
            // SAFETY: the test passes the address of the handle's bits.
            let barrier = Handle::<Barrier>::from_bits(unsafe { *(arg as *const usize) });
            assert_eq!(barrier.wait(), Err(Error::BarrierInAction));
            assert_eq!(barrier.n_waiting(), Ok(1));
            barrier.abort().unwrap();
            assert_eq!((barrier.broken(), barrier.n_waiting()), (Ok(true), Ok(0)));
            0
        }
        let mut bits = 0usize;
        // SAFETY: `bits` outlives the barrier.
        let barrier = unsafe { Handle::<Barrier>::new(1, Some(action), (&raw mut bits).cast()) }.unwrap();
        bits = barrier.bits();
        assert_ne!(bits, 0);
        assert_eq!(barrier.wait(), Err(Error::BrokenBarrier));
        assert_eq!(barrier.broken(), Ok(true));
        barrier.free().unwrap();
    }
}
