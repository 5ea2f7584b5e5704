//! A small lock of the library's that a thread holds for a fork. The fork itself is not modelled: to the other threads it
//! is a moment in which the lock is held.

use crate::sync::mutex::{ForkReset, InternalMutex};

struct Count(u32);

static COUNT: InternalMutex<Count> = InternalMutex::new(Count(0));

impl ForkReset for Count {
    fn reset_in_child(&mut self) {}
}

pub(super) fn reset() {
    *COUNT.lock() = Count(0);
}

/// Adds one, with the lock.
pub fn add() {
    COUNT.lock().0 += 1;
}

/// The sum.
pub fn sum() -> u32 {
    COUNT.lock().0
}

/// Holds the lock as the handlers of a fork do.
pub fn fork() {
    COUNT.lock_for_fork();
    super::yield_now();
    // SAFETY: held above.
    unsafe { COUNT.unlock_after_fork() };
}
