//! What a thread is in the middle of when a signal handler or a callback forks: a list of functions that the child calls,
//! because the thread goes on there when the handler or the callback returns.
//!
//! The entries are on the stack of the thread, innermost first in the list. A signal handler may interrupt every step
//! here.
//!
//! A signal handler may also leave a call by siglongjmp(). The list then begins with an entry whose memory other functions
//! use. So each entry has a check value, and the list ends before the first entry that does not match its own. If a new
//! entry uses the memory of one in the list, the thread has left all calls that the list contains up to that one.

use core::cell::Cell;
use core::mem;
use core::ptr;
use core::sync::atomic::{Ordering, compiler_fence};

use crate::sys::tls;

/// An entry of the list, from `add` until it is dropped. It must not move in between.
pub(crate) struct ForkEntry {
    /// The address of the entry that was the first before, 0 if there was none.
    outer: Cell<usize>,
    is_listed: Cell<bool>,
    /// The address of a `fn(usize)`, which is called in the child with the argument. A number, because the memory may be
    /// used for something else when it is read.
    keep: usize,
    arg: Cell<usize>,
    check: Cell<usize>,
}

impl ForkEntry {
    #[inline]
    pub(crate) fn new(keep: fn(usize)) -> ForkEntry {
        ForkEntry {
            outer: Cell::new(0),
            is_listed: Cell::new(false),
            keep: keep as usize,
            arg: Cell::new(0),
            check: Cell::new(0),
        }
    }

    fn check_value(&self) -> usize {
        const MULTIPLIER: usize = 0x9E37_79B9_7F4A_7C15_u64 as usize;
        [self.keep, self.arg.get(), self.outer.get()]
            .into_iter()
            .fold(ptr::from_ref(self) as usize, |sum, value| {
                (sum ^ value).wrapping_mul(MULTIPLIER).rotate_left(15)
            })
    }

    #[inline(never)]
    pub(crate) fn add(&self, arg: usize) {
        self.arg.set(arg);
        tls::with(|block| {
            let first = block.fork_entries.get();
            let is_left = end_of_valid(first) == ptr::from_ref(self) as usize;
            self.outer.set(if is_left { 0 } else { first });
            self.check.set(self.check_value());
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

/// Returns the entry at this address, if there is one with the right check value.
fn valid_entry(at: usize) -> Option<&'static ForkEntry> {
    // SAFETY: an entry is on the stack of this thread, which stays mapped. Of its fields, only numbers are read.
    unsafe { (at as *const ForkEntry).as_ref() }.filter(|entry| entry.check.get() == entry.check_value())
}

/// Returns the first address of the list that begins here at which there is no valid entry: 0 as a rule. A new entry is
/// not valid before it has been added.
fn end_of_valid(mut at: usize) -> usize {
    while let Some(entry) = valid_entry(at) {
        at = entry.outer.get();
    }
    at
}

/// Calls the functions, in a child of fork.
pub(crate) fn after_fork_in_child() {
    let mut at = tls::with(|block| block.fork_entries.get());
    while let Some(entry) = valid_entry(at) {
        // SAFETY: the check value shows that this is the function that `new` has stored.
        let keep = unsafe { mem::transmute::<usize, fn(usize)>(entry.keep) };
        keep(entry.arg.get());
        at = entry.outer.get();
    }
}
