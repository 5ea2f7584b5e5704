//! What can go wrong, in one table: each error with its status in the C API and its sentence.
//!
//! Outcomes that are no errors (a time that ran out, a lock that was taken) are `Ok(false)` in Rust and
//! a status above zero in C.

use core::ffi::CStr;

/// The result of everything that can fail.
pub type Result<T = ()> = core::result::Result<T, Error>;

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $status:literal, $message:literal;)*) => {
        /// Why a call failed. After an error nothing has changed, unless the call's documentation says otherwise.
        ///
        /// Several errors can have the same [`status`](Error::status), which is that of the C API; they differ in their
        /// [`message`](Error::message). Outcomes that are expected, such as a timeout, are not errors.
        ///
        /// ```
        /// use threading::{Error, Semaphore};
        ///
        /// let error = Semaphore::new(-1).unwrap_err();
        /// assert_eq!(error, Error::SemaphoreNegative);
        /// assert_eq!(error.to_string(), "a semaphore's initial value must be >= 0");
        /// assert_eq!(error.status(), Error::TimeoutNan.status());
        /// ```
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        #[non_exhaustive]
        pub enum Error { $($(#[$doc])* #[doc = $message] $name,)* }

        impl Error {
            const ALL: &'static [Error] = &[$(Error::$name),*];

            /// The negative `threading_status` of the C API.
            pub const fn status(self) -> i32 {
                match self { $(Error::$name => $status,)* }
            }

            /// A sentence without its full stop.
            pub const fn message(self) -> &'static CStr {
                const fn text(bytes: &'static str) -> &'static CStr {
                    match CStr::from_bytes_with_nul(bytes.as_bytes()) {
                        Ok(text) => text,
                        Err(_) => panic!("a message with a NUL in it"),
                    }
                }
                match self { $(Error::$name => const { text(concat!($message, "\0")) },)* }
            }
        }
    };
}

errors! {
    Handle = -1, "the handle is NULL, freed, of another kind, or no handle";
    TimeoutNegative = -2, "a timeout must be THREADING_FOREVER or a non-negative number";
    TimeoutNan = -2, "a timeout must be a number, not NaN";
    IntervalNan = -2, "a timer's interval must be a number, not NaN";
    NameEncoding = -2, "a name must be UTF-8 and not NULL";
    StackSize = -2, "the stack size is too small for a thread";
    SemaphoreNegative = -2, "a semaphore's initial value must be >= 0";
    ReleaseCount = -2, "a semaphore's release needs a count of one or more";
    NoParties = -2, "a barrier needs at least one party";
    NoCallback = -2, "the callback must not be NULL";
    NoOutput = -2, "the pointer for the result must not be NULL";
    Index = -2, "the index is out of range";
    TimeoutOverflow = -3, "a timeout must be at most THREADING_TIMEOUT_MAX";
    IntervalOverflow = -3, "a timer's interval must be at most THREADING_TIMEOUT_MAX";
    SemaphoreOverflow = -3, "a semaphore's value can be at most THREADING_SEMAPHORE_MAX";
    ReferenceOverflow = -3, "the handle has too many references";
    WaiterOverflow = -3, "too many threads wait on the object";
    LevelOverflow = -3, "the lock is held too often by its owner";
    NotAcquired = -4, "release of an unlocked lock";
    NotOwner = -5, "the caller does not hold the lock";
    OverReleased = -6, "semaphore released too many times";
    AlreadyStarted = -7, "threads can only be started once, and set up before that";
    NotStarted = -8, "cannot join a thread before it is started";
    JoinSelf = -9, "cannot join the current thread";
    BarrierInAction = -9, "cannot wait on a barrier inside its own action";
    NotJoinable = -10, "cannot join a dummy thread";
    BrokenBarrier = -11, "the barrier is broken";
    Callback = -12, "the callback reported failure";
    Busy = -13, "threads are blocked on the object";
    NoMemory = -14, "out of memory";
    NoThread = -15, "the system refuses to start a thread";
    System = -15, "the system refuses what the library needs from it";
    Shutdown = -16, "the process is past threading_shutdown";
    Internal = -17, "a defect of this library, caught at its boundary";
}

impl Error {
    /// The error with this number in the table: how the per-thread block keeps it, 0 being none.
    pub(crate) fn from_number(number: u32) -> Option<Error> {
        Self::ALL.get((number as usize).wrapping_sub(1)).copied()
    }

    pub(crate) fn number(self) -> u32 {
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
    fn a_number_leads_back_to_its_error() {
        for &error in Error::ALL {
            assert_eq!(Error::from_number(error.number()), Some(error));
            assert!((-17..=-1).contains(&error.status()));
            assert!(!error.message().is_empty());
        }
        assert_eq!(Error::from_number(0), None);
        assert_eq!(Error::from_number(u32::MAX), None);
    }
}
