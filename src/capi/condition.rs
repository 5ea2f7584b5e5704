//! Condition
//!
//! A condition is a lock, and a line of threads that wait until another one notifies them. Whoever
//! waits or notifies holds the lock: an RLock as its owner; over a plain Lock it is enough that anybody
//! holds it, as in Python. A wait gives the lock up, an RLock on all its levels, and has it back as
//! before when it returns, however it ends.
//!
//! Waiters are notified in the order in which they came. A waiter that a notify has chosen returns
//! THREADING_OK even if its time runs out meanwhile, so no notify is lost; no wait returns without a
//! notify before its time; a notify that nobody waits for has no effect. A notify does not give up the
//! lock: waiters go on, one by one and in no defined order, when it is released.
//!
//! Taking what another thread puts there under the same lock, followed by threading_condition_notify():
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

use crate::capi::status::{THREADING_OK, THREADING_TIMED_OUT, THREADING_WOULD_BLOCK, threading_status};
use crate::capi::types::{threading_condition, threading_lock, threading_predicate, threading_rlock};
use crate::capi::{handle, object, outcome, shortcut, status, value};
use crate::handle::Handle;
use core::ffi::c_void;

use crate::error::{Error, Result};
use crate::lock::condition::Condition;
use crate::time::Timeout;

/// Makes a condition over a re-entrant lock of its own.
///
/// \return the condition, owned by the caller; NULL with THREADING_ERR_NO_MEMORY
///
/// Blocks: never. Thread safety: any thread. Python: `threading.Condition()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_new() -> *mut threading_condition {
    handle(Handle::<Condition>::new)
}

/// Makes a condition over a lock of the caller's. Several conditions may share one.
///
/// \param lock the lock, which the condition keeps alive; the caller's reference stays the caller's
/// \return the condition, owned by the caller; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
///         (too many references to the lock), THREADING_ERR_NO_MEMORY
///
/// Blocks: never. Thread safety: any thread. Python: `threading.Condition(lock)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_new_with_lock(lock: *mut threading_lock) -> *mut threading_condition {
    handle(|| Handle::<Condition>::new_with_lock(object(lock)))
}

/// Makes a condition over a re-entrant lock of the caller's. Several conditions may share one.
///
/// \param rlock the lock, which the condition keeps alive; the caller's reference stays the caller's
/// \return the condition, owned by the caller; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
///         (too many references to the lock), THREADING_ERR_NO_MEMORY
///
/// Blocks: never. Thread safety: any thread. Python: `threading.Condition(rlock)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_new_with_rlock(
    rlock: *mut threading_rlock,
) -> *mut threading_condition {
    handle(|| Handle::<Condition>::new_with_rlock(object(rlock)))
}

/// Takes one more reference to a condition.
///
/// \param condition the condition
/// \return the same handle, owned once more; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
///         (too many references)
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_ref(condition: *mut threading_condition) -> *mut threading_condition {
    handle(|| object(condition).add_ref())
}

/// Gives one reference to a condition back. The last one ends its life, and lets go of its lock, held
/// or not.
///
/// Waiters that have been notified do not keep it from that; they return as they should.
///
/// \param condition the condition
/// \return THREADING_OK; THREADING_ERR_BUSY when it is the last one and threads wait that nobody has
///         notified, or are blocked on the lock and only the condition keeps that; THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_free(condition: *mut threading_condition) -> threading_status {
    status(|| object(condition).free())
}

/// Acquires the condition's lock, as threading_lock_acquire() or threading_rlock_acquire().
///
/// \param condition the condition
/// \return THREADING_OK when the caller holds the lock; THREADING_ERR_HANDLE; THREADING_ERR_OVERFLOW,
///         THREADING_ERR_NO_MEMORY as threading_rlock_acquire()
///
/// Blocks: until the lock is free, or an RLock is the caller's. Thread safety: any thread. Python:
/// `condition.acquire()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_acquire(condition: *mut threading_condition) -> threading_status {
    status(|| object(condition).acquire())
}

/// Acquires the condition's lock if that is possible at once.
///
/// \param condition the condition
/// \return THREADING_OK when the caller holds the lock; THREADING_WOULD_BLOCK when it is taken;
///         THREADING_ERR_HANDLE; THREADING_ERR_OVERFLOW, THREADING_ERR_NO_MEMORY as
///         threading_rlock_acquire()
///
/// Blocks: never. Thread safety: any thread. Python: `condition.acquire(blocking=False)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_try_acquire(condition: *mut threading_condition) -> threading_status {
    outcome(THREADING_WOULD_BLOCK, || object(condition).try_acquire())
}

/// Acquires the condition's lock, and waits for it no longer than the given time.
///
/// \param condition the condition
/// \param seconds how long to wait at most, in seconds; THREADING_FOREVER waits without a limit, 0
///         tries once
/// \return THREADING_OK when the caller holds the lock; THREADING_TIMED_OUT when the time ran out;
///         THREADING_ERR_HANDLE, THREADING_ERR_VALUE, THREADING_ERR_OVERFLOW; THREADING_ERR_NO_MEMORY
///         as threading_condition_acquire()
///
/// Blocks: until the lock is free, or an RLock is the caller's, or the time runs out. Thread safety:
/// any thread. Python: `condition.acquire(timeout=seconds)`. Since 0.1.0.
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

/// Releases the condition's lock, one level of an RLock.
///
/// \param condition the condition
/// \return THREADING_OK; THREADING_ERR_NOT_ACQUIRED over a Lock that nobody holds;
///         THREADING_ERR_NOT_OWNER over an RLock that is not the caller's; THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread; over an RLock, its owner. Python: `condition.release()`.
/// Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_release(condition: *mut threading_condition) -> threading_status {
    status(|| object(condition).release())
}

/// Tells whether somebody holds the condition's lock, at this moment.
///
/// \param condition the condition
/// \return true if so; false if not, or with THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: `condition.locked()` (3.14). Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_locked(condition: *mut threading_condition) -> bool {
    value(|| object(condition).locked())
}

/// Tells whether the caller may wait and notify: whether it owns the RLock, or, over a plain Lock,
/// whether anybody holds that.
///
/// \param condition the condition
/// \return true if so; false if not, or with THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: `condition._is_owned()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_is_owned(condition: *mut threading_condition) -> bool {
    value(|| object(condition).is_owned())
}

/// Gives the lock up, waits for a notify, and takes the lock again.
///
/// Whoever waits for a state looks at it again afterwards: another thread may have been faster. Or use
/// threading_condition_wait_for().
///
/// \param condition the condition, its lock held
/// \return THREADING_OK when it was notified; THREADING_ERR_NOT_OWNER when the lock is not held;
///         THREADING_ERR_HANDLE; THREADING_ERR_NO_MEMORY when the thread has never waited before and
///         there is no memory for its record, the lock not given up
///
/// Blocks: until it is notified, and then until the lock is free. Thread safety: any thread that holds
/// the lock. Python: `condition.wait()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_wait(condition: *mut threading_condition) -> threading_status {
    status(|| object(condition).wait(Timeout::FOREVER).map(drop))
}

/// Gives the lock up, waits for a notify no longer than the given time, and takes the lock again.
///
/// \param condition the condition, its lock held
/// \param seconds how long to wait at most, in seconds, not counting the wait for the lock;
///         THREADING_FOREVER waits without a limit, 0 only gives others a chance to take the lock
/// \return THREADING_OK when it was notified; THREADING_TIMED_OUT when the time ran out before that;
///         THREADING_ERR_NOT_OWNER when the lock is not held; THREADING_ERR_HANDLE,
///         THREADING_ERR_VALUE, THREADING_ERR_OVERFLOW; THREADING_ERR_NO_MEMORY as
///         threading_condition_wait()
///
/// Blocks: until it is notified, or the time runs out, and then until the lock is free. Thread safety:
/// any thread that holds the lock. Python: `condition.wait(seconds)`. Since 0.1.0.
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

/// Waits until the predicate says yes. It is asked first of all, and after each notify.
///
/// \param condition the condition, its lock held
/// \param predicate what to ask; it is called by this thread, with the lock held
/// \param arg its argument, not used after the call
/// \return THREADING_OK when the predicate said yes; THREADING_ERR_CALLBACK when it failed, the lock
///         held; THREADING_ERR_NOT_OWNER when the lock is not held, the predicate not called;
///         THREADING_ERR_HANDLE; THREADING_ERR_VALUE when the predicate is NULL;
///         THREADING_ERR_NO_MEMORY as threading_condition_wait()
///
/// Blocks: until the predicate says yes, and each time until the lock is free. Thread safety: any
/// thread that holds the lock. Python: `condition.wait_for(predicate)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn threading_condition_wait_for(
    condition: *mut threading_condition,
    predicate: threading_predicate,
    arg: *mut c_void,
) -> threading_status {
    status(|| wait_for(object(condition), predicate, arg, Ok(Timeout::FOREVER)).map(drop))
}

/// Waits until the predicate says yes, no longer than the given time.
///
/// It is asked first of all, after each notify, and once more when the time has run out.
///
/// \param condition the condition, its lock held
/// \param predicate what to ask; it is called by this thread, with the lock held
/// \param arg its argument, not used after the call
/// \param seconds how long to wait at most, in seconds, not counting the wait for the lock;
///         THREADING_FOREVER waits without a limit, 0 gives others one chance to take the lock
/// \return THREADING_OK when the predicate said yes; THREADING_TIMED_OUT when it still says no;
///         THREADING_ERR_CALLBACK when it failed, the lock held; THREADING_ERR_NOT_OWNER when the lock
///         is not held, the predicate not called; THREADING_ERR_HANDLE; THREADING_ERR_VALUE, also when
///         the predicate is NULL; THREADING_ERR_OVERFLOW; THREADING_ERR_NO_MEMORY as
///         threading_condition_wait()
///
/// Blocks: until the predicate says yes, or the time runs out, and each time until the lock is free.
/// Thread safety: any thread that holds the lock. Python: `condition.wait_for(predicate, seconds)`.
/// Since 0.1.0.
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
///
/// \param condition the condition, its lock held
/// \param n how many; zero and below notify nobody
/// \return THREADING_OK, also when nobody waits; THREADING_ERR_NOT_OWNER when the lock is not held;
///         THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread that holds the lock. Python: `condition.notify(n)`. Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_notify(
    condition: *mut threading_condition,
    n: i64,
) -> threading_status {
    let condition = object(condition);
    shortcut(condition.notify_nobody().then_some(THREADING_OK), move || {
        status(|| condition.notify(usize::try_from(n).unwrap_or(0)))
    })
}

/// Notifies all who wait at this moment.
///
/// \param condition the condition, its lock held
/// \return THREADING_OK, also when nobody waits; THREADING_ERR_NOT_OWNER when the lock is not held;
///         THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread that holds the lock. Python: `condition.notify_all()`.
/// Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_notify_all(condition: *mut threading_condition) -> threading_status {
    let condition = object(condition);
    shortcut(condition.notify_nobody().then_some(THREADING_OK), move || {
        status(|| condition.notify(usize::MAX))
    })
}

/// Makes the condition's lock as new: nobody holds it. For a child process, where whoever held it may
/// not exist.
///
/// \param condition the condition
/// \return THREADING_OK; THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread; meant for the only one of a child of fork. Python:
/// `condition._at_fork_reinit()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_condition_at_fork_reinit(
    condition: *mut threading_condition,
) -> threading_status {
    status(|| object(condition).at_fork_reinit())
}
