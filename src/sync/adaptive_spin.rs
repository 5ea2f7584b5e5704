//! When a thread that waits looks for a while before it sleeps.
//!
//! To wake a sleeping thread on another CPU takes tens of microseconds, to be seen by one that looks a tenth of
//! one. But if whoever will wake it needs this very CPU, or comes much later, a look is wasted time. So each
//! object remembers how its waits have ended, and a thread looks only if
//!
//! - the object's last wake-up came from another CPU,
//! - looks have not lately been in vain: each that was is followed by twice as many waits without one, and
//! - nobody else is looking at this object, nor waiting for it: the others of a herd may need this CPU.
//!
//! All of this is a hint, which no correctness depends on. Only `looking` needs an atomic change: its owner
//! alone gives it back, or whoever wakes its owner.

use crate::sys::atomic::spin_loop;
use crate::sys::atomic::{AtomicU8, Ordering};

use crate::sync::fork_epoch::fork_epoch;
use crate::time::Deadline;

/// How long a look is, in nanoseconds: less than it costs to sleep and to be woken.
const SPIN_NS: u64 = 10_000;
/// How long it is after all those failures. Two threads that wait for each other by turns are both asleep too
/// long for any look but this one: it outlasts a wake-up, and has them both awake from then on.
const LONG_SPIN_NS: u64 = 60_000;
/// How often a thread looks between two glances at the clock.
const SPINS_PER_CLOCK_READ: u32 = if cfg!(model) { 1 } else { 16 };
/// After so many looks in vain in a row, the waits without one are not doubled any more.
const MAX_BACKOFF_SHIFT: u8 = 6;

/// See the module. Zero is an object whose waits are not known yet.
#[derive(Default)]
pub(crate) struct AdaptiveSpin {
    /// The CPU from which the last wake-up came, as `current_cpu_tag` tells it; 0 if it is not known.
    last_waker_cpu: AtomicU8,
    /// How many waits have to go by before the next look.
    spins_to_skip: AtomicU8,
    /// How many looks in a row were in vain.
    failures: AtomicU8,
    /// Who looks: 0 is nobody; otherwise a thread of the process that is marked here.
    spinner_epoch: AtomicU8,
}

/// Where the calling thread runs at this moment, never 0. CPUs that share a number do no harm.
pub(crate) fn current_cpu_tag() -> u8 {
    #[cfg(model)]
    let cpu = crate::model::thread::cpu();
    #[cfg(all(not(model), target_os = "linux"))]
    // SAFETY: asks only; a plain read of memory that the kernel keeps up to date, where the C library can.
    let cpu = unsafe { crate::sys::sched_getcpu() };
    #[cfg(all(not(model), not(target_os = "linux")))]
    let cpu = 0;
    cpu.rem_euclid(255) as u8 + 1
}

impl AdaptiveSpin {
    /// Until when to look now, instead of going to sleep. If at all, then an `end` is owed, by whomever.
    pub(crate) fn try_start(&self, deadline: Deadline) -> Option<Deadline> {
        let cpu = self.last_waker_cpu.load(Ordering::Relaxed);
        #[cfg(model)]
        let cpu = if cpu == 0 && crate::model::always_spins() { u8::MAX } else { cpu };
        if cpu == 0 || cpu == current_cpu_tag() || self.spins_to_skip.load(Ordering::Relaxed) != 0 {
            return None;
        }
        // What a thread of the parent's has left here, in a child of fork, is nobody's.
        let this_epoch = (fork_epoch() & 127) as u8 + 1;
        if self.spinner_epoch.load(Ordering::Relaxed) == this_epoch
            || self.spinner_epoch.swap(this_epoch, Ordering::Relaxed) == this_epoch
        {
            return None;
        }
        let use_long_spin = self.failures.load(Ordering::Relaxed) == MAX_BACKOFF_SHIFT;
        Some(deadline.min(Deadline::now().add_ns(if use_long_spin { LONG_SPIN_NS } else { SPIN_NS })))
    }

    /// The look is over.
    pub(crate) fn finish(&self, success: bool) {
        let failures =
            if success { 0 } else { (self.failures.load(Ordering::Relaxed) + 1).min(MAX_BACKOFF_SHIFT) };
        self.failures.store(failures, Ordering::Relaxed);
        self.spins_to_skip.store((1 << failures) - 1, Ordering::Relaxed);
        self.spinner_epoch.store(0, Ordering::Relaxed);
    }

    /// A wake-up goes out from here, to a thread that sleeps.
    pub(crate) fn record_wake(&self) {
        self.record_waker_cpu(current_cpu_tag());
    }

    /// A thread that has slept was woken from there.
    pub(crate) fn record_waker_cpu(&self, cpu: u8) {
        self.last_waker_cpu.store(cpu, Ordering::Relaxed);
        let spins_to_skip = self.spins_to_skip.load(Ordering::Relaxed);
        self.spins_to_skip.store(spins_to_skip.saturating_sub(1), Ordering::Relaxed);
    }
}

/// Looks until `seen`, or until the moment given. Whether it was seen.
pub(crate) fn spin_until(deadline: Deadline, mut condition: impl FnMut() -> bool) -> bool {
    // Many times what a look takes, for a replaced clock that stands still.
    const MAX_CLOCK_READS: u32 = 4096;
    for _ in 0..MAX_CLOCK_READS {
        for _ in 0..SPINS_PER_CLOCK_READ {
            if condition() {
                return true;
            }
            spin_loop();
        }
        // Under a model checker, time passes only where the model says so.
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
