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

use crate::sync::fork_epoch::epoch;
use crate::time::Deadline;

/// How long a look is, in nanoseconds: less than it costs to sleep and to be woken.
const LOOK: u64 = 10_000;
/// How long it is after all those failures. Two threads that wait for each other by turns are both asleep too
/// long for any look but this one: it outlasts a wake-up, and has them both awake from then on.
const LAST_LOOK: u64 = 60_000;
/// How often a thread looks between two glances at the clock.
const GLANCE: u32 = if cfg!(model) { 1 } else { 16 };
/// After so many looks in vain in a row, the waits without one are not doubled any more.
const MOST_FAILURES: u8 = 6;

/// See the module. Zero is an object whose waits are not known yet.
#[derive(Default)]
pub(crate) struct Patience {
    /// The CPU from which the last wake-up came, as `this_cpu` tells it; 0 if it is not known.
    cpu: AtomicU8,
    /// How many waits have to go by before the next look.
    waits: AtomicU8,
    /// How many looks in a row were in vain.
    failures: AtomicU8,
    /// Who looks: 0 is nobody; otherwise a thread of the process that is marked here.
    looking: AtomicU8,
}

/// Where the calling thread runs at this moment, never 0. CPUs that share a number do no harm.
pub(crate) fn this_cpu() -> u8 {
    #[cfg(model)]
    let cpu = crate::model::thread::cpu();
    #[cfg(all(not(model), target_os = "linux"))]
    // SAFETY: asks only; a plain read of memory that the kernel keeps up to date, where the C library can.
    let cpu = unsafe { crate::sys::sched_getcpu() };
    #[cfg(all(not(model), not(target_os = "linux")))]
    let cpu = 0;
    cpu.rem_euclid(255) as u8 + 1
}

impl Patience {
    /// Until when to look now, instead of going to sleep. If at all, then an `end` is owed, by whomever.
    pub(crate) fn begin(&self, deadline: Deadline) -> Option<Deadline> {
        let cpu = self.cpu.load(Ordering::Relaxed);
        #[cfg(model)]
        let cpu = if cpu == 0 && crate::model::looks() { u8::MAX } else { cpu };
        if cpu == 0 || cpu == this_cpu() || self.waits.load(Ordering::Relaxed) != 0 {
            return None;
        }
        // What a thread of the parent's has left here, in a child of fork, is nobody's.
        let ours = (epoch() & 127) as u8 + 1;
        if self.looking.load(Ordering::Relaxed) == ours || self.looking.swap(ours, Ordering::Relaxed) == ours
        {
            return None;
        }
        let has_failed = self.failures.load(Ordering::Relaxed) == MOST_FAILURES;
        Some(deadline.min(Deadline::now().after(if has_failed { LAST_LOOK } else { LOOK })))
    }

    /// The look is over.
    pub(crate) fn end(&self, success: bool) {
        let failures =
            if success { 0 } else { (self.failures.load(Ordering::Relaxed) + 1).min(MOST_FAILURES) };
        self.failures.store(failures, Ordering::Relaxed);
        self.waits.store((1 << failures) - 1, Ordering::Relaxed);
        self.looking.store(0, Ordering::Relaxed);
    }

    /// A wake-up goes out from here, to a thread that sleeps.
    pub(crate) fn wakes(&self) {
        self.woken_from(this_cpu());
    }

    /// A thread that has slept was woken from there.
    pub(crate) fn woken_from(&self, cpu: u8) {
        self.cpu.store(cpu, Ordering::Relaxed);
        let waits = self.waits.load(Ordering::Relaxed);
        self.waits.store(waits.saturating_sub(1), Ordering::Relaxed);
    }
}

/// Looks until `seen`, or until the moment given. Whether it was seen.
pub(crate) fn look_until(end: Deadline, mut seen: impl FnMut() -> bool) -> bool {
    // Many times what a look takes, for a replaced clock that stands still.
    const MOST_CLOCK_READS: u32 = 4096;
    for _ in 0..MOST_CLOCK_READS {
        for _ in 0..GLANCE {
            if seen() {
                return true;
            }
            spin_loop();
        }
        // Under a model checker, time passes only where the model says so.
        if cfg!(model) || Deadline::now() >= end {
            return false;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const ELSEWHERE: u8 = 0xff;

    fn look(patience: &Patience) -> bool {
        let Some(until) = patience.begin(Deadline::NEVER) else { return false };
        let seen = look_until(until, || false);
        assert!(!seen && Deadline::now() >= until);
        patience.end(seen);
        true
    }

    #[test]
    fn nobody_looks_where_nothing_is_known_or_the_waker_needs_this_cpu() {
        let patience = Patience::default();
        assert!(!look(&patience));
        patience.wakes();
        assert!(!look(&patience) || this_cpu() != patience.cpu.load(Ordering::Relaxed));
    }

    #[test]
    fn looks_in_vain_grow_rare_and_one_that_is_not_ends_that() {
        let patience = Patience::default();
        patience.woken_from(ELSEWHERE);
        for failures in 1..=MOST_FAILURES + 2 {
            assert!(look(&patience));
            for _ in 1..1 << failures.min(MOST_FAILURES) {
                assert!(!look(&patience));
                patience.woken_from(ELSEWHERE);
            }
        }
        let until = patience.begin(Deadline::NEVER).unwrap();
        patience.end(look_until(until, || true));
        assert!(look(&patience));
    }

    #[test]
    fn one_thread_looks_at_a_time() {
        let patience = Patience::default();
        patience.woken_from(ELSEWHERE);
        assert!(patience.begin(Deadline::NEVER).is_some());
        assert!(patience.begin(Deadline::NEVER).is_none());
        patience.end(true);
        assert!(patience.begin(Deadline::NEVER).is_some());
    }
}
