//! Batching: whether a waiter that finds an item to take lets more of them accumulate first.
//!
//! When one thread produces what another one consumes, and both run, each operation moves the cache lines that they
//! share to the other CPU, which takes longer than the operation itself. So a waiter that has spun until there was an
//! item leaves these lines to the producer for some microseconds, and then takes many items in succession.
//!
//! That helps only if more comes. Two threads that alternate give each other one item at a time, and a delay would
//! only slow them down. So a waiter tries it out: rarely, and more rarely after each trial without success.
//!
//! Where a delay was a success, a thread that does not wait also leaves the cache lines to the other one for a while,
//! if both have changed the object at the same time ([`Batching::back_off`]). Otherwise both might continue to use it
//! alternately, without a wait of either, and move the lines with each operation.
//!
//! All fields are hints: correctness does not depend on them, and concurrent updates may be lost. So the model checkers
//! need not see them.

use core::sync::atomic::{AtomicBool, AtomicU16, Ordering};

use crate::sys::atomic::spin_loop;
use crate::time::Deadline;

/// A step, in nanoseconds. In this time, a producer that has its cache lines produces several items.
const STEP_NS: u64 = 250;
/// How many steps precede a look at the number of items, which takes a cache line from the producer. On some machines,
/// the producer needs more than one step to get it back.
const FIRST_STEPS: u64 = 2;
/// If there are so many new items per step, the producer needs less time, and one step is enough.
const FAST: u64 = 5;
/// How many steps a waiter waits at most: together, a little less than the usual spin.
const MAX_STEPS: u64 = 32;
/// How many new items make the delay a success.
const MANY: u64 = 4;
/// How long a thread backs off, in nanoseconds: the other one gets its cache lines back, and uses them many times.
const BACK_OFF_NS: u64 = 4_000;
/// How many spins precede the first trial, and the first one after the delay was given up.
const FIRST_TRIAL: u16 = 16;
/// The limit of the number of spins between two trials.
const MAX_SPINS_BETWEEN_TRIALS: u16 = 1 << 12;

/// The history of an object; zeroed memory is an empty one.
#[derive(Default)]
pub(crate) struct Batching {
    /// Whether the last delay was a success.
    is_on: AtomicBool,
    /// How many spins have begun since the last trial.
    spins: AtomicU16,
    /// How many spins precede the next trial, if that is more than `FIRST_TRIAL`.
    spins_between_trials: AtomicU16,
    /// How many items there were at the end of the last delay.
    usual: AtomicU16,
}

impl Batching {
    /// Called before a spin. Returns whether the waiter is to let more accumulate when it finds an item.
    #[inline]
    pub(crate) fn plan(&self) -> bool {
        if self.is_on.load(Ordering::Relaxed) {
            return true;
        }
        let spins = self.spins.load(Ordering::Relaxed);
        let is_trial = spins >= self.spins_between_trials.load(Ordering::Relaxed).max(FIRST_TRIAL);
        self.spins.store(if is_trial { 0 } else { spins + 1 }, Ordering::Relaxed);
        is_trial
    }

    /// Lets more accumulate, until no more comes. `count` returns the number of items, or 0 to end the delay.
    #[cold]
    #[inline(never)]
    pub(crate) fn wait_for_more(&self, count: impl Fn() -> u64) {
        let usual = u64::from(self.usual.load(Ordering::Relaxed));
        let first = count();
        let mut now = first;
        let mut steps_left = MAX_STEPS;
        let mut least_steps = FIRST_STEPS;
        let mut steps = FIRST_STEPS;
        while steps > 0 {
            pause(steps * STEP_NS);
            steps_left -= steps;
            let before = core::mem::replace(&mut now, count());
            let new = now.saturating_sub(before);
            if new == 0 {
                break;
            }
            if new >= FAST * steps {
                least_steps = 1;
            }
            // The next look is when there should be as many as usual.
            let until_usual = usual.saturating_sub(now) * steps / new;
            steps = until_usual.clamp(least_steps, MAX_STEPS).min(steps_left);
        }
        self.usual.store(now.min(u16::MAX.into()) as u16, Ordering::Relaxed);
        self.record(now >= first + MANY);
    }

    /// Called by a thread whose change of the object has failed, because another thread has changed it at the same
    /// time. If the last delay was a success, leaves the object to the other thread for a while.
    #[inline]
    pub(crate) fn back_off(&self) {
        if self.is_on.load(Ordering::Relaxed) {
            pause(BACK_OFF_NS);
        }
    }

    fn record(&self, is_success: bool) {
        let was_on = self.is_on.load(Ordering::Relaxed);
        if is_success && was_on {
            return;
        }
        self.is_on.store(is_success, Ordering::Relaxed);
        let between = self.spins_between_trials.load(Ordering::Relaxed).max(FIRST_TRIAL);
        let between = if is_success || was_on { FIRST_TRIAL } else { between * 2 };
        self.spins_between_trials.store(between.min(MAX_SPINS_BETWEEN_TRIALS), Ordering::Relaxed);
    }
}

#[cold]
fn pause(ns: u64) {
    // Far more than it needs: a limit in case that clock_gettime() has been replaced and its time does not advance.
    const MAX_CLOCK_READS: u32 = 1000;
    let until = Deadline::now().add_ns(ns);
    for _ in 0..if cfg!(model) { 1 } else { MAX_CLOCK_READS } {
        spin_loop();
        if Deadline::now() >= until {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    /// Begins spins until one is to wait for more. Returns how many were not.
    fn spins_before_trial(batching: &Batching) -> u16 {
        (0..).find(|_| batching.plan()).unwrap()
    }

    /// Returns a count that grows by `growth` at each look, up to `limit`.
    fn growing(growth: u64, limit: u64) -> impl Fn() -> u64 {
        let count = Cell::new(1);
        move || count.replace((count.get() + growth).min(limit))
    }

    #[test]
    fn trials_without_success_become_rare() {
        let batching = Batching::default();
        for expected in [16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 4096] {
            assert_eq!(spins_before_trial(&batching), expected);
            batching.wait_for_more(|| 1);
        }
    }

    #[test]
    fn after_a_success_each_spin_waits_for_more_until_nothing_comes() {
        let batching = Batching::default();
        for limit in [5, 128, 100_000] {
            assert_eq!(spins_before_trial(&batching), FIRST_TRIAL);
            for _ in 0..3 {
                batching.wait_for_more(growing(4, limit));
                assert!(batching.plan());
            }
            // Another waiter has come.
            batching.wait_for_more(|| 0);
        }
    }

    #[test]
    fn after_a_success_a_thread_whose_change_has_failed_backs_off() {
        let batching = Batching::default();
        batching.wait_for_more(growing(4, 100));
        let start = Deadline::now();
        batching.back_off();
        assert!(start.add_ns(BACK_OFF_NS).has_passed());
    }

    #[test]
    fn the_delay_is_limited() {
        let batching = Batching::default();
        let looks = Cell::new(0);
        for _ in 0..2 {
            looks.set(0);
            batching.wait_for_more(|| {
                looks.set(looks.get() + 1);
                looks.get() * 1000
            });
            assert!(looks.get() <= MAX_STEPS + 1);
        }
    }
}
