//! The wait queue of a lock, and which of its waiters are awake.
//!
//! A waiter that has been woken to acquire the lock is a *designated waker* (nsync's `MU_DESIG_WAKER`): while as many
//! of them as allowed are on their way, a release wakes no other waiter. If it finds the lock taken, it parks again, at
//! the same position.
//!
//! # Unresponsive waiters
//!
//! A waiter that has been woken may be unable to run: its thread executes a signal handler, or has lost its CPU. Other
//! threads must not depend on it, since the handler may wait for one of them.
//!
//! - A futex wake returns whether it has woken a thread. If it has not, the waiter's thread has yet to park, or
//!   executes a signal handler. The waiter counts as unresponsive until it takes the mutex, and the next one is woken
//!   in its place.
//! - An offered lock is not owned by the waiter before the waiter has accepted the offer under the mutex; until then
//!   the waiter stays in the queue. To signal handlers of its thread, the lock looks like one that another thread
//!   holds.
//! - When a thread revokes the offer, the waiter is unresponsive and keeps its position.
//! - A thread that starts to wait, or is woken, while the lock is offered to an unresponsive waiter parks no longer
//!   than until the offer can be revoked. So does the watcher of an offer (`lock::fairness`).
//!
//! `LockQueue::designated_wakers` is the number of waiters that have been woken and are not unresponsive.
//!
//! # Broadcasts
//!
//! Waiters of a condition that was notified of many waiters before are parked together, on a `BroadcastWord`. After the
//! next notify, they are in this queue until the lock is released. The release, as soon as it has unlocked the lock,
//! removes all of them from the queue and wakes them by one system call, so that they compete for the lock. Those that
//! find it taken enter the queue again and park alone. A waiter that was about to park when the notify moved it here is
//! not counted in `HAS_BROADCAST`: it keeps its position, and is woken to acquire the lock like one that parks alone.

use crate::lock::fairness::{FairDeadline, FairTurn, LastWatch, ticks_now};
use crate::lock::word::{FLAGS, HAS_WAITERS};
use crate::sync::mutex::ForkReset;
use crate::sync::wait_queue::WaitQueue;
use crate::sync::waiter::{OFFERED, Waiter};
use crate::sys::atomic::Ordering;

/// The number of waiters among which a release of a hot lock looks for one of its CPU.
const HOT_SEARCH_LIMIT: usize = 32;

/// The number of designated wakers a lock may have. One is enough as a rule: more would find the lock taken.
const MAX_DESIGNATED_WAKERS: u8 = 1;
/// The same while the first waiter is a notified one. After a broadcast, many waiters want the lock for a short time
/// each, and with one waker at a time the CPUs would go idle in between, which makes each wake-up slow. The more there
/// are, the longer the first one waits for a CPU, until its fairness deadline.
const MAX_DESIGNATED_WAKERS_AFTER_NOTIFY: u8 = 8;

/// The last release to check the fairness deadline was one of many in a short time (`lock::contention`).
const IS_HOT: u8 = 1;
/// The queue may contain notified waiters that are parked together.
const HAS_BROADCAST: u8 = 2;

/// The waiters of a lock, under its mutex; zeroed memory is a valid empty queue.
pub(super) struct LockQueue {
    pub(super) waiters: WaitQueue,
    pub(super) fair_deadline: FairDeadline,
    /// `IS_HOT` and `HAS_BROADCAST`.
    bits: u8,
    /// The number of waiters that have been woken and are not unresponsive. It saturates.
    designated_wakers: u8,
    pub(super) last_watch: LastWatch,
}

impl ForkReset for LockQueue {
    fn reset_in_child(&mut self) {
        self.waiters.reset_in_child();
        self.bits = 0;
        self.designated_wakers = 0;
    }
}

impl LockQueue {
    pub(super) fn push(&mut self, waiter: &'static Waiter) {
        if self.waiters.is_empty() {
            self.fair_deadline.start(ticks_now(), &self.waiters);
            self.set_hot(false);
        }
        waiter.woken.set(false);
        waiter.unresponsive.set(false);
        waiter.is_watcher.set(false);
        waiter.had_fair_wake.set(false);
        self.waiters.push_back(waiter);
    }

    /// Adds a notified condition waiter.
    pub(super) fn push_notified(&mut self, waiter: &'static Waiter) {
        if waiter.is_parked_together() {
            self.bits |= HAS_BROADCAST;
        }
        self.push(waiter);
    }

    pub(super) fn set_hot(&mut self, is_hot: bool) {
        self.bits = self.bits & !IS_HOT | if is_hot { IS_HOT } else { 0 };
    }

    pub(super) fn has_broadcast(&self) -> bool {
        self.bits & HAS_BROADCAST != 0
    }

    /// Removes the waiters that are parked together, and calls `f` for each.
    pub(super) fn take_parked_together(&mut self, mut f: impl FnMut(&'static Waiter)) {
        self.bits &= !HAS_BROADCAST;
        let mut next = self.waiters.first();
        while let Some(waiter) = next {
            next = self.waiters.after(waiter);
            if waiter.is_parked_together() {
                self.remove(waiter);
                f(waiter);
            }
        }
    }

    pub(super) fn remove(&mut self, waiter: &'static Waiter) {
        self.waiters.remove(waiter);
        self.reset_woken(waiter);
    }

    /// Removes a waiter that has acquired the lock. If it was the first one, and notified, the next one waits for its
    /// fairness deadline from now on: after a broadcast, the waiters acquire the lock one after the other, and each
    /// hand-off would stall the others until the system runs the first one.
    pub(super) fn remove_new_owner(&mut self, waiter: &'static Waiter) {
        let is_first = self.waiters.first().is_some_and(|first| core::ptr::eq(first, waiter));
        self.remove(waiter);
        if is_first && waiter.notified.load(Ordering::Relaxed) {
            self.fair_deadline.start(ticks_now(), &self.waiters);
        }
    }

    /// Turns the waiter into a designated waker.
    pub(super) fn mark_woken(&mut self, waiter: &'static Waiter) {
        if !waiter.woken.replace(true) {
            self.designated_wakers = self.designated_wakers.saturating_add(1);
        }
    }

    /// For a waiter that runs again, or leaves the queue: it is neither a designated waker nor unresponsive.
    pub(super) fn reset_woken(&mut self, waiter: &'static Waiter) {
        self.uncount_designated_waker(waiter);
        waiter.woken.set(false);
        waiter.unresponsive.set(false);
    }

    /// Records that the waiter does not react to a wake-up or an offer.
    pub(super) fn mark_unresponsive(&mut self, waiter: &'static Waiter) {
        self.uncount_designated_waker(waiter);
        waiter.unresponsive.set(true);
    }

    /// Decrements the count if it includes the waiter. The caller then changes the waiter's flags.
    fn uncount_designated_waker(&mut self, waiter: &'static Waiter) {
        if waiter.woken.get() && !waiter.unresponsive.get() {
            // Saturating: the count starts at 0 in a child of fork, whose one thread may have forked in a signal
            // handler as a waiter that had been woken.
            self.designated_wakers = self.designated_wakers.saturating_sub(1);
        }
    }

    /// What a release at the time `now` does for the waiter that has waited longest. If that has been woken, it may be
    /// acquiring the lock by barging: the offer is made now, so that it does not. The caller then offers the lock, or
    /// calls `undo_fair_turn`.
    pub(super) fn fair_turn(&mut self, now: u32) -> FairTurn {
        let turn = self.fair_deadline.turn(&self.waiters, now);
        if let FairTurn::HandOff(first) | FairTurn::Wake(first) = turn {
            // The release is about to wake it, with others: after a hand-off, they would find the lock taken. Without
            // `HAS_BROADCAST`, the waiter has parked after it entered the queue, and is woken like others.
            if self.has_broadcast() && first.is_parked_together() {
                return FairTurn::None;
            }
        }
        if let FairTurn::HandOff(first) = turn {
            if first.woken.get() && !first.try_offer() {
                self.mark_unresponsive(first);
                return FairTurn::None;
            }
        }
        turn
    }

    /// The caller holds the mutex since it has called `fair_turn`, so that the waiter has not seen an offer.
    pub(super) fn undo_fair_turn(&self, turn: FairTurn) {
        if let FairTurn::HandOff(first) = turn {
            if first.woken.get() {
                first.revoke_offer();
            }
        }
    }

    /// The waiter to which the lock is offered. `None` in a child of fork, if the offer was made in the parent.
    pub(super) fn offered_waiter(&self) -> Option<&'static Waiter> {
        self.waiters.iter().find(|waiter| waiter.state() == OFFERED)
    }

    /// The flags that the word must have for this queue.
    pub(super) fn flags(&self) -> u64 {
        match self.waiters.first() {
            None => 0,
            Some(_) if self.has_broadcast() => HAS_WAITERS,
            Some(first) => {
                let max = if first.notified.load(Ordering::Relaxed) {
                    MAX_DESIGNATED_WAKERS_AFTER_NOTIFY
                } else {
                    MAX_DESIGNATED_WAKERS
                };
                if self.designated_wakers < max && self.first_not_woken().is_some() {
                    HAS_WAITERS
                } else {
                    FLAGS
                }
            }
        }
    }

    /// Whether a thread is blocked on the lock itself: not requeued by a notify, and not woken yet.
    pub(super) fn has_blocked_waiters(&self) -> bool {
        self.waiters.iter().any(|waiter| !waiter.notified.load(Ordering::Relaxed) && !waiter.woken.get())
    }

    /// The first waiter that a wake-up would help.
    fn first_not_woken(&self) -> Option<&'static Waiter> {
        self.not_woken().next()
    }

    /// The waiter to wake next. While the lock is hot, one that has parked on this CPU: the system will probably run it
    /// here, after the calling thread. On another CPU, it would take the lock, and its cache lines, away from this one,
    /// and the threads would wake each other in turn. A hand-off wakes the first waiter in any case.
    pub(super) fn next_to_wake(&self) -> Option<&'static Waiter> {
        let on_this_cpu =
            || self.not_woken().take(HOT_SEARCH_LIMIT).find(|waiter| waiter.parked_on_this_cpu());
        (self.bits & IS_HOT != 0).then(on_this_cpu).flatten().or_else(|| self.first_not_woken())
    }

    /// Returns whether a release is to wake the next waiter as a watcher. If there is none, the next thread that starts
    /// to wait may become the watcher.
    pub(super) fn try_start_watch(&mut self, now: u32) -> bool {
        self.first_not_woken().is_some() && self.last_watch.try_start(now)
    }

    fn not_woken(&self) -> impl Iterator<Item = &'static Waiter> + '_ {
        self.waiters.iter().filter(|waiter| !waiter.woken.get() && !waiter.unresponsive.get())
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;
    use crate::sync::waiter::{PARKED_TOGETHER, QUEUED};

    #[test]
    fn an_offer_to_the_only_waiter_leaves_the_watch_to_the_next_thread_that_waits() {
        const NOW: u32 = 1 << 16;
        // SAFETY: zeroed memory is a valid empty queue, and a valid record of a waiter.
        let (mut queue, waiters): (LockQueue, &'static [Waiter; 2]) =
            unsafe { (core::mem::zeroed(), Box::leak(Box::new(core::mem::zeroed()))) };
        queue.push(&waiters[0]);
        queue.mark_woken(&waiters[0]);
        assert!(!queue.try_start_watch(NOW));
        assert!(queue.last_watch.try_start(NOW));
        queue.push(&waiters[1]);
        assert!(queue.try_start_watch(2 * NOW));
    }

    #[test]
    fn a_waiter_that_parks_together_with_others_after_it_has_entered_the_queue_has_its_turn() {
        // SAFETY: as above.
        let (mut queue, waiters): (LockQueue, &'static [Waiter; 2]) =
            unsafe { (core::mem::zeroed(), Box::leak(Box::new(core::mem::zeroed()))) };
        let long_ago = ticks_now().wrapping_sub(1 << 16);
        for (waiter, enters_parked) in waiters.iter().zip([false, true]) {
            waiter.prepare_to_wait(0);
            waiter.set_state(if enters_parked { PARKED_TOGETHER } else { QUEUED });
            queue.push_notified(waiter);
            waiter.set_state(PARKED_TOGETHER);
            queue.fair_deadline.start(long_ago, &queue.waiters);
            let is_served = !matches!(queue.fair_turn(ticks_now()), FairTurn::None);
            assert_eq!(is_served, !enters_parked);
            queue.remove(waiter);
        }
    }

    #[test]
    fn the_fairness_deadline_starts_again_when_a_notified_waiter_has_acquired_the_lock_as_the_first() {
        // SAFETY: as above.
        let (mut queue, waiters): (LockQueue, &'static [Waiter; 3]) =
            unsafe { (core::mem::zeroed(), Box::leak(Box::new(core::mem::zeroed()))) };
        let mut is_due_after_removal_of = |index: usize, notified: bool| {
            waiters.iter().for_each(|waiter| queue.push(waiter));
            waiters[index].notified.store(notified, Ordering::Relaxed);
            let long_ago = ticks_now().wrapping_sub(1 << 16);
            queue.fair_deadline.start(long_ago, &queue.waiters);
            queue.remove_new_owner(&waiters[index]);
            let is_due = !matches!(queue.fair_turn(ticks_now()), FairTurn::None);
            while let Some(waiter) = queue.waiters.first() {
                queue.remove(waiter);
            }
            is_due
        };
        assert!(!is_due_after_removal_of(0, true));
        assert!(is_due_after_removal_of(0, false));
        assert!(is_due_after_removal_of(1, true));
    }
}
