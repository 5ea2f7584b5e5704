//! Owned handles, and the constructors that return them and take no closure.

use core::fmt;
use core::mem::ManuallyDrop;
use core::ops::Deref;

use crate::error::Result;
use crate::event::Event;
use crate::handle::{Handle, Object};
use crate::lock::condition::Condition;
use crate::lock::lock::Lock;
use crate::lock::rlock::RLock;
use crate::semaphore::Semaphore;

/// A handle that owns one reference to its object and releases it when it is dropped.
///
/// It dereferences to [`Handle`], which has the methods of the object. A clone owns one more reference, as with
/// [`Arc`](std::sync::Arc). The object lives until its last reference is released. The library also holds references: a
/// running thread and a pending timer each hold one to themselves, and a condition holds one to its lock.
///
/// ```
/// use threading::{Error, Lock};
///
/// let lock = Lock::new()?;
/// let clone = lock.clone();
/// drop(lock);
/// assert_eq!(clone.locked(), Ok(false));
///
/// // This handle owns no reference. Each call checks whether its object still exists.
/// let handle = *clone;
/// drop(clone);
/// assert_eq!(handle.locked(), Err(Error::Handle));
/// # Ok::<(), Error>(())
/// ```
///
/// A reference cannot be released twice:
///
/// ```compile_fail,E0382
/// let lock = threading::Lock::new()?;
/// lock.free()?;
/// lock.free()?;
/// # Ok::<(), threading::Error>(())
/// ```
#[expect(private_bounds, reason = "only types of this crate can be objects")]
pub struct OwnedHandle<T: Object>(Handle<T>);

#[expect(private_bounds, reason = "only types of this crate can be objects")]
impl<T: Object> OwnedHandle<T> {
    /// Takes over a reference that the caller owns: one that a constructor of [`Handle`] or [`Handle::add_ref`]
    /// returned.
    pub const fn from_handle(handle: Handle<T>) -> Self {
        OwnedHandle(handle)
    }

    /// Returns the handle, and transfers the reference to the caller, which must release it with [`Handle::free`].
    pub fn into_handle(self) -> Handle<T> {
        ManuallyDrop::new(self).0
    }

    /// Returns a handle that owns one more reference, as [`clone`](Clone::clone) does, or the error.
    pub fn try_clone(&self) -> Result<Self> {
        self.try_clone_to_owned()
    }

    /// Releases the reference, and returns the error that a drop ignores: [`Error::Busy`](crate::Error::Busy) if it
    /// is the last one and threads are blocked on the object. The reference is then leaked.
    pub fn free(self) -> Result<()> {
        self.into_handle().free()
    }
}

#[expect(private_bounds, reason = "only types of this crate can be objects")]
impl<T: Object> Handle<T> {
    /// Returns an owned handle with a new reference to the object.
    ///
    /// ```
    /// let thread = threading::current()?.try_clone_to_owned()?;
    /// assert_eq!(*thread, threading::current()?);
    /// # Ok::<(), threading::Error>(())
    /// ```
    pub fn try_clone_to_owned(self) -> Result<OwnedHandle<T>> {
        self.add_ref().map(OwnedHandle)
    }
}

impl<T: Object> Deref for OwnedHandle<T> {
    type Target = Handle<T>;

    fn deref(&self) -> &Handle<T> {
        &self.0
    }
}

impl<T: Object> Clone for OwnedHandle<T> {
    /// Returns a handle that owns one more reference. If that fails, the clone is [`Handle::NULL`], with which each
    /// call returns [`Error::Handle`](crate::Error::Handle).
    fn clone(&self) -> Self {
        self.try_clone().unwrap_or(OwnedHandle(Handle::NULL))
    }
}

impl<T: Object> Drop for OwnedHandle<T> {
    /// Releases the reference. If it is the last one and threads are blocked on the object, it is leaked.
    fn drop(&mut self) {
        let _ = self.0.free();
    }
}

impl<T: Object> PartialEq for OwnedHandle<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Object> Eq for OwnedHandle<T> {}

impl<T: Object> fmt::Debug for OwnedHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("OwnedHandle").field(&self.0).finish()
    }
}

impl Lock {
    /// Creates an unlocked lock. Python: `Lock()`.
    pub fn new() -> Result<OwnedHandle<Lock>> {
        Handle::<Lock>::new().map(OwnedHandle)
    }
}

impl RLock {
    /// Creates an unlocked RLock. Python: `RLock()`.
    pub fn new() -> Result<OwnedHandle<RLock>> {
        Handle::<RLock>::new().map(OwnedHandle)
    }
}

impl Condition {
    /// Creates a condition with an RLock of its own. Python: `Condition()`.
    pub fn new() -> Result<OwnedHandle<Condition>> {
        Handle::<Condition>::new().map(OwnedHandle)
    }

    /// Creates a condition that uses `lock`, and holds a reference to it. Python: `Condition(lock)`.
    pub fn new_with_lock(lock: &Handle<Lock>) -> Result<OwnedHandle<Condition>> {
        Handle::<Condition>::new_with_lock(*lock).map(OwnedHandle)
    }

    /// Creates a condition that uses `rlock`, and holds a reference to it. Python: `Condition(rlock)`.
    pub fn new_with_rlock(rlock: &Handle<RLock>) -> Result<OwnedHandle<Condition>> {
        Handle::<Condition>::new_with_rlock(*rlock).map(OwnedHandle)
    }
}

impl Semaphore {
    /// Creates a semaphore with this value. Python: `Semaphore(value)`.
    pub fn new(value: i64) -> Result<OwnedHandle<Semaphore>> {
        Handle::<Semaphore>::new(value).map(OwnedHandle)
    }

    /// Creates a semaphore with this value, which a release cannot exceed. Python: `BoundedSemaphore(value)`.
    pub fn new_bounded(value: i64) -> Result<OwnedHandle<Semaphore>> {
        Handle::<Semaphore>::new_bounded(value).map(OwnedHandle)
    }
}

impl Event {
    /// Creates an event that is not set. Python: `Event()`.
    pub fn new() -> Result<OwnedHandle<Event>> {
        Handle::<Event>::new().map(OwnedHandle)
    }
}
