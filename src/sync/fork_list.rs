//! The fork list of a thread: the functions that a child of fork calls for the calls of the library that its thread is
//! in. A signal handler or a callback may fork during such a call, which goes on in the child when the handler or the
//! callback returns.

use core::cell::Cell;
use core::mem;

use crate::sync::stack_list;
use crate::sync::stack_list::{StackEntry, StackList};
use crate::sys::tls::PerThread;

/// An entry of the list, from `add` until it is dropped. It must not move in between.
pub(crate) struct ForkEntry {
    /// Contains the address of the function, which is called in the child, and its arguments.
    entry: StackEntry,
    keep: fn(usize, usize),
}

impl ForkEntry {
    #[inline]
    pub(crate) fn new(keep: fn(usize, usize)) -> ForkEntry {
        ForkEntry { entry: StackEntry::new(), keep }
    }

    /// Adds the entry to the list of the calling thread.
    #[inline]
    pub(crate) fn add(&self, args: [usize; 2]) {
        self.entry.add::<ForkList>([self.keep as usize, args[0], args[1]]);
    }

    /// Removes the entry, if it is in the list.
    #[inline]
    pub(crate) fn remove(&self) {
        // As a rule, it was never added, or has been removed: that needs no call.
        if self.entry.is_listed() {
            self.entry.remove::<ForkList>();
        }
    }
}

impl Drop for ForkEntry {
    #[inline]
    fn drop(&mut self) {
        self.remove();
    }
}

struct ForkList;

impl StackList for ForkList {
    #[inline(always)]
    fn first(block: &PerThread) -> &Cell<usize> {
        &block.fork_entries
    }
}

/// In a child of fork: calls the functions of its thread's list.
pub(crate) fn after_fork_in_child() {
    stack_list::for_each::<ForkList>(|_, [keep, arg, other_arg]| {
        // SAFETY: the entry is valid, so that this is the function that `new` has stored.
        let keep = unsafe { mem::transmute::<usize, fn(usize, usize)>(keep) };
        keep(arg, other_arg);
    });
}
