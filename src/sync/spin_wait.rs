//! How long a thread looks before it sleeps.

use crate::sys::atomic::AtomicU32;
use crate::sys::futex;
use crate::time::Deadline;

/// A bounded number of looks, further and further apart: about a microsecond in all.
pub(crate) struct SpinWait(u32);

// Under a model checker, to look again is to be scheduled again.
const SPIN_LIMIT: u32 = if cfg!(model) { 0 } else { 6 };

impl SpinWait {
    pub(crate) fn new() -> Self {
        SpinWait(0)
    }

    /// Lets a moment pass; false when it is time to sleep.
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

    /// Lets a moment pass, for a thread that waits until another has done its next few steps, and is not woken. Sleeps
    /// after a while: the other may need this CPU, and have a lower priority.
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
