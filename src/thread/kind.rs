//! The implementation of `Object` for threads. It is not in `thread::object`, because it depends on `timer::object`: in
//! a child of fork, it releases the timers of threads that exist only in the parent.

use crate::sys::atomic::Ordering;

use crate::handle::header::Header;
use crate::handle::{Handle, Object, ObjectKind};
use crate::sync::own_waiter::OwnWaiter;
use crate::thread::object::{MAIN, NOT_STARTED, RUNNING, STATE_MASK, TIMER, Thread};
use crate::timer::object as timer_object;

// SAFETY: zero is a thread without a target; all fields can be shared between threads; it begins with its header.
unsafe impl Object for Thread {
    const KIND: ObjectKind = ObjectKind::Thread;

    fn header(&self) -> &Header {
        &self.header
    }

    /// So that a join of a thread that exists only in the parent returns.
    fn keep_blocking_call(&'static self, _tag: u64, _waiter: &OwnWaiter) {
        self.finish_if_only_in_parent();
    }

    fn unref_after_fork(handle: Handle<Self>) {
        // Without this reference, `finish_if_only_in_parent` could drop the last one while it uses the slot.
        if let Ok(kept) = handle.internal_ref() {
            if let Some(thread) = kept.live_object() {
                thread.finish_if_only_in_parent();
            }
            kept.internal_unref();
        }
    }

    #[inline(always)]
    fn dispose(&self) {
        // A started thread has a reference to itself until it is done, and has destroyed its argument by then.
        if self.state() == NOT_STARTED {
            self.destroy_arg();
        }
    }

    #[inline(always)]
    fn finalize(&self) {
        self.names.free_all();
    }
}

impl Thread {
    /// In a child of fork: if the thread exists only in the parent, changes it to `DONE` and drops its reference to
    /// itself, and its timer's. Its argument and the values of its thread-locals are not destroyed. The caller has a
    /// reference to it.
    pub(crate) fn finish_if_only_in_parent(&'static self) {
        if !self.exists_only_in_parent() {
            return;
        }
        let state = self.state.load(Ordering::Acquire) & STATE_MASK;
        if state == NOT_STARTED {
            return;
        }
        if !self.set_done() {
            if self.has_flag(TIMER) {
                timer_object::destroy_finished_after_fork(self);
            }
            return;
        }
        self.links.clear();
        self.set_arg_destructor_ptr(None);
        if self.has_flag(TIMER) && state == RUNNING {
            // Its timer has a reference to itself, and one to the thread.
            timer_object::discard_after_fork(self);
        } else if !self.has_flag(MAIN) {
            // The parent's main thread is never freed, since any caller may have its handle.
            self.handle().internal_unref();
        }
    }
}
