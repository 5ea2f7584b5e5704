//! Thread
//!
//! A thread calls its target when it is started, and ends when the target returns. It has a name, an
//! ident that is never reused, and a result. A running thread holds a reference to itself, so its
//! handle may be freed at any time.
//!
//! A thread is a daemon thread if the thread that creates it is one; a thread that is created by a
//! foreign thread is not. The process does not exit before all non-daemon threads have ended. The
//! daemon flag, the stack size, the argument destructor and the override of run must be set before the
//! start. Setting them later fails with THREADING_ERR_ALREADY_STARTED, as it always does for the main
//! thread and for dummy threads.
//!
//! The argument is passed to the target unchanged, and must stay valid as long as the thread uses it.
//! Allocate it and set a destructor with threading_thread_set_arg_destructor(); do not pass the address
//! of a loop variable.
//!
//! Starting and joining a thread; if threading_thread_new() returns NULL, the next call reports it:
//!     static void *greet(void *name)
//!     {
//!         printf("hello %s\n", (char *)name);
//!         return name;
//!     }
//!     static bool greet_in_a_thread(char *name)
//!     {
//!         threading_thread *thread = threading_thread_new(greet, name);
//!         bool done = threading_thread_start(thread) == THREADING_OK
//!                     && threading_thread_join(thread) == THREADING_OK;
//!         return threading_thread_free(thread) == THREADING_OK && done;
//!     }

use core::ffi::{c_char, c_int, c_void};

use crate::capi::status::{THREADING_TIMED_OUT, threading_status};
use crate::capi::types::{threading_destructor, threading_run, threading_target, threading_thread};
use crate::capi::utils::cstr_arg;
use crate::capi::{ffi_panic_boundary, from_ptr, handle_or_null, status, status_or, value_or_default};
use crate::handle::Handle;
use crate::time::Timeout;
use crate::{Run, Thread};

/// Creates a thread that will call `target(arg)`. It does not use a system thread until it is started.
///
/// Its name is `Thread-N` unless another name is set. The number is assigned when the name is first
/// queried or the thread is started; a thread that has been named before does not use a number. The
/// thread is a daemon thread if the calling thread is one, but not if the calling thread is a foreign
/// thread.
///
/// \param target the function to call; if it is NULL, the thread ends immediately
/// \param arg the argument of the target, which the caller keeps valid; see
///     threading_thread_set_arg_destructor()
/// \return the new thread, owned by the caller; NULL with THREADING_ERR_NO_MEMORY if there is not
///     enough memory, in which case `arg` is not used
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.Thread(target=target, args=(arg,))`
/// \since 0.1.0
/// \sa threading_thread_start, threading_thread_free, threading_thread_set_arg_destructor,
///     threading_thread_set_name, threading_thread_set_daemon
///
/// # Safety
/// `target` accepts `arg`, which stays valid until the thread has used it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_thread_new(
    target: threading_target,
    arg: *mut c_void,
) -> *mut threading_thread {
    // SAFETY: guaranteed by the caller.
    handle_or_null(|| unsafe { Handle::<Thread>::new(target, arg) })
}

/// Adds a reference to a thread.
///
/// \param thread the thread
/// \return the same handle, with one more reference owned by the caller; NULL with THREADING_ERR_HANDLE
///     if the handle is invalid; NULL with THREADING_ERR_OVERFLOW if the object has too many references
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_thread_free
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_ref(thread: *mut threading_thread) -> *mut threading_thread {
    handle_or_null(|| from_ptr(thread).add_ref())
}

/// Releases a reference to a thread. A running thread continues.
///
/// Releasing the last reference to a thread that was never started calls the destructor of its
/// argument.
///
/// \param thread the thread
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid, or if all references of the
///     program have been released
///
/// \blocks only while the destructor runs
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_thread_new, threading_thread_ref, threading_thread_join
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_free(thread: *mut threading_thread) -> threading_status {
    status(|| from_ptr(thread).free())
}

/// Sets the name of a thread. The name may be changed at any time.
///
/// The name is copied. The previous name is freed unless threading_thread_name() has returned it.
/// System tools show up to 15 bytes of the name, cut at a character boundary; the system names of the
/// main thread and of timers do not change.
///
/// \param thread the thread
/// \param name the name, a string in UTF-8
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE if the name
///     is NULL or not valid UTF-8; THREADING_ERR_NO_MEMORY if there is not enough memory
///
/// \blocks never
/// \threadsafety any thread
/// \python `thread.name = name`
/// \since 0.1.0
/// \sa threading_thread_name
///
/// # Safety
/// `name` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_thread_set_name(
    thread: *mut threading_thread,
    name: *const c_char,
) -> threading_status {
    status(|| {
        let thread = from_ptr(thread);
        // SAFETY: guaranteed by the caller.
        thread.set_name(thread.or_handle_error(unsafe { cstr_arg(name) })?)
    })
}

/// Returns the name of a thread: the name that was set, or else `Thread-N`, `Dummy-N` or `MainThread`.
///
/// \param thread the thread
/// \return the name, valid as long as the thread's handle, even if the thread is renamed; NULL with
///     THREADING_ERR_HANDLE if the handle is invalid; NULL with THREADING_ERR_NO_MEMORY if there is not
///     enough memory
///
/// \blocks never
/// \threadsafety any thread
/// \python `thread.name`
/// \since 0.1.0
/// \sa threading_thread_set_name
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_name(thread: *mut threading_thread) -> *const c_char {
    value_or_default(|| from_ptr(thread).name_pointer())
}

/// Sets or clears the daemon flag of a thread. This is possible only before the start.
///
/// \param thread the thread
/// \param daemon 0 if the process waits for the thread at exit; any other number if it does not
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_ALREADY_STARTED
///     if the thread has been started
///
/// \blocks never
/// \threadsafety any thread
/// \python `thread.daemon = daemon`
/// \since 0.1.0
/// \sa threading_thread_is_daemon, threading_shutdown
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_set_daemon(
    thread: *mut threading_thread,
    daemon: c_int,
) -> threading_status {
    status(|| from_ptr(thread).set_daemon(daemon != 0))
}

/// Returns whether a thread is a daemon thread. A dummy thread is one, the main thread is not.
///
/// \param thread the thread
/// \return true if the thread is a daemon thread, false if it is not; false with THREADING_ERR_HANDLE
///     if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python `thread.daemon`
/// \since 0.1.0
/// \sa threading_thread_set_daemon
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_is_daemon(thread: *mut threading_thread) -> bool {
    value_or_default(|| from_ptr(thread).is_daemon())
}

/// Sets the stack size of a thread. This is possible only before the start.
///
/// The thread of a timer accepts a size, but its function runs on a stack that timers share. If the
/// program has a large amount of static thread-local storage, which is placed on each stack, its size
/// is added.
///
/// \param thread the thread
/// \param bytes the size in bytes, at least 32768, or the system's minimum if that is larger; 0 selects
///     the size that is set with threading_set_stack_size()
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE if the size
///     is too small; THREADING_ERR_ALREADY_STARTED if the thread has been started
///
/// \blocks never
/// \threadsafety any thread
/// \python none (`threading.stack_size(bytes)` applies to all threads)
/// \since 0.1.0
/// \sa threading_set_stack_size, threading_stack_size
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_set_stack_size(
    thread: *mut threading_thread,
    bytes: usize,
) -> threading_status {
    status(|| from_ptr(thread).set_stack_size(bytes))
}

/// Sets the destructor of a thread's argument. This is possible only before the start.
///
/// Unless the argument is NULL, the destructor is called exactly once: either in the thread, after its
/// run and before a join returns, or by the call that ensures that the thread will never run. That call
/// is the last `_free` of a thread that was not started, or the cancellation of a timer. A start that
/// fails does not call the destructor.
///
/// If a cancellation has already destroyed the argument of a timer that was not started, a destructor
/// that is set afterwards is never called. If the cancellation had no destructor to call, a destructor
/// that is set afterwards is called at the start or at the last `_free`.
///
/// \param thread the thread
/// \param destroy the destructor; if it is NULL, nothing is called
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_ALREADY_STARTED
///     if the thread has been started
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_thread_new, threading_thread_arg, threading_timer_cancel
///
/// # Safety
/// `destroy` accepts the thread's argument.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_thread_set_arg_destructor(
    thread: *mut threading_thread,
    destroy: threading_destructor,
) -> threading_status {
    // SAFETY: guaranteed by the caller.
    status(|| unsafe { from_ptr(thread).set_arg_destructor(destroy) })
}

/// Overrides the run function of a thread. This is possible only before the start.
///
/// \param thread the thread
/// \param run the function that is called instead of the target, with the thread and the target's
///     argument; NULL removes the override
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_ALREADY_STARTED
///     if the thread has been started
///
/// \blocks never
/// \threadsafety any thread
/// \python a subclass with its own `run()`
/// \since 0.1.0
/// \sa threading_thread_run, threading_thread_new
///
/// # Safety
/// `run` accepts the thread's argument.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_thread_set_run(
    thread: *mut threading_thread,
    run: threading_run,
) -> threading_status {
    // SAFETY: both function types take the same arguments; only the name of the thread's pointer type differs.
    let run = unsafe { core::mem::transmute::<threading_run, Option<Run>>(run) };
    // SAFETY: guaranteed by the caller.
    status(|| unsafe { from_ptr(thread).set_run(run) })
}

/// Calls `target(arg)`, as a thread does whose run function is not overridden.
///
/// It is meant for use in an override. Elsewhere, it calls the target in the calling thread and does
/// not start the thread.
///
/// \param thread the thread
/// \return the value that the target returned; NULL if there is no target; NULL with
///     THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks while the target runs
/// \threadsafety any thread, as far as the target allows it
/// \python `threading.Thread.run(thread)`
/// \since 0.1.0
/// \sa threading_thread_set_run
#[unsafe(no_mangle)]
pub extern "C-unwind" fn threading_thread_run(thread: *mut threading_thread) -> *mut c_void {
    // The target may call pthread_exit, which must not unwind through a panic boundary: it is called outside of it.
    match ffi_panic_boundary(|| from_ptr(thread).target_call()) {
        // SAFETY: the creator of the thread guarantees that the target accepts the argument.
        Ok(call) => unsafe { call.run() },
        Err(error) => value_or_default(|| Err(error)),
    }
}

/// Starts a thread. A thread can be started only once.
///
/// When the call returns, the thread is alive, is listed by threading_enumerate(), and has its name and
/// its ident, but it may not have begun to run yet. It holds a reference to itself until it ends.
///
/// \param thread the thread
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_ALREADY_STARTED
///     if the thread has been started, even if it has ended, and for the main thread and dummy threads;
///     THREADING_ERR_SHUTDOWN after threading_shutdown(); THREADING_ERR_SYSTEM if the system cannot
///     create a thread, or THREADING_ERR_NO_MEMORY if there is not enough memory, in which case nothing
///     has changed and the call may be repeated
///
/// \blocks never
/// \threadsafety any thread
/// \python `thread.start()`
/// \since 0.1.0
/// \sa threading_thread_new, threading_thread_join, threading_thread_is_alive
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_start(thread: *mut threading_thread) -> threading_status {
    status(|| from_ptr(thread).start())
}

/// Waits until a thread has ended.
///
/// A thread may be joined any number of times, and by any number of threads. The call waits for the end
/// of the system thread, so that destructors of pthread keys and of C++ thread_local objects have run.
/// The system thread is detached; pthread_join() and pthread_detach() fail with EINVAL for it. Joining
/// a timer waits for the end of its function or for its cancellation. Joining the main thread waits for
/// the shutdown sequence at process exit.
///
/// \param thread the thread
/// \return THREADING_OK if the thread has ended; THREADING_ERR_HANDLE if the handle is invalid;
///     THREADING_ERR_NOT_JOINABLE if it is a dummy thread; THREADING_ERR_NOT_STARTED if it has not been
///     started; THREADING_ERR_DEADLOCK if it is the calling thread
///
/// \blocks until the thread has ended
/// \threadsafety any thread, except the thread to be joined
/// \python `thread.join()`
/// \since 0.1.0
/// \sa threading_thread_join_timeout, threading_thread_is_alive, threading_thread_result
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_join(thread: *mut threading_thread) -> threading_status {
    status(|| from_ptr(thread).join(Timeout::FOREVER).map(drop))
}

/// Waits until a thread has ended or the timeout expires. Otherwise, it is like
/// threading_thread_join().
///
/// \param thread the thread
/// \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely, 0 does not wait
/// \return THREADING_OK if the thread has ended; THREADING_TIMED_OUT if the timeout expired;
///     THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if
///     `seconds` is out of range; THREADING_ERR_NOT_JOINABLE if it is a dummy thread;
///     THREADING_ERR_NOT_STARTED if it has not been started; THREADING_ERR_DEADLOCK if it is the
///     calling thread
///
/// \blocks until the thread has ended or the timeout expires
/// \threadsafety any thread, except the thread to be joined
/// \python `thread.join(seconds)`, then `thread.is_alive()`
/// \since 0.1.0
/// \sa threading_thread_join, threading_thread_is_alive, threading_thread_result
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_join_timeout(
    thread: *mut threading_thread,
    seconds: f64,
) -> threading_status {
    status_or(THREADING_TIMED_OUT, || {
        let thread = from_ptr(thread);
        thread.join(thread.or_handle_error(Timeout::new(seconds))?)
    })
}

/// Returns whether a thread has been started and has not ended. A pending timer is alive.
///
/// \param thread the thread
/// \return true if the thread is alive, false if it is not; false with THREADING_ERR_HANDLE if the
///     handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python `thread.is_alive()`
/// \since 0.1.0
/// \sa threading_thread_start, threading_thread_join, threading_enumerate
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_is_alive(thread: *mut threading_thread) -> bool {
    value_or_default(|| from_ptr(thread).is_alive())
}

/// Returns the ident of a thread, a number that is never reused in the process.
///
/// \param thread the thread
/// \return the ident, even after the end of the thread; 0 before its start; 0 with THREADING_ERR_HANDLE
///     if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python `thread.ident`
/// \since 0.1.0
/// \sa threading_get_ident, threading_thread_native_id
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_ident(thread: *mut threading_thread) -> u64 {
    value_or_default(|| from_ptr(thread).ident())
}

/// Returns the ID that the kernel has assigned to a thread. For a timer, it is that of the system
/// thread that runs its function.
///
/// \param thread the thread
/// \return the native ID, even after the end of the thread; 0 before its start, and for a timer before
///     its function runs; 0 with THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks until the thread has begun to run, if it has just been started
/// \threadsafety any thread
/// \python `thread.native_id`
/// \since 0.1.0
/// \sa threading_get_native_id, threading_thread_ident
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_native_id(thread: *mut threading_thread) -> u64 {
    value_or_default(|| from_ptr(thread).native_id())
}

/// Returns the result of a thread, which is the value that its run function returned.
///
/// If the thread called pthread_exit(), the result is the value that was passed to it or, for a timer,
/// NULL. If the thread was cancelled by pthread_cancel(), the result is PTHREAD_CANCELED.
///
/// \param thread the thread
/// \return the result; NULL before the end of the thread; NULL with THREADING_ERR_HANDLE if the handle
///     is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_thread_join, threading_thread_run
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_result(thread: *mut threading_thread) -> *mut c_void {
    value_or_default(|| from_ptr(thread).result())
}

/// Returns the argument that was passed to threading_thread_new() or threading_timer_new().
///
/// \param thread the thread
/// \return the argument, even after its destructor has been called; NULL with THREADING_ERR_HANDLE if
///     the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_thread_new, threading_thread_set_arg_destructor
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_arg(thread: *mut threading_thread) -> *mut c_void {
    value_or_default(|| from_ptr(thread).arg())
}
