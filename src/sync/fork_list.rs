//! What a thread is in the middle of when a signal handler or a callback forks: a list of functions that the child calls,
//! because the thread goes on there when the handler or the callback returns.
//!
//! The entries are on the stack of the thread, innermost first in the list. A signal handler may interrupt every step
//! here.

use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{Ordering, compiler_fence};

use crate::sys::tls;

/// An entry of the list, from `add` until it is dropped. It must not move in between.
pub(crate) struct ForkEntry {
    /// The address of the entry that was the first before, 0 if there was none.
    outer: Cell<usize>,
    is_listed: Cell<bool>,
    /// Called in the child with the argument.
    keep: fn(usize),
    arg: Cell<usize>,
}

impl ForkEntry {
    #[inline]
    pub(crate) fn new(keep: fn(usize)) -> ForkEntry {
        ForkEntry { outer: Cell::new(0), is_listed: Cell::new(false), keep, arg: Cell::new(0) }
    }

    #[inline(never)]
    pub(crate) fn add(&self, arg: usize) {
        self.arg.set(arg);
        tls::with(|block| {
            self.outer.set(block.fork_entries.get());
            self.is_listed.set(true);
            compiler_fence(Ordering::SeqCst);
            block.fork_entries.set(ptr::from_ref(self) as usize);
        });
        compiler_fence(Ordering::SeqCst);
    }

    /// Removes the entry, if it is in the list.
    #[inline(never)]
    pub(crate) fn remove(&self) {
        if self.is_listed.replace(false) {
            compiler_fence(Ordering::SeqCst);
            tls::with(|block| block.fork_entries.set(self.outer.get()));
            compiler_fence(Ordering::SeqCst);
        }
    }
}

impl Drop for ForkEntry {
    #[inline]
    fn drop(&mut self) {
        self.remove();
    }
}

/// Calls the functions, in a child of fork.
pub(crate) fn after_fork_in_child() {
    let mut at = tls::with(|block| block.fork_entries.get()) as *const ForkEntry;
    // SAFETY: the entries are on the stack of this thread, in frames that have not returned.
    while let Some(entry) = unsafe { at.as_ref() } {
        (entry.keep)(entry.arg.get());
        at = entry.outer.get() as *const ForkEntry;
    }
}
