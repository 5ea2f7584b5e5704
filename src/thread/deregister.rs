//! Removes the calling thread from the registry when it exits.

use crate::sys::libc_hooks::register_exit_hook;
use crate::sys::tls;
use crate::thread::object::{DUMMY, MAIN, TIMER, known_current};
use crate::thread::{dummies, reaper, registry};

/// Called in the first round of the calling thread's destructors. If the thread became a dummy during its exit, libc
/// may not call the last round for it: `thread::dummies` then finds it by this mark.
pub(crate) fn mark_current_dummy_exiting() {
    if let Some(dummy) = known_current().filter(|thread| thread.has_flag(DUMMY)) {
        dummies::mark_dummy_exiting(dummy);
    }
}

/// Called in the last round of the calling thread's destructors. A dummy becomes `DONE`, main stays in the registry,
/// and any other thread becomes a zombie.
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
                // Only if a panic has prevented `worker::on_pthread_exit` from finishing the timer.
                reaper::add_zombie(thread, 0);
                return;
            }
            // SAFETY: the thread has been started, and is neither main nor a dummy nor a timer's.
            let stack = unsafe { thread.stack() };
            stack.trim();
            reaper::add_zombie(thread, stack.zombie_size());
            thread.begin_exit();
        }
        _ => {}
    }
}

/// Called when the target has returned. Registers the exit hook if that failed when the thread began; if it fails
/// again, the thread leaves the registry here.
pub(crate) fn deregister_if_unhooked() {
    if tls::with(|block| block.exit_rounds.get()) == 0 && register_exit_hook().is_err() {
        deregister_current();
    }
}
