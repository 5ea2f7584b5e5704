//! How long a thread looks before it sleeps.

use crate::sys::atomic::AtomicU32;
use crate::sys::futex;
use crate::time::Deadline;

/// A bounded number of looks, further and further apart: about a microsecond in all.
pub(crate) struct Spin(u32);

// Under a model checker, to look again is to be scheduled again.
const LOOKS: u32 = if cfg!(model) { 0 } else { 6 };

impl Spin {
    pub(crate) fn new() -> Self {
        Spin(0)
    }

    /// Lets a moment pass; false when it is time to sleep.
    #[inline]
    pub(crate) fn again(&mut self) -> bool {
        if self.0 == LOOKS {
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
    pub(crate) fn pass(&mut self) {
        const NAP: u64 = 50_000;
        if cfg!(model) {
            crate::sys::atomic::spin_loop();
        } else if !self.again() {
            futex::wait(&AtomicU32::new(0), 0, Deadline::now().after(NAP));
        }
    }
}
