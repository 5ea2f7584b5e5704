//! Lock
//!
//! A lock is held by at most one thread at a time; other threads that acquire it wait. Any thread may
//! release it, not only the one that has acquired it. A thread that acquires it again while holding it
//! deadlocks. The order in which waiting threads acquire the lock is not specified, but no thread is
//! starved: a running thread may acquire a free lock before a thread that is being woken up, but a few
//! times per millisecond the lock is handed off to the thread that has waited longest.
//!
//! Threads that share a sum (see THREADING_WITH() for blocks that release a lock automatically):
//!     static bool add(threading_lock *lock, long *sum, long amount)
//!     {
//!         if (threading_lock_acquire(lock) != THREADING_OK)
//!             return false;
//!         *sum += amount;
//!         return threading_lock_release(lock) == THREADING_OK;
//!     }

use core::ffi::c_char;

use crate::capi::status::{THREADING_OK, THREADING_TIMED_OUT, THREADING_WOULD_BLOCK, threading_status};
use crate::capi::types::threading_lock;
use crate::capi::utils::optional_cstr_arg;
use crate::capi::{
    fast_path_or, from_ptr, handle_or_null, ok_or_status, status, status_or, value_or_default,
};
use crate::handle::Handle;
use crate::time::Timeout;

/// Creates an unlocked lock.
///
/// \return the new lock, owned by the caller; NULL with THREADING_ERR_NO_MEMORY if there is not enough
///     memory
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.Lock()`
/// \since 0.1.0
/// \sa threading_lock_free, threading_lock_acquire, threading_rlock_new
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_new() -> *mut threading_lock {
    handle_or_null(Handle::<crate::Lock>::new)
}

/// Adds a reference to a lock.
///
/// \param lock the lock
/// \return the same handle, with one more reference owned by the caller; NULL with THREADING_ERR_HANDLE
///     if the handle is invalid; NULL with THREADING_ERR_OVERFLOW if the object has too many references
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_lock_free
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_ref(lock: *mut threading_lock) -> *mut threading_lock {
    handle_or_null(|| from_ptr(lock).add_ref())
}

/// Releases a reference to a lock. Releasing the last one destroys the lock, even if it is held.
///
/// \param lock the lock
/// \return THREADING_OK; THREADING_ERR_BUSY if it is the last reference and threads are blocked on the
///     lock; THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_lock_new, threading_lock_ref
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_free(lock: *mut threading_lock) -> threading_status {
    status(|| from_ptr(lock).free())
}

/// Acquires a lock, blocking until it is available. A thread that already holds the lock deadlocks.
///
/// \param lock the lock
/// \return THREADING_OK if the lock has been acquired; THREADING_ERR_HANDLE if the handle is invalid;
///     THREADING_ERR_NO_MEMORY if the calling thread's wait record, which its first blocking call
///     allocates, cannot be allocated
///
/// \blocks until the lock is available
/// \threadsafety any thread
/// \python `lock.acquire()`
/// \since 0.1.0
/// \sa threading_lock_try_acquire, threading_lock_acquire_timeout, threading_lock_release,
///     THREADING_WITH
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_acquire(lock: *mut threading_lock) -> threading_status {
    let lock = from_ptr(lock);
    fast_path_or(lock.acquire_fast().then_some(THREADING_OK), move || status(|| lock.acquire()))
}

/// Acquires a lock if it is available, without blocking.
///
/// \param lock the lock
/// \return THREADING_OK if the lock has been acquired; THREADING_WOULD_BLOCK if a thread holds it, even
///     if that is the calling thread; THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python `lock.acquire(blocking=False)`
/// \since 0.1.0
/// \sa threading_lock_acquire, threading_lock_acquire_timeout, threading_lock_release
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_try_acquire(lock: *mut threading_lock) -> threading_status {
    let lock = from_ptr(lock);
    fast_path_or(
        lock.try_acquire_fast().map(|acquired| ok_or_status(acquired, THREADING_WOULD_BLOCK)),
        move || status_or(THREADING_WOULD_BLOCK, || lock.try_acquire()),
    )
}

/// Acquires a lock, blocking until it is available or the timeout expires.
///
/// \param lock the lock
/// \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely, 0 does not wait
/// \return THREADING_OK if the lock has been acquired; THREADING_TIMED_OUT if the timeout expired;
///     THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if
///     `seconds` is out of range; THREADING_ERR_NO_MEMORY if the calling thread's wait record, which
///     its first blocking call allocates, cannot be allocated
///
/// \blocks until the lock is available or the timeout expires
/// \threadsafety any thread
/// \python `lock.acquire(timeout=seconds)`
/// \since 0.1.0
/// \sa threading_lock_acquire, threading_lock_try_acquire, threading_lock_release
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_acquire_timeout(
    lock: *mut threading_lock,
    seconds: f64,
) -> threading_status {
    let lock = from_ptr(lock);
    let fast = Timeout::is_plain_finite(seconds) && lock.acquire_fast();
    fast_path_or(fast.then_some(THREADING_OK), move || {
        status_or(THREADING_TIMED_OUT, || lock.acquire_timeout(lock.or_handle_error(Timeout::new(seconds))?))
    })
}

/// Releases a lock. Any thread may release it, not only the one that acquired it.
///
/// \param lock the lock
/// \return THREADING_OK; THREADING_ERR_NOT_ACQUIRED if the lock is not locked; THREADING_ERR_HANDLE if
///     the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python `lock.release()`
/// \since 0.1.0
/// \sa threading_lock_acquire, threading_lock_locked
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_release(lock: *mut threading_lock) -> threading_status {
    let lock = from_ptr(lock);
    fast_path_or(lock.release_fast().then_some(THREADING_OK), move || status(|| lock.release_slow()))
}

/// Returns whether a lock is currently locked, by any thread.
///
/// \param lock the lock
/// \return true if the lock is locked, false if it is not; false with THREADING_ERR_HANDLE if the
///     handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python `lock.locked()`
/// \since 0.1.0
/// \sa threading_lock_acquire, threading_lock_release
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_locked(lock: *mut threading_lock) -> bool {
    value_or_default(|| from_ptr(lock).locked())
}

/// Reinitializes a lock to the unlocked state.
///
/// It is meant for the child process after fork(), in which the thread that held the lock may not
/// exist.
///
/// \param lock the lock
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread; meant for the only thread of a child process
/// \python `lock._at_fork_reinit()`
/// \since 0.1.0
/// \sa threading_lock_new, threading_rlock_at_fork_reinit
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_at_fork_reinit(lock: *mut threading_lock) -> threading_status {
    status(|| from_ptr(lock).at_fork_reinit())
}

/// Returns the identifier of the thread that has acquired a lock.
///
/// \param lock the lock
/// \return the identifier of the thread, also after the thread has ended; 0 if the lock is unlocked, or
///     is being handed off to a waiter; 0 with THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread; the result may be outdated when the call returns
/// \python none
/// \since 0.1.0
/// \sa threading_thread_ident, threading_dump
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_owner(lock: *mut threading_lock) -> u64 {
    value_or_default(|| from_ptr(lock).owner())
}

/// Sets the name of a lock, which dumps show.
///
/// The first 47 bytes of the name are kept, up to the end of a character. Several objects may have the
/// same name. An object without a name is shown by its handle.
///
/// \param lock the lock
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
pub unsafe extern "C" fn threading_lock_set_name(
    lock: *mut threading_lock,
    name: *const c_char,
) -> threading_status {
    // SAFETY: guaranteed by the caller.
    status(|| from_ptr(lock).set_name(unsafe { optional_cstr_arg(name) }))
}
