//! Timer
//!
//! A timer is a thread whose function runs after a delay, unless the timer is cancelled first. A timer
//! is pending from its start until its function begins or the timer is cancelled. As in Python, a
//! pending timer is alive, is listed by threading_enumerate() and keeps the process from exiting,
//! unless its thread is a daemon thread. A pending timer does not use a system thread: the functions
//! run on a few system threads that all timers share and that are never listed. A function that blocks
//! does not delay other timers.
//!
//! threading_timer_thread() returns the timer's thread, on which all functions for threads work: name,
//! daemon flag, join, result and the others. Inside the function, threading_current_thread() returns
//! the timer's thread, an RLock that the function acquires belongs to the timer, and locals have
//! separate values for the timer, which are destroyed when the function has returned. `__thread`
//! variables and the values of pthread keys, in contrast, belong to the system thread and outlive the
//! timer. A timer runs once and cannot be restarted.
//!
//! The functions of all timers begin in the same state, no matter which thread created or started the
//! timer. The signal mask, CPU affinity, scheduling policy, priority and nice value are those that the
//! main thread had when the library was loaded. There is no alternate signal stack. The name of the
//! system thread is threading-timer. The floating-point environment is the default one, with no
//! exception flag set and no exception trapped. The thread's locale is the global one. Cancellation is
//! enabled, deferred and not requested. errno is 0. In Python, by contrast, a timer's thread inherits
//! its state from the thread that starts it.
//!
//! If a function, or a destructor that is called after it, changes this state, the library undoes the
//! change before the next function begins. There is one exception: a function that has never changed
//! the signal mask, affinity, scheduling, signal stack or name in at least 64 runs is checked less
//! often. If it then changes one of them while other timers are due, their functions may begin with the
//! changed state for about 20 microseconds. If the system does not allow a thread to undo a change,
//! such as a change of the nice value by an unprivileged user, the next function runs on another system
//! thread. All other state that the system keeps for a thread, such as its capabilities and its timer
//! slack, is shared with later functions.
//!
//! A function begins only while another system thread is available to take over if the function blocks.
//! If that thread cannot be created, functions are delayed by up to one second, during which the
//! library retries. After that they run without it, and a function that blocks delays the others until
//! a thread can be created.
//!
//! Calling a function after a delay:
//!     static void *remind(void *text)
//!     {
//!         return puts(text) < 0 ? NULL : text;
//!     }
//!     static bool remind_me(char *text, double seconds)
//!     {
//!         threading_timer *timer = threading_timer_new(seconds, remind, text);
//!         bool started = threading_timer_start(timer) == THREADING_OK;
//!         return threading_timer_free(timer) == THREADING_OK && started; // the timer continues
//!     }

use core::ffi::c_void;

use crate::Timer;
use crate::capi::status::{THREADING_TOO_LATE, threading_status};
use crate::capi::types::{threading_target, threading_thread, threading_timer};
use crate::capi::{from_ptr, handle_or_null, status, status_or, value_or_default};
use crate::handle::Handle;

/// Creates a timer that will call `function(arg)` when the interval has passed after its start.
///
/// Its name and its daemon flag are set as by threading_thread_new(). The interval is not a timeout and
/// has different rules: with zero and negative numbers, including THREADING_FOREVER, the function is
/// called immediately after the start; with positive infinity, it is never called, and the timer stays
/// pending until it is cancelled.
///
/// \param interval the interval in seconds
/// \param function the function to call; if it is NULL, nothing is called
/// \param arg the argument of the function, which the caller must keep valid; see
///     threading_thread_set_arg_destructor()
/// \return the new timer, owned by the caller; NULL with THREADING_ERR_VALUE if the interval is NaN;
///     NULL with THREADING_ERR_OVERFLOW if it is finite and above THREADING_TIMEOUT_MAX; NULL with
///     THREADING_ERR_NO_MEMORY if there is not enough memory
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.Timer(interval, function, args=(arg,))`
/// \since 0.1.0
/// \sa threading_timer_start, threading_timer_cancel, threading_timer_thread, threading_timer_free
///
/// # Safety
/// `function` accepts `arg`, which stays valid until the timer has used it.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_timer_new(
    interval: f64,
    function: threading_target,
    arg: *mut c_void,
) -> *mut threading_timer {
    // SAFETY: guaranteed by the caller.
    handle_or_null(|| unsafe { Handle::<Timer>::new(interval, function, arg) })
}

/// Adds a reference to a timer.
///
/// \param timer the timer
/// \return the same handle, with one more reference owned by the caller; NULL with THREADING_ERR_HANDLE
///     if the handle is invalid; NULL with THREADING_ERR_OVERFLOW if the object has too many references
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_timer_free
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_ref(timer: *mut threading_timer) -> *mut threading_timer {
    handle_or_null(|| from_ptr(timer).add_ref())
}

/// Releases a reference to a timer. A timer that has been started continues.
///
/// If the timer was never started, releasing the last reference to it calls the destructor of its
/// argument, unless a reference to its thread still exists.
///
/// \param timer the timer
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid, or if all references of the
///     program have been released
///
/// \blocks only while the destructor runs
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_timer_new, threading_timer_ref, threading_timer_cancel
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_free(timer: *mut threading_timer) -> threading_status {
    status(|| from_ptr(timer).free())
}

/// Returns the thread of a timer, on which all functions for threads work.
///
/// \param timer the timer
/// \return the thread, borrowed, and valid as long as the timer's handle; NULL with
///     THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python none (a `Timer` is a `Thread`)
/// \since 0.1.0
/// \sa threading_timer_new, threading_thread_join, threading_thread_set_daemon,
///     threading_thread_set_arg_destructor
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_thread(timer: *mut threading_timer) -> *mut threading_thread {
    handle_or_null(|| from_ptr(timer).thread())
}

/// Starts a timer and its interval. A timer can be started only once.
///
/// threading_thread_start() on the timer's thread does the same. A timer that has been cancelled before
/// can still be started; it then ends immediately, without calling its function. The state in which the
/// function begins does not depend on the thread that starts the timer.
///
/// \param timer the timer
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_ALREADY_STARTED
///     if the timer has been started; THREADING_ERR_SHUTDOWN if the shutdown sequence of the process is
///     complete; THREADING_ERR_SYSTEM if the system cannot create a thread or a pthread key for the
///     library, or THREADING_ERR_NO_MEMORY if there is not enough memory, in which cases nothing has
///     changed and the call may be repeated
///
/// \blocks only while the destructor of the argument runs, if the timer was cancelled before its start
/// \threadsafety any thread
/// \python `timer.start()`
/// \since 0.1.0
/// \sa threading_timer_new, threading_timer_cancel
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_start(timer: *mut threading_timer) -> threading_status {
    status(|| from_ptr(timer).start())
}

/// Cancels a timer, so that its function will never run. A pending timer ends.
///
/// If a destructor has been set for the argument, the calling thread calls it, and the timer ends when
/// the destructor has returned. Inside the destructor, joining the timer's thread fails with
/// THREADING_ERR_DEADLOCK, and exit() and threading_shutdown() do not wait for the timer. The call does
/// not wait for a function that has begun; join the timer's thread for that.
///
/// \param timer the timer
/// \return THREADING_OK if the function will never run, because of this or an earlier cancellation;
///     THREADING_TOO_LATE if it has begun or has run; THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks only while the destructor runs
/// \threadsafety any thread, including the timer's own function
/// \python `timer.cancel()`
/// \since 0.1.0
/// \sa threading_timer_start, threading_timer_thread, threading_thread_join
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_cancel(timer: *mut threading_timer) -> threading_status {
    status_or(THREADING_TOO_LATE, || from_ptr(timer).cancel())
}

/// Returns the interval of a timer.
///
/// \param timer the timer
/// \return the interval in seconds, as it was passed to threading_timer_new(); 0 with
///     THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python `timer.interval`
/// \since 0.1.0
/// \sa threading_timer_new
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_interval(timer: *mut threading_timer) -> f64 {
    value_or_default(|| from_ptr(timer).interval())
}
