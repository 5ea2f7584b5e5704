//! RLock
//!
//! A re-entrant lock: its owner, the thread that holds it, may take it again at once, and has to
//! release it as often. Nobody else may release it. If its owner ends without releasing it, it stays
//! locked and belongs to nobody, never to a later thread. In a timer's function the timer is the owner,
//! not the system thread that runs it.
//!
//! A function that calls itself with the lock held:
//!     static threading_status dive(threading_rlock *rlock, int depth)
//!     {
//!         threading_status status = threading_rlock_acquire(rlock); // at once if it is the caller's
//!         if (status != THREADING_OK)
//!             return status;
//!         if (depth > 0)
//!             status = dive(rlock, depth - 1);
//!         threading_status released = threading_rlock_release(rlock);
//!         return status != THREADING_OK ? status : released;
//!     }

use crate::capi::status::{THREADING_OK, THREADING_TIMED_OUT, THREADING_WOULD_BLOCK, threading_status};
use crate::capi::types::threading_rlock;
use crate::capi::{handle, object, outcome, shortcut, status, value};
use crate::handle::Handle;
use crate::time::Timeout;

/// Makes a re-entrant lock that nobody holds.
///
/// \return the lock, owned by the caller; NULL with THREADING_ERR_NO_MEMORY
///
/// Blocks: never. Thread safety: any thread. Python: `threading.RLock()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_new() -> *mut threading_rlock {
    handle(Handle::<crate::RLock>::new)
}

/// Takes one more reference to a re-entrant lock. (That has nothing to do with holding it.)
///
/// \param rlock the lock
/// \return the same handle, owned once more; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
///         (too many references)
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_ref(rlock: *mut threading_rlock) -> *mut threading_rlock {
    handle(|| object(rlock).add_ref())
}

/// Gives one reference to a re-entrant lock back. The last one ends the lock's life, held or not.
///
/// \param rlock the lock
/// \return THREADING_OK; THREADING_ERR_BUSY when it is the last one and threads are blocked on the
///         lock; THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_free(rlock: *mut threading_rlock) -> threading_status {
    status(|| object(rlock).free())
}

/// Takes the lock once more if the caller owns it; otherwise waits as long as somebody holds it.
///
/// \param rlock the lock
/// \return THREADING_OK when the caller owns the lock; THREADING_ERR_HANDLE; THREADING_ERR_OVERFLOW
///         when the caller holds it 4294967296 times; THREADING_ERR_NO_MEMORY when the thread has never
///         waited before and there is no memory for its record, or takes the lock again, holds another
///         RLock more than once, and there is none for the count
///
/// Blocks: until the lock is free or the caller's. Thread safety: any thread. Python:
/// `rlock.acquire()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_acquire(rlock: *mut threading_rlock) -> threading_status {
    let rlock = object(rlock);
    shortcut(rlock.acquire_at_once().then_some(THREADING_OK), move || status(|| rlock.acquire()))
}

/// Takes the lock if the caller owns it already or nobody holds it.
///
/// \param rlock the lock
/// \return THREADING_OK when the caller owns the lock; THREADING_WOULD_BLOCK when somebody else does;
///         THREADING_ERR_HANDLE; THREADING_ERR_OVERFLOW, THREADING_ERR_NO_MEMORY as
///         threading_rlock_acquire()
///
/// Blocks: never. Thread safety: any thread. Python: `rlock.acquire(blocking=False)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_try_acquire(rlock: *mut threading_rlock) -> threading_status {
    let rlock = object(rlock);
    shortcut(rlock.acquire_at_once().then_some(THREADING_OK), move || {
        outcome(THREADING_WOULD_BLOCK, || rlock.try_acquire())
    })
}

/// Takes the lock as threading_rlock_acquire(), and waits for it no longer than the given time.
///
/// \param rlock the lock
/// \param seconds how long to wait at most, in seconds; THREADING_FOREVER waits without a limit, 0
///         tries once
/// \return THREADING_OK when the caller owns the lock; THREADING_TIMED_OUT when the time ran out;
///         THREADING_ERR_HANDLE, THREADING_ERR_VALUE, THREADING_ERR_OVERFLOW; THREADING_ERR_NO_MEMORY
///         as threading_rlock_acquire()
///
/// Blocks: until the lock is free or the caller's, or the time runs out. Thread safety: any thread.
/// Python: `rlock.acquire(timeout=seconds)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_acquire_timeout(
    rlock: *mut threading_rlock,
    seconds: f64,
) -> threading_status {
    let rlock = object(rlock);
    let short = Timeout::is_common(seconds) && rlock.acquire_at_once();
    shortcut(short.then_some(THREADING_OK), move || {
        outcome(THREADING_TIMED_OUT, || rlock.acquire_timeout(rlock.argument(Timeout::new(seconds))?))
    })
}

/// Undoes one acquire of the caller's. The one that undoes the first lets others take the lock.
///
/// \param rlock the lock
/// \return THREADING_OK; THREADING_ERR_NOT_OWNER when somebody else holds it, or nobody;
///         THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: its owner. Python: `rlock.release()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_release(rlock: *mut threading_rlock) -> threading_status {
    let rlock = object(rlock);
    shortcut(rlock.release_at_once().then_some(THREADING_OK), move || status(|| rlock.release_after_all()))
}

/// Tells whether somebody holds the lock, at this moment.
///
/// \param rlock the lock
/// \return true if so; false if not, or with THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: `rlock.locked()` (3.14). Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_locked(rlock: *mut threading_rlock) -> bool {
    value(|| object(rlock).locked())
}

/// Tells whether the caller holds the lock.
///
/// \param rlock the lock
/// \return true if so; false if not, or with THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: `rlock._is_owned()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_is_owned(rlock: *mut threading_rlock) -> bool {
    value(|| object(rlock).is_owned())
}

/// Tells how many releases the caller owes the lock.
///
/// \param rlock the lock
/// \return the number; 0 when the caller does not own it, or with THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: `rlock._recursion_count()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_recursion_count(rlock: *mut threading_rlock) -> usize {
    value(|| object(rlock).recursion_count())
}

/// Makes the lock as new: nobody holds it. For a child process, where whoever held it may not exist.
///
/// \param rlock the lock
/// \return THREADING_OK; THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread; meant for the only one of a child of fork. Python:
/// `rlock._at_fork_reinit()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_at_fork_reinit(rlock: *mut threading_rlock) -> threading_status {
    status(|| object(rlock).at_fork_reinit())
}
