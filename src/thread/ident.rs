//! Who runs here: a number for each thread and each timer, never 0 and never used again.
//!
//! It is kept shifted, as the word of an RLock shows its owner (`key`); `get_ident` shows it unshifted. While
//! a timer's function runs, the key of its system thread is the timer's.
//!
//! Numbers grow. So in a child of fork one comparison tells whether a thread was started in the parent
//! (`exists_only_in_parent`): the child visits none of them.

use crate::sys::atomic::{AtomicU64, Ordering};
use core::sync::atomic::AtomicU64 as MachineU64;

use crate::sync::fork_epoch::fork_epoch;
pub(crate) use crate::sync::fork_epoch::is_child;
pub(crate) use crate::sys::calling_thread::{is_initial_thread, native_id};
use crate::sys::tls;

/// The low bits of a lock's word that are not its owner's.
pub(crate) const OWNER_SHIFT: u32 = 10;

/// The process's first thread has a number of its own, whenever it is first asked.
pub(crate) const INITIAL_THREAD_IDENT: u64 = 1;

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static NEXT_IDENT: AtomicU64 = AtomicU64::new(INITIAL_THREAD_IDENT + 1);

/// In a child of fork: the first number that a thread can get there, and the number of the thread that forked. 0 in a
/// process that is no child. Written by the child alone, while it has one thread. No atomics of the models'.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static FIRST_CHILD_IDENT: MachineU64 = MachineU64::new(0);
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static FORKING_THREAD_IDENT: MachineU64 = MachineU64::new(0);

/// Whether the thread with this number, which it has from its start on, was started before the fork that led to this
/// process, and does not run in it.
pub(crate) fn exists_only_in_parent(ident: u64) -> bool {
    ident < FIRST_CHILD_IDENT.load(Ordering::Relaxed)
        && ident != 0
        && ident != FORKING_THREAD_IDENT.load(Ordering::Relaxed)
}

/// In a child of fork: the calling thread has forked.
pub(crate) fn after_fork_in_child() {
    FORKING_THREAD_IDENT.store(ident(), Ordering::Relaxed);
    FIRST_CHILD_IDENT.store(NEXT_IDENT.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// A number that nobody has had.
pub(crate) fn new_ident() -> u64 {
    NEXT_IDENT.fetch_add(1, Ordering::Relaxed)
}

/// Numbers that nobody has had, a few at a time, for one who has a guard around them.
pub(crate) struct IdentBlock {
    next: u64,
    end: u64,
}

impl IdentBlock {
    pub(crate) const EMPTY: Self = IdentBlock { next: 0, end: 0 };

    pub(crate) fn allocate(&mut self) -> u64 {
        const BLOCK_SIZE: u64 = 64;
        if self.next == self.end {
            self.next = NEXT_IDENT.fetch_add(BLOCK_SIZE, Ordering::Relaxed);
            self.end = self.next + BLOCK_SIZE;
        }
        self.next += 1;
        self.next - 1
    }
}

/// The caller's number, shifted.
#[inline(always)]
pub(crate) fn owner_tag() -> u64 {
    owner_tag_if_assigned().unwrap_or_else(assign_owner_tag)
}

/// The caller's number, shifted, if anybody has asked for it before.
#[inline(always)]
pub(crate) fn owner_tag_if_assigned() -> Option<u64> {
    match tls::owner_tag() {
        0 => None,
        key => Some(key),
    }
}

/// The caller's number.
pub(crate) fn ident() -> u64 {
    owner_tag() >> OWNER_SHIFT
}

#[cold]
fn assign_owner_tag() -> u64 {
    // In a child of fork, the number of the first thread stays that of the parent's.
    let ident = if fork_epoch() == 0 && is_initial_thread() { INITIAL_THREAD_IDENT } else { new_ident() };
    set_current_ident(ident);
    ident << OWNER_SHIFT
}

/// From now on, whoever runs on this system thread has this number; returns the former one.
pub(crate) fn set_current_ident(ident: u64) -> u64 {
    tls::with(|block| block.owner_tag.replace(ident << OWNER_SHIFT)) >> OWNER_SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_ident_is_stable_and_never_reused() {
        let mine = ident();
        assert_eq!(mine, ident());
        let other = std::thread::spawn(ident).join().unwrap();
        assert_ne!(mine, other);
        assert!(std::thread::spawn(ident).join().unwrap() > other);
    }
}
