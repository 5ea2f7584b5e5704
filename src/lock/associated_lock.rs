//! The lock of a condition: a Lock or an RLock, as a handle that need not be valid.

use crate::error::Result;
use crate::handle::blocking_call::BlockingCall;
use crate::handle::{Handle, Object};
use crate::lock::lock::Lock;
use crate::lock::lockable::Lockable;
use crate::lock::raw::RawLock;
use crate::lock::rlock::RLock;
use crate::time::Timeout;

#[derive(Clone, Copy)]
pub(super) enum AssociatedLock {
    Lock(Handle<Lock>),
    RLock(Handle<RLock>),
}

/// Evaluates an expression for a lock of either type.
macro_rules! with_lock {
    ($lock:expr, $name:ident => $do:expr) => {
        match $lock {
            AssociatedLock::Lock($name) => $do,
            AssociatedLock::RLock($name) => $do,
        }
    };
}

impl AssociatedLock {
    /// The opposite of `bits` and `is_reentrant`.
    pub(super) fn from_bits(bits: usize, is_reentrant: bool) -> Self {
        if is_reentrant {
            AssociatedLock::RLock(Handle::from_bits(bits))
        } else {
            AssociatedLock::Lock(Handle::from_bits(bits))
        }
    }

    pub(super) fn bits(self) -> usize {
        with_lock!(self, lock => lock.bits())
    }

    pub(super) fn is_reentrant(self) -> bool {
        matches!(self, AssociatedLock::RLock(_))
    }

    pub(super) fn internal_unref(self) {
        with_lock!(self, lock => lock.internal_unref());
    }

    /// Whether the condition has the only reference to the lock, and threads wait for the lock.
    pub(super) fn is_last_ref_with_waiters(self) -> bool {
        fn is_busy<T: Lockable>(lock: Handle<T>) -> bool {
            lock.check().is_ok_and(|(lock, tag)| lock.header().has_single_internal_ref() && lock.is_busy(tag))
        }
        with_lock!(self, lock => is_busy(lock))
    }

    pub(super) fn acquire(self) -> Result<()> {
        with_lock!(self, lock => lock.acquire())
    }

    pub(super) fn try_acquire(self) -> Result<bool> {
        with_lock!(self, lock => lock.try_acquire())
    }

    pub(super) fn acquire_timeout(self, timeout: Timeout) -> Result<bool> {
        with_lock!(self, lock => lock.acquire_timeout(timeout))
    }

    pub(super) fn release(self) -> Result<()> {
        with_lock!(self, lock => lock.release())
    }

    pub(super) fn locked(self) -> Result<bool> {
        with_lock!(self, lock => lock.locked())
    }

    pub(super) fn at_fork_reinit(self) -> Result<()> {
        with_lock!(self, lock => lock.at_fork_reinit())
    }

    /// Returns the owner field, for reports; `None` if the lock has been freed.
    pub(super) fn owner(self) -> Option<u64> {
        with_lock!(self, lock => lock.check().and_then(|(lock, tag)| lock.raw().word().owner(tag)).ok())
    }

    pub(super) fn owner_tag_if_held(self) -> Result<u64> {
        with_lock!(self, lock => lock.owner_tag_if_held())
    }

    /// Releases the lock whatever its recursion count. Returns the recursion count less one.
    pub(super) fn release_save(self) -> Result<u32> {
        match self {
            AssociatedLock::Lock(lock) => lock.release().map(|()| 0),
            AssociatedLock::RLock(rlock) => rlock.release_save(),
        }
    }

    /// Restores the recursion count of a lock that the calling thread has reacquired.
    pub(super) fn restore_recursion(self, extra_count: u32) -> Result<()> {
        match self {
            AssociatedLock::Lock(_) => Ok(()),
            AssociatedLock::RLock(rlock) => rlock.restore_recursion(extra_count),
        }
    }

    /// Reports to race detectors that the calling thread has reacquired the lock.
    pub(super) fn annotate_reacquire(self) {
        with_lock!(self, lock => lock.annotate_reacquire());
    }

    pub(super) fn blocking_call(self) -> LockCall {
        match self {
            AssociatedLock::Lock(lock) => LockCall::Lock(BlockingCall::new(lock)),
            AssociatedLock::RLock(rlock) => LockCall::RLock(BlockingCall::new(rlock)),
        }
    }
}

/// A blocking call on a condition's lock.
pub(super) enum LockCall {
    Lock(BlockingCall<Lock>),
    RLock(BlockingCall<RLock>),
}

impl LockCall {
    /// Pins the slot of the lock.
    pub(super) fn begin(&self) -> Result<&'static RawLock> {
        Ok(match self {
            LockCall::Lock(call) => call.begin()?.raw(),
            LockCall::RLock(call) => call.begin()?.raw(),
        })
    }
}
