//! The intrusive list of threads that the registry uses.

use core::ptr;

use crate::thread::object::Thread;

/// A circular doubly linked list through `Thread::next` and `Thread::previous`, which are NULL outside of a list.
pub(super) struct List {
    pub(super) first: *const Thread,
}

impl List {
    pub(super) const EMPTY: Self = List { first: ptr::null() };

    #[inline(always)]
    pub(super) fn push_back(&mut self, thread: &'static Thread) {
        // SAFETY: threads in the list are valid, here and in the other methods.
        match unsafe { self.first.as_ref() } {
            None => {
                thread.next.set(thread);
                thread.previous.set(thread);
                self.first = thread;
            }
            Some(first) => {
                let last = first.previous.get();
                thread.next.set(first);
                thread.previous.set(last);
                // SAFETY: as above.
                unsafe { (*last).next.set(thread) };
                first.previous.set(thread);
            }
        }
    }

    pub(super) fn push_front(&mut self, thread: &'static Thread) {
        self.push_back(thread);
        self.first = thread;
    }

    #[inline(always)]
    pub(super) fn remove(&mut self, thread: &'static Thread) {
        let (previous, next) = (thread.previous.replace(ptr::null()), thread.next.replace(ptr::null()));
        if ptr::eq(next, thread) {
            self.first = ptr::null();
        } else {
            // SAFETY: as above.
            unsafe {
                (*previous).next.set(next);
                (*next).previous.set(previous);
            }
            if ptr::eq(self.first, thread) {
                self.first = next;
            }
        }
    }

    /// Moves the first thread to the end, and returns it.
    pub(super) fn rotate(&mut self) -> Option<&'static Thread> {
        // SAFETY: as above.
        let first = unsafe { self.first.as_ref() }?;
        self.first = first.next.get();
        Some(first)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'static Thread> + '_ {
        // SAFETY: as above.
        let mut at = unsafe { self.first.as_ref() };
        core::iter::from_fn(move || {
            let thread = at?;
            let next = thread.next.get();
            // SAFETY: as above.
            at = if ptr::eq(next, self.first) { None } else { unsafe { next.as_ref() } };
            Some(thread)
        })
    }
}
