//! Counts the forks that led to this process.
//!
//! A child of fork has one thread; the threads that were blocked in the parent are not there. The child does not visit
//! every object. It increments this number, and whatever keeps waiters keeps the number too: waiters that were noted
//! under another number belong to the parent, and are forgotten when the object is next used.

use crate::sys::atomic::{AtomicU32, Ordering};

/// Written by the child alone, while it has one thread: no ordering is needed.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static EPOCH: AtomicU32 = AtomicU32::new(0);

/// The number of forks up to this process.
#[inline]
pub(crate) fn fork_epoch() -> u32 {
    EPOCH.load(Ordering::Relaxed)
}

/// Whether the process is a child of fork, in which threads may have been left behind. The models do not fork.
#[inline(always)]
pub(crate) fn is_child() -> bool {
    cfg!(not(model)) && fork_epoch() != 0
}

/// In the child, before anything else of the library runs there.
pub(crate) fn after_fork_in_child() {
    EPOCH.store((fork_epoch() + 1) & EPOCH_MASK, Ordering::Relaxed);
}

/// Thirty bits, so that a lock's word can hold it.
pub(crate) const EPOCH_MASK: u32 = u32::MAX >> 2;
