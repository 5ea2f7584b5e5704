//! Lock: Python's `threading.Lock`. It is not reentrant, and any thread may release it.
//!
//! States and orderings: `lock::word`. The owner field of the word is the owner tag of the thread that acquired the
//! lock, for reports: no call depends on which thread that is.

use crate::error::{Error, Result};
use crate::handle::note::Named;
use crate::handle::{Handle, ObjectKind};
use crate::lock::lockable::Lockable;
use crate::lock::raw::RawLock;
use crate::sys::annotate;
use crate::thread::ident::{self, FIRST_OWNER_TAG};
use crate::time::Timeout;

/// A lock that one thread at a time can hold. Python: `threading.Lock`.
///
/// Like Python's, it may be released by any thread, and the thread that holds it blocks if it acquires it again. Only
/// its owner may release an [`RLock`](crate::RLock). Under contention, a release hands the lock off a few times per
/// millisecond to the thread that has waited longest. It contains no value; what it protects is up to the program.
///
/// ```
/// use threading::{Error, Lock, Timeout};
///
/// let lock = Lock::new()?;
/// {
///     let _guard = lock.lock()?;
///     assert!(lock.try_lock()?.is_none());
///     assert!(lock.lock_timeout(Timeout::new(0.01)?)?.is_none());
/// }
///
/// // The guard has released it. The same without a guard, by the names of the C API:
/// lock.acquire()?;
/// lock.release()?;
/// assert_eq!(lock.release(), Err(Error::NotAcquired));
/// # Ok::<(), Error>(())
/// ```
#[repr(C, align(64))]
pub struct Lock {
    raw: RawLock,
}

// SAFETY: `raw` returns the only field; the representation is as required.
unsafe impl Lockable for Lock {
    const LOCK_KIND: ObjectKind = ObjectKind::Lock;
    const ANY_THREAD_MAY_RELEASE: bool = true;

    fn raw(&self) -> &RawLock {
        &self.raw
    }
}

impl Named for Lock {}

impl Handle<Lock> {
    /// Creates an unlocked lock.
    pub fn new() -> Result<Self> {
        Handle::create(0, |_, _| {}).map(Handle::annotate_created)
    }

    /// Acquires the lock if it is unlocked. On false, the slow path decides.
    #[inline(always)]
    pub(crate) fn acquire_fast(self) -> bool {
        let Some((lock, tag)) = self.slot_fast() else { return false };
        let Some(owner_tag) = ident::owner_tag_if_assigned() else { return false };
        lock.raw.word().acquire_fast(tag, owner_tag)
    }

    /// Acquires the lock, blocking until it is available. A thread that already holds it deadlocks.
    #[inline]
    pub fn acquire(self) -> Result<()> {
        self.acquire_timeout(Timeout::FOREVER).map(drop)
    }

    /// The result of `try_acquire`, or `None` if the slow path must decide.
    #[inline(always)]
    pub(crate) fn try_acquire_fast(self) -> Option<bool> {
        let (lock, tag) = self.slot_fast()?;
        // Reads first, since a compare-exchange that fails costs as much as one that succeeds.
        if lock.raw.word().owner(tag).ok()? >= FIRST_OWNER_TAG {
            Some(false)
        } else {
            lock.raw.word().acquire_fast(tag, ident::owner_tag_if_assigned()?).then_some(true)
        }
    }

    /// Acquires the lock without blocking. Returns false if it is locked.
    #[inline]
    pub fn try_acquire(self) -> Result<bool> {
        self.annotate_acquire(Timeout::ZERO, || {
            self.try_acquire_fast()
                .map_or_else(|| self.acquire_raw_slow(ident::owner_tag(), Timeout::ZERO), Ok)
        })
    }

    /// Acquires the lock. Returns false if the timeout expires.
    #[inline]
    pub fn acquire_timeout(self, timeout: Timeout) -> Result<bool> {
        self.annotate_acquire(timeout, || {
            if self.acquire_fast() { Ok(true) } else { self.acquire_raw_slow(ident::owner_tag(), timeout) }
        })
    }

    /// Releases the lock if it is locked and the release need not wake a waiter. On false, the slow path decides.
    #[inline(always)]
    pub(crate) fn release_fast(self) -> bool {
        let Some((lock, tag)) = self.slot_fast() else { return false };
        let Some(owner_tag) = ident::owner_tag_if_assigned() else { return false };
        lock.raw.word().release_fast_of_any_owner(tag, owner_tag)
    }

    /// Releases the lock, whichever thread has acquired it.
    #[inline]
    pub fn release(self) -> Result<()> {
        if self.release_fast() { Ok(()) } else { self.release_slow() }
    }

    /// `release` after `release_fast` has returned false.
    pub(crate) fn release_slow(self) -> Result<()> {
        if annotate::is_active() && self.locked()? {
            self.slot()?.0.annotate_release();
        }
        self.release_raw_slow(ident::owner_tag())
    }

    /// Whether the lock is locked; a snapshot.
    #[inline]
    pub fn locked(self) -> Result<bool> {
        let (lock, tag) = self.slot()?;
        Ok(lock.raw.word().owner(tag)? != 0)
    }

    /// Unlocks the lock whatever its state, for use in a child process.
    pub fn at_fork_reinit(self) -> Result<()> {
        self.reinit_raw()
    }

    /// For a condition: the calling thread's owner tag if the lock is locked, by any thread; otherwise
    /// [`Error::NotOwner`].
    pub(crate) fn owner_tag_if_held(self) -> Result<u64> {
        if self.locked()? { Ok(ident::owner_tag()) } else { Err(Error::NotOwner) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_acquired_once_and_released_by_any_thread() {
        let lock = Handle::<Lock>::new().unwrap();
        assert_eq!(lock.release(), Err(Error::NotAcquired));
        lock.acquire().unwrap();
        assert_eq!(lock.try_acquire(), Ok(false));
        assert_eq!(lock.acquire_timeout(Timeout::new(0.01).unwrap()), Ok(false));
        assert_eq!(lock.locked(), Ok(true));
        std::thread::spawn(move || lock.release().unwrap()).join().unwrap();
        assert_eq!(lock.locked(), Ok(false));
        lock.free().unwrap();
        assert_eq!(lock.acquire(), Err(Error::Handle));
        assert_eq!(lock.free(), Err(Error::Handle));
    }

    #[test]
    fn one_thread_at_a_time_holds_the_lock() {
        let lock = Handle::<Lock>::new().unwrap();
        static mut COUNT: u64 = 0;
        let threads: Vec<_> = (0..4)
            .map(|_| {
                std::thread::spawn(move || {
                    for _ in 0..50_000 {
                        lock.acquire().unwrap();
                        // SAFETY: the lock is held.
                        unsafe { COUNT += 1 };
                        lock.release().unwrap();
                    }
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        // SAFETY: the threads have ended.
        assert_eq!(unsafe { COUNT }, 200_000);
        lock.free().unwrap();
    }

    #[test]
    fn a_stale_handle_stays_invalid_however_often_its_slot_is_reused() {
        let stale = Handle::<Lock>::new().unwrap();
        stale.free().unwrap();
        for _ in 0..10_000 {
            let newer = Handle::<Lock>::new().unwrap();
            assert_ne!(newer, stale);
            assert_eq!(stale.try_acquire(), Err(Error::Handle));
            newer.free().unwrap();
        }
    }

    #[test]
    fn invalid_handles_are_errors() {
        let lock = Handle::<Lock>::new().unwrap();
        for wrong in [
            0,
            1,
            64,
            usize::MAX,
            lock.bits() + 1,
            lock.bits() + 64,
            lock.bits() & !63,
            &raw const lock as usize,
        ] {
            assert_eq!(Handle::<Lock>::from_bits(wrong).acquire(), Err(Error::Handle));
            assert_eq!(Handle::<Lock>::from_bits(wrong).release(), Err(Error::Handle));
        }
        lock.free().unwrap();
    }
}
