//! The types of the functions that callers pass to the library.

use core::ffi::{c_char, c_int, c_void};
use core::marker::PhantomData;
use core::{mem, ptr};

use crate::sys::atomic::{AtomicPtr, Ordering};

/// The function of a thread or a timer.
pub type Target = unsafe extern "C-unwind" fn(arg: *mut c_void) -> *mut c_void;
/// The function that a thread or timer runs instead of its target, if it has been overridden. The first argument is the
/// thread's handle.
pub type Run = unsafe extern "C-unwind" fn(thread: *mut c_void, arg: *mut c_void) -> *mut c_void;
/// Destroys an argument or a value.
pub type Destructor = unsafe extern "C-unwind" fn(value: *mut c_void);
/// Creates the calling thread's value of a local.
pub type Init = unsafe extern "C-unwind" fn(arg: *mut c_void) -> *mut c_void;
/// The action that the last thread to arrive at a barrier runs before the waits return. A nonzero result is a failure.
pub type Action = unsafe extern "C-unwind" fn(arg: *mut c_void) -> c_int;
/// A function that is called once, at process exit.
pub type Callback = unsafe extern "C-unwind" fn(arg: *mut c_void);
/// Reports an exception: its arguments are the thread's handle, the kind of the exception and a message.
pub type ExceptHook = unsafe extern "C-unwind" fn(
    thread: *mut c_void,
    kind: *const c_char,
    message: *const c_char,
    arg: *mut c_void,
);

/// An atomic `Option<F>`, where `F` is a type of functions. Zeroed memory is `None`.
#[repr(transparent)]
pub(crate) struct AtomicCallback<F> {
    address: AtomicPtr<c_void>,
    function: PhantomData<F>,
}

impl<F: Copy> AtomicCallback<F> {
    pub(crate) const fn none() -> Self {
        const { assert!(size_of::<Option<F>>() == size_of::<*mut c_void>()) };
        AtomicCallback { address: AtomicPtr::new(ptr::null_mut()), function: PhantomData }
    }

    fn from_address(address: *mut c_void) -> Option<F> {
        // SAFETY: the address is NULL, which is `None`, or that of a function that `store` has stored.
        unsafe { mem::transmute_copy::<*mut c_void, Option<F>>(&address) }
    }

    #[inline]
    pub(crate) fn load(&self, ordering: Ordering) -> Option<F> {
        Self::from_address(self.address.load(ordering))
    }

    #[inline]
    pub(crate) fn store(&self, function: Option<F>, ordering: Ordering) {
        // SAFETY: both have the size of a pointer.
        let address = unsafe { mem::transmute_copy::<Option<F>, *mut c_void>(&function) };
        self.address.store(address, ordering);
    }

    /// Stores `None`, and returns the former function.
    pub(crate) fn take(&self, ordering: Ordering) -> Option<F> {
        Self::from_address(self.address.swap(ptr::null_mut(), ordering))
    }

    /// Returns the address of the function, 0 for `None`.
    #[inline]
    pub(crate) fn load_address(&self, ordering: Ordering) -> usize {
        self.address.load(ordering).addr()
    }
}

impl<F: Copy> Default for AtomicCallback<F> {
    fn default() -> Self {
        Self::none()
    }
}
