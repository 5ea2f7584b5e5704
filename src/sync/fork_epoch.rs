//! Counts the forks that led to this process.
//!
//! A child has one thread; whoever was blocked in the parent is not there. Rather than to visit every object,
//! the child counts this number up, and whatever remembers waiters remembers the number too: what was noted
//! under another number belongs to the parent and is forgotten when it is next looked at.

use crate::sys::atomic::{AtomicU32, Ordering};

use crate::sync::mutex::{Forget, Guarded};

/// Written by the child alone, while it has one thread: no ordering is needed.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static EPOCH: AtomicU32 = AtomicU32::new(0);

/// The number of forks up to this process.
#[inline]
pub(crate) fn epoch() -> u32 {
    EPOCH.load(Ordering::Relaxed)
}

/// In the child, before anything else of the library runs there.
pub(crate) fn begin_child() {
    EPOCH.store((epoch() + 1) & MAX_EPOCH, Ordering::Relaxed);
    crate::sync::mutex::begin_child();
}

/// Thirty bits, so that a lock's word can hold it.
pub(crate) const MAX_EPOCH: u32 = u32::MAX >> 2;

/// The number that an object without a queue remembers for its count of waiters.
pub(crate) struct Mark {
    epoch: AtomicU32,
    forgetting: Guarded<()>,
}

impl Forget for () {
    fn forget(&mut self) {}
}

impl Mark {
    /// Before a thread counts itself as a waiter: whoever comes first in this process lets the object
    /// `forget` its count.
    #[inline]
    pub(crate) fn enter(&self, forget: impl FnOnce()) {
        if !self.is_current() {
            let _forgetting = self.forgetting.lock();
            if !self.is_current() {
                forget();
                self.epoch.store(epoch(), Ordering::Release);
            }
        }
    }

    /// Whether the object's count of waiters is this process's own.
    pub(crate) fn is_current(&self) -> bool {
        self.epoch.load(Ordering::Acquire) == epoch()
    }
}
