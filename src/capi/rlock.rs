//! RLock
//!
//! A re-entrant lock: the thread that holds it may take it again at once, and has to release it as often. Only its owner may release it. When its
//! owner ends without releasing it, it stays locked and belongs to nobody. A timer's function owns for its timer, not for the thread that runs it.

use super::status::{THREADING_TIMED_OUT, THREADING_WOULD_BLOCK, threading_status};
use super::types::threading_rlock;
use super::{handle, object, outcome, status, value};
use crate::handle::Handle;
use crate::time::Timeout;

/// Makes an unlocked re-entrant lock.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_new() -> *mut threading_rlock {
    handle(Handle::<crate::RLock>::new)
}

/// Takes one more reference.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_ref(rlock: *mut threading_rlock) -> *mut threading_rlock {
    handle(|| object(rlock).add_ref())
}

/// Gives one reference back; the last one ends the lock's life, held or not.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_free(rlock: *mut threading_rlock) -> threading_status {
    status(|| object(rlock).free())
}

/// Takes the lock once more if the caller owns it; otherwise waits as long as somebody holds it.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_acquire(rlock: *mut threading_rlock) -> threading_status {
    status(|| object(rlock).acquire())
}

/// Takes the lock if the caller owns it already or nobody holds it.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_try_acquire(rlock: *mut threading_rlock) -> threading_status {
    outcome(THREADING_WOULD_BLOCK, || object(rlock).try_acquire())
}

/// Takes the lock, and waits for it no longer than the given time.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_acquire_timeout(
    rlock: *mut threading_rlock,
    seconds: f64,
) -> threading_status {
    outcome(THREADING_TIMED_OUT, || {
        let rlock = object(rlock);
        rlock.acquire_timeout(rlock.argument(Timeout::new(seconds))?)
    })
}

/// Undoes one acquire of the caller's; the last one frees the lock.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_release(rlock: *mut threading_rlock) -> threading_status {
    status(|| object(rlock).release())
}

/// Tells whether somebody holds the lock.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_locked(rlock: *mut threading_rlock) -> bool {
    value(|| object(rlock).locked())
}

/// Tells whether the caller holds the lock.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_is_owned(rlock: *mut threading_rlock) -> bool {
    value(|| object(rlock).is_owned())
}

/// Tells how often the caller holds the lock.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_recursion_count(rlock: *mut threading_rlock) -> usize {
    value(|| object(rlock).recursion_count())
}

/// Makes the lock as new: unlocked.
#[unsafe(no_mangle)]
pub extern "C" fn threading_rlock_at_fork_reinit(rlock: *mut threading_rlock) -> threading_status {
    status(|| object(rlock).at_fork_reinit())
}
