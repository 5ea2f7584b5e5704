//! Conversions of arguments and results that several files of the C API share.

use core::ffi::{CStr, c_char};

use crate::error::{Error, Result};

/// Borrows a string from C. NULL is an error.
///
/// # Safety
/// `pointer` is NULL or a NUL-terminated string.
#[inline]
pub(super) unsafe fn cstr_arg<'a>(pointer: *const c_char) -> Result<&'a CStr> {
    if pointer.is_null() {
        return Err(Error::NameEncoding);
    }
    // SAFETY: guaranteed by the caller.
    Ok(unsafe { CStr::from_ptr(pointer) })
}

/// Borrows a string from C, or `None` for NULL.
///
/// # Safety
/// As for `cstr_arg`.
#[inline]
pub(super) unsafe fn optional_cstr_arg<'a>(pointer: *const c_char) -> Option<&'a CStr> {
    // SAFETY: guaranteed by the caller.
    (!pointer.is_null()).then(|| unsafe { CStr::from_ptr(pointer) })
}

/// Stores a value through an out parameter, unless that is NULL.
///
/// # Safety
/// `out` is NULL or valid for a write.
#[inline]
pub(super) unsafe fn write_out<T>(out: *mut T, value: T) {
    if !out.is_null() {
        // SAFETY: guaranteed by the caller.
        unsafe { out.write(value) };
    }
}
