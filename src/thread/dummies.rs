//! Dummies: threads that this library did not start, and that have called `thread::current`.
//!
//! The exit hook of a dummy removes it from the registry. *Dead dummies* are those whose OS thread is gone without
//! that: a thread that becomes a dummy in its last round of destructors gets no further round. They are recognized by
//! their native ID, which no thread of the process has any more. `list::active_count` and `list::enumerate` check all
//! dummies whose destructors have begun (`DUMMY_EXITING`), and [`DUMMY_CHECKS_PER_CALL`] other entries, round-robin.

use core::ptr;

use crate::error::Result;
use crate::handle::Handle;
use crate::sys::pthread;
use crate::thread::object::{DAEMON, DUMMY, DUMMY_EXITING, NOT_STARTED, RUNNING, Thread};
use crate::thread::registry::Registry;
use crate::thread::{ident, registry};

/// How many entries a call checks besides those that are `DUMMY_EXITING`.
const DUMMY_CHECKS_PER_CALL: usize = 16;

impl Registry {
    /// Removes dead dummies. Checks all that are `DUMMY_EXITING`, and some of the other entries.
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
            // SAFETY: threads in the list are valid; `remove_alive` moves `next_dummy_check` on.
            let next = unsafe { self.next_dummy_check.as_ref().or(self.alive.first()) };
            let Some(thread) = next else { return };
            self.next_dummy_check = thread.links.next.get();
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

/// Registers the calling thread, which this library did not start, as a dummy.
pub(crate) fn add_dummy(ident: u64) -> Result<Handle<Thread>> {
    let mut registry = registry::lock();
    // What can fail comes first: a dummy that is not in the list would never be released.
    registry.get_or_create_main()?;
    let (dummy, _) = Thread::create_with_internal_ref(DUMMY | DAEMON, None, ptr::null_mut())?.check()?;
    dummy.set_ident(ident);
    dummy.set_native_id(ident::native_id() as u32);
    dummy.transition(NOT_STARTED, RUNNING);
    registry.alive.push_back(dummy);
    registry.alive_count += 1;
    Ok(dummy.handle())
}

/// Marks a dummy whose destructors have begun.
pub(crate) fn mark_dummy_exiting(dummy: &'static Thread) {
    let mut registry = registry::lock();
    if dummy.links.is_linked() && !dummy.set_flag(DUMMY_EXITING) {
        registry.exiting_dummies += 1;
    }
}
