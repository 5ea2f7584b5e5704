//! Semaphore
//!
//! A semaphore is a counter that is never below zero: acquire takes one and waits as long as there is
//! none, release gives some back. Any thread may release it. A bounded semaphore refuses to be released
//! above the value with which it was made. Who gets the next one is not defined: a newcomer may be
//! faster than a thread that is just waking up, which then waits on.
//!
//! Release may be called from a signal handler, on systems where threads sleep by futex (Linux, unless
//! the library was built with its portable backend).
//!
//! No more at a time than the semaphore's value:
//!     static bool with_connection(threading_semaphore *connections, void (*use)(void))
//!     {
//!         if (threading_semaphore_acquire_timeout(connections, 5.0) != THREADING_OK)
//!             return false;
//!         use();
//!         return threading_semaphore_release(connections) == THREADING_OK;
//!     }

use crate::capi::status::{THREADING_OK, THREADING_TIMED_OUT, THREADING_WOULD_BLOCK, threading_status};
use crate::capi::types::threading_semaphore;
use crate::capi::{handle, object, outcome, shortcut, status, value};
use crate::handle::Handle;
use crate::semaphore::Semaphore;
use crate::time::Timeout;

/// The highest value of a semaphore.
pub const THREADING_SEMAPHORE_MAX: i32 = 2147483647;

/// Makes a semaphore with this value.
///
/// \param value from 0 to THREADING_SEMAPHORE_MAX
/// \return the semaphore, owned by the caller; NULL with THREADING_ERR_VALUE (below 0),
///         THREADING_ERR_OVERFLOW (above the maximum), THREADING_ERR_NO_MEMORY
///
/// Blocks: never. Thread safety: any thread. Python: `threading.Semaphore(value)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_new(value: i64) -> *mut threading_semaphore {
    handle(|| Handle::<Semaphore>::new(value))
}

/// Makes a semaphore with this value, which it will never exceed.
///
/// \param value from 0 to THREADING_SEMAPHORE_MAX
/// \return the semaphore, owned by the caller; NULL with THREADING_ERR_VALUE (below 0),
///         THREADING_ERR_OVERFLOW (above the maximum), THREADING_ERR_NO_MEMORY
///
/// Blocks: never. Thread safety: any thread. Python: `threading.BoundedSemaphore(value)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_new_bounded(value: i64) -> *mut threading_semaphore {
    handle(|| Handle::<Semaphore>::new_bounded(value))
}

/// Takes one more reference to a semaphore.
///
/// \param semaphore the semaphore
/// \return the same handle, owned once more; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
///         (too many references)
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_ref(semaphore: *mut threading_semaphore) -> *mut threading_semaphore {
    handle(|| object(semaphore).add_ref())
}

/// Gives one reference to a semaphore back. The last one ends its life.
///
/// Waiters for whom something was released do not keep it from that; they return as they should.
///
/// \param semaphore the semaphore
/// \return THREADING_OK; THREADING_ERR_BUSY when it is the last one and threads are blocked on the
///         semaphore; THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_free(semaphore: *mut threading_semaphore) -> threading_status {
    status(|| object(semaphore).free())
}

/// Takes one, and waits as long as there is none.
///
/// \param semaphore the semaphore
/// \return THREADING_OK when the caller has one; THREADING_ERR_HANDLE; THREADING_ERR_OVERFLOW when
///         33554431 threads wait already
///
/// Blocks: until there is one. Thread safety: any thread. Python: `semaphore.acquire()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_acquire(semaphore: *mut threading_semaphore) -> threading_status {
    let semaphore = object(semaphore);
    shortcut(semaphore.acquire_at_once().then_some(THREADING_OK), move || {
        status(|| semaphore.acquire(Timeout::FOREVER).map(drop))
    })
}

/// Takes one if there is one.
///
/// \param semaphore the semaphore
/// \return THREADING_OK when the caller has one; THREADING_WOULD_BLOCK when there is none;
///         THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: `semaphore.acquire(blocking=False)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_try_acquire(semaphore: *mut threading_semaphore) -> threading_status {
    let semaphore = object(semaphore);
    shortcut(semaphore.acquire_at_once().then_some(THREADING_OK), move || {
        outcome(THREADING_WOULD_BLOCK, || semaphore.acquire(Timeout::NONE))
    })
}

/// Takes one, and waits for it no longer than the given time.
///
/// \param semaphore the semaphore
/// \param seconds how long to wait at most, in seconds; THREADING_FOREVER waits without a limit, 0
///         tries once
/// \return THREADING_OK when the caller has one; THREADING_TIMED_OUT when the time ran out;
///         THREADING_ERR_HANDLE, THREADING_ERR_VALUE; THREADING_ERR_OVERFLOW, also when 33554431
///         threads wait already
///
/// Blocks: until there is one, or the time runs out. Thread safety: any thread. Python:
/// `semaphore.acquire(timeout=seconds)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_acquire_timeout(
    semaphore: *mut threading_semaphore,
    seconds: f64,
) -> threading_status {
    let semaphore = object(semaphore);
    let short = Timeout::is_common(seconds) && semaphore.acquire_at_once();
    shortcut(short.then_some(THREADING_OK), move || {
        outcome(THREADING_TIMED_OUT, || semaphore.acquire(semaphore.argument(Timeout::new(seconds))?))
    })
}

/// Gives one back, and lets a waiter go on.
///
/// \param semaphore the semaphore
/// \return THREADING_OK; THREADING_ERR_HANDLE; THREADING_ERR_OVER_RELEASED when that would exceed a
///         bounded one's first value; THREADING_ERR_OVERFLOW when it would exceed
///         THREADING_SEMAPHORE_MAX
///
/// Blocks: never. Thread safety: any thread, and signal handlers. Python: `semaphore.release()`. Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_release(semaphore: *mut threading_semaphore) -> threading_status {
    let semaphore = object(semaphore);
    shortcut(semaphore.release_at_once().then_some(THREADING_OK), move || status(|| semaphore.release(1)))
}

/// Gives n back, and lets as many waiters go on: all n, or after an error none.
///
/// \param semaphore the semaphore
/// \param n how many, at least 1
/// \return THREADING_OK; THREADING_ERR_HANDLE; THREADING_ERR_VALUE when n is below 1;
///         THREADING_ERR_OVER_RELEASED when that would exceed a bounded one's first value;
///         THREADING_ERR_OVERFLOW when it would exceed THREADING_SEMAPHORE_MAX
///
/// Blocks: never. Thread safety: any thread, and signal handlers. Python: `semaphore.release(n)`. Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_release_n(
    semaphore: *mut threading_semaphore,
    n: i64,
) -> threading_status {
    status(|| object(semaphore).release(n))
}

/// Tells how many could be taken, at this moment.
///
/// \param semaphore the semaphore
/// \return the value; 0 also with THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: `semaphore._value`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_value(semaphore: *mut threading_semaphore) -> i64 {
    value(|| object(semaphore).value())
}
