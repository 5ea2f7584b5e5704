//! Eventual fairness: when a release serves the waiter that has waited longest, and what it does for it.
//!
//! The fairness deadline is a fifth of a millisecond after the queue has formed, the last hand-off, or the last acquire
//! by a notified waiter that was the first (`FAIR_AFTER_TICKS`), or less in a long queue. From then on, a release
//! serves the first waiter, skipping unresponsive ones:
//!
//! | the waiter | the release |
//! |---|---|
//! | had parked on the releasing thread's CPU | hands the lock off. The waiter runs when the releasing thread parks |
//! | had parked on another CPU, and is parked | only wakes the waiter, and sets the next deadline: the lock stays in use until the waiter runs, and acquires it. When an offer would have a watcher, it wakes the next waiter, too. If the waiter parks again, the next release after a deadline hands the lock off |
//! | had parked on another CPU, and has been woken | wakes and hands off to none: the waiter is on its way. `FORCE_HANDOFF_AFTER_TICKS` later, the release hands the lock off |
//!
//! A waiter that has been woken and runs gets no offer, since it may have acquired the lock by barging, and another
//! thread may have released it since. It then counts as unresponsive until it has locked the mutex, so that others need
//! not wait for it.
//!
//! A thread that releases the lock without the mutex of its queue does not know the deadline, and does not read the
//! clock: some of its releases take the slow path for that (`lock::contention`).
//!
//! # Offers
//!
//! A hand-off is an offer, which the waiter accepts. After `OFFER_TIMEOUT_TICKS` (one millisecond) a thread that wants
//! the lock revokes it, and the waiter is unresponsive.
//!
//! A waiter that was parked nearly always accepts, but a signal or another process can be faster. So some offers have a
//! *watcher*, which parks until the offer can be revoked: the next waiter, which the release wakes too, or the next
//! thread that starts to wait. One offer in 2^`WATCH_PERIOD_SHIFT` ticks has a watcher, and so has every offer for
//! `WATCH_ALL_TICKS` after a waiter of this process was found unresponsive.

use crate::sync::wait_queue::WaitQueue;
use crate::sync::waiter::Waiter;
use crate::sys::atomic::{AtomicU32, Ordering};
use crate::time::Deadline;

/// A tick is 2^`TICK_SHIFT` nanoseconds, 66 microseconds.
const TICK_SHIFT: u32 = 16;
/// The time from one of the events above to the fairness deadline: a fifth of a millisecond.
pub(super) const FAIR_AFTER_TICKS: u32 = 3;
/// The same in a long queue, in which the longest waits would be those for the threads ahead. Each hand-off takes the
/// time of some hundred critical sections, so that this costs some percent of the rate.
const FAIR_AFTER_TICKS_IF_LONG: u32 = FAIR_AFTER_TICKS - 1;
/// A queue of more waiters than this is long.
const LONG_QUEUE: usize = 8;
/// The extra delay before a hand-off to a waiter that has been woken and had parked on another CPU than the releasing
/// thread's. Such a waiter is probably on its way; if not, another process uses its CPU, and a hand-off would stall all
/// waiters.
const FORCE_HANDOFF_AFTER_TICKS: u32 = 2;
/// The time after which an offer may be revoked: a millisecond.
const OFFER_TIMEOUT_TICKS: u32 = 16;
/// One offer in 2^`WATCH_PERIOD_SHIFT` ticks (eight milliseconds) has a watcher.
const WATCH_PERIOD_SHIFT: u32 = 7;
/// The time for which every offer has a watcher after a waiter was found unresponsive: eight seconds.
const WATCH_ALL_TICKS: u32 = 1 << 17;

/// Returns the current time in ticks, which wraps around.
pub(super) fn ticks_now() -> u32 {
    to_ticks(Deadline::now())
}

fn to_ticks(time: Deadline) -> u32 {
    (time.0 >> TICK_SHIFT) as u32
}

/// What a release does for the waiter that has waited longest.
pub(super) enum FairTurn {
    /// Nothing: the fairness deadline has not passed, or the waiter is on its way.
    None,
    /// Offers the lock to the waiter.
    HandOff(&'static Waiter),
    /// Wakes the waiter, which has parked on another CPU. An offer would leave the lock unused until it runs.
    Wake(&'static Waiter),
}

/// The fairness deadline of a wait queue, in ticks. One that is further ahead than `FAIR_AFTER_TICKS` has passed long
/// ago.
pub(super) struct FairDeadline(u32);

impl FairDeadline {
    /// Sets the deadline that follows an event at the time `now`: the queue of these waiters has formed, or one of them
    /// was served, or the one before them has acquired the lock.
    pub(super) fn start(&mut self, now: u32, waiters: &WaitQueue) {
        let is_long = waiters.iter().nth(LONG_QUEUE).is_some();
        self.0 = now.wrapping_add(if is_long { FAIR_AFTER_TICKS_IF_LONG } else { FAIR_AFTER_TICKS });
    }

    /// What a release at the time `now` does for the waiter that has waited longest. Records it if the first waiter is
    /// unresponsive.
    pub(super) fn turn(&self, waiters: &WaitQueue, now: u32) -> FairTurn {
        let is_due = self.0.wrapping_sub(now).wrapping_sub(1) >= FAIR_AFTER_TICKS;
        let is_overdue = now.wrapping_sub(self.0) >= FORCE_HANDOFF_AFTER_TICKS;
        let Some(first) = waiters.first().filter(|_| is_due) else { return FairTurn::None };
        let first = if first.unresponsive.get() {
            record_unresponsive(now);
            match waiters.iter().find(|waiter| !waiter.unresponsive.get()) {
                Some(responsive) => responsive,
                None => return FairTurn::None,
            }
        } else {
            first
        };
        let is_on_its_way = first.woken.get() && !is_overdue;
        if first.parked_on_this_cpu() {
            FairTurn::HandOff(first)
        } else if is_on_its_way {
            FairTurn::None
        } else if first.woken.get() || first.had_fair_wake.get() {
            FairTurn::HandOff(first)
        } else {
            FairTurn::Wake(first)
        }
    }

    /// Returns the number of ticks until the current offer may be revoked. It was made when the deadline was last
    /// started. In a long queue, the time is a tick shorter.
    pub(super) fn offer_time_left(&self, now: u32) -> u32 {
        let remaining = self.0.wrapping_add(OFFER_TIMEOUT_TICKS - FAIR_AFTER_TICKS).wrapping_sub(now);
        if remaining <= OFFER_TIMEOUT_TICKS { remaining } else { 0 }
    }

    /// Returns the time when the current offer may be revoked. `time` is the current one.
    pub(super) fn offer_end(&self, time: Deadline) -> Deadline {
        time.add_ns(u64::from(self.offer_time_left(to_ticks(time))) << TICK_SHIFT)
    }
}

/// The period in which an offer of a lock last had a watcher.
pub(super) struct LastWatch(u16);

impl LastWatch {
    /// Returns whether the current offer is to have a watcher; the caller then provides one.
    pub(super) fn try_start(&mut self, now: u32) -> bool {
        let period = (now >> WATCH_PERIOD_SHIFT) as u16;
        core::mem::replace(&mut self.0, period) != period || has_recent_unresponsive(now)
    }

    /// As `try_start`, at this time.
    pub(super) fn try_start_at(&mut self, time: Deadline) -> bool {
        self.try_start(to_ticks(time))
    }
}

/// The tick in which a waiter of any lock was last found unresponsive; 0 if none was.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static LAST_UNRESPONSIVE: AtomicU32 = AtomicU32::new(0);

/// Whether a waiter of this process has recently been unresponsive. If so, some signal handlers run for a long time,
/// and more waiters, and watchers, may be unresponsive too.
fn has_recent_unresponsive(now: u32) -> bool {
    let last = LAST_UNRESPONSIVE.load(Ordering::Relaxed);
    last != 0 && now.wrapping_sub(last) < WATCH_ALL_TICKS
}

/// Records that a waiter was found unresponsive.
pub(super) fn record_unresponsive(now: u32) {
    LAST_UNRESPONSIVE.store(now.max(1), Ordering::Relaxed);
}

/// Resets the module's state before each run of a model.
#[cfg(model)]
pub(crate) fn reset() {
    LAST_UNRESPONSIVE.store(0, Ordering::Relaxed);
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    /// The turn of a queue of one waiter, which has parked on no CPU, this long after the deadline was started.
    fn turn(prepare: impl Fn(&Waiter), elapsed: u32) -> FairTurn {
        // SAFETY: zeroed memory is a valid record, and a valid empty queue.
        let (waiter, mut waiters): (&'static Waiter, WaitQueue) =
            unsafe { (Box::leak(Box::new(core::mem::zeroed())), core::mem::zeroed()) };
        prepare(waiter);
        waiters.push_back(waiter);
        let mut deadline = FairDeadline(0);
        let started = u32::MAX - 1;
        deadline.start(started, &waiters);
        deadline.turn(&waiters, started.wrapping_add(elapsed))
    }

    #[test]
    fn the_deadline_passes_after_some_ticks_and_stays_so() {
        for elapsed in 0..FAIR_AFTER_TICKS {
            assert!(matches!(turn(|_| {}, elapsed), FairTurn::None));
        }
        for elapsed in [FAIR_AFTER_TICKS, FAIR_AFTER_TICKS + 1, 1 << 20, u32::MAX - FAIR_AFTER_TICKS] {
            assert!(matches!(turn(|_| {}, elapsed), FairTurn::Wake(_)));
        }
    }

    #[test]
    fn a_waiter_of_another_cpu_is_woken_first_and_handed_the_lock_at_the_next_deadline() {
        assert!(matches!(
            turn(|waiter| waiter.had_fair_wake.set(true), FAIR_AFTER_TICKS),
            FairTurn::HandOff(_)
        ));
        let woken = |waiter: &Waiter| waiter.woken.set(true);
        assert!(matches!(turn(woken, FAIR_AFTER_TICKS), FairTurn::None));
        assert!(matches!(turn(woken, FAIR_AFTER_TICKS + FORCE_HANDOFF_AFTER_TICKS), FairTurn::HandOff(_)));
        assert!(matches!(turn(|waiter| waiter.unresponsive.set(true), FAIR_AFTER_TICKS), FairTurn::None));
    }

    #[test]
    fn the_deadline_is_earlier_in_a_long_queue() {
        // SAFETY: zeroed memory is a valid empty queue, and a valid record.
        let mut waiters: WaitQueue = unsafe { core::mem::zeroed() };
        let mut deadline = FairDeadline(0);
        for count in 1..=LONG_QUEUE + 1 {
            // SAFETY: as above.
            waiters.push_back(Box::leak(Box::new(unsafe { core::mem::zeroed() })));
            deadline.start(0, &waiters);
            let is_due = matches!(deadline.turn(&waiters, FAIR_AFTER_TICKS_IF_LONG), FairTurn::Wake(_));
            assert_eq!(is_due, count > LONG_QUEUE);
        }
    }

    #[test]
    fn an_offer_ends_after_its_timeout() {
        let mut deadline = FairDeadline(0);
        // SAFETY: zeroed memory is a valid empty queue.
        deadline.start(u32::MAX - 4, &unsafe { core::mem::zeroed() });
        let left = |elapsed| deadline.offer_time_left((u32::MAX - 4).wrapping_add(elapsed));
        assert_eq!(
            [left(0), left(10), left(OFFER_TIMEOUT_TICKS)],
            [OFFER_TIMEOUT_TICKS, OFFER_TIMEOUT_TICKS - 10, 0]
        );
        assert_eq!([left(OFFER_TIMEOUT_TICKS + 1), left(1 << 20)], [0, 0]);
    }
}
