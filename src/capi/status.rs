//! Status and errors
//!
//! Status codes and error messages.
//!
//! A function that has no other result returns a threading_status: 0 is success, a positive number is
//! an outcome that is not an error, and a negative number is an error. A call that fails changes
//! nothing, unless its documentation says otherwise. Status numbers are never reused. The list of
//! statuses gives Python's result or exception for the same case in parentheses.
//!
//! Last error. Each thread has a last error, similar to errno. It describes the thread's most recent
//! call that failed, whether the failure was reported by a negative status or by an error value such as
//! NULL. Calls that do not fail, including those that return a positive status, leave it unchanged. In
//! this documentation, "NULL with THREADING_ERR_X" means that the function returns NULL and sets the
//! last error to THREADING_ERR_X; the same applies to "0 with" and "false with". Where NULL, 0 or false
//! can also be a valid result, call threading_clear_last_error() before the function to distinguish the
//! two.
//!
//! Use of errno. The library does not report errors in errno. No function changes errno, whether it
//! succeeds, times out or fails. A value that a callback stores in errno of the calling thread is
//! preserved.
//!
//! Internal errors. The documentation of each function lists the statuses that it returns. In addition,
//! every function may fail with THREADING_ERR_INTERNAL, which indicates a bug in this library.
//!
//! Distinguishing a timeout from an error:
//!     static int use(threading_lock *lock)
//!     {
//!         threading_status status = threading_lock_acquire_timeout(lock, 0.5);
//!         if (status == THREADING_TIMED_OUT)
//!             return 0;
//!         if (status != THREADING_OK) {
//!             const char *message = threading_last_error_message();
//!             fprintf(stderr, "%s: %s\n", threading_status_name(status), message);
//!             return -1;
//!         }
//!         return threading_lock_release(lock) == THREADING_OK ? 1 : -1;
//!     }

use core::ffi::{CStr, c_char};

use crate::error::{Error, nul_terminated};
use crate::sys::tls;

/// A status: 0 for success, positive for an outcome that is not an error, negative for an error.
///
/// \since 0.1.0
/// \sa threading_status_name, threading_status_message
pub type threading_status = i32;

/// Success.
pub const THREADING_OK: threading_status = 0;
/// The timeout expired (`False`).
pub const THREADING_TIMED_OUT: threading_status = 1;
/// The operation would block; only `try_` functions return this status (`False`).
pub const THREADING_WOULD_BLOCK: threading_status = 2;
/// The calling thread has no such value in the local (`AttributeError`).
pub const THREADING_NO_VALUE: threading_status = 3;
/// The timer can no longer be cancelled, because its function has already begun.
pub const THREADING_TOO_LATE: threading_status = 4;
/// The handle is NULL, freed, of another type, or not a handle.
pub const THREADING_ERR_HANDLE: threading_status = -1;
/// An argument is out of range (`ValueError`).
pub const THREADING_ERR_VALUE: threading_status = -2;
/// A timeout is above THREADING_TIMEOUT_MAX, or a count would exceed its maximum (`OverflowError`).
pub const THREADING_ERR_OVERFLOW: threading_status = -3;
/// The lock to be released is not locked (`RuntimeError`).
pub const THREADING_ERR_NOT_ACQUIRED: threading_status = -4;
/// The calling thread does not hold the lock (`RuntimeError`).
pub const THREADING_ERR_NOT_OWNER: threading_status = -5;
/// The release would exceed the initial value of a bounded semaphore (`ValueError`).
pub const THREADING_ERR_OVER_RELEASED: threading_status = -6;
/// The thread has already been started, or is the main thread or a dummy thread (`RuntimeError`).
pub const THREADING_ERR_ALREADY_STARTED: threading_status = -7;
/// The thread to be joined has not been started (`RuntimeError`).
pub const THREADING_ERR_NOT_STARTED: threading_status = -8;
/// The call would never return (`RuntimeError`).
pub const THREADING_ERR_DEADLOCK: threading_status = -9;
/// The thread is a dummy thread, which cannot be joined (`RuntimeError`).
pub const THREADING_ERR_NOT_JOINABLE: threading_status = -10;
/// The barrier is broken (`BrokenBarrierError`).
pub const THREADING_ERR_BROKEN_BARRIER: threading_status = -11;
/// The predicate or the action reported a failure.
pub const THREADING_ERR_CALLBACK: threading_status = -12;
/// Threads are blocked on the object.
pub const THREADING_ERR_BUSY: threading_status = -13;
/// There is not enough memory (`MemoryError`).
pub const THREADING_ERR_NO_MEMORY: threading_status = -14;
/// The system did not provide a resource, such as a new thread (`RuntimeError`).
pub const THREADING_ERR_SYSTEM: threading_status = -15;
/// The shutdown of the process or the end of the calling thread is too far advanced for the call.
pub const THREADING_ERR_SHUTDOWN: threading_status = -16;
/// An internal error of this library occurred and was contained.
pub const THREADING_ERR_INTERNAL: threading_status = -17;

macro_rules! table {
    ($($name:ident: $message:expr;)*) => {
        /// Every status with its name and its message.
        const STATUSES: &[(threading_status, &CStr, &CStr)] =
            &[$(($name, nul_terminated(concat!(stringify!($name), "\0")), $message)),*];
    };
}

// A status that stands for a single error has the message of that error. The others have messages of their own.
table! {
    THREADING_OK: c"success";
    THREADING_TIMED_OUT: c"timeout expired";
    THREADING_WOULD_BLOCK: c"operation would block";
    THREADING_NO_VALUE: c"no such value in the calling thread";
    THREADING_TOO_LATE: c"timer function already started";
    THREADING_ERR_HANDLE: Error::Handle.message();
    THREADING_ERR_VALUE: c"argument out of range";
    THREADING_ERR_OVERFLOW: c"timeout or count above its maximum";
    THREADING_ERR_NOT_ACQUIRED: Error::NotAcquired.message();
    THREADING_ERR_NOT_OWNER: Error::NotOwner.message();
    THREADING_ERR_OVER_RELEASED: Error::OverReleased.message();
    THREADING_ERR_ALREADY_STARTED: Error::AlreadyStarted.message();
    THREADING_ERR_NOT_STARTED: Error::NotStarted.message();
    THREADING_ERR_DEADLOCK: c"call would never return";
    THREADING_ERR_NOT_JOINABLE: Error::NotJoinable.message();
    THREADING_ERR_BROKEN_BARRIER: Error::BrokenBarrier.message();
    THREADING_ERR_CALLBACK: Error::Callback.message();
    THREADING_ERR_BUSY: Error::Busy.message();
    THREADING_ERR_NO_MEMORY: Error::NoMemory.message();
    THREADING_ERR_SYSTEM: Error::System.message();
    THREADING_ERR_SHUTDOWN: Error::Shutdown.message();
    THREADING_ERR_INTERNAL: Error::Internal.message();
}

fn find_status(status: i32) -> Option<&'static (threading_status, &'static CStr, &'static CStr)> {
    STATUSES.iter().find(|row| row.0 == status)
}

/// Returns the name of a status, such as "THREADING_TIMED_OUT".
///
/// \param status the status; any number is allowed
/// \return a static string, which is "unknown status" if the number is not a status
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_status_message
#[unsafe(no_mangle)]
pub extern "C" fn threading_status_name(status: i32) -> *const c_char {
    find_status(status).map_or(c"unknown status", |row| row.1).as_ptr()
}

/// Returns a message that describes a status.
///
/// \param status the status; any number is allowed
/// \return a static string without a final period, which is "unknown status" if the number is not a
///     status
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_status_name, threading_last_error_message
#[unsafe(no_mangle)]
pub extern "C" fn threading_status_message(status: i32) -> *const c_char {
    find_status(status).map_or(c"unknown status", |row| row.2).as_ptr()
}

fn last_error() -> Option<Error> {
    Error::from_index(tls::with(|block| block.error.get()))
}

/// Returns the status of the calling thread's most recent call that failed.
///
/// \return a negative status; THREADING_OK if no call of the thread has failed since its start or since
///     threading_clear_last_error()
///
/// \blocks never
/// \threadsafety any thread; each thread has its own last error
/// \python none
/// \since 0.1.0
/// \sa threading_last_error_message, threading_clear_last_error
#[unsafe(no_mangle)]
pub extern "C" fn threading_last_error() -> threading_status {
    last_error().map_or(THREADING_OK, Error::status)
}

/// Returns a message that describes the calling thread's most recent call that failed.
///
/// The message can be more specific than that of threading_status_message(); for example, it says which
/// argument was invalid.
///
/// \return a static string, which is empty if threading_last_error() returns THREADING_OK
///
/// \blocks never
/// \threadsafety any thread; each thread has its own last error
/// \python the message of the exception
/// \since 0.1.0
/// \sa threading_last_error, threading_clear_last_error, threading_status_message
#[unsafe(no_mangle)]
pub extern "C" fn threading_last_error_message() -> *const c_char {
    last_error().map_or(c"", Error::message).as_ptr()
}

/// Resets the calling thread's last error to THREADING_OK and its message to an empty string.
///
/// \blocks never
/// \threadsafety any thread; each thread has its own last error
/// \python none
/// \since 0.1.0
/// \sa threading_last_error, threading_last_error_message
#[unsafe(no_mangle)]
pub extern "C" fn threading_clear_last_error() {
    tls::with(|block| block.error.set(0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capi::set_last_error;

    #[test]
    fn last_error_is_kept_until_cleared() {
        threading_clear_last_error();
        assert_eq!(threading_last_error(), THREADING_OK);
        assert_eq!(set_last_error(Error::Busy), THREADING_ERR_BUSY);
        assert_eq!(threading_last_error(), THREADING_ERR_BUSY);
        threading_clear_last_error();
        assert_eq!(threading_last_error(), THREADING_OK);
    }
}
