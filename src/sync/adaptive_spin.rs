//! Adaptive spinning: whether a waiter spins before it parks.
//!
//! Waking a parked thread on another CPU takes tens of microseconds; a spinning thread sees the change within 0.1 us.
//! But spinning wastes time if the waker needs this CPU, or wakes the waiter much later. So each object records how its
//! waits have ended, and a waiter spins only if
//!
//! - the object's last wake-up came from another CPU,
//! - spinning has succeeded lately: after each failed spin, twice as many waits skip it (exponential backoff), except
//!   after a single failure in a long streak of successes, and
//! - no other thread is spinning on this object, and in a wait queue none is queued before it: such a thread may need
//!   this CPU.
//!
//! All fields are hints: correctness does not depend on them, and concurrent updates may be lost. So two threads that
//! begin to wait at the same time may both spin.
//!
//! The first condition assumes that one thread wakes all others. Threads that wait for a condition also wake each
//! other. For them, it is instead that the thread that was woken last had parked on another CPU than that of its waker
//! (`record_mutual_wake`).

use crate::sys::atomic::spin_loop;
use crate::sys::atomic::{AtomicU8, Ordering};

use crate::sync::fork_epoch::fork_epoch;
use crate::time::Deadline;

/// How long a waiter spins, in nanoseconds: less than it takes to park and to be woken.
const SPIN_NS: u64 = 10_000;
/// The same at the maximum backoff. When two threads wake each other in turn and both park, a short spin always fails.
/// This one is longer than a wake-up, so that one success keeps both threads spinning from then on.
const LONG_SPIN_NS: u64 = 60_000;
/// After this many successes in a row, a single failure counts as an exception: the thread that was to wake the waiter
/// was interrupted. Both threads then park. Without a long spin after that, short spins would fail until the maximum
/// backoff is reached.
const STREAK: u8 = 16;
/// How often a spinning thread checks its condition between two reads of the clock.
const SPINS_PER_CLOCK_READ: u32 = if cfg!(model) { 1 } else { 16 };
/// The limit of the backoff: at most 2^`MAX_BACKOFF_SHIFT` - 1 waits in a row skip spinning.
const MAX_BACKOFF_SHIFT: u8 = 6;

/// In `AdaptiveSpin::history`: the last spin has failed, after `STREAK` or more that have succeeded.
const STREAK_ENDED: u8 = MAX_BACKOFF_SHIFT + 1;
/// In `AdaptiveSpin::history`: the last spin has succeeded, after one that had failed. The values from here to
/// `LAST_SUCCESS` count the spins in a row that have succeeded, up to `STREAK`.
const FIRST_SUCCESS: u8 = STREAK_ENDED + 1;
const LAST_SUCCESS: u8 = FIRST_SUCCESS + STREAK - 1;

/// The history of an object's waits; zeroed memory is an empty one.
#[derive(Default)]
pub(crate) struct AdaptiveSpin {
    /// The `current_cpu_tag` of the last waker; 0 if there was none.
    last_waker_cpu: AtomicU8,
    /// How many waits skip spinning before the next spin.
    spins_to_skip: AtomicU8,
    /// How the last spins have ended. Up to `MAX_BACKOFF_SHIFT`, the number of spins in a row that have failed; from
    /// `FIRST_SUCCESS`, the number of those that have succeeded; or `STREAK_ENDED`.
    history: AtomicU8,
    /// 0 if no thread spins; otherwise the low bits of the spinning thread's fork epoch, plus 1.
    spinner_epoch: AtomicU8,
}

/// A tag that no CPU has.
const OTHER_CPU: u8 = u8::MAX;

/// Returns a tag of the CPU on which the calling thread runs, never 0. It is a hint: CPUs may share a tag.
pub(crate) fn current_cpu_tag() -> u8 {
    #[cfg(model)]
    let cpu = crate::model::thread::cpu();
    #[cfg(all(not(model), target_os = "linux"))]
    // SAFETY: no preconditions. Where libc supports it, this only reads memory that the kernel updates (rseq, vDSO).
    let cpu = unsafe { crate::sys::sched_getcpu() };
    #[cfg(all(not(model), not(target_os = "linux")))]
    let cpu = 0_i32;
    cpu.rem_euclid(i32::from(OTHER_CPU) - 1) as u8 + 1
}

/// A spin that the calling thread is to begin.
pub(crate) struct PlannedSpin {
    ns: u64,
}

impl PlannedSpin {
    /// Returns the time until which the thread is to spin, if it begins now.
    pub(crate) fn until(self, deadline: Deadline) -> Deadline {
        deadline.min(Deadline::now().add_ns(self.ns))
    }
}

impl AdaptiveSpin {
    /// Returns the time until which the calling thread is to spin, or `None` if it is to park. After a spin, the waiter
    /// or the thread that wakes it must call `finish`.
    pub(crate) fn try_start(&self, deadline: Deadline) -> Option<Deadline> {
        Some(self.try_reserve()?.until(deadline))
    }

    /// As `try_start`, for a thread that has something to do before it spins.
    pub(crate) fn try_reserve(&self) -> Option<PlannedSpin> {
        let cpu = self.last_waker_cpu.load(Ordering::Relaxed);
        #[cfg(model)]
        let cpu = if cpu == 0 && crate::model::always_spins() { u8::MAX } else { cpu };
        if cpu == 0 || cpu == current_cpu_tag() || self.spins_to_skip.load(Ordering::Relaxed) != 0 {
            return None;
        }
        // A value of another epoch was left by a thread of the parent.
        let this_epoch = (fork_epoch() & 127) as u8 + 1;
        if self.spinner_epoch.load(Ordering::Relaxed) == this_epoch {
            return None;
        }
        self.spinner_epoch.store(this_epoch, Ordering::Relaxed);
        let use_long_spin = matches!(self.history.load(Ordering::Relaxed), MAX_BACKOFF_SHIFT | STREAK_ENDED);
        Some(PlannedSpin { ns: if use_long_spin { LONG_SPIN_NS } else { SPIN_NS } })
    }

    /// Records that a spin has ended.
    pub(crate) fn finish(&self, success: bool) {
        let history = self.history.load(Ordering::Relaxed);
        if success {
            let history =
                if history < FIRST_SUCCESS { FIRST_SUCCESS } else { (history + 1).min(LAST_SUCCESS) };
            self.history.store(history, Ordering::Relaxed);
            self.spins_to_skip.store(0, Ordering::Relaxed);
        } else if history == LAST_SUCCESS {
            self.history.store(STREAK_ENDED, Ordering::Relaxed);
        } else {
            let failures = if history > MAX_BACKOFF_SHIFT { 0 } else { history };
            let failures = (failures + 1).min(MAX_BACKOFF_SHIFT);
            self.history.store(failures, Ordering::Relaxed);
            self.spins_to_skip.store((1 << failures) - 1, Ordering::Relaxed);
        }
        self.spinner_epoch.store(0, Ordering::Relaxed);
    }

    /// As `record_waker_cpu`, for an object whose waiters wake each other, and a thread that had parked on
    /// `parked_cpu`: the waker may be the next thread to wait, and the calling thread may wake it.
    pub(crate) fn record_mutual_wake(&self, waker_cpu: u8, parked_cpu: u8) {
        self.record_waker_cpu(if waker_cpu == parked_cpu { waker_cpu } else { OTHER_CPU });
    }

    /// Records that a parked thread was woken from this CPU. Each such wait counts as one that skipped spinning.
    pub(crate) fn record_waker_cpu(&self, cpu: u8) {
        self.last_waker_cpu.store(cpu, Ordering::Relaxed);
        let spins_to_skip = self.spins_to_skip.load(Ordering::Relaxed);
        self.spins_to_skip.store(spins_to_skip.saturating_sub(1), Ordering::Relaxed);
    }
}

/// Spins until `condition` holds or the deadline has passed. Returns whether the condition held.
pub(crate) fn spin_until(deadline: Deadline, mut condition: impl FnMut() -> bool) -> bool {
    // Far more than a spin needs: a limit in case that clock_gettime() has been replaced and its time does not advance.
    const MAX_CLOCK_READS: u32 = 4096;
    for _ in 0..MAX_CLOCK_READS {
        for _ in 0..SPINS_PER_CLOCK_READ {
            if condition() {
                return true;
            }
            spin_loop();
        }
        // Under a model checker, time does not advance here.
        if cfg!(model) || Deadline::now() >= deadline {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spin(adaptive_spin: &AdaptiveSpin) -> bool {
        let Some(until) = adaptive_spin.try_start(Deadline::NEVER) else { return false };
        let succeeded = spin_until(until, || false);
        assert!(!succeeded && Deadline::now() >= until);
        adaptive_spin.finish(succeeded);
        true
    }

    #[test]
    fn no_spin_without_history_or_if_the_waker_ran_on_this_cpu() {
        let adaptive_spin = AdaptiveSpin::default();
        assert!(!spin(&adaptive_spin));
        adaptive_spin.record_waker_cpu(current_cpu_tag());
        assert!(
            !spin(&adaptive_spin)
                || current_cpu_tag() != adaptive_spin.last_waker_cpu.load(Ordering::Relaxed)
        );
    }

    #[test]
    fn failed_spins_back_off_and_a_success_resets_the_backoff() {
        let adaptive_spin = AdaptiveSpin::default();
        adaptive_spin.record_waker_cpu(OTHER_CPU);
        for failures in 1..=MAX_BACKOFF_SHIFT + 2 {
            assert!(spin(&adaptive_spin));
            for _ in 1..1 << failures.min(MAX_BACKOFF_SHIFT) {
                assert!(!spin(&adaptive_spin));
                adaptive_spin.record_waker_cpu(OTHER_CPU);
            }
        }
        let until = adaptive_spin.try_start(Deadline::NEVER).unwrap();
        adaptive_spin.finish(spin_until(until, || true));
        assert!(spin(&adaptive_spin));
    }

    #[test]
    fn one_failure_in_a_streak_of_successes_leads_to_one_long_spin() {
        let adaptive_spin = AdaptiveSpin::default();
        adaptive_spin.record_waker_cpu(OTHER_CPU);
        let planned_ns = || adaptive_spin.try_reserve().map(|planned| planned.ns);
        for _ in 0..STREAK {
            assert_eq!(planned_ns(), Some(SPIN_NS));
            adaptive_spin.finish(true);
        }
        assert_eq!(planned_ns(), Some(SPIN_NS));
        adaptive_spin.finish(false);
        assert_eq!(planned_ns(), Some(LONG_SPIN_NS));
        adaptive_spin.finish(true);
        // No streak yet.
        assert_eq!(planned_ns(), Some(SPIN_NS));
        adaptive_spin.finish(false);
        assert_eq!(planned_ns(), None);
    }

    #[test]
    fn threads_that_wake_each_other_spin_if_they_run_on_different_cpus() {
        let adaptive_spin = AdaptiveSpin::default();
        let (this, other) = (current_cpu_tag(), OTHER_CPU - 1);
        adaptive_spin.record_mutual_wake(this, this);
        assert!(adaptive_spin.try_reserve().is_none() || current_cpu_tag() != this);
        // Another one, because a thread that has migrated has reserved the spin of the first.
        let adaptive_spin = AdaptiveSpin::default();
        adaptive_spin.record_mutual_wake(this, if this == other { 1 } else { other });
        assert!(adaptive_spin.try_reserve().is_some());
    }

    #[test]
    fn only_one_thread_spins_at_a_time() {
        let adaptive_spin = AdaptiveSpin::default();
        adaptive_spin.record_waker_cpu(OTHER_CPU);
        assert!(adaptive_spin.try_start(Deadline::NEVER).is_some());
        assert!(adaptive_spin.try_start(Deadline::NEVER).is_none());
        adaptive_spin.finish(true);
        assert!(adaptive_spin.try_start(Deadline::NEVER).is_some());
    }
}
