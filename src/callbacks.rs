//! The types of the functions that callers pass to the library.

use core::ffi::{c_char, c_int, c_void};

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
