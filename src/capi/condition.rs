//! Condition
//!
//! A condition is a lock, and a line of threads that wait until another one notifies them. wait gives the lock up on all its levels, and has it
//! back when it returns. Waiters are notified in the order in which they came; no notify is lost, and no wait returns without one.
//! Over a plain Lock, "held" means held by anybody.

use super::status::{THREADING_TIMED_OUT, THREADING_WOULD_BLOCK, threading_status};
use super::types::{threading_condition, threading_lock, threading_predicate, threading_rlock};
use super::{handle, object, outcome, status, value};
use crate::handle::Handle;
use core::ffi::c_void;

use crate::condition::Condition;
use crate::error::{Error, Result};
use crate::time::Timeout;

/// Makes a condition over a re-entrant lock of its own.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_new() -> *mut threading_condition {
    handle(Handle::<Condition>::new)
}

/// Makes a condition over a lock of the caller's, which it keeps alive.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_new_with_lock(lock: *mut threading_lock) -> *mut threading_condition {
    handle(|| Handle::<Condition>::new_with_lock(object(lock)))
}

/// Makes a condition over a re-entrant lock of the caller's, which it keeps alive.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_new_with_rlock(
    rlock: *mut threading_rlock,
) -> *mut threading_condition {
    handle(|| Handle::<Condition>::new_with_rlock(object(rlock)))
}

/// Takes one more reference.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_ref(condition: *mut threading_condition) -> *mut threading_condition {
    handle(|| object(condition).add_ref())
}

/// Gives one reference back; the last one ends the condition's life.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_free(condition: *mut threading_condition) -> threading_status {
    status(|| object(condition).free())
}

/// Acquires the condition's lock.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_acquire(condition: *mut threading_condition) -> threading_status {
    status(|| object(condition).acquire())
}

/// Acquires the condition's lock if that is possible at once.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_try_acquire(condition: *mut threading_condition) -> threading_status {
    outcome(THREADING_WOULD_BLOCK, || object(condition).try_acquire())
}

/// Acquires the condition's lock, and waits for it no longer than the given time.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_acquire_timeout(
    condition: *mut threading_condition,
    seconds: f64,
) -> threading_status {
    outcome(THREADING_TIMED_OUT, || {
        let condition = object(condition);
        condition.acquire_timeout(condition.argument(Timeout::new(seconds))?)
    })
}

/// Releases the condition's lock.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_release(condition: *mut threading_condition) -> threading_status {
    status(|| object(condition).release())
}

/// Tells whether somebody holds the condition's lock.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_locked(condition: *mut threading_condition) -> bool {
    value(|| object(condition).locked())
}

/// Tells whether the caller may wait and notify: whether it holds the lock, or, over a plain Lock, whether anybody does.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_is_owned(condition: *mut threading_condition) -> bool {
    value(|| object(condition).is_owned())
}

/// Gives the lock up, waits for a notify, and takes the lock again.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_wait(condition: *mut threading_condition) -> threading_status {
    status(|| object(condition).wait(Timeout::FOREVER).map(drop))
}

/// Gives the lock up, waits for a notify no longer than the given time, and takes the lock again.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_wait_timeout(
    condition: *mut threading_condition,
    seconds: f64,
) -> threading_status {
    outcome(THREADING_TIMED_OUT, || {
        let condition = object(condition);
        condition.wait(condition.argument(Timeout::new(seconds))?)
    })
}

/// Waits until the predicate says yes. It is called with the lock held, first of all and after each notify.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn threading_condition_wait_for(
    condition: *mut threading_condition,
    predicate: threading_predicate,
    arg: *mut c_void,
) -> threading_status {
    status(|| wait_for(object(condition), predicate, arg, Ok(Timeout::FOREVER)).map(drop))
}

/// Waits until the predicate says yes, no longer than the given time.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn threading_condition_wait_for_timeout(
    condition: *mut threading_condition,
    predicate: threading_predicate,
    arg: *mut c_void,
    seconds: f64,
) -> threading_status {
    outcome(THREADING_TIMED_OUT, || wait_for(object(condition), predicate, arg, Timeout::new(seconds)))
}

fn wait_for(
    condition: Handle<Condition>,
    predicate: threading_predicate,
    arg: *mut c_void,
    timeout: Result<Timeout>,
) -> Result<bool> {
    let predicate = condition.argument(predicate.ok_or(Error::NoCallback))?;
    let timeout = condition.argument(timeout)?;
    // SAFETY: C promises that the predicate takes this argument, as long as the call lasts.
    condition.wait_for(timeout, || match unsafe { predicate(arg) } {
        ..0 => None,
        answer => Some(answer > 0),
    })
}

/// Notifies up to n waiters, the longest waiting first.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_notify(
    condition: *mut threading_condition,
    n: i64,
) -> threading_status {
    status(|| object(condition).notify(usize::try_from(n).unwrap_or(0)))
}

/// Notifies all waiters.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_notify_all(condition: *mut threading_condition) -> threading_status {
    status(|| object(condition).notify(usize::MAX))
}

/// Makes the condition's lock as new: unlocked.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_at_fork_reinit(
    condition: *mut threading_condition,
) -> threading_status {
    status(|| object(condition).at_fork_reinit())
}
