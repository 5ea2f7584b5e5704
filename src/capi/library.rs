//! Time, memory order, version
//!
//! Timeouts, memory ordering, and the version of the library.
//!
//! Timeouts. A timeout is a number of seconds of type double, measured by the monotonic clock. The same
//! rule applies to all timeouts: THREADING_FOREVER (-1.0) and positive infinity wait indefinitely; 0
//! does not wait; other negative numbers and NaN fail with THREADING_ERR_VALUE; finite numbers above
//! THREADING_TIMEOUT_MAX fail with THREADING_ERR_OVERFLOW. Only the interval of a timer has different
//! rules; see threading_timer_new().
//!
//! Floating point. Timeouts are rounded up to nanoseconds. They are compared and converted by their bit
//! representation: no call raises a floating-point exception or sets an exception flag, not even for a
//! signaling NaN or a subnormal number, and no call depends on the rounding mode.
//!
//! Waits. Waits are not interrupted by signals and have no spurious wakeups. The time that a wait needs
//! to reacquire its lock does not count towards the timeout. Blocking calls are not cancellation points
//! of pthread_cancel(). Blocking functions come in families: `x` blocks, and `x_timeout` blocks for at
//! most the given time. Where Python has `blocking=False`, there is also `try_x`, which never blocks.
//!
//! Memory order. In each of the following pairs, everything that was written before the first event is
//! visible after the second: the start of a thread and the beginning of its run; the end of a thread's
//! run and the return of a join; the release of a lock or a semaphore and the next acquire; the setting
//! of an event and the return of a wait that succeeds because of it; a notification and the return of
//! the wait that it ends; each arrival at a barrier and the return of every wait of that round.
//!
//! Waiting with or without a timeout:
//!     static bool wait_for(threading_event *event, bool forever)
//!     {
//!         double seconds = forever ? THREADING_FOREVER : 0.25;
//!         return threading_event_wait_timeout(event, seconds) == THREADING_OK;
//!     }

use core::ffi::c_char;

/// The timeout of a wait that has no time limit.
pub const THREADING_FOREVER: f64 = -1.0;

/// The longest finite timeout, in seconds (`threading.TIMEOUT_MAX`).
pub const THREADING_TIMEOUT_MAX: f64 = 9223372036.0;

/// The major version of this header.
pub const THREADING_VERSION_MAJOR: i32 = 0;

/// The minor version of this header.
pub const THREADING_VERSION_MINOR: i32 = 1;

/// The patch version of this header.
pub const THREADING_VERSION_PATCH: i32 = 0;

/// Returns the version of the library that is loaded, which may be newer than the header.
///
/// \return a static string, such as "0.1.0"; the version of the header is THREADING_VERSION
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_version_number
#[unsafe(no_mangle)]
pub extern "C" fn threading_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Returns the version of the library that is loaded, as a number.
///
/// \return `major << 16 | minor << 8 | patch`, which is 0x000100 for version 0.1.0
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_version
#[unsafe(no_mangle)]
pub extern "C" fn threading_version_number() -> u32 {
    const PARTS: [i32; 3] = [THREADING_VERSION_MAJOR, THREADING_VERSION_MINOR, THREADING_VERSION_PATCH];
    (PARTS[0] << 16 | PARTS[1] << 8 | PARTS[2]) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_version_is_package_version() {
        let parts = [THREADING_VERSION_MAJOR, THREADING_VERSION_MINOR, THREADING_VERSION_PATCH];
        assert_eq!(parts.map(|part| part.to_string()).join("."), env!("CARGO_PKG_VERSION"));
        assert_eq!(THREADING_FOREVER, crate::FOREVER);
        assert_eq!(THREADING_TIMEOUT_MAX, crate::TIMEOUT_MAX);
    }
}
