//! How exits and shutdowns wait for threads.

use crate::handle::Handle;
use crate::sys::tls;
use crate::thread::object::Thread;
use crate::thread::registry;
use crate::thread::registry::Left;
use crate::time::Deadline;
use crate::timer::{finishing, worker};

/// Does something on the way out, by exit or shutdown, in which nobody else on that way waits for the caller.
pub(crate) fn with_shutdown_flag<R>(f: impl FnOnce() -> R) -> R {
    // The handle of the current thread, if it has one: a dummy is a daemon anyway.
    let me = tls::with(|block| block.thread.get());
    let myself = Handle::<Thread>::from_bits(me).check().ok().map(|(thread, _)| thread);
    // This frame is the name of what leaves here.
    let frame = 0_u8;
    let shutdown_id = &raw const frame as usize;
    finishing::exclude_finishing_from_shutdown(shutdown_id);
    // Those that are there already have one less to wait for.
    let again = registry::begin_shutdown(myself);
    let result = f();
    finishing::include_finishing_in_shutdown(shutdown_id);
    // Not before the outermost one is done, where a callback of its leaves too.
    registry::end_shutdown(myself.filter(|_| !again));
    result
}

/// The process leaves its daemons behind. Those that end before it does are no leaks, as a race detector is told.
pub(crate) fn detach_remaining() {
    registry::for_each_system_thread(Thread::detach);
}

/// Waits for the end of all threads that are not daemons, but for those that are leaving; then nothing can be
/// started any more. False if the time ran out.
pub(crate) fn join_non_daemons(deadline: Deadline) -> bool {
    loop {
        match registry::close() {
            Left::Nothing => return true,
            Left::Zombie(ended) => {
                // In its last destructor: not long any more.
                let done = ended.join(deadline);
                ended.handle().internal_unref();
                if done != Ok(true) {
                    return false;
                }
            }
            Left::Alive(seen) => {
                let until = worker::retry_follower_if_unmonitored(deadline);
                if !registry::wait_for_change(seen, until) && until == deadline {
                    return false;
                }
            }
        }
    }
}
