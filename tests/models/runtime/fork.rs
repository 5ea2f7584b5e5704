//! An internal mutex that the fork handlers of a thread hold. The fork itself is not modelled: other threads only see
//! that the mutex is held.

use crate::sync::fork_lock::ForkLock;
use crate::sync::mutex::{ForkReset, InternalMutex};

struct Count(u32);

static COUNT: InternalMutex<Count> = InternalMutex::new(Count(0));

impl ForkReset for Count {
    fn reset_in_child(&mut self) {}
}

pub(super) fn reset() {
    *COUNT.lock() = Count(0);
}

/// Adds one under the mutex.
pub fn add() {
    COUNT.lock().0 += 1;
}

/// Returns the sum.
pub fn sum() -> u32 {
    COUNT.lock().0
}

/// Holds the mutex as the fork handlers do.
pub fn fork() {
    COUNT.lock_for_fork();
    super::yield_now();
    // SAFETY: locked above.
    unsafe { COUNT.unlock_after_fork() };
}
