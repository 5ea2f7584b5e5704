//! The types of the functions that callers give to the library.

use core::ffi::{c_char, c_int, c_void};

/// What a thread or a timer runs.
pub type Target = unsafe extern "C-unwind" fn(arg: *mut c_void) -> *mut c_void;
/// What it runs instead, if that was overridden. The first argument is the handle.
pub type Run = unsafe extern "C-unwind" fn(thread: *mut c_void, arg: *mut c_void) -> *mut c_void;
/// Releases an argument or a value.
pub type Destructor = unsafe extern "C-unwind" fn(value: *mut c_void);
/// Creates the value of a local for the thread that calls it.
pub type Init = unsafe extern "C-unwind" fn(arg: *mut c_void) -> *mut c_void;
/// What the last thread to arrive at a barrier does before any of them goes on; anything but zero is a failure.
pub type Action = unsafe extern "C-unwind" fn(arg: *mut c_void) -> c_int;
/// Called once, when the process exits.
pub type Callback = unsafe extern "C-unwind" fn(arg: *mut c_void);
/// Reports an exception: the thread's handle, the kind of the exception, and a message.
pub type ExceptHook = unsafe extern "C-unwind" fn(
    thread: *mut c_void,
    kind: *const c_char,
    message: *const c_char,
    arg: *mut c_void,
);
