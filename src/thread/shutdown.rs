//! The waits of process exit and `shutdown` for threads.

use crate::sync::hang_watch::ExitWatch;
use crate::sync::wait_note;
use crate::sync::wait_note::with_note;
use crate::thread::object::{Thread, known_current};
use crate::thread::registry;
use crate::thread::registry::Remaining;
use crate::time::Deadline;
use crate::timer::{finishing, worker};

/// Runs `f`, which waits for threads in an exit or a shutdown. While it runs, other exits and shutdowns do not wait for
/// the calling thread.
pub(crate) fn with_shutdown_flag<R>(f: impl FnOnce() -> R) -> R {
    // A thread without an object need not be marked: it would be a dummy, for which no shutdown waits.
    let current = known_current();
    // The address of this frame identifies this shutdown.
    let frame = 0_u8;
    let shutdown_id = &raw const frame as usize;
    finishing::exclude_finishing_from_shutdown(shutdown_id);
    // Wakes the other shutdowns, which have one thread less to wait for.
    let was_in_shutdown = registry::begin_shutdown(current);
    let result = f();
    finishing::include_finishing_in_shutdown(shutdown_id);
    // A nested shutdown, in a callback of the outer one, leaves the flag set.
    registry::end_shutdown(current.filter(|_| !was_in_shutdown));
    result
}

/// Detaches the threads that still run, so that a race detector does not report those that end later as leaks.
pub(crate) fn detach_remaining() {
    registry::for_each_os_thread(Thread::detach);
}

/// Waits for the end of all threads that are neither daemons nor in a shutdown themselves. After that, no thread or
/// timer can be started. Returns false if the timeout expires.
pub(crate) fn join_non_daemons(deadline: Deadline) -> bool {
    let mut watch = ExitWatch::new(deadline);
    let mut daemon_joins = None;
    with_note(wait_note::PROCESS_EXIT, deadline, || {
        loop {
            match registry::try_shut_down(&mut daemon_joins) {
                Remaining::Nothing => return true,
                Remaining::Zombie(zombie) => {
                    // The thread is in its last destructor, so the wait is short.
                    let done = zombie.join(deadline);
                    zombie.handle().internal_unref();
                    if done != Ok(true) {
                        return false;
                    }
                }
                Remaining::Alive(seen) => {
                    let until = worker::retry_follower_if_unmonitored(deadline);
                    let woken = watch.park(until, |until| registry::wait_for_change(seen, until));
                    if !woken && until == deadline {
                        return false;
                    }
                }
            }
        }
    })
}
