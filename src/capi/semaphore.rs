//! Semaphore
//!
//! A semaphore is a counter that is never negative. Acquiring it decrements its value, and blocks while
//! the value is zero; releasing it increments the value. Any thread may release a semaphore. The value
//! of a bounded semaphore cannot be raised above its initial value. The order in which waiting threads
//! acquire the semaphore is not specified: a running thread may acquire it before a thread that is
//! being woken up, and the latter then continues to wait.
//!
//! A semaphore may be released in a signal handler on systems where threads block on futexes (Linux,
//! unless the library was built with its portable backend).
//!
//! Limiting the number of connections that are in use at the same time:
//!     static bool with_connection(threading_semaphore *connections, void (*use)(void))
//!     {
//!         if (threading_semaphore_acquire_timeout(connections, 5.0) != THREADING_OK)
//!             return false;
//!         use();
//!         return threading_semaphore_release(connections) == THREADING_OK;
//!     }

use core::ffi::c_char;

use crate::capi::status::{THREADING_OK, THREADING_TIMED_OUT, THREADING_WOULD_BLOCK, threading_status};
use crate::capi::types::threading_semaphore;
use crate::capi::utils::optional_cstr_arg;
use crate::capi::{
    fast_path_or, from_ptr, handle_or_null, signal_safe, status, status_of, status_or, value_or_default,
};
use crate::handle::Handle;
use crate::semaphore::Semaphore;
use crate::time::Timeout;

/// The maximum value of a semaphore.
pub const THREADING_SEMAPHORE_MAX: i32 = 2147483647;

/// Creates a semaphore with an initial value.
///
/// \param value the initial value, from 0 to THREADING_SEMAPHORE_MAX
/// \return the new semaphore, owned by the caller; NULL with THREADING_ERR_VALUE if the value is
///     negative; NULL with THREADING_ERR_OVERFLOW if it is above the maximum; NULL with
///     THREADING_ERR_NO_MEMORY if there is not enough memory
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.Semaphore(value)`
/// \since 0.1.0
/// \sa threading_semaphore_new_bounded, threading_semaphore_acquire, threading_semaphore_free
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_new(value: i64) -> *mut threading_semaphore {
    handle_or_null(|| Handle::<Semaphore>::new(value))
}

/// Creates a bounded semaphore, whose value cannot exceed its initial value.
///
/// \param value the initial value, from 0 to THREADING_SEMAPHORE_MAX
/// \return the new semaphore, owned by the caller; NULL with THREADING_ERR_VALUE if the value is
///     negative; NULL with THREADING_ERR_OVERFLOW if it is above the maximum; NULL with
///     THREADING_ERR_NO_MEMORY if there is not enough memory
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.BoundedSemaphore(value)`
/// \since 0.1.0
/// \sa threading_semaphore_new, threading_semaphore_acquire, threading_semaphore_free
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_new_bounded(value: i64) -> *mut threading_semaphore {
    handle_or_null(|| Handle::<Semaphore>::new_bounded(value))
}

/// Adds a reference to a semaphore.
///
/// \param semaphore the semaphore
/// \return the same handle, with one more reference owned by the caller; NULL with THREADING_ERR_HANDLE
///     if the handle is invalid; NULL with THREADING_ERR_OVERFLOW if the object has too many references
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_semaphore_free
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_ref(semaphore: *mut threading_semaphore) -> *mut threading_semaphore {
    handle_or_null(|| from_ptr(semaphore).add_ref())
}

/// Releases a reference to a semaphore. Releasing the last one destroys the semaphore.
///
/// Waiters whose waits succeed because the semaphore has been released do not prevent this.
///
/// \param semaphore the semaphore
/// \return THREADING_OK; THREADING_ERR_BUSY if it is the last reference and threads are blocked on the
///     semaphore; THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_semaphore_new, threading_semaphore_ref
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_free(semaphore: *mut threading_semaphore) -> threading_status {
    status(|| from_ptr(semaphore).free())
}

/// Decrements a semaphore, blocking while its value is zero.
///
/// \param semaphore the semaphore
/// \return THREADING_OK if the value has been decremented; THREADING_ERR_HANDLE if the handle is
///     invalid; THREADING_ERR_OVERFLOW if 33554431 threads are already waiting
///
/// \blocks until the value is positive
/// \threadsafety any thread
/// \python `semaphore.acquire()`
/// \since 0.1.0
/// \sa threading_semaphore_try_acquire, threading_semaphore_acquire_timeout,
///     threading_semaphore_release, THREADING_WITH
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_acquire(semaphore: *mut threading_semaphore) -> threading_status {
    let semaphore = from_ptr(semaphore);
    fast_path_or(semaphore.acquire_fast().then_some(THREADING_OK), move || {
        status(|| semaphore.acquire(Timeout::FOREVER).map(drop))
    })
}

/// Decrements a semaphore if its value is positive, without blocking.
///
/// \param semaphore the semaphore
/// \return THREADING_OK if the value has been decremented; THREADING_WOULD_BLOCK if it is zero;
///     THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python `semaphore.acquire(blocking=False)`
/// \since 0.1.0
/// \sa threading_semaphore_acquire, threading_semaphore_acquire_timeout, threading_semaphore_release
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_try_acquire(semaphore: *mut threading_semaphore) -> threading_status {
    let semaphore = from_ptr(semaphore);
    fast_path_or(semaphore.acquire_fast().then_some(THREADING_OK), move || {
        status_or(THREADING_WOULD_BLOCK, || semaphore.acquire(Timeout::ZERO))
    })
}

/// Decrements a semaphore, blocking until its value is positive or the timeout expires.
///
/// \param semaphore the semaphore
/// \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely, 0 does not wait
/// \return THREADING_OK if the value has been decremented; THREADING_TIMED_OUT if the timeout expired;
///     THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if
///     `seconds` is out of range; THREADING_ERR_OVERFLOW if 33554431 threads are already waiting
///
/// \blocks until the value is positive or the timeout expires
/// \threadsafety any thread
/// \python `semaphore.acquire(timeout=seconds)`
/// \since 0.1.0
/// \sa threading_semaphore_acquire, threading_semaphore_try_acquire, threading_semaphore_release
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_acquire_timeout(
    semaphore: *mut threading_semaphore,
    seconds: f64,
) -> threading_status {
    let semaphore = from_ptr(semaphore);
    let fast = Timeout::is_plain_finite(seconds) && semaphore.acquire_fast();
    fast_path_or(fast.then_some(THREADING_OK), move || {
        status_or(THREADING_TIMED_OUT, || {
            semaphore.acquire(semaphore.or_handle_error(Timeout::new(seconds))?)
        })
    })
}

/// Increments a semaphore and wakes one waiting thread, if there is one.
///
/// \param semaphore the semaphore
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_OVER_RELEASED if
///     the value of a bounded semaphore would exceed its initial value; THREADING_ERR_OVERFLOW if the
///     value would exceed THREADING_SEMAPHORE_MAX
///
/// \blocks never
/// \threadsafety any thread; async-signal-safe, unless the library was built with its portable backend
/// \python `semaphore.release()`
/// \since 0.1.0
/// \sa threading_semaphore_release_n, threading_semaphore_acquire, threading_semaphore_value
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_release(semaphore: *mut threading_semaphore) -> threading_status {
    let semaphore = from_ptr(semaphore);
    fast_path_or(semaphore.release_fast().then_some(THREADING_OK), move || {
        status_of(signal_safe(|| semaphore.release_slow(1)))
    })
}

/// Increments a semaphore by `n` and wakes up to `n` waiting threads. If the call fails, the value is
/// unchanged.
///
/// \param semaphore the semaphore
/// \param n the number to add, at least 1
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE if `n` is
///     less than 1; THREADING_ERR_OVER_RELEASED if the value of a bounded semaphore would exceed its
///     initial value; THREADING_ERR_OVERFLOW if the value would exceed THREADING_SEMAPHORE_MAX
///
/// \blocks never
/// \threadsafety any thread; async-signal-safe, unless the library was built with its portable backend
/// \python `semaphore.release(n)`
/// \since 0.1.0
/// \sa threading_semaphore_release, threading_semaphore_acquire, threading_semaphore_value
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_release_n(
    semaphore: *mut threading_semaphore,
    n: i64,
) -> threading_status {
    status_of(signal_safe(|| from_ptr(semaphore).release(n)))
}

/// Returns the current value of a semaphore.
///
/// \param semaphore the semaphore
/// \return the value; 0 with THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python `semaphore._value`
/// \since 0.1.0
/// \sa threading_semaphore_acquire, threading_semaphore_release
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_value(semaphore: *mut threading_semaphore) -> i64 {
    value_or_default(|| from_ptr(semaphore).value())
}

/// Sets the name of a semaphore, which dumps show.
///
/// The first 47 bytes of the name are kept, up to the end of a character. Several objects may have the
/// same name. An object without a name is shown by its handle.
///
/// \param semaphore the semaphore
/// \param name the name in UTF-8; NULL removes it
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE if the name
///     is not valid UTF-8; THREADING_ERR_NO_MEMORY if there is not enough memory
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_dump
///
/// # Safety
/// `name` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_semaphore_set_name(
    semaphore: *mut threading_semaphore,
    name: *const c_char,
) -> threading_status {
    // SAFETY: guaranteed by the caller.
    status(|| from_ptr(semaphore).set_name(unsafe { optional_cstr_arg(name) }))
}
