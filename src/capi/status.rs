//! Status and errors
//!
//! What a call answers, and what went wrong.
//!
//! A function that has no other result returns a threading_status: 0 is success; above 0 is an outcome
//! that is no error; below 0 is an error, after which, unless it is said otherwise, nothing has
//! changed. The numbers are never reused.
//!
//! The last error. Each thread has one, as with errno: it describes the thread's latest call that ended
//! in an error, be that a negative status or the bad answer of a function without status. Outcomes and
//! successes leave it alone. "NULL with THREADING_ERR_X" means that the function returns NULL, and that
//! the last error is X.
//!
//! errno is not used. No function changes it, whether it succeeds, times out or fails. A value that a
//! callback stores in errno of the calling thread stays there.
//!
//! Each function names the statuses that it gives. Besides those, any may give THREADING_ERR_INTERNAL,
//! a defect of this library.
//!
//! An outcome and an error:
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

use crate::error::Error;
use crate::sys::tls;

/// What a function answers.
pub type threading_status = i32;

/// Done.
pub const THREADING_OK: threading_status = 0;
/// The time ran out (`False`).
pub const THREADING_TIMED_OUT: threading_status = 1;
/// A try_ call found it taken (`False`).
pub const THREADING_WOULD_BLOCK: threading_status = 2;
/// This thread has no such value (`AttributeError`).
pub const THREADING_NO_VALUE: threading_status = 3;
/// The timer's function has already begun.
pub const THREADING_TOO_LATE: threading_status = 4;
/// The handle is NULL, freed, of another kind, or no handle.
pub const THREADING_ERR_HANDLE: threading_status = -1;
/// An argument is out of its range (`ValueError`).
pub const THREADING_ERR_VALUE: threading_status = -2;
/// A timeout over THREADING_TIMEOUT_MAX, a count past its maximum (`OverflowError`).
pub const THREADING_ERR_OVERFLOW: threading_status = -3;
/// Release of an unlocked lock (`RuntimeError`).
pub const THREADING_ERR_NOT_ACQUIRED: threading_status = -4;
/// The caller does not hold it, or nobody does (`RuntimeError`).
pub const THREADING_ERR_NOT_OWNER: threading_status = -5;
/// A bounded semaphore was released too many times (`ValueError`).
pub const THREADING_ERR_OVER_RELEASED: threading_status = -6;
/// A thread can only be started once, and set up before that (`RuntimeError`).
pub const THREADING_ERR_ALREADY_STARTED: threading_status = -7;
/// A thread cannot be joined before it is started (`RuntimeError`).
pub const THREADING_ERR_NOT_STARTED: threading_status = -8;
/// The call could never return (`RuntimeError`).
pub const THREADING_ERR_DEADLOCK: threading_status = -9;
/// A dummy thread cannot be joined (`RuntimeError`).
pub const THREADING_ERR_NOT_JOINABLE: threading_status = -10;
/// The barrier is broken (`BrokenBarrierError`).
pub const THREADING_ERR_BROKEN_BARRIER: threading_status = -11;
/// The caller's own callback reported failure.
pub const THREADING_ERR_CALLBACK: threading_status = -12;
/// Threads are blocked on it.
pub const THREADING_ERR_BUSY: threading_status = -13;
/// Out of memory (`MemoryError`).
pub const THREADING_ERR_NO_MEMORY: threading_status = -14;
/// The system refused (`RuntimeError: can't start new thread`).
pub const THREADING_ERR_SYSTEM: threading_status = -15;
/// The process is past threading_shutdown().
pub const THREADING_ERR_SHUTDOWN: threading_status = -16;
/// A defect of this library, caught at its boundary.
pub const THREADING_ERR_INTERNAL: threading_status = -17;

/// Every status, with its identifier and its sentence.
const TABLE: [(threading_status, &CStr, &CStr); 22] = [
    (THREADING_OK, c"THREADING_OK", c"done"),
    (THREADING_TIMED_OUT, c"THREADING_TIMED_OUT", c"the time ran out"),
    (THREADING_WOULD_BLOCK, c"THREADING_WOULD_BLOCK", c"it is taken, and the call does not wait"),
    (THREADING_NO_VALUE, c"THREADING_NO_VALUE", c"this thread has no such value"),
    (THREADING_TOO_LATE, c"THREADING_TOO_LATE", c"the timer's function has already begun"),
    (
        THREADING_ERR_HANDLE,
        c"THREADING_ERR_HANDLE",
        c"the handle is NULL, freed, of another kind, or no handle",
    ),
    (THREADING_ERR_VALUE, c"THREADING_ERR_VALUE", c"an argument is out of its range"),
    (THREADING_ERR_OVERFLOW, c"THREADING_ERR_OVERFLOW", c"a timeout or a count is above its maximum"),
    (THREADING_ERR_NOT_ACQUIRED, c"THREADING_ERR_NOT_ACQUIRED", c"release of an unlocked lock"),
    (THREADING_ERR_NOT_OWNER, c"THREADING_ERR_NOT_OWNER", c"the caller does not hold it"),
    (THREADING_ERR_OVER_RELEASED, c"THREADING_ERR_OVER_RELEASED", c"semaphore released too many times"),
    (
        THREADING_ERR_ALREADY_STARTED,
        c"THREADING_ERR_ALREADY_STARTED",
        c"threads can only be started once, and set up before that",
    ),
    (THREADING_ERR_NOT_STARTED, c"THREADING_ERR_NOT_STARTED", c"cannot join a thread before it is started"),
    (THREADING_ERR_DEADLOCK, c"THREADING_ERR_DEADLOCK", c"the call could never return"),
    (THREADING_ERR_NOT_JOINABLE, c"THREADING_ERR_NOT_JOINABLE", c"cannot join a dummy thread"),
    (THREADING_ERR_BROKEN_BARRIER, c"THREADING_ERR_BROKEN_BARRIER", c"the barrier is broken"),
    (THREADING_ERR_CALLBACK, c"THREADING_ERR_CALLBACK", c"the callback reported failure"),
    (THREADING_ERR_BUSY, c"THREADING_ERR_BUSY", c"threads are blocked on it"),
    (THREADING_ERR_NO_MEMORY, c"THREADING_ERR_NO_MEMORY", c"out of memory"),
    (THREADING_ERR_SYSTEM, c"THREADING_ERR_SYSTEM", c"the system refused"),
    (THREADING_ERR_SHUTDOWN, c"THREADING_ERR_SHUTDOWN", c"the process is past threading_shutdown"),
    (THREADING_ERR_INTERNAL, c"THREADING_ERR_INTERNAL", c"a defect of this library, caught at its boundary"),
];

fn known(status: i32) -> Option<&'static (threading_status, &'static CStr, &'static CStr)> {
    TABLE.iter().find(|row| row.0 == status)
}

/// Tells the identifier of a status, such as "THREADING_TIMED_OUT".
///
/// \param status any number
/// \return a static string, "unknown status" for a number that is none
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_status_name(status: i32) -> *const c_char {
    known(status).map_or(c"unknown status", |row| row.1).as_ptr()
}

/// Tells what a status means, in a sentence without its full stop.
///
/// \param status any number
/// \return a static string, "a number that is no status" for one that is none
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_status_message(status: i32) -> *const c_char {
    known(status).map_or(c"a number that is no status", |row| row.2).as_ptr()
}

fn last_error() -> Option<Error> {
    Error::from_number(tls::with(|mine| mine.error.get()))
}

/// Tells the status of the calling thread's latest call that ended in an error.
///
/// \return a negative status; THREADING_OK if there was none, or none since
///         threading_clear_last_error()
///
/// Blocks: never. Thread safety: any thread; each has its own. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_last_error() -> threading_status {
    last_error().map_or(THREADING_OK, Error::status)
}

/// Tells what went wrong in the calling thread's latest call that ended in an error.
///
/// It may be more exact than the status's own sentence: which argument was wrong, and why.
///
/// \return a static string; "" where threading_last_error() tells THREADING_OK
///
/// Blocks: never. Thread safety: any thread; each has its own. Python: the text of the exception. Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_last_error_message() -> *const c_char {
    last_error().map_or(c"", Error::message).as_ptr()
}

/// Forgets the calling thread's last error: sets it to THREADING_OK and "".
///
/// Blocks: never. Thread safety: any thread; each has its own. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_clear_last_error() {
    tls::with(|mine| mine.error.set(0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capi::failed;

    #[test]
    fn the_last_error_stays_until_the_next_or_until_it_is_cleared() {
        threading_clear_last_error();
        assert_eq!(threading_last_error(), THREADING_OK);
        assert_eq!(failed(Error::Busy), THREADING_ERR_BUSY);
        assert_eq!(threading_last_error(), THREADING_ERR_BUSY);
        threading_clear_last_error();
        assert_eq!(threading_last_error(), THREADING_OK);
    }
}
