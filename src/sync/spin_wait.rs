//! A short spin with exponential backoff, before a thread parks.

use crate::sys::atomic::AtomicU32;
use crate::sys::futex;
use crate::time::Deadline;

/// Counts the rounds of one spin. Each round is twice as long as the one before; all of them take about a microsecond.
pub(crate) struct SpinWait(u32);

// Under a model checker, a round would only be one more point at which threads are switched.
const SPIN_LIMIT: u32 = if cfg!(model) { 0 } else { 6 };

impl SpinWait {
    pub(crate) fn new() -> Self {
        SpinWait(0)
    }

    /// Spins for one round. Returns false, without spinning, when the caller should park.
    #[inline]
    pub(crate) fn spin(&mut self) -> bool {
        if self.0 == SPIN_LIMIT {
            return false;
        }
        for _ in 0..1 << self.0 {
            crate::sys::atomic::spin_loop();
        }
        self.0 += 1;
        true
    }

    /// Spins for one round, or sleeps after `SPIN_LIMIT` rounds. For a thread that polls until another thread, which
    /// does not wake it, has finished a few instructions: the other thread may have a lower priority and need this CPU.
    #[cold]
    pub(crate) fn spin_or_sleep(&mut self) {
        const SLEEP_NS: u64 = 50_000;
        if cfg!(model) {
            crate::sys::atomic::spin_loop();
        } else if !self.spin() {
            futex::wait(&AtomicU32::new(0), 0, Deadline::now().add_ns(SLEEP_NS));
        }
    }
}
