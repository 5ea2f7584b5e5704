//! The thread that calls the functions which are registered with `threading_atexit`, for threads in an exit or a
//! shutdown that wait until it has done so, and for reports. `runtime::process_exit` has the functions, and the mutex.

use crate::sync::hang_watch::ExitWatch;
use crate::sync::wait_note::{EXIT_CALLBACKS, with_note};
use crate::sync::wait_observer;
use crate::sys::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::sys::blocked_thread;
use crate::sys::calling_thread;
use crate::sys::futex;
use crate::time::Deadline;

/// Incremented, under the mutex, when a thread has called all functions. The other threads park on it.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static RUNS: AtomicU32 = AtomicU32::new(0);
/// The identifier of the thread that calls them, 0 if there is none. Changed under the mutex; others read it without.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(crate) static RUNNER: AtomicU64 = AtomicU64::new(0);
/// The native ID of the thread that has last begun to call them. Changed under the mutex.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static RUNNER_NATIVE_ID: AtomicU32 = AtomicU32::new(0);

pub(crate) fn runs() -> u32 {
    RUNS.load(Ordering::Relaxed)
}

/// The thread with this identifier, the calling one, begins to call the functions.
pub(crate) fn begin_run(ident: u64) {
    RUNNER_NATIVE_ID.store(calling_thread::native_id() as u32, Ordering::Relaxed);
    RUNNER.store(ident, Ordering::Relaxed);
}

/// The thread has called all functions. The caller then calls `wake_waiters`.
pub(crate) fn end_run() {
    wait_observer::record_wake(EXIT_CALLBACKS);
    RUNNER.store(0, Ordering::Relaxed);
    RUNS.fetch_add(1, Ordering::Relaxed);
}

/// Returns the identifier of the thread that calls the functions, 0 if there is none.
pub(crate) fn runner() -> u64 {
    RUNNER.load(Ordering::Relaxed)
}

/// Returns whether the thread that calls the functions is blocked in `exit`, because the calling thread is in it. The
/// caller has locked the mutex.
pub(crate) fn is_runner_blocked() -> bool {
    runner() != 0 && blocked_thread::waits_for_caller(RUNNER_NATIVE_ID.load(Ordering::Relaxed))
}

/// Waits until `runs` has changed. Returns false if the timeout expires.
pub(crate) fn wait(seen: u32, deadline: Deadline, watch: &mut ExitWatch) -> bool {
    with_note(EXIT_CALLBACKS, deadline, || {
        while runs() == seen {
            if !watch.park(deadline, |until| futex::wait(&RUNS, seen, until)) {
                return false;
            }
        }
        true
    })
}

/// Wakes the threads that wait. Returns whether one was parked.
pub(crate) fn wake_waiters() -> bool {
    futex::wake_all(&RUNS)
}
