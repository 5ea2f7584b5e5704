//! Time, memory order, version
//!
//! How long a wait is, what a thread sees of what others did, and which library is loaded.
//!
//! Time. It is given in seconds, as a double, on the monotonic clock. One rule holds for every timeout,
//! and is checked also when the call need not wait:
//!
//! THREADING_FOREVER (-1.0) and positive infinity wait without a limit; 0 tries once; other negative
//! numbers and NaN are THREADING_ERR_VALUE; finite numbers above THREADING_TIMEOUT_MAX are
//! THREADING_ERR_OVERFLOW. Only a timer's interval has a rule of its own.
//!
//! Seconds are compared and converted by their bits, and rounded up to nanoseconds. So no call raises a
//! floating-point exception or sets an exception flag, also for a signalling NaN or a subnormal number,
//! and none depends on the rounding mode.
//!
//! No signal shortens a wait, and no wait ends without a reason. The time that a wait needs to get its
//! lock back does not count. No blocking call is a cancellation point of pthread_cancel(). Where
//! waiting is possible there is a family: `x` blocks, `x_timeout` waits so long at most, and `try_x`,
//! where Python has `blocking=False`, never blocks.
//!
//! Memory order. What a thread wrote before one of these, another sees after its counterpart: start of
//! a thread before its run; the end of its run before a join returns; a release before the next
//! acquire; a set before the wait that it ends; a notify before the wait that it ends; each arrival at
//! a barrier before any of that round's waits returns.
//!
//! A limit, or none:
//!     static bool came(threading_event *event, bool patient)
//!     {
//!         double seconds = patient ? THREADING_FOREVER : 0.25;
//!         return threading_event_wait_timeout(event, seconds) == THREADING_OK;
//!     }

use core::ffi::c_char;

/// The timeout that waits without a limit.
pub const THREADING_FOREVER: f64 = -1.0;

/// The longest finite timeout, in seconds. Python: `threading.TIMEOUT_MAX`.
pub const THREADING_TIMEOUT_MAX: f64 = 9223372036.0;

/// The major version of this header.
pub const THREADING_VERSION_MAJOR: i32 = 0;

/// The minor version of this header.
pub const THREADING_VERSION_MINOR: i32 = 1;

/// The patch version of this header.
pub const THREADING_VERSION_PATCH: i32 = 0;

/// Tells the version of the library that is loaded, which may be newer than the header.
///
/// \return a static string, "0.1.0" for version 0.1.0; THREADING_VERSION is the header's
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Tells the version of the library that is loaded, as a number.
///
/// \return `major << 16 | minor << 8 | patch`: 0x000100 for version 0.1.0
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_version_number() -> u32 {
    const PARTS: [i32; 3] = [THREADING_VERSION_MAJOR, THREADING_VERSION_MINOR, THREADING_VERSION_PATCH];
    (PARTS[0] << 16 | PARTS[1] << 8 | PARTS[2]) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_header_tells_the_packages_version() {
        let parts = [THREADING_VERSION_MAJOR, THREADING_VERSION_MINOR, THREADING_VERSION_PATCH];
        assert_eq!(parts.map(|part| part.to_string()).join("."), env!("CARGO_PKG_VERSION"));
        assert_eq!(THREADING_FOREVER, crate::FOREVER);
        assert_eq!(THREADING_TIMEOUT_MAX, crate::TIMEOUT_MAX);
    }
}
