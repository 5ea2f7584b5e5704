//! RLock: Python's `threading.RLock`. Its owner may acquire it again, and has to release it as often.
//!
//! States and orderings: `lock::word`. The owner field of the word is the owner tag of the owning thread. Owner tags
//! are never reused, so an RLock whose owner has exited stays locked. The recursion count is not in the lock: the
//! owning thread keeps it (`lock::recursion`), so that a nested acquire or release only writes to the thread's own
//! memory.
//!
//! Only the owner releases an RLock. So its last release is a store, where a Lock's is a compare-and-swap: one locked
//! instruction per acquire and release, not two. `lock::word` describes what other threads do for that, which change
//! the word beside it.

use crate::error::{Error, Result};
use crate::handle::note::Named;
use crate::handle::{Handle, ObjectKind};
use crate::lock::lockable::Lockable;
use crate::lock::raw::RawLock;
use crate::lock::recursion;
use crate::lock::word::LockWord;
use crate::sys::annotate;
use crate::thread::ident;
use crate::time::Timeout;

/// A lock that its owner can acquire again. Python: `threading.RLock`.
///
/// The owner has to release it as often as it has acquired it; another thread cannot release it. If the owner exits
/// without releasing it, it stays locked.
///
/// ```
/// use threading::{Error, RLock};
///
/// let rlock = RLock::new()?;
/// let outer = rlock.lock()?;
/// let inner = rlock.lock()?;
/// assert_eq!(rlock.recursion_count(), Ok(2));
/// std::thread::scope(|scope| {
///     scope.spawn(|| assert_eq!(rlock.release(), Err(Error::NotOwner)));
/// });
/// drop((inner, outer));
/// assert_eq!(rlock.locked(), Ok(false));
/// # Ok::<(), Error>(())
/// ```
#[repr(C, align(64))]
pub struct RLock {
    raw: RawLock,
}

// SAFETY: `raw` returns the only field; the representation is as required.
unsafe impl Lockable for RLock {
    const LOCK_KIND: ObjectKind = ObjectKind::RLock;
    const ANY_THREAD_MAY_RELEASE: bool = false;

    fn raw(&self) -> &RawLock {
        &self.raw
    }
}

impl Named for RLock {}

impl Handle<RLock> {
    /// Creates an unlocked lock.
    pub fn new() -> Result<Self> {
        Handle::create(0, |_, _| {}).map(Handle::annotate_created)
    }

    /// Creates an unlocked RLock with one of the library's references, for a condition.
    pub(crate) fn new_internal() -> Result<Self> {
        Handle::create_with_internal_ref(0, |_, _| {}).map(Handle::annotate_created)
    }

    /// Acquires the lock if the calling thread owns it or it is unlocked. On false, the slow path decides.
    #[inline(always)]
    pub(crate) fn acquire_fast(self) -> bool {
        let Some((rlock, tag)) = self.slot_fast() else { return false };
        let Some(owner_tag) = ident::owner_tag_if_assigned() else { return false };
        let word = rlock.raw.word().load();
        if LockWord::is_word_held_by(word, tag, owner_tag) {
            return recursion::increment_fast(self.bits());
        }
        // Checked first, so that no function is called after the lock has been acquired.
        if !recursion::may_reset_fast(self.bits()) {
            return false;
        }
        let acquired = rlock.raw.word().acquire_fast_from(word, tag, owner_tag);
        if acquired {
            recursion::reset_fast(self.bits());
        }
        acquired
    }

    #[inline(always)]
    fn acquire_inner(self, timeout: Timeout) -> Result<bool> {
        let acquire = || if self.acquire_fast() { Ok(true) } else { self.acquire_slow(timeout) };
        // Race detectors are told of the outermost acquire and release only.
        if annotate::is_active() && !self.is_owned()? {
            self.annotate_acquire(timeout, acquire)
        } else {
            acquire()
        }
    }

    #[cold]
    fn acquire_slow(self, timeout: Timeout) -> Result<bool> {
        let (rlock, tag) = self.slot()?;
        let owner_tag = ident::owner_tag();
        if rlock.raw.word().owner(tag)? == owner_tag {
            return recursion::increment(self.bits(), is_owned_rlock).map(|()| true);
        }
        let acquired = self.acquire_raw_slow(owner_tag, timeout)?;
        if acquired {
            recursion::reset(self.bits());
        }
        Ok(acquired)
    }

    /// Acquires the lock, blocking until it is available. The owner acquires it once more without blocking.
    #[inline]
    pub fn acquire(self) -> Result<()> {
        self.acquire_inner(Timeout::FOREVER).map(drop)
    }

    /// Acquires the lock without blocking. Returns false if another thread owns it.
    #[inline]
    pub fn try_acquire(self) -> Result<bool> {
        self.acquire_inner(Timeout::ZERO)
    }

    /// Acquires the lock. Returns false if the timeout expires.
    #[inline]
    pub fn acquire_timeout(self, timeout: Timeout) -> Result<bool> {
        self.acquire_inner(timeout)
    }

    /// Undoes one acquire of the calling thread, unless it is the last and the release has to wake a waiter. On false,
    /// the slow path decides.
    #[inline(always)]
    pub(crate) fn release_fast(self) -> bool {
        let Some((rlock, tag)) = self.slot_fast() else { return false };
        let Some(owner_tag) = ident::owner_tag_if_assigned() else { return false };
        // The count is valid for the owner only; whether the calling thread is the owner is checked below.
        match recursion::count_fast(self.bits()) {
            Some(0) => rlock.raw.word().release_fast_by_owner(tag, owner_tag),
            Some(extra_count) if rlock.raw.word().is_held_by(tag, owner_tag) => {
                recursion::set_cached(extra_count - 1);
                true
            }
            _ => false,
        }
    }

    /// Undoes one acquire of the calling thread; the last release unlocks the lock.
    #[inline]
    pub fn release(self) -> Result<()> {
        if self.release_fast() { Ok(()) } else { self.release_slow() }
    }

    /// `release` after `release_fast` has returned false.
    pub(crate) fn release_slow(self) -> Result<()> {
        let (rlock, tag) = self.slot()?;
        let owner_tag = ident::owner_tag();
        if rlock.raw.word().owner(tag)? != owner_tag {
            return Err(Error::NotOwner);
        }
        match recursion::count(self.bits()) {
            0 => {
                if annotate::is_active() {
                    rlock.annotate_release();
                }
                recursion::untrack(self.bits());
                self.release_raw_slow(owner_tag)
            }
            extra_count => {
                recursion::set(self.bits(), extra_count - 1);
                Ok(())
            }
        }
    }

    /// Unlocks the lock, which the calling thread owns, whatever its recursion count. Returns the recursion count less
    /// one.
    #[inline(always)]
    pub(crate) fn release_save(self) -> Result<u32> {
        let (rlock, tag) = self.slot()?;
        let owner_tag = ident::owner_tag();
        let extra_count = recursion::count(self.bits());
        recursion::set(self.bits(), 0);
        let released = if annotate::is_active() {
            rlock.annotate_release();
            rlock.raw.word().release_fast_by_cas(tag, owner_tag)
        } else {
            rlock.raw.word().release_fast_by_owner(tag, owner_tag)
        };
        if !released {
            self.release_raw_slow(owner_tag)?;
        }
        Ok(extra_count)
    }

    /// Restores the recursion count that `release_save` has returned, after the calling thread has reacquired the lock.
    #[inline]
    pub(crate) fn restore_recursion(self, extra_count: u32) -> Result<()> {
        recursion::restore(self.bits(), extra_count, is_owned_rlock)
    }

    /// Whether the lock is locked; a snapshot.
    #[inline]
    pub fn locked(self) -> Result<bool> {
        let (rlock, tag) = self.slot()?;
        Ok(rlock.raw.word().owner(tag)? != 0)
    }

    /// Whether the calling thread owns the lock.
    #[inline]
    pub fn is_owned(self) -> Result<bool> {
        let (rlock, tag) = self.slot()?;
        Ok(rlock.raw.word().owner(tag)? == ident::owner_tag())
    }

    /// The calling thread's recursion count; 0 if it does not own the lock.
    pub fn recursion_count(self) -> Result<usize> {
        Ok(if self.is_owned()? { (recursion::count(self.bits()) as usize).saturating_add(1) } else { 0 })
    }

    /// Unlocks the lock whatever its state, for use in a child process.
    pub fn at_fork_reinit(self) -> Result<()> {
        self.reinit_raw()
    }

    /// For a condition: the owner tag if the calling thread owns the lock; otherwise [`Error::NotOwner`].
    pub(crate) fn owner_tag_if_held(self) -> Result<u64> {
        if self.is_owned()? { Ok(ident::owner_tag()) } else { Err(Error::NotOwner) }
    }
}

/// Whether the calling thread owns the RLock with this handle.
fn is_owned_rlock(bits: usize) -> bool {
    Handle::<RLock>::from_bits(bits).is_owned() == Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handle::Object;

    #[test]
    fn only_the_owner_can_acquire_a_locked_rlock() {
        let rlock = Handle::<RLock>::new().unwrap();
        assert_eq!(rlock.release(), Err(Error::NotOwner));
        rlock.acquire().unwrap();
        assert_eq!(rlock.try_acquire(), Ok(true));
        assert_eq!(rlock.recursion_count(), Ok(2));
        std::thread::spawn(move || {
            assert_eq!(rlock.try_acquire(), Ok(false));
            assert_eq!(rlock.is_owned(), Ok(false));
            assert_eq!(rlock.recursion_count(), Ok(0));
            assert_eq!(rlock.release(), Err(Error::NotOwner));
        })
        .join()
        .unwrap();
        rlock.release().unwrap();
        assert_eq!(rlock.locked(), Ok(true));
        rlock.release().unwrap();
        assert_eq!(rlock.locked(), Ok(false));
        rlock.free().unwrap();
    }

    #[test]
    fn overflow_of_the_recursion_count_is_an_error() {
        let rlock = Handle::<RLock>::new().unwrap();
        rlock.acquire().unwrap();
        rlock.acquire().unwrap();
        recursion::set(rlock.bits(), u32::MAX - 1);
        assert_eq!(rlock.try_acquire(), Ok(true));
        assert_eq!(rlock.acquire(), Err(Error::RecursionOverflow));
        assert_eq!(rlock.recursion_count(), Ok(usize::try_from(1_u64 << 32).unwrap_or(usize::MAX)));
        rlock.release().unwrap();
        assert_eq!(rlock.try_acquire(), Ok(true));
        recursion::set(rlock.bits(), 0);
        rlock.release().unwrap();
        assert_eq!(rlock.locked(), Ok(false));
        rlock.free().unwrap();
    }

    #[test]
    fn each_of_several_rlocks_has_its_own_recursion_count() {
        let rlocks: [_; 5] = core::array::from_fn(|_| Handle::<RLock>::new().unwrap());
        for first in 0..5 {
            for rlock in &rlocks[first..] {
                rlock.acquire().unwrap();
            }
        }
        let counts = || rlocks.map(|rlock| rlock.recursion_count().unwrap_or_default());
        assert_eq!(counts(), [1, 2, 3, 4, 5]);
        for rlock in rlocks {
            let condition = Handle::<crate::Condition>::new_with_rlock(rlock).unwrap();
            assert_eq!(condition.wait(Timeout::new(0.001).unwrap()), Ok(false));
            condition.free().unwrap();
        }
        assert_eq!(counts(), [1, 2, 3, 4, 5]);
        std::thread::spawn(move || rlocks[2].at_fork_reinit()).join().unwrap().unwrap();
        rlocks[2].acquire().unwrap();
        assert_eq!(counts(), [1, 2, 1, 4, 5]);
        std::thread::spawn(move || rlocks[3].free()).join().unwrap().unwrap();
        let newer = Handle::<RLock>::new().unwrap();
        newer.acquire().unwrap();
        newer.acquire().unwrap();
        assert_eq!(counts(), [1, 2, 1, 0, 5]);
        assert_eq!(newer.recursion_count(), Ok(2));
        for rlock in [rlocks[4], rlocks[1], rlocks[2], rlocks[0], newer] {
            while rlock.is_owned().unwrap() {
                rlock.release().unwrap();
            }
            rlock.free().unwrap();
        }
        recursion::on_thread_exit();
    }

    #[test]
    fn after_reinit_by_another_thread_the_recursion_count_is_one() {
        let rlock = Handle::<RLock>::new().unwrap();
        for _ in 0..3 {
            rlock.acquire().unwrap();
        }
        std::thread::spawn(move || rlock.at_fork_reinit()).join().unwrap().unwrap();
        rlock.acquire().unwrap();
        assert_eq!(rlock.recursion_count(), Ok(1));
        rlock.release().unwrap();
        assert_eq!(rlock.locked(), Ok(false));
        rlock.free().unwrap();
    }

    #[test]
    fn an_rlock_of_an_exited_thread_stays_locked() {
        let rlock = Handle::<RLock>::new().unwrap();
        std::thread::spawn(move || rlock.acquire().unwrap()).join().unwrap();
        for _ in 0..20 {
            std::thread::spawn(move || assert_eq!(rlock.try_acquire(), Ok(false))).join().unwrap();
        }
        let (object, _) = rlock.slot().unwrap();
        let generation = object.header().generation();
        rlock.free().unwrap();
        // The slot is free for the next object.
        assert_ne!(object.header().generation(), generation);
    }
}
