//! Identifiers: a number for each thread and each timer, never 0 and never reused.
//!
//! The per-thread block contains the thread's identifier, shifted, as its *owner tag*: the form in which the word of a
//! lock names its owner. While a timer's function runs, the owner tag of the OS thread is that of the timer.
//!
//! *Threads of the parent.* Identifiers increase. So in a child of fork a comparison shows that a thread was started in
//! the parent (`exists_only_in_parent`), and the child need not visit the parent's threads.

use crate::sys::atomic::{AtomicU64, Ordering};
use core::sync::atomic::AtomicU64 as MachineU64;

use crate::sync::fork_epoch::fork_epoch;
pub(crate) use crate::sync::fork_epoch::is_child;
use crate::sync::padded::Padded;
pub(crate) use crate::sys::calling_thread::{is_initial_thread, native_id};
use crate::sys::tls;

/// The bits of a lock's word below the owner's identifier.
pub(crate) const OWNER_SHIFT: u32 = 10;
/// The lowest owner tag.
pub(crate) const FIRST_OWNER_TAG: u64 = INITIAL_THREAD_IDENT << OWNER_SHIFT;

/// The identifier of the process's initial thread, even if other threads call the library first.
pub(crate) const INITIAL_THREAD_IDENT: u64 = 1;

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static NEXT_IDENT: Padded<AtomicU64> = Padded::new(AtomicU64::new(INITIAL_THREAD_IDENT + 1));

/// In a child of fork: the first identifier that a new thread can get. 0 in a process that is not a child of fork.
/// This and the next one are written only while the child has one thread, so they need not be the models' atomics.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(crate) static FIRST_CHILD_IDENT: MachineU64 = MachineU64::new(0);
/// In a child of fork: the identifier of the thread that forked.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(crate) static FORKING_THREAD_IDENT: MachineU64 = MachineU64::new(0);

/// Returns whether the thread with this identifier was started before the fork that created this process, and is not
/// the one that forked. 0, the identifier before the start, is never such a thread.
pub(crate) fn exists_only_in_parent(ident: u64) -> bool {
    ident < FIRST_CHILD_IDENT.load(Ordering::Relaxed)
        && ident != 0
        && ident != FORKING_THREAD_IDENT.load(Ordering::Relaxed)
}

/// In a child of fork: records which identifiers are the parent's.
pub(crate) fn after_fork_in_child() {
    FORKING_THREAD_IDENT.store(ident(), Ordering::Relaxed);
    FIRST_CHILD_IDENT.store(NEXT_IDENT.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// Allocates one identifier.
pub(crate) fn new_ident() -> u64 {
    NEXT_IDENT.fetch_add(1, Ordering::Relaxed)
}

/// A block of identifiers, whose owner allocates from it under a mutex without an atomic operation for each.
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

/// Returns the calling thread's owner tag, and assigns one if it has none.
#[inline(always)]
pub(crate) fn owner_tag() -> u64 {
    owner_tag_if_assigned().unwrap_or_else(assign_owner_tag)
}

/// Returns the calling thread's owner tag if it has been assigned.
#[inline(always)]
pub(crate) fn owner_tag_if_assigned() -> Option<u64> {
    match tls::owner_tag() {
        0 => None,
        tag => Some(tag),
    }
}

/// Returns the calling thread's identifier.
pub(crate) fn ident() -> u64 {
    owner_tag() >> OWNER_SHIFT
}

#[cold]
fn assign_owner_tag() -> u64 {
    // In a child of fork, the first identifier is still that of the parent's initial thread.
    let ident = if fork_epoch() == 0 && is_initial_thread() { INITIAL_THREAD_IDENT } else { new_ident() };
    set_current_ident(ident);
    ident << OWNER_SHIFT
}

/// Sets the identifier of the calling OS thread. Returns the former one, 0 if there was none.
pub(crate) fn set_current_ident(ident: u64) -> u64 {
    tls::with(|block| block.owner_tag.replace(ident << OWNER_SHIFT)) >> OWNER_SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ident_is_stable_and_never_reused() {
        let mine = ident();
        assert_eq!(mine, ident());
        let other = std::thread::spawn(ident).join().unwrap();
        assert_ne!(mine, other);
        assert!(std::thread::spawn(ident).join().unwrap() > other);
    }
}
