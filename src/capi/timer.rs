//! Timer
//!
//! A timer is a thread whose function runs after a delay, unless it is cancelled before. While it waits
//! it is alive, is enumerated and keeps the process from exiting, as Python's does;
//! threading_thread_set_daemon() on its thread lifts that. But it costs no system thread: functions run
//! on a few system threads that all timers share, and that are never enumerated. A function that blocks
//! delays no other timer.
//!
//! threading_timer_thread() is the thread that the timer is: its name, its daemon flag, join, the
//! result and the rest are that thread's. Inside of the function threading_current_thread() is the
//! timer's thread, an RLock is owned by the timer, and its locals are the timer's own, destroyed when
//! the function has returned. But `__thread` variables and the values of pthread keys are the system
//! thread's, and outlive a timer there. A timer runs once; it cannot be started again.
//!
//! Every function begins in the same state, whichever thread created or started the timer. Signal mask, CPU
//! affinity, scheduling policy, priority and nice value: those of the main thread when the library was loaded.
//! Alternate signal stack: none. Name of the system thread: threading-timer. Floating-point environment: the
//! default, with no exception raised or trapped. Locale of the thread: the global one. Cancellation: enabled,
//! deferred and not requested. errno: 0. In Python a timer's thread inherits from the thread that starts it.
//!
//! What a function, and the destructors called for it, change of this state is put back before the next
//! function begins. There is one limit: a function that has run more than a hundred times, has never changed
//! mask, affinity, scheduling, signal stack or name, and then does, is found out about 20 microseconds later,
//! if more timers are due at the same time. Where the system does not let a thread take a change back, as an
//! ordinary user's thread its nice value, another thread runs the next function. All else that the system
//! keeps for a thread, such as its capabilities or its timer slack, is shared with later functions.
//!
//! A function begins only while another system thread can take over if it blocks. If that thread cannot be
//! created, functions are late by up to a second, during which the library retries; after that they run, and one
//! that blocks delays the others until a thread can be created.
//!
//! A call in a while:
//!     static void *remind(void *text)
//!     {
//!         return puts(text) < 0 ? NULL : text;
//!     }
//!     static bool remind_me(char *text, double seconds)
//!     {
//!         threading_timer *timer = threading_timer_new(seconds, remind, text);
//!         bool started = threading_timer_start(timer) == THREADING_OK;
//!         return threading_timer_free(timer) == THREADING_OK && started; // it keeps itself
//!     }

use core::ffi::c_void;

use crate::Timer;
use crate::capi::status::{THREADING_TOO_LATE, threading_status};
use crate::capi::types::{threading_target, threading_thread, threading_timer};
use crate::capi::{handle, object, outcome, status, value};
use crate::handle::Handle;

/// Makes a timer that will call function(arg) so many seconds after its start.
///
/// It gets its name and its daemon flag as a thread of threading_thread_new() does.
///
/// \param interval in seconds, with a rule of its own: zero and below, THREADING_FOREVER included,
///         fires at once, positive infinity never
/// \param function what to call; NULL calls nothing
/// \param arg its argument, the caller's to keep valid; see threading_thread_set_arg_destructor()
/// \return the timer, owned by the caller; NULL with THREADING_ERR_VALUE (NaN), THREADING_ERR_OVERFLOW
///         (a finite interval over THREADING_TIMEOUT_MAX), THREADING_ERR_NO_MEMORY
///
/// Blocks: never. Thread safety: any thread. Python:
/// `threading.Timer(interval, function, args=(arg,))`. Since 0.1.0.
///
/// # Safety
/// The callbacks take their arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_timer_new(
    interval: f64,
    function: threading_target,
    arg: *mut c_void,
) -> *mut threading_timer {
    // SAFETY: the caller's promise.
    handle(|| unsafe { Handle::<Timer>::new(interval, function, arg) })
}

/// Takes one more reference to a timer.
///
/// \param timer the timer
/// \return the same handle, owned once more; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
///         (too many references)
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_ref(timer: *mut threading_timer) -> *mut threading_timer {
    handle(|| object(timer).add_ref())
}

/// Gives one reference to a timer back. One that was started goes on.
///
/// The last reference to a timer that was never started, and whose thread nobody keeps, calls the
/// argument's destructor.
///
/// \param timer the timer
/// \return THREADING_OK; THREADING_ERR_HANDLE
///
/// Blocks: never, but for the destructor. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_free(timer: *mut threading_timer) -> threading_status {
    status(|| object(timer).free())
}

/// Tells the thread that the timer is, on which every function of a thread works.
///
/// \param timer the timer
/// \return the thread, borrowed, and valid as long as the timer's handle; NULL with
///         THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: none (a `Timer` is a `Thread`). Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_thread(timer: *mut threading_timer) -> *mut threading_thread {
    handle(|| object(timer).thread())
}

/// Starts a timer, once: from now on its interval runs. threading_thread_start() of its thread does the
/// same.
///
/// A timer that was cancelled before is started legally, and ends at once.
///
/// \param timer the timer
/// \return THREADING_OK; THREADING_ERR_HANDLE; THREADING_ERR_ALREADY_STARTED; THREADING_ERR_SHUTDOWN
///         after threading_shutdown(); THREADING_ERR_SYSTEM when the system refuses the library a
///         thread, THREADING_ERR_NO_MEMORY: then nothing has changed, and it may be tried again
///
/// The state in which the function begins does not depend on the thread that starts the timer.
///
/// Blocks: never. Thread safety: any thread. Python: `timer.start()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_start(timer: *mut threading_timer) -> threading_status {
    status(|| object(timer).start())
}

/// Sees to it that the function will never run. A pending timer ends by it.
///
/// The argument's destructor is called here, and the timer ends when that has returned: to join its thread
/// in the destructor is THREADING_ERR_DEADLOCK, and exit() and threading_shutdown() do not wait for the timer
/// there. A cancel does not wait for a function that has begun: join the timer's thread for that.
///
/// \param timer the timer
/// \return THREADING_OK when the function will never run, by this or an earlier cancel;
///         THREADING_TOO_LATE when it has begun or has run; THREADING_ERR_HANDLE
///
/// Blocks: never, but for the destructor. Thread safety: any thread, the timer's own function included.
/// Python: `timer.cancel()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_cancel(timer: *mut threading_timer) -> threading_status {
    outcome(THREADING_TOO_LATE, || object(timer).cancel())
}

/// Tells a timer's interval.
///
/// \param timer the timer
/// \return the seconds as they were given; 0 with THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: `timer.interval`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_interval(timer: *mut threading_timer) -> f64 {
    value(|| object(timer).interval())
}
