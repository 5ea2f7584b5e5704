//! The fork epoch of a waiter count, for objects that have no wait queue.

use crate::sync::fork_epoch::fork_epoch;
use crate::sync::mutex::InternalMutex;
use crate::sys::atomic::{AtomicU32, Ordering};

/// The fork epoch in which an object's waiters were counted.
pub(crate) struct WaiterEpoch {
    /// Written under `reset_mutex`, with release; read with acquire.
    epoch: AtomicU32,
    reset_mutex: InternalMutex<()>,
}

impl WaiterEpoch {
    /// Called before a thread counts itself as a waiter, and in a child that a thread has forked during its wait. The
    /// first caller in this process runs `reset`, which discards the waiters of the parent.
    #[inline]
    pub(crate) fn sync_after_fork(&self, reset: impl FnOnce()) {
        if !self.is_current() {
            let _resetting = self.reset_mutex.lock();
            if !self.is_current() {
                reset();
                self.epoch.store(fork_epoch(), Ordering::Release);
            }
        }
    }

    /// Returns whether the object's waiter count belongs to this process.
    pub(crate) fn is_current(&self) -> bool {
        self.epoch.load(Ordering::Acquire) == fork_epoch()
    }
}
