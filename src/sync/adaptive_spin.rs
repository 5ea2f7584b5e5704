//! Adaptive spinning: whether a waiter spins before it parks.
//!
//! Waking a parked thread on another CPU takes tens of microseconds; a spinning thread sees the change within 0.1 us.
//! But spinning wastes time if the waker needs this CPU, or wakes the waiter much later. So each object records how its
//! waits have ended, and a waiter spins only if
//!
//! - the object's last wake-up came from another CPU,
//! - spinning has succeeded lately: after each failed spin, twice as many waits skip it (exponential backoff), and
//! - no other thread is spinning on this object, and in a wait queue none is queued before it: such a thread may need
//!   this CPU.
//!
//! All fields are hints: correctness does not depend on them, and concurrent updates may be lost. Only `spinner_epoch`
//! needs an atomic change, so that at most one thread spins.

use crate::sys::atomic::spin_loop;
use crate::sys::atomic::{AtomicU8, Ordering};

use crate::sync::fork_epoch::fork_epoch;
use crate::time::Deadline;

/// How long a waiter spins, in nanoseconds: less than it takes to park and to be woken.
const SPIN_NS: u64 = 10_000;
/// The same at the maximum backoff. When two threads wake each other in turn and both park, a short spin always fails.
/// This one is longer than a wake-up, so that one success keeps both threads spinning from then on.
const LONG_SPIN_NS: u64 = 60_000;
/// How often a spinning thread checks its condition between two reads of the clock.
const SPINS_PER_CLOCK_READ: u32 = if cfg!(model) { 1 } else { 16 };
/// The limit of the backoff: at most 2^`MAX_BACKOFF_SHIFT` - 1 waits in a row skip spinning.
const MAX_BACKOFF_SHIFT: u8 = 6;

/// The history of an object's waits; zeroed memory is an empty one.
#[derive(Default)]
pub(crate) struct AdaptiveSpin {
    /// The `current_cpu_tag` of the last waker; 0 if there was none.
    last_waker_cpu: AtomicU8,
    /// How many waits skip spinning before the next spin.
    spins_to_skip: AtomicU8,
    /// How many spins in a row have failed, up to `MAX_BACKOFF_SHIFT`.
    failures: AtomicU8,
    /// 0 if no thread spins; otherwise the low bits of the spinning thread's fork epoch, plus 1.
    spinner_epoch: AtomicU8,
}

/// Returns a tag of the CPU on which the calling thread runs, never 0. It is a hint: CPUs may share a tag.
pub(crate) fn current_cpu_tag() -> u8 {
    #[cfg(model)]
    let cpu = crate::model::thread::cpu();
    #[cfg(all(not(model), target_os = "linux"))]
    // SAFETY: no preconditions. Where libc supports it, this only reads memory that the kernel updates (rseq, vDSO).
    let cpu = unsafe { crate::sys::sched_getcpu() };
    #[cfg(all(not(model), not(target_os = "linux")))]
    let cpu = 0_i32;
    cpu.rem_euclid(255) as u8 + 1
}

impl AdaptiveSpin {
    /// Returns the time until which the calling thread is to spin, or `None` if it is to park. After a spin, the waiter
    /// or the thread that wakes it must call `finish`.
    pub(crate) fn try_start(&self, deadline: Deadline) -> Option<Deadline> {
        let cpu = self.last_waker_cpu.load(Ordering::Relaxed);
        #[cfg(model)]
        let cpu = if cpu == 0 && crate::model::always_spins() { u8::MAX } else { cpu };
        if cpu == 0 || cpu == current_cpu_tag() || self.spins_to_skip.load(Ordering::Relaxed) != 0 {
            return None;
        }
        // A value of another epoch was left by a thread of the parent.
        let this_epoch = (fork_epoch() & 127) as u8 + 1;
        if self.spinner_epoch.load(Ordering::Relaxed) == this_epoch
            || self.spinner_epoch.swap(this_epoch, Ordering::Relaxed) == this_epoch
        {
            return None;
        }
        let use_long_spin = self.failures.load(Ordering::Relaxed) == MAX_BACKOFF_SHIFT;
        Some(deadline.min(Deadline::now().add_ns(if use_long_spin { LONG_SPIN_NS } else { SPIN_NS })))
    }

    /// Records that a spin has ended.
    pub(crate) fn finish(&self, success: bool) {
        let failures =
            if success { 0 } else { (self.failures.load(Ordering::Relaxed) + 1).min(MAX_BACKOFF_SHIFT) };
        self.failures.store(failures, Ordering::Relaxed);
        self.spins_to_skip.store((1 << failures) - 1, Ordering::Relaxed);
        self.spinner_epoch.store(0, Ordering::Relaxed);
    }

    /// Records that the calling thread wakes a parked thread.
    pub(crate) fn record_wake(&self) {
        self.record_waker_cpu(current_cpu_tag());
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

    const OTHER_CPU: u8 = 0xff;

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
        adaptive_spin.record_wake();
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
    fn only_one_thread_spins_at_a_time() {
        let adaptive_spin = AdaptiveSpin::default();
        adaptive_spin.record_waker_cpu(OTHER_CPU);
        assert!(adaptive_spin.try_start(Deadline::NEVER).is_some());
        assert!(adaptive_spin.try_start(Deadline::NEVER).is_none());
        adaptive_spin.finish(true);
        assert!(adaptive_spin.try_start(Deadline::NEVER).is_some());
    }
}
