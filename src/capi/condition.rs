//! Condition
//!
//! A condition variable combines a lock with a set of threads that wait for a notification. A thread
//! must hold the lock to wait or to notify. If the lock is an RLock, the calling thread must own it; if
//! it is a plain Lock, it is sufficient that any thread holds it, as in Python. A wait releases the
//! lock and reacquires it before it returns, whatever its result. If the lock is an RLock, the wait
//! releases all recursion levels and restores them afterwards.
//!
//! Waiters are notified in the order of their arrival. A waiter that has been notified returns
//! THREADING_OK even if its timeout expires before it has reacquired the lock, so that no notification
//! is lost. There are no spurious wakeups: without a notification, a wait does not return before its
//! timeout expires. A notification has no effect if no thread waits, and is not stored for later waits.
//! It does not release the lock; when the lock is released, the notified waiters acquire it one at a
//! time, in an order that is not specified.
//!
//! Taking an item that another thread adds under the same lock before it calls threading_condition_notify():
//!     static int is_positive(void *count)
//!     {
//!         return *(int *)count > 0;
//!     }
//!     static bool take_one(threading_condition *condition, int *count)
//!     {
//!         if (threading_condition_acquire(condition) != THREADING_OK)
//!             return false;
//!         bool taken = threading_condition_wait_for(condition, is_positive, count) == THREADING_OK;
//!         *count -= taken;
//!         return threading_condition_release(condition) == THREADING_OK && taken;
//!     }

// The file exceeds 400 lines because it contains the documentation of a whole section of the header.

use core::ffi::{c_char, c_void};

use crate::capi::status::{THREADING_OK, THREADING_TIMED_OUT, THREADING_WOULD_BLOCK, threading_status};
use crate::capi::types::{threading_condition, threading_lock, threading_predicate, threading_rlock};
use crate::capi::utils::optional_cstr_arg;
use crate::capi::{fast_path_or, from_ptr, handle_or_null, status, status_or, value_or_default};
use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::lock::condition::Condition;
use crate::time::Timeout;

/// Creates a condition with a reentrant lock of its own.
///
/// \return the new condition, owned by the caller; NULL with THREADING_ERR_NO_MEMORY if there is not
///     enough memory
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.Condition()`
/// \since 0.1.0
/// \sa threading_condition_new_with_lock, threading_condition_new_with_rlock, threading_condition_free
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_new() -> *mut threading_condition {
    handle_or_null(Handle::<Condition>::new)
}

/// Creates a condition that uses the given lock. Several conditions may share a lock.
///
/// \param lock the lock, to which the condition holds a reference of its own
/// \return the new condition, owned by the caller; NULL with THREADING_ERR_HANDLE if the handle is
///     invalid; NULL with THREADING_ERR_OVERFLOW if the lock has too many references; NULL with
///     THREADING_ERR_NO_MEMORY if there is not enough memory
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.Condition(lock)`
/// \since 0.1.0
/// \sa threading_condition_new, threading_condition_new_with_rlock, threading_lock_new
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_new_with_lock(lock: *mut threading_lock) -> *mut threading_condition {
    handle_or_null(|| Handle::<Condition>::new_with_lock(from_ptr(lock)))
}

/// Creates a condition that uses the given reentrant lock. Several conditions may share a lock.
///
/// \param rlock the lock, to which the condition holds a reference of its own
/// \return the new condition, owned by the caller; NULL with THREADING_ERR_HANDLE if the handle is
///     invalid; NULL with THREADING_ERR_OVERFLOW if the lock has too many references; NULL with
///     THREADING_ERR_NO_MEMORY if there is not enough memory
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.Condition(rlock)`
/// \since 0.1.0
/// \sa threading_condition_new, threading_condition_new_with_lock, threading_rlock_new
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_new_with_rlock(
    rlock: *mut threading_rlock,
) -> *mut threading_condition {
    handle_or_null(|| Handle::<Condition>::new_with_rlock(from_ptr(rlock)))
}

/// Adds a reference to a condition.
///
/// \param condition the condition
/// \return the same handle, with one more reference owned by the caller; NULL with THREADING_ERR_HANDLE
///     if the handle is invalid; NULL with THREADING_ERR_OVERFLOW if the object has too many references
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_condition_free
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_ref(condition: *mut threading_condition) -> *mut threading_condition {
    handle_or_null(|| from_ptr(condition).add_ref())
}

/// Releases a reference to a condition. Releasing the last one destroys the condition and releases its
/// reference to the lock, even if the lock is held.
///
/// Waiters that have been notified do not prevent this; their waits succeed.
///
/// \param condition the condition
/// \return THREADING_OK; THREADING_ERR_BUSY if it is the last reference and there are waiters that have
///     not been notified, or if threads are blocked on the lock and the condition holds the last
///     reference to the lock; THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_condition_new, threading_condition_ref
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_free(condition: *mut threading_condition) -> threading_status {
    status(|| from_ptr(condition).free())
}

/// Acquires the lock of a condition, like threading_lock_acquire() or threading_rlock_acquire().
///
/// \param condition the condition
/// \return THREADING_OK if the lock has been acquired; THREADING_ERR_HANDLE if the handle is invalid;
///     THREADING_ERR_OVERFLOW or THREADING_ERR_NO_MEMORY as in threading_rlock_acquire()
///
/// \blocks until the lock is available, unless it is an RLock that the calling thread owns
/// \threadsafety any thread
/// \python `condition.acquire()`
/// \since 0.1.0
/// \sa threading_condition_try_acquire, threading_condition_acquire_timeout,
///     threading_condition_release, THREADING_WITH
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_acquire(condition: *mut threading_condition) -> threading_status {
    status(|| from_ptr(condition).acquire())
}

/// Acquires the lock of a condition if it is available, without blocking.
///
/// \param condition the condition
/// \return THREADING_OK if the lock has been acquired; THREADING_WOULD_BLOCK if the lock is not
///     available; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_OVERFLOW or
///     THREADING_ERR_NO_MEMORY as in threading_rlock_acquire()
///
/// \blocks never
/// \threadsafety any thread
/// \python `condition.acquire(blocking=False)`
/// \since 0.1.0
/// \sa threading_condition_acquire, threading_condition_acquire_timeout, threading_condition_release
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_try_acquire(condition: *mut threading_condition) -> threading_status {
    status_or(THREADING_WOULD_BLOCK, || from_ptr(condition).try_acquire())
}

/// Acquires the lock of a condition, blocking until it is available or the timeout expires.
///
/// \param condition the condition
/// \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely, 0 does not wait
/// \return THREADING_OK if the lock has been acquired; THREADING_TIMED_OUT if the timeout expired;
///     THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if
///     `seconds` is out of range; THREADING_ERR_OVERFLOW or THREADING_ERR_NO_MEMORY as in
///     threading_rlock_acquire()
///
/// \blocks until the lock is available or the timeout expires, unless it is an RLock that the calling
///     thread owns
/// \threadsafety any thread
/// \python `condition.acquire(timeout=seconds)`
/// \since 0.1.0
/// \sa threading_condition_acquire, threading_condition_try_acquire, threading_condition_release
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_acquire_timeout(
    condition: *mut threading_condition,
    seconds: f64,
) -> threading_status {
    status_or(THREADING_TIMED_OUT, || {
        let condition = from_ptr(condition);
        condition.acquire_timeout(condition.or_handle_error(Timeout::new(seconds))?)
    })
}

/// Releases the lock of a condition. If it is an RLock, it is released once.
///
/// \param condition the condition
/// \return THREADING_OK; THREADING_ERR_NOT_ACQUIRED if the lock is a Lock that is not locked;
///     THREADING_ERR_NOT_OWNER if it is an RLock that the calling thread does not own;
///     THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread; for an RLock, its owner
/// \python `condition.release()`
/// \since 0.1.0
/// \sa threading_condition_acquire, threading_condition_is_owned
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_release(condition: *mut threading_condition) -> threading_status {
    status(|| from_ptr(condition).release())
}

/// Returns whether the lock of a condition is currently locked, by any thread.
///
/// \param condition the condition
/// \return true if the lock is locked, false if it is not; false with THREADING_ERR_HANDLE if the
///     handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python `condition.locked()` (3.14)
/// \since 0.1.0
/// \sa threading_condition_is_owned, threading_condition_acquire
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_locked(condition: *mut threading_condition) -> bool {
    value_or_default(|| from_ptr(condition).locked())
}

/// Returns whether the calling thread may wait and notify: if the lock is an RLock, whether the calling
/// thread owns it; if it is a plain Lock, whether any thread holds it.
///
/// \param condition the condition
/// \return true if the calling thread may wait and notify, false if it may not; false with
///     THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python `condition._is_owned()`
/// \since 0.1.0
/// \sa threading_condition_wait, threading_condition_notify, threading_condition_locked
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_is_owned(condition: *mut threading_condition) -> bool {
    value_or_default(|| from_ptr(condition).is_owned())
}

/// Atomically releases the lock of a condition and waits for a notification, then reacquires the lock.
///
/// Check after the call whether the state that the thread waits for has been reached, because another
/// thread may have changed it again; or use threading_condition_wait_for().
///
/// \param condition the condition, whose lock is held
/// \return THREADING_OK if the calling thread has been notified; THREADING_ERR_NOT_OWNER if the lock is
///     not held; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_NO_MEMORY if the calling
///     thread's wait record, which its first blocking call allocates, cannot be allocated, in which
///     case the lock has not been released
///
/// \blocks until the calling thread is notified, and then until the lock is available
/// \threadsafety any thread that holds the lock
/// \python `condition.wait()`
/// \since 0.1.0
/// \sa threading_condition_wait_timeout, threading_condition_wait_for, threading_condition_notify
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_wait(condition: *mut threading_condition) -> threading_status {
    status(|| from_ptr(condition).wait(Timeout::FOREVER).map(drop))
}

/// Atomically releases the lock of a condition and waits for a notification or until the timeout
/// expires, then reacquires the lock.
///
/// The time that is needed to reacquire the lock does not count towards the timeout.
///
/// \param condition the condition, whose lock is held
/// \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely; 0 does not wait, but
///     releases and reacquires the lock, so that other threads can acquire it
/// \return THREADING_OK if the calling thread has been notified; THREADING_TIMED_OUT if the timeout
///     expired first; THREADING_ERR_NOT_OWNER if the lock is not held; THREADING_ERR_HANDLE if the
///     handle is invalid; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if `seconds` is out of range;
///     THREADING_ERR_NO_MEMORY as in threading_condition_wait()
///
/// \blocks until the calling thread is notified or the timeout expires, and then until the lock is
///     available
/// \threadsafety any thread that holds the lock
/// \python `condition.wait(seconds)`
/// \since 0.1.0
/// \sa threading_condition_wait, threading_condition_wait_for_timeout, threading_condition_notify
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_wait_timeout(
    condition: *mut threading_condition,
    seconds: f64,
) -> threading_status {
    status_or(THREADING_TIMED_OUT, || {
        let condition = from_ptr(condition);
        condition.wait(condition.or_handle_error(Timeout::new(seconds))?)
    })
}

/// Waits until a predicate is true. The predicate is evaluated before waiting and after every
/// notification.
///
/// \param condition the condition, whose lock is held
/// \param predicate the predicate, which the calling thread evaluates with the lock held
/// \param arg the argument of the predicate, not used after the call
/// \return THREADING_OK if the predicate is true; THREADING_ERR_CALLBACK if the predicate failed, in
///     which case the lock is held; THREADING_ERR_NOT_OWNER if the lock is not held, in which case the
///     predicate has not been called; THREADING_ERR_HANDLE if the handle is invalid;
///     THREADING_ERR_VALUE if the predicate is NULL; THREADING_ERR_NO_MEMORY as in
///     threading_condition_wait()
///
/// \blocks until the predicate is true, and after each notification until the lock is available
/// \threadsafety any thread that holds the lock
/// \python `condition.wait_for(predicate)`
/// \since 0.1.0
/// \sa threading_condition_wait_for_timeout, threading_condition_wait, threading_condition_notify
#[unsafe(no_mangle)]
pub extern "C-unwind" fn threading_condition_wait_for(
    condition: *mut threading_condition,
    predicate: threading_predicate,
    arg: *mut c_void,
) -> threading_status {
    status(|| wait_for(from_ptr(condition), predicate, arg, Ok(Timeout::FOREVER)).map(drop))
}

/// Waits until a predicate is true or the timeout expires.
///
/// The predicate is evaluated before waiting, after every notification, and once more when the timeout
/// has expired. The time that is needed to reacquire the lock does not count towards the timeout.
///
/// \param condition the condition, whose lock is held
/// \param predicate the predicate, which the calling thread evaluates with the lock held
/// \param arg the argument of the predicate, not used after the call
/// \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely; 0 does not wait, but
///     releases and reacquires the lock once if the predicate is false
/// \return THREADING_OK if the predicate is true; THREADING_TIMED_OUT if it is still false when the
///     timeout has expired; THREADING_ERR_CALLBACK if the predicate failed, in which case the lock is
///     held; THREADING_ERR_NOT_OWNER if the lock is not held, in which case the predicate has not been
///     called; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE if the predicate is
///     NULL; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if `seconds` is out of range;
///     THREADING_ERR_NO_MEMORY as in threading_condition_wait()
///
/// \blocks until the predicate is true or the timeout expires, and then, as after each notification,
///     until the lock is available
/// \threadsafety any thread that holds the lock
/// \python `condition.wait_for(predicate, seconds)`
/// \since 0.1.0
/// \sa threading_condition_wait_for, threading_condition_wait_timeout, threading_condition_notify
#[unsafe(no_mangle)]
pub extern "C-unwind" fn threading_condition_wait_for_timeout(
    condition: *mut threading_condition,
    predicate: threading_predicate,
    arg: *mut c_void,
    seconds: f64,
) -> threading_status {
    status_or(THREADING_TIMED_OUT, || wait_for(from_ptr(condition), predicate, arg, Timeout::new(seconds)))
}

fn wait_for(
    condition: Handle<Condition>,
    predicate: threading_predicate,
    arg: *mut c_void,
    timeout: Result<Timeout>,
) -> Result<bool> {
    let predicate = condition.or_handle_error(predicate.ok_or(Error::NoCallback))?;
    let timeout = condition.or_handle_error(timeout)?;
    // SAFETY: the C caller guarantees that the predicate accepts this argument during the call.
    condition.wait_for(timeout, || match unsafe { predicate(arg) } {
        ..0 => None,
        result => Some(result > 0),
    })
}

/// Notifies up to `n` waiters, in the order of their arrival.
///
/// \param condition the condition, whose lock is held
/// \param n the maximum number of waiters to notify; with zero and negative numbers, no waiter is
///     notified
/// \return THREADING_OK, even if no thread waits; THREADING_ERR_NOT_OWNER if the lock is not held;
///     THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread that holds the lock
/// \python `condition.notify(n)`
/// \since 0.1.0
/// \sa threading_condition_notify_all, threading_condition_wait
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_notify(
    condition: *mut threading_condition,
    n: i64,
) -> threading_status {
    let condition = from_ptr(condition);
    fast_path_or(condition.notify_fast().then_some(THREADING_OK), move || {
        // Where `usize` has 32 bits, a larger number notifies all waiters.
        status(|| condition.notify(usize::try_from(n.max(0)).unwrap_or(usize::MAX)))
    })
}

/// Notifies all threads that are waiting.
///
/// \param condition the condition, whose lock is held
/// \return THREADING_OK, even if no thread waits; THREADING_ERR_NOT_OWNER if the lock is not held;
///     THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread that holds the lock
/// \python `condition.notify_all()`
/// \since 0.1.0
/// \sa threading_condition_notify, threading_condition_wait
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_notify_all(condition: *mut threading_condition) -> threading_status {
    let condition = from_ptr(condition);
    fast_path_or(condition.notify_fast().then_some(THREADING_OK), move || {
        status(|| condition.notify(usize::MAX))
    })
}

/// Reinitializes the lock of a condition to the unlocked state.
///
/// It is meant for the child process after fork(), in which the thread that held the lock may not
/// exist.
///
/// \param condition the condition
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread; meant for the only thread of a child process
/// \python `condition._at_fork_reinit()`
/// \since 0.1.0
/// \sa threading_condition_new, threading_lock_at_fork_reinit, threading_rlock_at_fork_reinit
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_at_fork_reinit(
    condition: *mut threading_condition,
) -> threading_status {
    status(|| from_ptr(condition).at_fork_reinit())
}

/// Sets the name of a condition, which dumps show.
///
/// The first 47 bytes of the name are kept, up to the end of a character. Several objects may have the
/// same name. An object without a name is shown by its handle.
///
/// \param condition the condition
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
pub unsafe extern "C" fn threading_condition_set_name(
    condition: *mut threading_condition,
    name: *const c_char,
) -> threading_status {
    // SAFETY: guaranteed by the caller.
    status(|| from_ptr(condition).set_name(unsafe { optional_cstr_arg(name) }))
}
