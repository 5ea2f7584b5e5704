//! Thread
//!
//! A thread calls its target when it is started, and ends when the target returns. It has a name, an
//! identifier (its ident), which is never reused, and a result, which is the value that the target
//! returned. A running thread holds a reference to itself, so its handle may be freed at any time.
//!
//! The process does not exit before all non-daemon threads have ended, but it does not wait for daemon
//! threads. A new thread is a daemon thread if the thread that creates it is one; a thread that is
//! created by a foreign thread is not. The daemon flag, the stack size, the argument destructor and the
//! override of run must be set before the start. Setting them later fails with
//! THREADING_ERR_ALREADY_STARTED; for the main thread and for dummy threads, setting them always fails
//! in this way.
//!
//! The argument is passed to the target unchanged, and must stay valid as long as the thread uses it.
//! If nothing else keeps the argument valid, allocate it and set a destructor with
//! threading_thread_set_arg_destructor(). Do not pass the address of a loop variable.
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

// The file exceeds 400 lines because it contains the documentation of a whole section of the header.

use core::ffi::{c_char, c_int, c_void};

use crate::capi::status::{THREADING_TIMED_OUT, threading_status};
use crate::capi::types::{threading_destructor, threading_run, threading_target, threading_thread};
use crate::capi::utils::cstr_arg;
use crate::capi::{
    ffi_panic_boundary, from_ptr, handle_or_null, status, status_or, value_of, value_or_default,
};
use crate::handle::Handle;
use crate::time::Timeout;
use crate::{Run, Thread};

/// Creates a thread that will call `target(arg)`. It does not use a system thread until it is started.
///
/// Its name is `Thread-N` unless another name is set. The number N is assigned when the name is first
/// queried or the thread is started, whichever is first; a thread that has been given a name before
/// then does not use a number. The thread is a daemon thread if the calling thread is one, but not if
/// the calling thread is a foreign thread.
///
/// \param target the function to call; if it is NULL, the thread ends immediately
/// \param arg the argument of the target, which the caller must keep valid; see
///     threading_thread_set_arg_destructor()
/// \return the new thread, owned by the caller; NULL with THREADING_ERR_NO_MEMORY if there is not
///     enough memory, in which case `arg` is not used
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.Thread(target=target, args=(arg,))`
/// \since 0.1.0
/// \sa threading_thread_start, threading_thread_join, threading_thread_free,
///     threading_thread_set_arg_destructor, threading_thread_set_name, threading_thread_set_daemon
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
/// The name is copied. A previous name that threading_thread_name() has returned is kept until the
/// thread is destroyed; other previous names are freed. System tools such as ps and debuggers show the
/// first 15 bytes of the name, cut at a character boundary. For the main thread and for timers, the
/// name that these tools show does not change.
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
/// \param daemon 0 for a non-daemon thread, for which the process waits at exit; any other number for a
///     daemon thread
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_ALREADY_STARTED
///     if the thread has been started, or is the main thread or a dummy thread
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

/// Returns whether a thread is a daemon thread. Dummy threads are daemon threads; the main thread is
/// not.
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
/// For a timer's thread, the size has no effect, because its function runs on the stack of a system
/// thread that timers share. If the program has a large amount of static thread-local storage, which is
/// placed on each stack, its size is added.
///
/// \param thread the thread
/// \param bytes the size in bytes, at least 32768, or the system's minimum if that is larger; 0 selects
///     the size that is set with threading_set_stack_size()
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE if the size
///     is too small; THREADING_ERR_ALREADY_STARTED if the thread has been started, or is the main
///     thread or a dummy thread
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
/// run and before a join returns, or by the call after which the thread can never run, which is the
/// last `_free` of a thread that was not started, or the cancellation of a timer. A start that fails
/// does not call the destructor, nor is it called for a daemon thread that is still running when the
/// process exits.
///
/// A timer that is cancelled before its start can still be configured. If the cancellation has
/// destroyed the argument, a destructor that is set afterwards is never called. If the cancellation had
/// no destructor to call, a destructor that is set afterwards is called by the start or by the last
/// `_free`.
///
/// \param thread the thread
/// \param destroy the destructor; if it is NULL, nothing is called
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_ALREADY_STARTED
///     if the thread has been started, or is the main thread or a dummy thread
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_thread_new, threading_thread_arg, threading_timer_cancel, threading_destructor
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
///     if the thread has been started, or is the main thread or a dummy thread
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

/// Calls the target of a thread with its argument, which is what a thread does if its run function is
/// not overridden.
///
/// It is meant to be called by a function that overrides the run function; see
/// threading_thread_set_run(). Wherever it is called, it calls the target in the calling thread and
/// does not start a thread.
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
        Err(error) => value_of(Err(error)),
    }
}

/// Starts a thread. A thread can be started only once.
///
/// When the call returns, the thread is alive, is listed by threading_enumerate(), and has its name and
/// its ident, but it may not have begun to run yet. It holds a reference to itself until it ends.
///
/// \param thread the thread
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_ALREADY_STARTED
///     if the thread has been started, even if it has ended, or is the main thread or a dummy thread;
///     THREADING_ERR_SHUTDOWN if the shutdown sequence of the process is complete; THREADING_ERR_SYSTEM
///     if the system cannot create a thread or a pthread key, or THREADING_ERR_NO_MEMORY if there is
///     not enough memory, in which cases nothing has changed and the call may be repeated
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
/// Do not join or detach the system thread by other means: pthread_join() and pthread_detach() fail
/// with EINVAL. Joining a timer's thread waits for the end of its function or for its cancellation.
/// Joining the main thread waits until process exit or threading_shutdown() has called the functions
/// that were registered with threading_atexit(). If two threads join each other without a timeout, at
/// least one of the joins fails with THREADING_ERR_DEADLOCK. Longer cycles do not fail, but dumps show
/// them, and a hang hook reports them.
///
/// \param thread the thread
/// \return THREADING_OK if the thread has ended; THREADING_ERR_HANDLE if the handle is invalid;
///     THREADING_ERR_NOT_JOINABLE if it is a dummy thread; THREADING_ERR_NOT_STARTED if it has not been
///     started; THREADING_ERR_DEADLOCK if it is the calling thread, if it joins the calling thread, or
///     if it is the thread of a timer whose argument the calling thread is destroying
///
/// \blocks until the thread has ended
/// \threadsafety any thread, except the thread to be joined
/// \python `thread.join()`
/// \since 0.1.0
/// \sa threading_thread_join_timeout, threading_thread_is_alive, threading_thread_result,
///     threading_set_hang_hook
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_join(thread: *mut threading_thread) -> threading_status {
    status(|| from_ptr(thread).join(Timeout::FOREVER).map(drop))
}

/// Waits until a thread has ended or the timeout expires. In all other respects, the function is like
/// threading_thread_join().
///
/// \param thread the thread
/// \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely, 0 does not wait
/// \return THREADING_OK if the thread has ended; THREADING_TIMED_OUT if the timeout expired;
///     THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if
///     `seconds` is out of range; THREADING_ERR_NOT_JOINABLE if it is a dummy thread;
///     THREADING_ERR_NOT_STARTED if it has not been started; THREADING_ERR_DEADLOCK as in
///     threading_thread_join()
///
/// \blocks until the thread has ended or the timeout expires
/// \threadsafety any thread, except the thread to be joined
/// \python `thread.join(seconds)`, then `not thread.is_alive()`
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

/// Returns the identifier (ident) of a thread, a number that is never reused in the process.
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

/// Returns the ID that the kernel has assigned to a thread. For a timer's thread, it is the ID of the
/// system thread that runs the timer's function.
///
/// \param thread the thread
/// \return the native ID, even after the end of the thread; 0 before its start, and for a timer's
///     thread before the function runs; 0 with THREADING_ERR_HANDLE if the handle is invalid
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

/// Returns the result of a thread, which is the value that its target, or the function that overrides
/// its run function, returned.
///
/// If the thread called pthread_exit(), the result is the value that was passed to pthread_exit() or,
/// for a timer, NULL. If the thread was cancelled by pthread_cancel(), the result is PTHREAD_CANCELED.
/// When the first thread ends in one of these ways, the library finds out where libc keeps such
/// values, by a thread that it starts. As long as the system does not permit that, the result is NULL.
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

/// Returns the argument of a thread, which was passed to threading_thread_new() or
/// threading_timer_new().
///
/// \param thread the thread
/// \return the argument, even after its destructor has been called; NULL for the main thread and dummy
///     threads; NULL with THREADING_ERR_HANDLE if the handle is invalid
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
