//! The fork epoch of a count of waiters, for an object that has no queue of them.

use crate::sync::fork_epoch::fork_epoch;
use crate::sync::mutex::InternalMutex;
use crate::sys::atomic::{AtomicU32, Ordering};

/// In which process the object's waiters were counted.
pub(crate) struct WaiterEpoch {
    epoch: AtomicU32,
    reset_mutex: InternalMutex<()>,
}

impl WaiterEpoch {
    /// Before a thread counts itself as a waiter: the first thread that comes in this process calls `reset`, which
    /// resets the object's count.
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

    /// Whether the object's count of waiters is this process's own.
    pub(crate) fn is_current(&self) -> bool {
        self.epoch.load(Ordering::Acquire) == fork_epoch()
    }
}
