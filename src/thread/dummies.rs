//! Dummies: threads that this library did not start, and that have asked who they are.
//!
//! A dummy leaves the list by the destructor that announces its thread's end. One whose thread first asked who it is
//! in the midst of its end may not be announced any more: a *dead_dummy*. It is recognized by the kernel's number of the
//! thread. `list::count` and `list::enumerate` look at all dummies whose end has begun (`DUMMY_EXITING`), and at [`DUMMY_CHECKS_PER_CALL`]
//! other entries in turn.

use core::ptr;

use crate::error::Result;
use crate::handle::Handle;
use crate::sys::pthread;
use crate::thread::object::{DAEMON, DUMMY, DUMMY_EXITING, NOT_STARTED, RUNNING, Thread};
use crate::thread::registry::Registry;
use crate::thread::{ident, registry};

impl Registry {
    /// A dummy's first question may come so late in its thread's end that the end cannot be announced any
    /// more.
    pub(super) fn remove_dead_dummies(&mut self) {
        if self.exiting_dummies > 0 {
            loop {
                let is_exiting_and_dead =
                    |thread: &&Thread| thread.has_flag(DUMMY_EXITING) && is_dead_dummy(thread);
                let Some(dead_dummy) = self.alive.iter().find(is_exiting_and_dead) else { break };
                self.remove_dead_dummy(dead_dummy);
            }
        }
        for _ in 0..DUMMY_CHECKS_PER_CALL.min(self.alive_count) {
            // SAFETY: threads in the list are valid; `leave` moves the place on.
            let next = unsafe { self.next_dummy_check.as_ref().or(self.alive.first.as_ref()) };
            let Some(thread) = next else { return };
            self.next_dummy_check = thread.next.get();
            if is_dead_dummy(thread) {
                self.remove_dead_dummy(thread);
            }
        }
    }

    fn remove_dead_dummy(&mut self, dead_dummy: &'static Thread) {
        self.remove_alive(dead_dummy);
        dead_dummy.set_done();
        dead_dummy.handle().internal_unref();
    }
}

fn is_dead_dummy(thread: &Thread) -> bool {
    thread.has_flag(DUMMY) && !pthread::thread_exists(thread.native_id())
}

/// How many entries a search for ghosts looks at, besides those that are known to end.
const DUMMY_CHECKS_PER_CALL: usize = 16;

/// A thread that this library did not start asks who it is.
pub(crate) fn add_dummy(ident: u64) -> Result<Handle<Thread>> {
    let mut registry = registry::lock();
    // First what may be refused: a dummy that is not entered here would be nobody's.
    registry.get_or_create_main()?;
    let (dummy, _) = Thread::create_with_internal_ref(DUMMY | DAEMON, None, ptr::null_mut())?.check()?;
    dummy.set_ident(ident);
    dummy.set_native_id(ident::native_id() as u32);
    dummy.transition(NOT_STARTED, RUNNING);
    registry.alive.push_back(dummy);
    registry.alive_count += 1;
    Ok(dummy.handle())
}

/// A dummy's thread has begun to end.
pub(crate) fn mark_dummy_exiting(dummy: &'static Thread) {
    let mut registry = registry::lock();
    if !dummy.next.get().is_null() && !dummy.set_flag(DUMMY_EXITING, true) {
        registry.exiting_dummies += 1;
    }
}
