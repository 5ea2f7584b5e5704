//! Thread
//!
//! A thread calls its target once it is started. It has a name, a number that is never used again, and keeps itself alive while it runs: its handle
//! may be freed at any time. The process does not end before its threads have ended, unless they are daemons.

use core::ffi::{c_char, c_int, c_void};

use super::status::{THREADING_TIMED_OUT, threading_status};
use super::threading::text;
use super::types::{threading_destructor, threading_run, threading_target, threading_thread};
use super::{guard, handle, object, outcome, status, value};
use crate::handle::Handle;
use crate::time::Timeout;
use crate::{Run, Thread};

/// Makes a thread that will call target(arg).
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_new(target: threading_target, arg: *mut c_void) -> *mut threading_thread {
    handle(|| Handle::<Thread>::new(target, arg))
}

/// Takes one more reference.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_ref(thread: *mut threading_thread) -> *mut threading_thread {
    handle(|| object(thread).add_ref())
}

/// Gives one reference back. A thread that runs goes on.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_free(thread: *mut threading_thread) -> threading_status {
    status(|| object(thread).free())
}

/// Names the thread.
///
/// # Safety
/// `name` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_thread_set_name(
    thread: *mut threading_thread,
    name: *const c_char,
) -> threading_status {
    status(|| {
        let thread = object(thread);
        // SAFETY: the caller's promise.
        thread.set_name(thread.argument(unsafe { text(name) })?)
    })
}

/// Tells the thread's name.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_name(thread: *mut threading_thread) -> *const c_char {
    value(|| object(thread).name())
}

/// Makes the thread a daemon, or not.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_set_daemon(
    thread: *mut threading_thread,
    daemon: c_int,
) -> threading_status {
    status(|| object(thread).set_daemon(daemon != 0))
}

/// Tells whether the thread is a daemon.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_is_daemon(thread: *mut threading_thread) -> bool {
    value(|| object(thread).is_daemon())
}

/// Sets the size of the thread's stack.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_set_stack_size(
    thread: *mut threading_thread,
    bytes: usize,
) -> threading_status {
    status(|| object(thread).set_stack_size(bytes))
}

/// Has the thread's argument destroyed once it is not needed any more.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_set_arg_destructor(
    thread: *mut threading_thread,
    destroy: threading_destructor,
) -> threading_status {
    status(|| object(thread).set_arg_destructor(destroy))
}

/// Overrides what the thread runs.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_set_run(
    thread: *mut threading_thread,
    run: threading_run,
) -> threading_status {
    // SAFETY: both are functions of the same arguments, but for how they call the thread's pointer.
    let run = unsafe { core::mem::transmute::<threading_run, Option<Run>>(run) };
    status(|| object(thread).set_run(run))
}

/// Calls target(arg), which is what the thread does if it is not overridden.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn threading_thread_run(thread: *mut threading_thread) -> *mut c_void {
    // The target may leave by pthread_exit, which no guard lets through: it is called outside of it.
    match guard(|| object(thread).runnable()) {
        // SAFETY: whoever made the thread promised that target and argument go together.
        Ok(thread) => unsafe { thread.run() },
        Err(error) => value(|| Err(error)),
    }
}

/// Starts the thread.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_start(thread: *mut threading_thread) -> threading_status {
    status(|| object(thread).start())
}

/// Waits until the thread has ended.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_join(thread: *mut threading_thread) -> threading_status {
    status(|| object(thread).join(Timeout::FOREVER).map(drop))
}

/// Waits until the thread has ended, no longer than the given time.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_join_timeout(
    thread: *mut threading_thread,
    seconds: f64,
) -> threading_status {
    outcome(THREADING_TIMED_OUT, || {
        let thread = object(thread);
        thread.join(thread.argument(Timeout::new(seconds))?)
    })
}

/// Tells whether the thread has been started and has not ended.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_is_alive(thread: *mut threading_thread) -> bool {
    value(|| object(thread).is_alive())
}

/// Tells the thread's number.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_ident(thread: *mut threading_thread) -> u64 {
    value(|| object(thread).ident())
}

/// Tells the kernel's number of the thread.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_native_id(thread: *mut threading_thread) -> u64 {
    value(|| object(thread).native_id())
}

/// Tells what the thread's run returned.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_result(thread: *mut threading_thread) -> *mut c_void {
    value(|| object(thread).result())
}

/// Tells the argument that was given to threading_thread_new().
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_arg(thread: *mut threading_thread) -> *mut c_void {
    value(|| object(thread).arg())
}
