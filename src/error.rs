//! The errors, each with its status in the C API and its message.
//!
//! Outcomes that are not errors, such as an expired timeout or a lock that is not available, are `Ok(false)` in Rust
//! and positive statuses in C.

use core::ffi::CStr;

/// The result of a call that can fail.
pub type Result<T = ()> = core::result::Result<T, Error>;

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $message:literal;)*) => {
        /// The reason why a call failed. A call that fails has changed nothing, unless its documentation says
        /// otherwise.
        ///
        /// Several errors can have the same [`status`](Error::status), which is that of the C API; they differ in their
        /// [`message`](Error::message). Outcomes that are expected, such as a timeout, are not errors.
        ///
        /// ```
        /// use threading::{Error, Semaphore};
        ///
        /// let error = Semaphore::new(-1).unwrap_err();
        /// assert_eq!(error, Error::SemaphoreNegative);
        /// assert_eq!(error.to_string(), "initial value of a semaphore must be >= 0");
        /// assert_eq!(error.status(), Error::TimeoutNan.status());
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Error { $($(#[$doc])* #[doc = $message] $name,)* }

        impl Error {
            const ALL: &'static [Error] = &[$(Error::$name),*];

            /// Returns the negative `threading_status` of the C API.
            pub const fn status(self) -> i32 {
                match self { $(Error::$name => $status,)* }
            }

            /// Returns the message, without a final period.
            pub const fn message(self) -> &'static CStr {
                match self { $(Error::$name => const { nul_terminated(concat!($message, "\0")) },)* }
            }
        }
    };
}

/// Converts a string that ends in NUL, at compile time.
pub(crate) const fn nul_terminated(bytes: &'static str) -> &'static CStr {
    match CStr::from_bytes_with_nul(bytes.as_bytes()) {
        Ok(text) => text,
        Err(_) => panic!("the string does not end in its only NUL"),
    }
}

errors! {
    Handle = -1, "invalid handle";
    TimeoutNegative = -2, "timeout is negative and not THREADING_FOREVER";
    TimeoutNan = -2, "timeout is NaN";
    IntervalNan = -2, "timer interval is NaN";
    NameEncoding = -2, "string is NULL or not valid UTF-8";
    StackSize = -2, "stack size too small";
    SemaphoreNegative = -2, "initial value of a semaphore must be >= 0";
    ReleaseCount = -2, "release count of a semaphore must be one or more";
    NoParties = -2, "number of parties of a barrier must be one or more";
    NoCallback = -2, "callback is NULL";
    NoOutput = -2, "pointer to the result is NULL";
    Index = -2, "index out of range";
    Descriptor = -2, "file descriptor is negative";
    Signal = -2, "signal cannot be caught";
    TimeoutOverflow = -3, "timeout above THREADING_TIMEOUT_MAX";
    IntervalOverflow = -3, "timer interval above THREADING_TIMEOUT_MAX";
    SemaphoreOverflow = -3, "semaphore value above THREADING_SEMAPHORE_MAX";
    ReferenceOverflow = -3, "too many references to the object";
    WaiterOverflow = -3, "too many threads wait for the object";
    RecursionOverflow = -3, "recursion count of the lock at its maximum";
    NotAcquired = -4, "release of an unlocked lock";
    NotOwner = -5, "lock not held by the calling thread";
    OverReleased = -6, "semaphore released too many times";
    AlreadyStarted = -7, "threads can only be started once, and configured only before";
    NotStarted = -8, "cannot join a thread before it is started";
    JoinSelf = -9, "cannot join the current thread";
    BarrierInAction = -9, "cannot wait for a barrier inside its action";
    NotJoinable = -10, "cannot join a dummy thread";
    BrokenBarrier = -11, "broken barrier";
    Callback = -12, "callback failed";
    Busy = -13, "threads are blocked on the object";
    NoMemory = -14, "out of memory";
    NoThread = -15, "cannot create a system thread";
    System = -15, "system resource unavailable";
    Shutdown = -16, "process or thread is shutting down";
    Internal = -17, "internal error of the library";
}

impl Error {
    /// Returns the error at this index of the table, counted from 1. The per-thread block stores the index; 0 is no
    /// error.
    pub(crate) fn from_index(index: u32) -> Option<Error> {
        Self::ALL.get((index as usize).wrapping_sub(1)).copied()
    }

    pub(crate) fn index(self) -> u32 {
        self as u32 + 1
    }
}

impl core::fmt::Display for Error {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(&self.message().to_string_lossy())
    }
}

impl std::error::Error for Error {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_index_round_trip() {
        for &error in Error::ALL {
            assert_eq!(Error::from_index(error.index()), Some(error));
            assert!((-17..=-1).contains(&error.status()));
            assert!(!error.message().is_empty());
        }
        assert_eq!(Error::from_index(0), None);
        assert_eq!(Error::from_index(u32::MAX), None);
    }
}
