//! Lock
//!
//! A lock is held by one caller at a time; the others wait. It has no owner: any thread may release it,
//! and a thread that takes it a second time waits for itself. Who gets it next is not defined, but
//! nobody waits for ever: a newcomer may take a free lock before a thread that is just waking up,
//! but every millisecond or so the lock goes to the one that has waited longest.
//!
//! A sum that threads share (a block under THREADING_WITH() releases by itself):
//!     static bool add(threading_lock *lock, long *sum, long amount)
//!     {
//!         if (threading_lock_acquire(lock) != THREADING_OK)
//!             return false;
//!         *sum += amount;
//!         return threading_lock_release(lock) == THREADING_OK;
//!     }

use crate::capi::status::{THREADING_OK, THREADING_TIMED_OUT, THREADING_WOULD_BLOCK, threading_status};
use crate::capi::types::threading_lock;
use crate::capi::{choose, handle, object, outcome, shortcut, status, value};
use crate::handle::Handle;
use crate::time::Timeout;

/// Makes a lock that nobody holds.
///
/// \return the lock, owned by the caller; NULL with THREADING_ERR_NO_MEMORY
///
/// Blocks: never. Thread safety: any thread. Python: `threading.Lock()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_new() -> *mut threading_lock {
    handle(Handle::<crate::Lock>::new)
}

/// Takes one more reference to a lock.
///
/// \param lock the lock
/// \return the same handle, owned once more; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
///         (too many references)
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_ref(lock: *mut threading_lock) -> *mut threading_lock {
    handle(|| object(lock).add_ref())
}

/// Gives one reference to a lock back. The last one ends the lock's life, held or not.
///
/// \param lock the lock
/// \return THREADING_OK; THREADING_ERR_BUSY when it is the last one and threads are blocked on the
///         lock; THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_free(lock: *mut threading_lock) -> threading_status {
    status(|| object(lock).free())
}

/// Takes the lock, and waits as long as somebody holds it. If that is the caller, it waits for ever.
///
/// \param lock the lock
/// \return THREADING_OK when the caller holds the lock; THREADING_ERR_HANDLE; THREADING_ERR_NO_MEMORY
///         when the thread has never waited before and there is no memory for its record
///
/// Blocks: until the lock is free. Thread safety: any thread. Python: `lock.acquire()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_acquire(lock: *mut threading_lock) -> threading_status {
    let lock = object(lock);
    shortcut(lock.acquire_at_once().then_some(THREADING_OK), move || status(|| lock.acquire()))
}

/// Takes the lock if nobody holds it.
///
/// \param lock the lock
/// \return THREADING_OK when the caller holds the lock; THREADING_WOULD_BLOCK when somebody else, or
///         the caller before, does; THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: `lock.acquire(blocking=False)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_try_acquire(lock: *mut threading_lock) -> threading_status {
    let lock = object(lock);
    shortcut(lock.try_at_once().map(|acquired| choose(acquired, THREADING_WOULD_BLOCK)), move || {
        outcome(THREADING_WOULD_BLOCK, || lock.try_acquire())
    })
}

/// Takes the lock, and waits for it no longer than the given time.
///
/// \param lock the lock
/// \param seconds how long to wait at most, in seconds; THREADING_FOREVER waits without a limit, 0
///         tries once
/// \return THREADING_OK when the caller holds the lock; THREADING_TIMED_OUT when the time ran out;
///         THREADING_ERR_HANDLE, THREADING_ERR_VALUE, THREADING_ERR_OVERFLOW; THREADING_ERR_NO_MEMORY
///         as threading_lock_acquire()
///
/// Blocks: until the lock is free, or the time runs out. Thread safety: any thread. Python:
/// `lock.acquire(timeout=seconds)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_acquire_timeout(
    lock: *mut threading_lock,
    seconds: f64,
) -> threading_status {
    let lock = object(lock);
    let short = Timeout::is_common(seconds) && lock.acquire_at_once();
    shortcut(short.then_some(THREADING_OK), move || {
        outcome(THREADING_TIMED_OUT, || lock.acquire_timeout(lock.argument(Timeout::new(seconds))?))
    })
}

/// Gives the lock back, whoever took it.
///
/// \param lock the lock
/// \return THREADING_OK; THREADING_ERR_NOT_ACQUIRED when nobody holds it; THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: `lock.release()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_release(lock: *mut threading_lock) -> threading_status {
    let lock = object(lock);
    shortcut(lock.release_at_once().then_some(THREADING_OK), move || status(|| lock.release_after_all()))
}

/// Tells whether somebody holds the lock, at this moment.
///
/// \param lock the lock
/// \return true if so; false if not, or with THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: `lock.locked()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_locked(lock: *mut threading_lock) -> bool {
    value(|| object(lock).locked())
}

/// Makes the lock as new: nobody holds it. For a child process, where whoever held it may not exist.
///
/// \param lock the lock
/// \return THREADING_OK; THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread; meant for the only one of a child of fork. Python:
/// `lock._at_fork_reinit()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_at_fork_reinit(lock: *mut threading_lock) -> threading_status {
    status(|| object(lock).at_fork_reinit())
}
