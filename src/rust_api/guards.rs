//! Guards, which release a lock or a semaphore at the end of a scope. Python: `with lock:`.

use core::marker::PhantomData;

use crate::error::Result;
use crate::handle::{Handle, Object};
use crate::lock::condition::Condition;
use crate::lock::lock::Lock;
use crate::lock::rlock::RLock;
use crate::semaphore::Semaphore;
use crate::time::Timeout;

/// An object that a thread acquires and releases.
pub(crate) trait Acquirable: Object {
    /// Undoes one acquire.
    fn release(handle: Handle<Self>) -> Result<()>;
}

/// Holds a lock for the calling thread, and releases it when the guard is dropped, including by a panic.
///
/// [`lock`](Handle::<Lock>::lock), [`try_lock`](Handle::<Lock>::try_lock) and
/// [`lock_timeout`](Handle::<Lock>::lock_timeout) of a lock, an RLock and a condition return it, and
/// [`acquire_guard`](Handle::<Semaphore>::acquire_guard) of a semaphore. It borrows the handle by which the lock was
/// acquired, so that an [`OwnedHandle`](crate::OwnedHandle) cannot be dropped while the guard lives. It stays in its
/// thread, since only the thread that acquired an RLock can release it.
///
/// ```
/// let lock = threading::Lock::new()?;
/// {
///     let _guard = lock.lock()?;
///     assert_eq!(lock.locked(), Ok(true));
/// }
/// assert_eq!(lock.locked(), Ok(false));
/// # Ok::<(), threading::Error>(())
/// ```
///
/// The owned handle of the lock cannot be dropped while a guard lives:
///
/// ```compile_fail,E0505
/// let lock = threading::Lock::new()?;
/// let guard = lock.lock()?;
/// drop(lock);
/// drop(guard);
/// # Ok::<(), threading::Error>(())
/// ```
///
/// A guard cannot leave its thread:
///
/// ```compile_fail,E0277
/// let lock = threading::Lock::new()?;
/// let guard = lock.lock()?;
/// std::thread::scope(|scope| {
///     scope.spawn(move || drop(guard));
/// });
/// # Ok::<(), threading::Error>(())
/// ```
#[expect(private_bounds, reason = "only types of this crate can be objects")]
#[must_use = "a guard that is not kept releases the lock immediately"]
pub struct LockGuard<'a, T: Acquirable> {
    handle: Handle<T>,
    /// The borrow, and a pointer, which makes the guard neither `Send` nor `Sync`.
    borrow: PhantomData<(&'a Handle<T>, *const ())>,
}

/// Returns a guard for the lock or permit that the calling thread has just acquired.
fn guard<T: Acquirable>(handle: &Handle<T>) -> LockGuard<'_, T> {
    LockGuard { handle: *handle, borrow: PhantomData }
}

impl<T: Acquirable> Drop for LockGuard<'_, T> {
    /// Releases the lock. Errors are ignored; for example, the program may have released the lock itself.
    fn drop(&mut self) {
        let _ = T::release(self.handle);
    }
}

impl<T: Acquirable> core::fmt::Debug for LockGuard<'_, T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_tuple("LockGuard").field(&self.handle).finish()
    }
}

macro_rules! locks {
    ($($object:ty, $word:literal;)*) => {$(
        impl Acquirable for $object {
            fn release(handle: Handle<Self>) -> Result<()> {
                handle.release()
            }
        }

        impl Handle<$object> {
            #[doc = concat!("Acquires the ", $word, ", and returns a guard that releases it. Blocks until it is free.")]
            pub fn lock(&self) -> Result<LockGuard<'_, $object>> {
                self.acquire()?;
                Ok(guard(self))
            }

            #[doc = concat!("Acquires the ", $word, " if that is possible without blocking, and returns a guard that ")]
            /// releases it. Otherwise returns `None`.
            pub fn try_lock(&self) -> Result<Option<LockGuard<'_, $object>>> {
                Ok(self.try_acquire()?.then(|| guard(self)))
            }

            #[doc = concat!("Acquires the ", $word, ", and returns a guard that releases it. Returns `None` if the ")]
            /// timeout expires before it is free.
            pub fn lock_timeout(&self, timeout: Timeout) -> Result<Option<LockGuard<'_, $object>>> {
                Ok(self.acquire_timeout(timeout)?.then(|| guard(self)))
            }
        }
    )*};
}

locks! {
    Lock, "lock";
    RLock, "lock";
    Condition, "lock of the condition";
}

impl Acquirable for Semaphore {
    fn release(handle: Handle<Self>) -> Result<()> {
        handle.release(1)
    }
}

impl Handle<Semaphore> {
    /// Acquires the semaphore, and returns a guard that releases it. Blocks until the value is above zero.
    pub fn acquire_guard(&self) -> Result<LockGuard<'_, Semaphore>> {
        self.acquire(Timeout::FOREVER)?;
        Ok(guard(self))
    }
}
