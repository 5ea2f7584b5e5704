//! The module's functions
//!
//! Who is there, who calls, how the process leaves. Returning from main, and exit(), wait for all threads that are not daemons, pending timers
//! included; daemon threads are left behind. `_exit` and `quick_exit` do not wait.

use core::ffi::{CStr, c_char, c_void};

use super::status::{THREADING_TIMED_OUT, threading_status};
use super::types::{threading_callback, threading_excepthook, threading_thread, threading_thread_list};
use super::{guard, handle, object, outcome, status, value};
use crate::error::{Error, Result};
use crate::runtime::{excepthook, exit, identity, registry};
use crate::time::Timeout;
use crate::{ExceptHook, thread};

/// The thread that calls.
#[unsafe(no_mangle)]
pub extern "C" fn threading_current_thread() -> *mut threading_thread {
    handle(thread::current)
}

/// The first thread of the process; in a child of fork, the one that forked.
#[unsafe(no_mangle)]
pub extern "C" fn threading_main_thread() -> *mut threading_thread {
    handle(registry::main_thread)
}

/// Tells how many threads are alive.
#[unsafe(no_mangle)]
pub extern "C" fn threading_active_count() -> usize {
    value(registry::count)
}

/// Lists the threads that are alive.
#[unsafe(no_mangle)]
pub extern "C" fn threading_enumerate() -> *mut threading_thread_list {
    handle(thread::enumerate)
}

/// Tells how many threads a list holds.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_list_len(list: *mut threading_thread_list) -> usize {
    value(|| object(list).len())
}

/// One thread of a list.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_list_get(
    list: *mut threading_thread_list,
    i: usize,
) -> *mut threading_thread {
    handle(|| object(list).get(i))
}

/// Gives a list back, and with it the list's references to its threads.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_list_free(list: *mut threading_thread_list) -> threading_status {
    status(|| object(list).free())
}

/// The number of whoever calls.
#[unsafe(no_mangle)]
pub extern "C" fn threading_get_ident() -> u64 {
    value(|| Ok(identity::ident()))
}

/// The kernel's number of the thread that calls.
#[unsafe(no_mangle)]
pub extern "C" fn threading_get_native_id() -> u64 {
    value(|| Ok(identity::native_id()))
}

/// Tells the size of new threads' stacks.
#[unsafe(no_mangle)]
pub extern "C" fn threading_stack_size() -> usize {
    value(|| Ok(thread::stack_size()))
}

/// Sets the size of new threads' stacks.
#[unsafe(no_mangle)]
pub extern "C" fn threading_set_stack_size(bytes: usize) -> threading_status {
    status(|| thread::set_stack_size(bytes))
}

/// Lets the calling thread sleep.
#[unsafe(no_mangle)]
pub extern "C" fn threading_sleep(seconds: f64) -> threading_status {
    status(|| Timeout::new(seconds).map(thread::sleep))
}

/// Has a function called when the process leaves, before its threads are waited for.
#[unsafe(no_mangle)]
pub extern "C" fn threading_atexit(callback: threading_callback, arg: *mut c_void) -> threading_status {
    status(|| exit::at_exit(callback.ok_or(Error::NoCallback)?, arg))
}

/// Does what exit() does first: calls the callbacks and waits for the threads.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn threading_shutdown() -> threading_status {
    status(|| exit::shutdown(Timeout::FOREVER).map(drop))
}

/// As threading_shutdown(), but waits no longer than the given time.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn threading_shutdown_timeout(seconds: f64) -> threading_status {
    outcome(THREADING_TIMED_OUT, || exit::shutdown(Timeout::new(seconds)?))
}

/// Sets who is told of what threads could not handle.
#[unsafe(no_mangle)]
pub extern "C" fn threading_set_excepthook(hook: threading_excepthook, arg: *mut c_void) {
    let _ = guard(|| {
        // SAFETY: both are functions of the same arguments, but for how they call the thread's pointer.
        let hook = unsafe { core::mem::transmute::<threading_excepthook, Option<ExceptHook>>(hook) };
        excepthook::set(hook, arg);
        Ok(())
    });
}

/// Tells who is told.
///
/// # Safety
/// `arg` is NULL or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_get_excepthook(arg: *mut *mut c_void) -> threading_excepthook {
    let hook = guard(|| {
        let (hook, its_arg) = excepthook::get();
        if !arg.is_null() {
            // SAFETY: the caller's promise.
            unsafe { arg.write(its_arg) };
        }
        Ok(hook)
    });
    // SAFETY: as in `threading_set_excepthook`.
    unsafe { core::mem::transmute::<Option<ExceptHook>, threading_excepthook>(hook.unwrap_or(None)) }
}

/// Tells the excepthook of something that the calling thread could not handle.
///
/// # Safety
/// `type` and `message` are NULL or strings.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn threading_report_exception(
    r#type: *const c_char,
    message: *const c_char,
) -> threading_status {
    // SAFETY: the caller's promise.
    status(|| unsafe { excepthook::report(thread::current()?, text(r#type)?, text(message)?) })
}

/// # Safety
/// The pointer is NULL or a string.
pub(super) unsafe fn text<'a>(pointer: *const c_char) -> Result<&'a CStr> {
    if pointer.is_null() {
        return Err(Error::NameEncoding);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { CStr::from_ptr(pointer) })
}
