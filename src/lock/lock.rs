//! Lock: Python's `threading.Lock`. Not owned by a thread, not re-entrant; any thread may release it.
//!
//! States and orderings: `raw_lock`. A held Lock shows `HELD` as its holder.

use crate::error::{Error, Result};
use crate::handle::header::Header;
use crate::handle::{Handle, Kind};
use crate::lock::raw::{Lockable, RawLock};
use crate::sync::lock_annotations;
use crate::sys::annotate;
use crate::thread::ident::KEY_SHIFT;
use crate::time::Timeout;

/// What the word of any held Lock shows.
pub(crate) const HELD: u64 = 1 << KEY_SHIFT;

/// A lock that one thread at a time can hold. Python: `threading.Lock`.
///
/// Like Python's, it has no owner: any thread may release it, and the thread that holds it blocks if it acquires it
/// again. [`RLock`](crate::RLock) has an owner. Under contention, the lock goes about every millisecond to the thread
/// that has waited longest. It contains no value; what it protects is up to the program.
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

// SAFETY: a RawLock of zeros is free and nobody's, and all of it is shareable; it begins with its header.
unsafe impl Kind for Lock {
    const INDEX: usize = 2;

    fn header(&self) -> &Header {
        &self.raw.header
    }

    fn is_busy(&self, tag: u64) -> bool {
        self.raw.is_busy(tag)
    }

    fn kill(&self, tag: u64) {
        self.raw.kill(tag);
        if annotate::watches() && self.raw.last_holder() != 0 {
            self.announce_given();
        }
    }

    fn clear(&self) {
        if annotate::watches() {
            lock_annotations::mutex_destroyed(self);
        }
    }
}

impl Lockable for Lock {
    const IS_ANYBODYS: bool = true;

    fn raw(&self) -> &RawLock {
        &self.raw
    }
}

impl Handle<Lock> {
    /// An unlocked lock.
    pub fn new() -> Result<Self> {
        Handle::create(0, |_, _| {}).map(Handle::made)
    }

    /// Takes the lock if nobody holds it and nobody stands in line. False leaves everything open.
    #[inline(always)]
    pub(crate) fn acquire_at_once(self) -> bool {
        self.slot_at_once().is_some_and(|(lock, tag)| lock.raw.acquire_fast(tag, HELD))
    }

    /// Waits until the lock is free, and takes it.
    #[inline]
    pub fn acquire(self) -> Result<()> {
        self.acquire_timeout(Timeout::FOREVER).map(drop)
    }

    /// What `try_acquire` answers, where that is plain to see.
    #[inline(always)]
    pub(crate) fn try_at_once(self) -> Option<bool> {
        let (lock, tag) = self.slot_at_once()?;
        // Looks first: a locked instruction that changes nothing would cost as much as one that does.
        if lock.raw.holder(tag).ok()? >= HELD {
            Some(false)
        } else {
            lock.raw.acquire_fast(tag, HELD).then_some(true)
        }
    }

    /// Takes the lock if that is possible at once.
    #[inline]
    pub fn try_acquire(self) -> Result<bool> {
        self.announced(Timeout::NONE, || {
            self.try_at_once().map_or_else(|| self.acquire_slow(HELD, Timeout::NONE), Ok)
        })
    }

    /// Waits no longer than the timeout; false if it ran out.
    #[inline]
    pub fn acquire_timeout(self, timeout: Timeout) -> Result<bool> {
        self.announced(timeout, || {
            if self.acquire_at_once() { Ok(true) } else { self.acquire_slow(HELD, timeout) }
        })
    }

    /// Gives the lock back if it is held and nobody stands in line. False leaves everything open.
    #[inline(always)]
    pub(crate) fn release_at_once(self) -> bool {
        self.slot_at_once().is_some_and(|(lock, tag)| lock.raw.release_fast(tag, HELD))
    }

    /// Gives the lock back, whoever took it.
    #[inline]
    pub fn release(self) -> Result<()> {
        if self.release_at_once() { Ok(()) } else { self.release_after_all() }
    }

    /// `release`, where `release_at_once` has left it open.
    pub(crate) fn release_after_all(self) -> Result<()> {
        if annotate::watches() && self.locked()? {
            self.slot()?.0.announce_given();
        }
        self.release_slow(HELD)
    }

    /// Whether somebody holds it; a snapshot.
    #[inline]
    pub fn locked(self) -> Result<bool> {
        let (lock, tag) = self.slot()?;
        Ok(lock.raw.holder(tag)? != 0)
    }

    /// As new, for a child process.
    pub fn at_fork_reinit(self) -> Result<()> {
        let (lock, tag) = self.slot()?;
        if annotate::watches() && lock.raw.is_held(tag, HELD) {
            lock.announce_given();
        }
        lock.raw.reinit(tag)
    }

    /// For a condition: what the word shows when the caller holds the lock. A Lock is held by anybody.
    pub(crate) fn claim_if_held(self) -> Result<u64> {
        if self.locked()? { Ok(HELD) } else { Err(Error::NotOwner) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_is_taken_once_and_released_by_anybody() {
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
    fn it_excludes() {
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
    fn a_freed_lock_is_refused_however_often_its_slot_is_used_again() {
        let gone = Handle::<Lock>::new().unwrap();
        gone.free().unwrap();
        for _ in 0..10_000 {
            let newer = Handle::<Lock>::new().unwrap();
            assert_ne!(newer, gone);
            assert_eq!(gone.try_acquire(), Err(Error::Handle));
            newer.free().unwrap();
        }
    }

    #[test]
    fn no_handle_at_all_is_refused() {
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
