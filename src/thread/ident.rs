//! Who runs here: a number for each thread and each timer, never 0 and never used again.
//!
//! It is kept shifted, as the word of an RLock shows its owner (`key`); `get_ident` shows it unshifted. While
//! a timer's function runs, the key of its system thread is the timer's.
//!
//! Numbers grow. So in a child of fork one comparison tells whether a thread was started in the parent
//! (`is_left_behind`): the child visits none of them.

use crate::sys::atomic::{AtomicU64, Ordering};
use core::sync::atomic::AtomicU64 as MachineU64;

use crate::sync::fork_epoch::fork_epoch;
pub(crate) use crate::sync::fork_epoch::is_child;
pub(crate) use crate::sys::calling_thread::{is_first_thread, native_id};
use crate::sys::tls;

/// The low bits of a lock's word that are not its owner's.
pub(crate) const KEY_SHIFT: u32 = 10;

/// The process's first thread has a number of its own, whenever it is first asked.
pub(crate) const FIRST_THREAD: u64 = 1;

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static NEXT: AtomicU64 = AtomicU64::new(FIRST_THREAD + 1);

/// In a child of fork: the first number that a thread can get there, and the number of the thread that forked. 0 in a
/// process that is no child. Written by the child alone, while it has one thread. No atomics of the models'.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static FIRST_HERE: MachineU64 = MachineU64::new(0);
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static FORKED: MachineU64 = MachineU64::new(0);

/// Whether the thread with this number, which it has from its start on, was started before the fork that led to this
/// process, and does not run in it.
pub(crate) fn is_left_behind(ident: u64) -> bool {
    ident < FIRST_HERE.load(Ordering::Relaxed) && ident != 0 && ident != FORKED.load(Ordering::Relaxed)
}

/// In a child of fork: the calling thread has forked.
pub(crate) fn after_fork_in_child() {
    FORKED.store(ident(), Ordering::Relaxed);
    FIRST_HERE.store(NEXT.load(Ordering::Relaxed), Ordering::Relaxed);
}

/// A number that nobody has had.
pub(crate) fn new_ident() -> u64 {
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// Numbers that nobody has had, a few at a time, for one who has a guard around them.
pub(crate) struct Idents {
    next: u64,
    end: u64,
}

impl Idents {
    pub(crate) const NONE: Self = Idents { next: 0, end: 0 };

    pub(crate) fn take(&mut self) -> u64 {
        const AT_ONCE: u64 = 64;
        if self.next == self.end {
            self.next = NEXT.fetch_add(AT_ONCE, Ordering::Relaxed);
            self.end = self.next + AT_ONCE;
        }
        self.next += 1;
        self.next - 1
    }
}

/// The caller's number, shifted.
#[inline(always)]
pub(crate) fn key() -> u64 {
    known_key().unwrap_or_else(first_key)
}

/// The caller's number, shifted, if anybody has asked for it before.
#[inline(always)]
pub(crate) fn known_key() -> Option<u64> {
    match tls::owner_tag() {
        0 => None,
        key => Some(key),
    }
}

/// The caller's number.
pub(crate) fn ident() -> u64 {
    key() >> KEY_SHIFT
}

#[cold]
fn first_key() -> u64 {
    // In a child of fork, the number of the first thread stays that of the parent's.
    let ident = if fork_epoch() == 0 && is_first_thread() { FIRST_THREAD } else { new_ident() };
    become_ident(ident);
    ident << KEY_SHIFT
}

/// From now on, whoever runs on this system thread has this number; returns the former one.
pub(crate) fn become_ident(ident: u64) -> u64 {
    tls::with(|mine| mine.owner_tag.replace(ident << KEY_SHIFT)) >> KEY_SHIFT
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_kept_and_never_given_twice() {
        let mine = ident();
        assert_eq!(mine, ident());
        let other = std::thread::spawn(ident).join().unwrap();
        assert_ne!(mine, other);
        assert!(std::thread::spawn(ident).join().unwrap() > other);
    }
}
