//! Barrier: Python's `threading.Barrier`. A place where a number of threads wait for each other, again and
//! again.
//!
//! # State
//!
//! The header's word carries generation and `LIVE` alone; all else lies in [`Round`], under its guard.
//!
//! | state | how it is left | by whom |
//! |---|---|---|
//! | filling: `arrived` < parties | another arrives | a thread in wait |
//! | | broken: all who wait are refused, `arrived` = 0 | abort, or a waiter whose time runs out |
//! | | empty again: all who wait are refused | reset |
//! | acting: all have arrived, the last one runs the action | empty again: all go on | the last one, if the action is done |
//! | | broken: all are refused | the last one, if the action failed or abort was called meanwhile |
//! | | empty again, but all are refused | the last one, if reset was called meanwhile |
//! | broken | empty again | reset |
//! | filling, acting | freed: threads that arrived beside the last free are sent on | the last free |
//!
//! While the action runs, waiters whose time runs out go on waiting for it, and newcomers stand aside until
//! the next round. Waiters learn their outcome from whoever takes them out of the line, and do not look at the
//! barrier again: whoever was let go may find it freed.

use crate::sys::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use core::ffi::c_void;
use core::ptr;

use crate::callbacks::Action;
use crate::error::{Error, Result};
use crate::handle::header::Header;
use crate::handle::{Handle, Object, ObjectKind};
use crate::sync::adaptive_spin::AdaptiveSpin;
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sync::wait_queue::WaitQueue;
use crate::sync::waiter::{self, ABORTED, FREED, GRANTED, QUEUED, RETRY, Waiter};
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::futex;
use crate::sys::pthread;
use crate::thread::ident;
use crate::time::{Deadline, FOREVER, Timeout};

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
    /// On this all sleep who wait. Counted up, under the guard, whenever some are let go: a thread which all but
    /// sleeps would have to miss 2^32 of those to oversleep its own.
    generation_id: AtomicU32,
    /// These three are written when the barrier is made.
    parties: AtomicUsize,
    action: AtomicPtr<c_void>,
    arg: AtomicPtr<c_void>,
    /// The default timeout in seconds, as bits.
    timeout: AtomicU64,
}

struct Round {
    waiting: WaitQueue,
    /// Newcomers while the action runs.
    next_waiting: WaitQueue,
    arrived: usize,
    /// The key of the thread that runs the action, 0 if none does.
    action_owner: u64,
    broken: bool,
    /// Abort or reset was called while the action ran.
    interrupted: bool,
    /// Some were let go who sleep: they are woken as soon as the guard is gone, for which they would wait at
    /// once.
    wake_needed: bool,
}

impl ForkReset for Round {
    fn reset_in_child(&mut self) {
        self.waiting.reset_in_child();
        self.next_waiting.reset_in_child();
        // An action that forks goes on in the child.
        if self.action_owner != ident::owner_tag() {
            self.action_owner = 0;
            self.arrived = 0;
        }
    }
}

impl Round {
    /// Lets all who wait go on, or not; and those on the side come forward.
    fn release_waiters(&mut self, barrier: &Barrier, outcome: u32) {
        self.arrived = 0;
        while let Some(waiter) = self.waiting.pop() {
            self.wake_needed |= waiter.complete(outcome, &barrier.adaptive_spin).is_needed();
        }
        while let Some(newcomer) = self.next_waiting.pop() {
            self.wake_needed |= newcomer.complete(RETRY, &barrier.adaptive_spin).is_needed();
        }
        // After the states: whoever is about to sleep must not find this changed, but its state not.
        barrier.generation_id.fetch_add(1, Ordering::Release);
    }
}

// SAFETY: zero is an empty round; all of it is shareable; it begins with its header.
unsafe impl Object for Barrier {
    const KIND: ObjectKind = ObjectKind::Barrier;

    fn header(&self) -> &Header {
        &self.header
    }

    fn is_busy(&self, tag: u64) -> bool {
        self.with_round(|round| {
            self.header.is_live(tag) && !(round.waiting.is_empty() && round.next_waiting.is_empty())
        })
    }

    fn invalidate(&self, tag: u64) {
        self.header.clear_live(tag);
        self.with_round(|round| {
            if !round.waiting.is_empty() || !round.next_waiting.is_empty() {
                round.release_waiters(self, FREED);
            }
            round.arrived = 0;
            round.broken = false;
        });
    }
}

/// How a thread goes through the barrier. Whoever waits or stands aside sleeps as long as there are so many
/// `generation_id`.
enum Arrival {
    Wait(usize, u32),
    RunAction(usize, u32),
    WaitForNextRound(u32),
}

impl Handle<Barrier> {
    /// A barrier for so many parties, whose last one calls the action. The safe way is
    /// [`ActionBarrier`](crate::ActionBarrier).
    ///
    /// # Safety
    /// `arg` is what the action takes, in whichever thread, as long as the barrier lives.
    pub unsafe fn new(parties: usize, action: Option<Action>, arg: *mut c_void) -> Result<Self> {
        if parties == 0 {
            return Err(Error::NoParties);
        }
        Handle::create(0, |barrier: &Barrier, _| {
            barrier.parties.store(parties, Ordering::Release);
            barrier
                .action
                .store(action.map_or(ptr::null_mut(), |action| action as *mut c_void), Ordering::Release);
            barrier.arg.store(arg, Ordering::Release);
            barrier.timeout.store(FOREVER.to_bits(), Ordering::Release);
        })
    }

    /// Sets the timeout of waits that name none.
    pub fn set_timeout(self, seconds: f64) -> Result<()> {
        self.or_handle_error(Timeout::new(seconds))?;
        self.with_live_round(|barrier, _| barrier.timeout.store(seconds.to_bits(), Ordering::Relaxed))
    }

    /// Waits until all have arrived, no longer than the default timeout. The place in which the caller
    /// arrived.
    pub fn wait(self) -> Result<usize> {
        let seconds = self.read(|barrier| f64::from_bits(barrier.timeout.load(Ordering::Acquire)))?;
        self.wait_timeout(Timeout::new(seconds)?)
    }

    /// Waits until all have arrived; if the time runs out before that, the barrier is broken.
    pub fn wait_timeout(self, timeout: Timeout) -> Result<usize> {
        let (barrier, tag) = self.check()?;
        let waiter = waiter::current()?;
        let _pin = self.pin()?;
        loop {
            match barrier.arrive(tag, waiter)? {
                Arrival::WaitForNextRound(generation_id) => {
                    barrier.park(waiter, generation_id, Deadline::NEVER)
                }
                Arrival::RunAction(arrival_index, generation_id) => {
                    return barrier.run_action(tag, arrival_index, generation_id);
                }
                Arrival::Wait(arrival_index, generation_id) => {
                    let outcome = barrier.wait_for_release(waiter, generation_id, timeout.deadline());
                    happens_after(barrier.annotation_address(generation_id));
                    return match outcome {
                        GRANTED => Ok(arrival_index),
                        FREED => Err(Error::Handle),
                        _ => Err(Error::BrokenBarrier),
                    };
                }
            };
        }
    }

    /// Empties the barrier and mends it; those who wait get `BrokenBarrier`.
    pub fn reset(self) -> Result<()> {
        self.break_or_reset(false)
    }

    /// Breaks the barrier; those who wait get `BrokenBarrier`, and so does everybody until a reset.
    pub fn abort(self) -> Result<()> {
        self.break_or_reset(true)
    }

    fn break_or_reset(self, broken: bool) -> Result<()> {
        self.with_live_round(|barrier, round| {
            happens_before(barrier.annotation_address(barrier.generation_id.load(Ordering::Relaxed)));
            round.interrupted = round.action_owner != 0;
            round.broken = broken;
            if round.action_owner == 0 {
                round.release_waiters(barrier, ABORTED);
            }
        })
    }

    /// How many have to arrive.
    pub fn parties(self) -> Result<usize> {
        self.with_live_round(|barrier, _| barrier.parties.load(Ordering::Acquire))
    }

    /// How many have arrived; a snapshot.
    pub fn n_waiting(self) -> Result<usize> {
        self.with_live_round(|barrier, round| {
            happens_after(barrier.annotation_address(barrier.generation_id.load(Ordering::Relaxed)));
            round.arrived
        })
    }

    /// Whether the barrier is broken; a snapshot.
    pub fn broken(self) -> Result<bool> {
        self.with_live_round(|_, round| round.broken)
    }

    fn with_live_round<R>(self, f: impl FnOnce(&Barrier, &mut Round) -> R) -> Result<R> {
        let (barrier, tag) = self.slot()?;
        barrier.with_round(|round| {
            if barrier.header.is_live(tag) { Ok(f(barrier, round)) } else { Err(Error::Handle) }
        })
    }
}

impl Barrier {
    /// Does something with the round under its guard, and then wakes whom that has let go.
    fn with_round<R>(&self, f: impl FnOnce(&mut Round) -> R) -> R {
        let mut round = self.round.lock();
        let result = f(&mut round);
        let wake_needed = core::mem::take(&mut round.wake_needed);
        drop(round);
        if wake_needed {
            futex::wake_all(&self.generation_id);
        }
        result
    }

    /// By what a round is announced that ends so many others: not by what the next one is, to which the
    /// fastest of this one may come while others still return.
    fn annotation_address(&self, generation_id: u32) -> &AtomicPtr<c_void> {
        if generation_id.is_multiple_of(2) { &self.action } else { &self.arg }
    }

    fn arrive(&self, tag: u64, waiter: &'static Waiter) -> Result<Arrival> {
        self.with_round(|round| {
            if !self.header.is_live(tag) {
                return Err(Error::Handle);
            }
            if round.action_owner == ident::owner_tag() {
                return Err(Error::BarrierInAction);
            }
            let generation_id = self.generation_id.load(Ordering::Relaxed);
            if round.action_owner != 0 {
                waiter.prepare_to_wait(0);
                round.next_waiting.push_back(waiter);
                return Ok(Arrival::WaitForNextRound(generation_id));
            }
            if round.broken {
                return Err(Error::BrokenBarrier);
            }
            let arrival_index = round.arrived;
            round.arrived += 1;
            happens_before(self.annotation_address(generation_id));
            if round.arrived < self.parties.load(Ordering::Acquire) {
                waiter.prepare_to_wait(0);
                round.waiting.push_back(waiter);
                // Of two, the other may be on another CPU; of more, some may need this one.
                waiter.may_spin.store(self.parties.load(Ordering::Acquire) == 2, Ordering::Relaxed);
                return Ok(Arrival::Wait(arrival_index, generation_id));
            }
            if self.action.load(Ordering::Acquire).is_null() {
                round.release_waiters(self, GRANTED);
            } else {
                round.action_owner = ident::owner_tag();
                round.interrupted = false;
            }
            Ok(Arrival::RunAction(arrival_index, generation_id))
        })
    }

    /// The last to arrive calls the action, if there is one, and then lets the others go.
    fn run_action(&self, tag: u64, arrival_index: usize, generation_id: u32) -> Result<usize> {
        happens_after(self.annotation_address(generation_id));
        let action = self.action.load(Ordering::Acquire);
        if action.is_null() {
            return Ok(arrival_index);
        }
        // SAFETY: `new` stored an `Action` here; the slot is pinned, so that it is still this barrier's.
        let action = unsafe { core::mem::transmute::<*mut c_void, Action>(action) };
        // SAFETY: the caller of `new` promised that action and argument go together as long as the barrier
        // lives.
        let failed = pthread::call_user(|| unsafe { action(self.arg.load(Ordering::Acquire)) }) != 0;
        happens_before(self.annotation_address(generation_id));
        self.with_round(|round| {
            round.action_owner = 0;
            let interrupted = round.interrupted;
            if failed {
                round.broken = true;
            }
            round.release_waiters(self, if failed || interrupted { ABORTED } else { GRANTED });
            if !self.header.is_live(tag) {
                // Freed inside of its action: whatever the round was left in is nobody's.
                round.broken = false;
            }
            match (failed, interrupted) {
                (true, _) => Err(Error::Callback),
                (false, true) => Err(Error::BrokenBarrier),
                (false, false) => Ok(arrival_index),
            }
        })
    }

    /// `GRANTED` when all have come; something else if the barrier breaks, or is freed, before that.
    fn wait_for_release(&self, waiter: &'static Waiter, generation_id: u32, deadline: Deadline) -> u32 {
        let mut outcome = self.park(waiter, generation_id, deadline);
        if outcome == QUEUED {
            self.with_round(|round| {
                if waiter.state() == QUEUED && round.action_owner == 0 {
                    round.broken = true;
                    round.release_waiters(self, ABORTED);
                }
            });
            outcome = self.park(waiter, generation_id, Deadline::NEVER);
        }
        outcome
    }

    fn park(&self, waiter: &'static Waiter, generation_id: u32, deadline: Deadline) -> u32 {
        waiter.wait_on(&self.generation_id, generation_id, &self.adaptive_spin, deadline)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::ffi::c_int;
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
    fn its_action_may_abort_it_but_not_wait() {
        unsafe extern "C-unwind" fn action(arg: *mut c_void) -> c_int {
            // SAFETY: the test gives the address of the handle.
            let barrier = Handle::<Barrier>::from_bits(unsafe { *(arg as *const usize) });
            assert_eq!(barrier.wait(), Err(Error::BarrierInAction));
            assert_eq!(barrier.n_waiting(), Ok(1));
            barrier.abort().unwrap();
            0
        }
        let mut bits = 0usize;
        // SAFETY: the bits live as long as the barrier.
        let barrier = unsafe { Handle::<Barrier>::new(1, Some(action), (&raw mut bits).cast()) }.unwrap();
        bits = barrier.bits();
        assert_ne!(bits, 0);
        assert_eq!(barrier.wait(), Err(Error::BrokenBarrier));
        assert_eq!(barrier.broken(), Ok(true));
        barrier.free().unwrap();
    }
}
