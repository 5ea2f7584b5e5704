//! Local
//!
//! Data of which each thread has its own: one value, which is fast, and any number of named attributes. A value that is replaced or deleted is destroyed
//! at once by the caller; at a thread's end its values are destroyed in that thread, before a join returns.

use core::ffi::{c_char, c_void};

use super::status::{THREADING_NO_VALUE, threading_status};
use super::threading::text;
use super::types::{threading_destructor, threading_local, threading_local_init};
use super::{handle, object, outcome, status, value};
use crate::Local;
use crate::error::{Error, Result};
use crate::handle::Handle;

/// Makes a local in which no thread has a value.
#[unsafe(no_mangle)]
pub extern "C" fn threading_local_new(destroy: threading_destructor) -> *mut threading_local {
    handle(|| Handle::<Local>::new(destroy))
}

/// Makes a local whose value init(arg) makes in each thread.
#[unsafe(no_mangle)]
pub extern "C" fn threading_local_new_with_init(
    init: threading_local_init,
    arg: *mut c_void,
    destroy: threading_destructor,
) -> *mut threading_local {
    handle(|| Handle::<Local>::new_with_init(init.ok_or(Error::NoCallback)?, arg, destroy))
}

/// Takes one more reference.
#[unsafe(no_mangle)]
pub extern "C" fn threading_local_ref(local: *mut threading_local) -> *mut threading_local {
    handle(|| object(local).add_ref())
}

/// Gives one reference back; the last one destroys the values of all threads.
#[unsafe(no_mangle)]
pub extern "C" fn threading_local_free(local: *mut threading_local) -> threading_status {
    status(|| object(local).free())
}

/// Sets the calling thread's value.
#[unsafe(no_mangle)]
pub extern "C" fn threading_local_set(local: *mut threading_local, value: *mut c_void) -> threading_status {
    status(|| object(local).set(value))
}

/// The calling thread's value.
#[unsafe(no_mangle)]
pub extern "C" fn threading_local_get(local: *mut threading_local) -> *mut c_void {
    value(|| object(local).get())
}

/// Tells the calling thread's value, and whether it has one.
///
/// # Safety
/// `value` is NULL or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_local_lookup(
    local: *mut threading_local,
    value: *mut *mut c_void,
) -> threading_status {
    // SAFETY: the caller's promise.
    outcome(THREADING_NO_VALUE, || unsafe { tell(value, object(local).lookup()) })
}

/// Deletes the calling thread's value.
#[unsafe(no_mangle)]
pub extern "C" fn threading_local_del(local: *mut threading_local) -> threading_status {
    outcome(THREADING_NO_VALUE, || object(local).del())
}

/// Sets an attribute of the calling thread's.
///
/// # Safety
/// `name` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_local_set_attr(
    local: *mut threading_local,
    name: *const c_char,
    value: *mut c_void,
) -> threading_status {
    status(|| {
        let local = object(local);
        // SAFETY: the caller's promise.
        local.set_attr(local.argument(unsafe { text(name) })?, value)
    })
}

/// Tells an attribute of the calling thread's, and whether it has it.
///
/// # Safety
/// `name` is NULL or a string, `value` NULL or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_local_get_attr(
    local: *mut threading_local,
    name: *const c_char,
    value: *mut *mut c_void,
) -> threading_status {
    outcome(THREADING_NO_VALUE, || {
        let local = object(local);
        // SAFETY: the caller's promise.
        unsafe { tell(value, local.attr(local.argument(text(name))?)) }
    })
}

/// Deletes an attribute of the calling thread's.
///
/// # Safety
/// `name` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_local_del_attr(
    local: *mut threading_local,
    name: *const c_char,
) -> threading_status {
    outcome(THREADING_NO_VALUE, || {
        let local = object(local);
        // SAFETY: the caller's promise.
        local.del_attr(local.argument(unsafe { text(name) })?)
    })
}

/// Writes what was found, if there is something, and somewhere to write it to.
///
/// # Safety
/// `to` is NULL or can be written to.
unsafe fn tell(to: *mut *mut c_void, found: Result<Option<*mut c_void>>) -> Result<bool> {
    let Some(value) = found? else { return Ok(false) };
    if !to.is_null() {
        // SAFETY: the caller's promise.
        unsafe { to.write(value) };
    }
    Ok(true)
}
