//! A thread that ends leaves the registry.

use crate::handle::Handle;
use crate::sys::libc_hooks::register_exit_hook;
use crate::sys::tls;
use crate::thread::object::{DUMMY, MAIN, TIMER, Thread};
use crate::thread::{dummies, reaper, registry};

/// The calling thread, as far as the library knows it.
pub(crate) fn known_current() -> Option<&'static Thread> {
    let handle = Handle::<Thread>::from_bits(tls::with(|block| block.thread.get()));
    handle.check().ok().map(|(thread, _)| thread)
}

/// The first round of a dummy's destructors. If the thread has become a dummy in the middle of its end, the last round
/// may never come.
pub(crate) fn mark_current_dummy_exiting() {
    if let Some(dummy) = known_current().filter(|thread| thread.has_flag(DUMMY)) {
        dummies::mark_dummy_exiting(dummy);
    }
}

/// The calling thread has ended, as far as the registry is concerned.
pub(crate) fn deregister_current() {
    match known_current() {
        Some(dummy) if dummy.has_flag(DUMMY) => {
            registry::remove(dummy);
            dummy.set_done();
            tls::with(|block| block.thread.set(0));
            dummy.handle().internal_unref();
        }
        Some(thread) if !thread.has_flag(MAIN) => {
            if thread.has_flag(TIMER) {
                reaper::ended(thread, 0);
                return;
            }
            // SAFETY: one that was started, and neither main nor a dummy nor a timer's.
            let stack = unsafe { thread.stack() };
            stack.trim();
            reaper::ended(thread, stack.cacheable_size());
            thread.begin_exit();
        }
        _ => {}
    }
}

/// The calling thread has returned from its run. If the exit hook could not be registered when it began, it is
/// registered now; if that fails again, the thread leaves the registry here.
pub(crate) fn deregister_if_unhooked() {
    if tls::with(|block| block.exit_rounds.get()) == 0 && register_exit_hook().is_err() {
        deregister_current();
    }
}
