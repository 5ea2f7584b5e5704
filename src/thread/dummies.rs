//! Dummies: threads that this library did not start, and that have asked who they are.
//!
//! A dummy leaves the list by the destructor that announces its thread's end. One whose thread first asked who it is
//! in the midst of its end may not be announced any more: a *ghost*. It is recognized by the kernel's number of the
//! thread. `list::count` and `list::enumerate` look at all dummies whose end has begun (`ENDING`), and at [`LOOKS`]
//! other entries in turn.

use core::ptr;

use crate::error::Result;
use crate::handle::Handle;
use crate::sys::pthread;
use crate::thread::object::{ALIVE, DAEMON, DUMMY, ENDING, NEW, Thread};
use crate::thread::registry::Registry;
use crate::thread::{ident, registry};

impl Registry {
    /// A dummy's first question may come so late in its thread's end that the end cannot be announced any
    /// more.
    pub(super) fn drop_ghosts(&mut self) {
        if self.ending_dummies > 0 {
            loop {
                let is_ending_ghost = |thread: &&Thread| thread.is(ENDING) && is_ghost(thread);
                let Some(ghost) = self.alive.iter().find(is_ending_ghost) else { break };
                self.drop_ghost(ghost);
            }
        }
        for _ in 0..LOOKS.min(self.count) {
            // SAFETY: threads in the list are valid; `leave` moves the place on.
            let place = unsafe { self.looked_at.as_ref().or(self.alive.first.as_ref()) };
            let Some(thread) = place else { return };
            self.looked_at = thread.next.get();
            if is_ghost(thread) {
                self.drop_ghost(thread);
            }
        }
    }

    fn drop_ghost(&mut self, ghost: &'static Thread) {
        self.leave(ghost);
        ghost.end();
        ghost.handle().internal_unref();
    }
}

fn is_ghost(thread: &Thread) -> bool {
    thread.is(DUMMY) && !pthread::thread_exists(thread.native_id())
}

/// How many entries a search for ghosts looks at, besides those that are known to end.
const LOOKS: usize = 16;

/// A thread that this library did not start asks who it is.
pub(crate) fn add_dummy(ident: u64) -> Result<Handle<Thread>> {
    let mut registry = registry::lock();
    // First what may be refused: a dummy that is not entered here would be nobody's.
    registry.main()?;
    let (dummy, _) = Thread::create_with_internal_ref(DUMMY | DAEMON, None, ptr::null_mut())?.check()?;
    dummy.set_ident(ident);
    dummy.set_native_id(ident::native_id() as u32);
    dummy.go(NEW, ALIVE);
    registry.alive.push_back(dummy);
    registry.count += 1;
    Ok(dummy.handle())
}

/// A dummy's thread has begun to end.
pub(crate) fn dummy_ends(dummy: &'static Thread) {
    let mut registry = registry::lock();
    if !dummy.next.get().is_null() && !dummy.mark(ENDING, true) {
        registry.ending_dummies += 1;
    }
}
