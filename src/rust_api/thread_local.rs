//! Thread-local values of a Rust type, stored as the pointers of a [`Local`].

use core::ffi::c_void;
use core::ptr;
use std::sync::Arc;

use super::closures::catch_and_report;
use super::owned::OwnedHandle;
use crate::callbacks::{Destructor, Init as RawInit};
use crate::error::Result;
use crate::handle::Handle;
use crate::local::Local;

impl Local {
    /// Creates a local in which no thread has a value.
    ///
    /// # Safety
    /// `destroy` takes, in any thread, each value and each attribute that will be set.
    pub unsafe fn new(destroy: Option<Destructor>) -> Result<OwnedHandle<Local>> {
        // SAFETY: guaranteed by the caller.
        unsafe { Handle::<Local>::new(destroy) }.map(OwnedHandle::from_handle)
    }

    /// Creates a local whose value in each thread is what `init(arg)` returns at the thread's first call.
    ///
    /// # Safety
    /// As for [`Local::new`]; and `arg` is what `init` takes, in any thread, as long as the local lives.
    pub unsafe fn new_with_init(
        init: RawInit,
        arg: *mut c_void,
        destroy: Option<Destructor>,
    ) -> Result<OwnedHandle<Local>> {
        // SAFETY: guaranteed by the caller.
        unsafe { Handle::<Local>::new_with_init(init, arg, destroy) }.map(OwnedHandle::from_handle)
    }
}

/// A value of type `T` for each thread. Python: `threading.local`.
///
/// Unlike [`std::thread_local!`], it is an object that is created at run time, and dropping it drops the values of all
/// threads. The value of a thread is also dropped when the thread exits or sets another one. [`get`](Self::get) returns
/// an [`Arc`], so that the caller can still use a value after it has set another one.
///
/// ```
/// use std::cell::Cell;
/// use threading::ThreadLocal;
///
/// let calls = ThreadLocal::with_init(|| Cell::new(0))?;
/// let count = || -> threading::Result<u32> {
///     let calls = calls.get()?.expect("the closure has created it");
///     calls.set(calls.get() + 1);
///     Ok(calls.get())
/// };
/// assert_eq!((count()?, count()?), (1, 2));
/// std::thread::scope(|scope| {
///     scope.spawn(|| assert_eq!(count(), Ok(1)));
/// });
/// # Ok::<(), threading::Error>(())
/// ```
pub struct ThreadLocal<T> {
    local: OwnedHandle<Local>,
    /// Creates the values. Declared, and so dropped, after the local.
    _init: Option<Arc<Init<T>>>,
}

type Init<T> = Box<dyn Fn() -> T + Send + Sync>;

// SAFETY: each thread gets only the values that it has set itself. The thread that drops the local drops those of other
// threads, for which `T` is `Send`.
unsafe impl<T: Send> Send for ThreadLocal<T> {}
// SAFETY: as above.
unsafe impl<T: Send> Sync for ThreadLocal<T> {}

impl<T: Send + 'static> ThreadLocal<T> {
    /// Creates a local in which no thread has a value.
    pub fn new() -> Result<Self> {
        // SAFETY: each value that is set is from `Arc::into_raw`.
        let local = unsafe { Local::new(Some(Self::destroy))? };
        Ok(ThreadLocal { local, _init: None })
    }

    /// Creates a local whose closure creates the value of each thread, at the thread's first call. If the closure
    /// panics, the thread has no value.
    pub fn with_init(init: impl Fn() -> T + Send + Sync + 'static) -> Result<Self> {
        unsafe extern "C-unwind" fn call<T>(arg: *mut c_void) -> *mut c_void {
            // SAFETY: the closure lives as long as the local, and each call borrows both.
            let value = catch_and_report(|| Arc::new(unsafe { &*arg.cast::<Init<T>>() }()));
            value.map_or(ptr::null_mut(), |value| Arc::into_raw(value).cast_mut().cast())
        }
        let init: Arc<Init<T>> = Arc::new(Box::new(init));
        let arg = Arc::as_ptr(&init).cast_mut().cast();
        // SAFETY: as in `new`; the closure outlives the local, and is `Sync`.
        let local = unsafe { Local::new_with_init(call::<T>, arg, Some(Self::destroy))? };
        Ok(ThreadLocal { local, _init: Some(init) })
    }

    unsafe extern "C-unwind" fn destroy(value: *mut c_void) {
        // SAFETY: each value is from `Arc::into_raw`, and is destroyed once.
        catch_and_report(|| drop(unsafe { Arc::from_raw(value.cast::<T>().cast_const()) }));
    }

    /// Returns the value of the calling thread, or `None` if it has none.
    pub fn get(&self) -> Result<Option<Arc<T>>> {
        let value = self.local.get()?.cast::<T>().cast_const();
        if value.is_null() {
            return Ok(None);
        }
        // SAFETY: it is from `Arc::into_raw`, and while `self` lives, only this thread removes it from the local.
        Ok(Some(unsafe {
            Arc::increment_strong_count(value);
            Arc::from_raw(value)
        }))
    }

    /// Sets the value of the calling thread, and drops the former one.
    pub fn set(&self, value: T) -> Result<()> {
        let value = Arc::into_raw(Arc::new(value)).cast_mut().cast();
        // SAFETY: it is what `destroy` takes; after an error, the local has not taken it.
        unsafe { self.local.set(value).inspect_err(|_| Self::destroy(value)) }
    }

    /// Drops the value of the calling thread. Returns false if it has none.
    pub fn del(&self) -> Result<bool> {
        self.local.del()
    }
}
