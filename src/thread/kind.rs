//! What handles need to know of threads: the implementation of `Object`. It is above `timer::object`, since a thread that
//! is left behind in a child of fork releases its timer.

use crate::sys::atomic::Ordering;
use core::ptr;

use crate::handle::header::Header;
use crate::handle::{Handle, Object};
use crate::thread::object::{ALIVE, MAIN, NEW, STATION, TIMER, Thread};
use crate::timer::object as timer_object;

// SAFETY: zero is a new thread without anything to run; all of it is shareable; it begins with its header.
unsafe impl Object for Thread {
    const INDEX: usize = 0;

    fn header(&self) -> &Header {
        &self.header
    }

    fn unref_after_fork(handle: Handle<Self>) {
        // It keeps itself.
        if let Ok(kept) = handle.internal_ref() {
            if let Ok((thread, _)) = kept.check() {
                thread.settle();
            }
            kept.internal_unref();
        }
    }

    fn dispose(&self) {
        // A thread that was started keeps itself until it is over: this one never was, or its argument is
        // gone already.
        if self.state() == NEW {
            self.destroy_arg();
        }
    }

    fn finalize(&self) {
        self.names.forget();
    }
}

impl Thread {
    /// In a child of fork: if it was left behind, it is over, and releases the reference that it had to itself. Its
    /// argument and the values of its locals are left alone. The caller keeps it.
    pub(crate) fn settle(&'static self) {
        if !self.is_left_behind() {
            return;
        }
        let state = self.state.load(Ordering::Acquire) & STATION;
        if state == NEW || !self.end() {
            return;
        }
        self.next.set(ptr::null());
        self.previous.set(ptr::null());
        self.set_destroy(None);
        if self.is(TIMER) && state == ALIVE {
            // Its timer keeps it, and itself.
            timer_object::abandon(self);
        } else if !self.is(MAIN) {
            // The parent's main thread is never freed, and any caller may have its handle.
            self.handle().internal_unref();
        }
    }
}
