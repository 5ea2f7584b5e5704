//! The waits of process exit and `shutdown` for threads.

use crate::sync::hang_watch::ExitWatch;
use crate::sync::wait_note;
use crate::sync::wait_note::with_note;
use crate::sys::annotate;
use crate::sys::annotate::happens_after;
use crate::sys::atomic::Ordering;
use crate::sys::futex;
use crate::thread::object::{DAEMON, DONE, IN_SHUTDOWN, MAIN, Thread, known_current};
use crate::thread::registry;
use crate::thread::registry::SHUTDOWN_SEQ;
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
            match try_shut_down(&mut daemon_joins) {
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
                    let woken = watch.park(until, |until| futex::wait(&SHUTDOWN_SEQ, seen, until));
                    if !woken && until == deadline {
                        return false;
                    }
                }
            }
        }
    })
}

/// What a shutdown has still to wait for.
enum Remaining {
    Nothing,
    /// A thread in its last destructor, with a reference for the caller.
    Zombie(&'static Thread),
    /// Threads in `alive`: wait until `SHUTDOWN_SEQ` is no longer this value.
    Alive(u32),
}

/// Returns what a shutdown has to wait for. If that is nothing, completes the shutdown: no thread can be started any
/// more.
///
/// A race detector reports threads that have ended and were not joined as leaks. So while one is active, the shutdown
/// joins daemons, too: as many as are zombies when no other thread is left (`daemon_joins`, `None` before that).
/// Daemons that still run may start further ones without end. After the shutdown they are detached, and must not be
/// joined.
fn try_shut_down(daemon_joins: &mut Option<usize>) -> Remaining {
    loop {
        let mut registry = registry::lock();
        let seen = SHUTDOWN_SEQ.load(Ordering::Relaxed);
        if registry.awaited_count != 0 {
            return Remaining::Alive(seen);
        }
        let daemon_joins_left = daemon_joins.get_or_insert_with(|| {
            let count = || registry.zombies.iter().filter(|thread| thread.has_flag(DAEMON)).count();
            if annotate::is_active() && !registry.shut_down { count() } else { 0 }
        });
        let joins_daemons = *daemon_joins_left != 0;
        let not_joined = if joins_daemons { MAIN | IN_SHUTDOWN } else { DAEMON | MAIN | IN_SHUTDOWN };
        // A thread that is `DONE` is about to be removed.
        let must_be_joined = |thread: &&Thread| !thread.has_flag(not_joined) && thread.state() != DONE;
        let Some(zombie) = registry.zombies.iter().find(must_be_joined) else {
            registry.shut_down = true;
            happens_after(&SHUTDOWN_SEQ);
            return Remaining::Nothing;
        };
        *daemon_joins_left -= usize::from(zombie.has_flag(DAEMON));
        if zombie.handle().internal_ref().is_ok() {
            return Remaining::Zombie(zombie);
        }
    }
}
