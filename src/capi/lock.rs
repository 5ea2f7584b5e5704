//! Lock
//!
//! A lock is taken by one caller at a time. It has no owner: any thread may release it, and a thread that takes it twice waits for itself.
//! Locks are fast, and fair enough: a newcomer may take a free lock before a thread that is just waking up, but not for longer than about half a
//! millisecond.

use super::status::{THREADING_TIMED_OUT, THREADING_WOULD_BLOCK, threading_status};
use super::types::threading_lock;
use super::{handle, object, outcome, status, value};
use crate::handle::Handle;
use crate::time::Timeout;

/// Makes an unlocked lock.
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_new() -> *mut threading_lock {
    handle(Handle::<crate::Lock>::new)
}

/// Takes one more reference.
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_ref(lock: *mut threading_lock) -> *mut threading_lock {
    handle(|| object(lock).add_ref())
}

/// Gives one reference back; the last one ends the lock's life, held or not.
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_free(lock: *mut threading_lock) -> threading_status {
    status(|| object(lock).free())
}

/// Takes the lock, and waits as long as somebody holds it.
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_acquire(lock: *mut threading_lock) -> threading_status {
    status(|| object(lock).acquire())
}

/// Takes the lock if nobody holds it.
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_try_acquire(lock: *mut threading_lock) -> threading_status {
    outcome(THREADING_WOULD_BLOCK, || object(lock).try_acquire())
}

/// Takes the lock, and waits for it no longer than the given time.
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_acquire_timeout(
    lock: *mut threading_lock,
    seconds: f64,
) -> threading_status {
    outcome(THREADING_TIMED_OUT, || {
        let lock = object(lock);
        lock.acquire_timeout(lock.argument(Timeout::new(seconds))?)
    })
}

/// Gives the lock back.
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_release(lock: *mut threading_lock) -> threading_status {
    status(|| object(lock).release())
}

/// Tells whether somebody holds the lock.
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_locked(lock: *mut threading_lock) -> bool {
    value(|| object(lock).locked())
}

/// Makes the lock as new: unlocked.
#[unsafe(no_mangle)]
pub extern "C" fn threading_lock_at_fork_reinit(lock: *mut threading_lock) -> threading_status {
    status(|| object(lock).at_fork_reinit())
}
