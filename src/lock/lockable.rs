//! What a Lock and an RLock have in common besides `lock::raw`: the implementation of `Object`, the slow paths with the
//! slot pinned, and the annotations for race detectors.

use crate::error::Result;
use crate::handle::blocking_call::BlockingCall;
use crate::handle::header::Header;
use crate::handle::{Handle, Object, ObjectKind, note};
use crate::lock::raw::RawLock;
use crate::sync::lock_annotations;
use crate::sys::annotate;
use crate::thread::ident::OWNER_SHIFT;
use crate::time::Timeout;

/// A Lock or an RLock.
///
/// # Safety
/// The type has one field, which `raw` returns, and is `repr(C, align(64))`.
pub(crate) unsafe trait Lockable: Sized + Sync + 'static {
    const LOCK_KIND: ObjectKind;

    /// Whether a thread may release the lock that another thread has acquired.
    const ANY_THREAD_MAY_RELEASE: bool;

    fn raw(&self) -> &RawLock;

    /// Announces to race detectors that the lock is about to be released.
    fn annotate_release(&self) {
        lock_annotations::mutex_unlock(self, &self.raw().tsan_owner);
    }
}

// SAFETY: a RawLock of zeros is unlocked and has no waiters, and is shareable in any state; it begins with its header.
unsafe impl<T: Lockable> Object for T {
    const KIND: ObjectKind = T::LOCK_KIND;

    fn header(&self) -> &Header {
        &self.raw().header
    }

    fn is_busy(&self, tag: u64) -> bool {
        self.raw().word().has_waiters()
            && Handle::is_alive_and(self, tag, |lock| lock.raw().has_blocked_waiters())
    }

    fn invalidate(&self, tag: u64) {
        self.raw().invalidate(tag);
        if annotate::is_active() && self.raw().word().last_owner() != 0 {
            self.annotate_release();
        }
    }

    fn clear_live(&self, tag: u64) {
        self.raw().word().clear_live(tag);
    }

    fn finalize(&self) {
        note::free_of(self.header());
        if annotate::is_active() {
            lock_annotations::mutex_destroyed(self);
        }
    }
}

#[expect(private_bounds, reason = "the object types are this crate's")]
impl<T: Lockable> Handle<T> {
    /// Announces a new lock to race detectors; `mutex_destroyed` must follow when it is destroyed.
    pub(crate) fn annotate_created(self) -> Self {
        if annotate::is_active() {
            if let Ok((lock, _)) = self.slot() {
                lock_annotations::mutex_created(lock);
            }
        }
        self
    }

    /// Calls `acquire` and announces the acquisition to race detectors. The calling thread does not hold the lock.
    #[inline(always)]
    pub(crate) fn annotate_acquire(
        self,
        timeout: Timeout,
        acquire: impl FnOnce() -> Result<bool>,
    ) -> Result<bool> {
        if !annotate::is_active() {
            return acquire();
        }
        let (lock, _) = self.check()?;
        if timeout == Timeout::FOREVER {
            lock_annotations::mutex_pre_lock(lock);
        }
        let acquired = acquire()?;
        if acquired {
            lock_annotations::mutex_post_lock(lock, timeout == Timeout::FOREVER, &lock.raw().tsan_owner);
            // If the lock has been freed since, no release will follow.
            if self.check().is_err() {
                lock.annotate_release();
            }
        }
        Ok(acquired)
    }

    /// Announces to race detectors that a condition's wait has reacquired the lock.
    pub(crate) fn annotate_reacquire(self) {
        if annotate::is_active() {
            if let Ok((lock, _)) = self.check() {
                lock_annotations::mutex_post_lock(lock, true, &lock.raw().tsan_owner);
            }
        }
    }

    /// Acquires the lock after the fast path has failed. Returns false if the timeout expires.
    #[cold]
    pub(crate) fn acquire_raw_slow(self, owner_tag: u64, timeout: Timeout) -> Result<bool> {
        let (lock, tag) = self.slot()?;
        let call = BlockingCall::new(self);
        lock.raw().acquire_slow(tag, owner_tag, timeout, || call.begin())
    }

    /// Releases the lock after the fast path has failed. [`Error::NotAcquired`](crate::Error::NotAcquired) if
    /// `owner_tag` does not own it.
    #[cold]
    pub(crate) fn release_raw_slow(self, owner_tag: u64) -> Result<()> {
        let (lock, tag) = self.slot()?;
        lock.raw().release_slow(tag, owner_tag, T::ANY_THREAD_MAY_RELEASE, || self.pin())
    }

    /// Returns the identifier of the thread that has acquired the lock, also after that thread has ended; 0 if the lock
    /// is unlocked or being handed off to a waiter. The result may be outdated when the call returns.
    ///
    /// ```
    /// use threading::Lock;
    ///
    /// let lock = Lock::new()?;
    /// assert_eq!(lock.owner(), Ok(0));
    /// let guard = lock.lock()?;
    /// assert_eq!(lock.owner(), threading::current()?.ident());
    /// # drop(guard);
    /// # Ok::<(), threading::Error>(())
    /// ```
    pub fn owner(self) -> Result<u64> {
        let (lock, tag) = self.slot()?;
        Ok(lock.raw().word().owner(tag)? >> OWNER_SHIFT)
    }

    /// `at_fork_reinit` of a lock.
    pub(crate) fn reinit_raw(self) -> Result<()> {
        let (_, tag) = self.slot()?;
        let lock = self.pin()?;
        if annotate::is_active() && lock.raw().word().owner(tag)? != 0 {
            lock.annotate_release();
        }
        lock.raw().reinit(tag)
    }
}
