//! Timer
//!
//! A timer is a thread whose function runs after a delay, unless it is cancelled before. While it waits it is alive, is enumerated and keeps the process
//! from leaving as any thread does, but it costs no system thread. Functions run on a few system threads that all timers share; one that
//! blocks delays no other.

use core::ffi::c_void;

use super::status::{THREADING_TOO_LATE, threading_status};
use super::types::{threading_target, threading_thread, threading_timer};
use super::{handle, object, outcome, status, value};
use crate::Timer;
use crate::handle::Handle;

/// Makes a timer that will call function(arg) after the interval.
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_new(
    interval: f64,
    function: threading_target,
    arg: *mut c_void,
) -> *mut threading_timer {
    handle(|| Handle::<Timer>::new(interval, function, arg))
}

/// Takes one more reference.
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_ref(timer: *mut threading_timer) -> *mut threading_timer {
    handle(|| object(timer).add_ref())
}

/// Gives one reference back. A timer that was started goes on.
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_free(timer: *mut threading_timer) -> threading_status {
    status(|| object(timer).free())
}

/// The thread that the timer is.
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_thread(timer: *mut threading_timer) -> *mut threading_thread {
    handle(|| object(timer).thread())
}

/// Starts the timer.
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_start(timer: *mut threading_timer) -> threading_status {
    status(|| object(timer).start())
}

/// Sees to it that the function will never run.
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_cancel(timer: *mut threading_timer) -> threading_status {
    outcome(THREADING_TOO_LATE, || object(timer).cancel())
}

/// Tells the timer's interval in seconds.
#[unsafe(no_mangle)]
pub extern "C" fn threading_timer_interval(timer: *mut threading_timer) -> f64 {
    value(|| object(timer).interval())
}
