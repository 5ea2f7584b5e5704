//! RLock
//!
//! A reentrant lock has an owner, which is the thread that holds it. The owner can acquire the lock
//! again without blocking, and must release it as many times as it has acquired it. No other thread can
//! release it. If the owner ends without releasing the lock, the lock stays locked, and no later thread
//! can own it. Inside a timer's function, the timer is the owner, not the system thread that runs the
//! function.
//!
//! A function that calls itself while it holds the lock:
//!     static threading_status descend(threading_rlock *rlock, int depth)
//!     {
//!         threading_status status = threading_rlock_acquire(rlock); // does not block for the owner
//!         if (status != THREADING_OK)
//!             return status;
//!         if (depth > 0)
//!             status = descend(rlock, depth - 1);
//!         threading_status released = threading_rlock_release(rlock);
//!         return status != THREADING_OK ? status : released;
//!     }

use core::ffi::c_char;

use crate::capi::status::{THREADING_OK, THREADING_TIMED_OUT, THREADING_WOULD_BLOCK, threading_status};
use crate::capi::types::threading_rlock;
use crate::capi::utils::optional_cstr_arg;
use crate::capi::{fast_path_or, from_ptr, handle_or_null, status, status_or, value_or_default};
use crate::handle::Handle;
use crate::time::Timeout;

/// Creates an unlocked reentrant lock.
///
/// \return the new lock, owned by the caller; NULL with THREADING_ERR_NO_MEMORY if there is not enough
///     memory
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.RLock()`
/// \since 0.1.0
/// \sa threading_rlock_free, threading_rlock_acquire, threading_lock_new
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_new() -> *mut threading_rlock {
    handle_or_null(Handle::<crate::RLock>::new)
}

/// Adds a reference to a reentrant lock. References are independent of the recursion count.
///
/// \param rlock the lock
/// \return the same handle, with one more reference owned by the caller; NULL with THREADING_ERR_HANDLE
///     if the handle is invalid; NULL with THREADING_ERR_OVERFLOW if the object has too many references
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_rlock_free
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_ref(rlock: *mut threading_rlock) -> *mut threading_rlock {
    handle_or_null(|| from_ptr(rlock).add_ref())
}

/// Releases a reference to a reentrant lock. Releasing the last one destroys the lock, even if it is
/// held.
///
/// \param rlock the lock
/// \return THREADING_OK; THREADING_ERR_BUSY if it is the last reference and threads are blocked on the
///     lock; THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_rlock_new, threading_rlock_ref
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_free(rlock: *mut threading_rlock) -> threading_status {
    status(|| from_ptr(rlock).free())
}

/// Acquires a reentrant lock, blocking until it is available. If the calling thread already owns the
/// lock, the call increments the recursion count and does not block.
///
/// \param rlock the lock
/// \return THREADING_OK if the lock has been acquired; THREADING_ERR_HANDLE if the handle is invalid;
///     THREADING_ERR_OVERFLOW if the recursion count is already 4294967296; THREADING_ERR_NO_MEMORY if
///     the calling thread's wait record, which its first blocking call allocates, cannot be allocated,
///     or if the calling thread acquires the lock again while it holds another RLock more than once and
///     there is not enough memory for the recursion count
///
/// \blocks until the lock is available, unless the calling thread owns it
/// \threadsafety any thread
/// \python `rlock.acquire()`
/// \since 0.1.0
/// \sa threading_rlock_try_acquire, threading_rlock_acquire_timeout, threading_rlock_release,
///     THREADING_WITH
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_acquire(rlock: *mut threading_rlock) -> threading_status {
    let rlock = from_ptr(rlock);
    fast_path_or(rlock.acquire_fast().then_some(THREADING_OK), move || status(|| rlock.acquire()))
}

/// Acquires a reentrant lock if it is available or the calling thread owns it, without blocking.
///
/// \param rlock the lock
/// \return THREADING_OK if the lock has been acquired; THREADING_WOULD_BLOCK if another thread owns it;
///     THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_OVERFLOW or THREADING_ERR_NO_MEMORY
///     as in threading_rlock_acquire()
///
/// \blocks never
/// \threadsafety any thread
/// \python `rlock.acquire(blocking=False)`
/// \since 0.1.0
/// \sa threading_rlock_acquire, threading_rlock_acquire_timeout, threading_rlock_release
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_try_acquire(rlock: *mut threading_rlock) -> threading_status {
    let rlock = from_ptr(rlock);
    fast_path_or(rlock.acquire_fast().then_some(THREADING_OK), move || {
        status_or(THREADING_WOULD_BLOCK, || rlock.try_acquire())
    })
}

/// Acquires a reentrant lock like threading_rlock_acquire(), blocking until it is available or the
/// timeout expires.
///
/// \param rlock the lock
/// \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely, 0 does not wait
/// \return THREADING_OK if the lock has been acquired; THREADING_TIMED_OUT if the timeout expired;
///     THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if
///     `seconds` is out of range; THREADING_ERR_OVERFLOW or THREADING_ERR_NO_MEMORY as in
///     threading_rlock_acquire()
///
/// \blocks until the lock is available or the timeout expires, unless the calling thread owns it
/// \threadsafety any thread
/// \python `rlock.acquire(timeout=seconds)`
/// \since 0.1.0
/// \sa threading_rlock_acquire, threading_rlock_try_acquire, threading_rlock_release
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_acquire_timeout(
    rlock: *mut threading_rlock,
    seconds: f64,
) -> threading_status {
    let rlock = from_ptr(rlock);
    let fast = Timeout::is_plain_finite(seconds) && rlock.acquire_fast();
    fast_path_or(fast.then_some(THREADING_OK), move || {
        status_or(THREADING_TIMED_OUT, || {
            rlock.acquire_timeout(rlock.or_handle_error(Timeout::new(seconds))?)
        })
    })
}

/// Releases a reentrant lock once, which decrements the recursion count. When the count becomes 0, the
/// lock is unlocked.
///
/// \param rlock the lock
/// \return THREADING_OK; THREADING_ERR_NOT_OWNER if the calling thread does not own the lock, or the
///     lock is not locked; THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety the owner of the lock
/// \python `rlock.release()`
/// \since 0.1.0
/// \sa threading_rlock_acquire, threading_rlock_is_owned
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_release(rlock: *mut threading_rlock) -> threading_status {
    let rlock = from_ptr(rlock);
    fast_path_or(rlock.release_fast().then_some(THREADING_OK), move || status(|| rlock.release_slow()))
}

/// Returns whether a reentrant lock is currently locked, by any thread.
///
/// \param rlock the lock
/// \return true if the lock is locked, false if it is not; false with THREADING_ERR_HANDLE if the
///     handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python `rlock.locked()` (3.14)
/// \since 0.1.0
/// \sa threading_rlock_is_owned, threading_rlock_acquire
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_locked(rlock: *mut threading_rlock) -> bool {
    value_or_default(|| from_ptr(rlock).locked())
}

/// Returns whether the calling thread owns a reentrant lock.
///
/// \param rlock the lock
/// \return true if the calling thread owns the lock, false if it does not; false with
///     THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python `rlock._is_owned()`
/// \since 0.1.0
/// \sa threading_rlock_recursion_count, threading_rlock_locked
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_is_owned(rlock: *mut threading_rlock) -> bool {
    value_or_default(|| from_ptr(rlock).is_owned())
}

/// Returns the recursion count of a reentrant lock: the number of times that the calling thread must
/// release it to unlock it.
///
/// \param rlock the lock
/// \return the recursion count; 0 if the calling thread does not own the lock; 0 with
///     THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python `rlock._recursion_count()`
/// \since 0.1.0
/// \sa threading_rlock_is_owned, threading_rlock_release
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_recursion_count(rlock: *mut threading_rlock) -> usize {
    value_or_default(|| from_ptr(rlock).recursion_count())
}

/// Reinitializes a reentrant lock to the unlocked state.
///
/// It is meant for the child process after fork(), in which the owner of the lock may not exist.
///
/// \param rlock the lock
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread; meant for the only thread of a child process
/// \python `rlock._at_fork_reinit()`
/// \since 0.1.0
/// \sa threading_rlock_new, threading_lock_at_fork_reinit
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_at_fork_reinit(rlock: *mut threading_rlock) -> threading_status {
    status(|| from_ptr(rlock).at_fork_reinit())
}

/// Returns the identifier of the thread that owns a reentrant lock.
///
/// \param rlock the lock
/// \return the identifier of the thread, also after the thread has ended; 0 if the lock is unlocked, or
///     is being handed off to a waiter; 0 with THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread; the result may be outdated when the call returns
/// \python the owner in `repr(rlock)`
/// \since 0.1.0
/// \sa threading_thread_ident, threading_dump
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_owner(rlock: *mut threading_rlock) -> u64 {
    value_or_default(|| from_ptr(rlock).owner())
}

/// Sets the name of a reentrant lock, which dumps show.
///
/// The first 47 bytes of the name are kept, up to the end of a character. Several objects may have the
/// same name. An object without a name is shown by its handle.
///
/// \param rlock the lock
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
pub unsafe extern "C" fn threading_rlock_set_name(
    rlock: *mut threading_rlock,
    name: *const c_char,
) -> threading_status {
    // SAFETY: guaranteed by the caller.
    status(|| from_ptr(rlock).set_name(unsafe { optional_cstr_arg(name) }))
}
