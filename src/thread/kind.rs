//! What handles need to know of threads: the implementation of `Object`. It is above `timer::object`, since a thread that
//! is left behind in a child of fork releases its timer.

use crate::sys::atomic::Ordering;
use core::ptr;

use crate::handle::header::Header;
use crate::handle::{Handle, Object, ObjectKind};
use crate::thread::object::{MAIN, NOT_STARTED, RUNNING, STATE_MASK, TIMER, Thread};
use crate::timer::object as timer_object;

// SAFETY: zero is a new thread without anything to run; all of it is shareable; it begins with its header.
unsafe impl Object for Thread {
    const KIND: ObjectKind = ObjectKind::Thread;

    fn header(&self) -> &Header {
        &self.header
    }

    fn unref_after_fork(handle: Handle<Self>) {
        // It keeps itself.
        if let Ok(kept) = handle.internal_ref() {
            if let Ok((thread, _)) = kept.check() {
                thread.finish_if_only_in_parent();
            }
            kept.internal_unref();
        }
    }

    fn dispose(&self) {
        // A thread that was started keeps itself until it is over: this one never was, or its argument is
        // gone already.
        if self.state() == NOT_STARTED {
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
    pub(crate) fn finish_if_only_in_parent(&'static self) {
        if !self.exists_only_in_parent() {
            return;
        }
        let state = self.state.load(Ordering::Acquire) & STATE_MASK;
        if state == NOT_STARTED || !self.set_done() {
            return;
        }
        self.next.set(ptr::null());
        self.previous.set(ptr::null());
        self.set_arg_destructor_ptr(None);
        if self.has_flag(TIMER) && state == RUNNING {
            // Its timer keeps it, and itself.
            timer_object::discard_after_fork(self);
        } else if !self.has_flag(MAIN) {
            // The parent's main thread is never freed, and any caller may have its handle.
            self.handle().internal_unref();
        }
    }
}
