//! Resets the registry in a child of fork.

use crate::sys::atomic::Ordering;
use core::ptr;

use crate::sync::list::List;
use crate::thread::ident::IdentBlock;
use crate::thread::object::{DAEMON, DUMMY, IN_SHUTDOWN, MAIN, NAMED, TIMER, known_current};
use crate::thread::registry::MAIN_IDENT;
use crate::thread::{ident, join, registry};
use crate::timer::object as timer_object;

/// In a child of fork: makes the calling thread the main thread, and the only one. The parent's other threads are not
/// visited: `Thread::state` recognizes them by their identifiers.
pub(crate) fn after_fork_in_child() {
    let mut registry = registry::lock();
    // `stack_count` resets the number of zombies. `shutdown_waiters` stays: the calling thread may be in a shutdown,
    // and a count that is too high only causes unneeded wakes.
    registry.ident_block = IdentBlock::EMPTY;
    registry.timers.after_fork_in_child();
    registry.next_dummy_check = ptr::null();
    registry.exiting_dummies = 0;
    registry.has_reaper = false;
    let mut forking_thread = known_current();
    if forking_thread.is_none() && registry::is_main(ident::ident()) {
        // SAFETY: the registry has a reference to main.
        forking_thread = unsafe { registry.main.as_ref() };
    }
    MAIN_IDENT.store(ident::ident(), Ordering::Release);
    registry.alive = List::new();
    registry.zombies = List::new();
    registry.alive_count = 0;
    registry.awaited_count = 0;
    registry.main = ptr::null();
    ident::after_fork_in_child();
    join::after_fork_in_child();
    if let Some(forking_thread) = forking_thread {
        forking_thread.set_running_after_fork();
        if forking_thread.clear_flag(TIMER) && forking_thread.handle().internal_ref().is_ok() {
            // The thread runs on without its timer, with a reference to itself instead of the timer's.
            timer_object::discard_after_fork(forking_thread);
        }
        forking_thread.set_flag(MAIN);
        forking_thread.clear_flag(IN_SHUTDOWN);
        if forking_thread.clear_flag(DUMMY) {
            forking_thread.clear_flag(DAEMON);
            forking_thread.set_flag(NAMED);
            forking_thread.name_number.store(0, Ordering::Relaxed);
            forking_thread.names.reset_to_default();
        }
        forking_thread.set_native_id(ident::native_id() as u32);
        registry.main = forking_thread;
        registry.alive.push_back(forking_thread);
        registry.alive_count = 1;
    }
}
