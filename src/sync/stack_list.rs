//! Lists of the calls that a thread is in. The entries are on the stack of the thread, innermost first in the list, and
//! the per-thread block has the address of the first. A signal handler may interrupt every step here.
//!
//! A signal handler or a callback may leave a call by siglongjmp(), or a coroutine may end in one. The list then begins
//! with an entry whose memory other functions use, or which the program has unmapped with the stack. So each entry has
//! a check value, and the list ends before the first one that is not mapped, or does not match its own. If a new entry
//! uses the memory of one in the list, the list leads from it back to itself: the thread has left all calls in between.

use core::cell::Cell;
use core::ptr;
use core::sync::atomic::{Ordering, compiler_fence};

use crate::sys::memory;
use crate::sys::tls;
use crate::sys::tls::PerThread;

/// One of the lists.
pub(crate) trait StackList {
    /// Returns the address of the first entry in the per-thread block, 0 if there is none.
    fn first(block: &PerThread) -> &Cell<usize>;
}

/// An entry, in the list from `add` until `remove`. It must not move in between.
pub(crate) struct StackEntry {
    /// The address of the entry that was the first before, 0 if there was none.
    outer: Cell<usize>,
    is_listed: Cell<bool>,
    /// Numbers, because the memory may be used for something else when they are read.
    content: [Cell<usize>; 3],
    check: Cell<usize>,
}

impl StackEntry {
    #[inline]
    pub(crate) fn new() -> StackEntry {
        StackEntry {
            outer: Cell::new(0),
            is_listed: Cell::new(false),
            content: [const { Cell::new(0) }; 3],
            check: Cell::new(0),
        }
    }

    fn content(&self) -> [usize; 3] {
        self.content.each_ref().map(Cell::get)
    }

    /// Depends on every bit of the entry, and is not 0 in zeroed memory.
    fn check_value(&self) -> usize {
        let numbers = [ptr::from_ref(self) as usize, self.outer.get()].into_iter().chain(self.content());
        numbers.fold(0, |sum, number| sum.rotate_left(7) ^ number)
    }

    /// Adds the entry to a list of the calling thread.
    #[inline(never)]
    pub(crate) fn add<L: StackList>(&self, content: [usize; 3]) {
        self.content.iter().zip(content).for_each(|(cell, number)| cell.set(number));
        tls::with(|block| {
            self.outer.set(L::first(block).get());
            self.check.set(self.check_value());
            self.is_listed.set(true);
            compiler_fence(Ordering::SeqCst);
            L::first(block).set(ptr::from_ref(self) as usize);
        });
        compiler_fence(Ordering::SeqCst);
    }

    #[inline(always)]
    pub(crate) fn is_listed(&self) -> bool {
        self.is_listed.get()
    }

    /// Removes the entry, if it is in the list.
    #[inline(never)]
    pub(crate) fn remove<L: StackList>(&self) {
        if self.is_listed.replace(false) {
            compiler_fence(Ordering::SeqCst);
            tls::with(|block| L::first(block).set(self.outer.get()));
            compiler_fence(Ordering::SeqCst);
        }
    }
}

/// Returns the entry at this address, if there is one with the right check value.
fn valid_entry(at: usize) -> Option<&'static StackEntry> {
    if at == 0 || !memory::is_mapped(at, size_of::<StackEntry>()) {
        return None;
    }
    // SAFETY: an entry has been at this address, which is aligned for one, and the memory is mapped. Of its fields,
    // only numbers are read.
    Some(unsafe { &*(at as *const StackEntry) }).filter(|entry| entry.check.get() == entry.check_value())
}

/// Returns the first address of the list that begins here which it contains twice, or at which there is no valid entry.
fn end_of_list(first: usize) -> usize {
    let mut last = first;
    while let Some(next) = valid_entry(last).map(|entry| entry.outer.get()) {
        let mut at = first;
        while at != next && at != last {
            at = valid_entry(at).map_or(last, |entry| entry.outer.get());
        }
        last = next;
        if at == next {
            break;
        }
    }
    last
}

/// Calls `f` with the address and the content of each entry of the calling thread.
pub(crate) fn for_each<L: StackList>(mut f: impl FnMut(usize, [usize; 3])) {
    let mut at = tls::with(|block| L::first(block).get());
    let end = end_of_list(at);
    while let Some(entry) = valid_entry(at) {
        let outer = entry.outer.get();
        f(at, entry.content());
        if at == end {
            break;
        }
        at = outer;
    }
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    struct List;

    impl StackList for List {
        fn first(block: &PerThread) -> &Cell<usize> {
            &block.fork_entries
        }
    }

    fn contents() -> Vec<usize> {
        let mut contents = Vec::new();
        for_each::<List>(|_, [content, ..]| contents.push(content));
        contents
    }

    /// Leaves the call of the entry, and adds another one, which uses the same memory.
    fn replace(entry: &mut StackEntry, content: usize) {
        *entry = StackEntry::new();
        entry.add::<List>([content, 0, 0]);
    }

    #[test]
    fn entries_are_found_innermost_first_and_not_those_of_calls_that_were_left() {
        let mut entries = [0; 3].map(|_| StackEntry::new());
        assert_eq!(contents(), []);
        (1..).zip(&entries).for_each(|(content, entry)| entry.add::<List>([content, 0, 0]));
        assert_eq!(contents(), [3, 2, 1]);
        entries[2].remove::<List>();
        assert_eq!(contents(), [2, 1]);
        // The calls of the first and the second entry are left.
        replace(&mut entries[0], 4);
        assert_eq!(contents(), [4]);
        // Its memory is used for something else.
        entries[1].content[0].set(9);
        entries[2].add::<List>([5, 0, 0]);
        assert_eq!(contents(), [5, 4]);
        tls::with(|block| block.fork_entries.set(0));
    }
}
