//! The fork epoch: the number of forks that led to this process.
//!
//! A child of fork has one thread, and none of the parent's waiters. It does not visit every object to discard them.
//! Instead, it increments the epoch. Each object that records waiters stores the epoch with them: waiters of another
//! epoch belong to the parent, and are discarded when the object is next used.

use crate::sys::atomic::{AtomicU32, Ordering};

/// Written only in a child that still has one thread, so that relaxed ordering suffices.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static EPOCH: AtomicU32 = AtomicU32::new(0);

/// Returns the fork epoch of this process.
#[inline]
pub(crate) fn fork_epoch() -> u32 {
    EPOCH.load(Ordering::Relaxed)
}

/// Returns whether this process is a child of fork; false in models, which do not fork.
#[inline(always)]
pub(crate) fn is_child() -> bool {
    cfg!(not(model)) && fork_epoch() != 0
}

/// Increments the epoch. The child calls it before any other work of the library.
pub(crate) fn after_fork_in_child() {
    EPOCH.store((fork_epoch() + 1) & EPOCH_MASK, Ordering::Relaxed);
}

/// The epoch has 30 bits, so that the word of an `InternalMutex` can hold it beside its state.
pub(crate) const EPOCH_MASK: u32 = u32::MAX >> 2;
