//! Library
//!
//! Time is given in seconds, as a double, on the monotonic clock; no signal shortens a wait, and no blocking call is a cancellation point. One rule holds
//! for every timeout: THREADING_FOREVER and positive infinity wait without a limit, other negative numbers and NaN are THREADING_ERR_VALUE, finite
//! numbers above THREADING_TIMEOUT_MAX are THREADING_ERR_OVERFLOW, and 0 tries once. They are checked also when the call need not wait.

use core::ffi::c_char;

/// Waits without a limit.
pub const THREADING_FOREVER: f64 = -1.0;

/// The longest finite timeout, in seconds.
pub const THREADING_TIMEOUT_MAX: f64 = 9223372036.0;

/// The major version of this header.
pub const THREADING_VERSION_MAJOR: i32 = 0;

/// The minor version of this header.
pub const THREADING_VERSION_MINOR: i32 = 1;

/// The patch version of this header.
pub const THREADING_VERSION_PATCH: i32 = 0;

/// Tells the version of the library.
#[unsafe(no_mangle)]
pub extern "C" fn threading_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// Tells the version of the library as a number.
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
