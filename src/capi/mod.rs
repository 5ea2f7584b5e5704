//! The C API, one file per object type. Each function converts its arguments, calls the method of the object, which
//! implements the operation, and converts the result for C.
//!
//! `include/threading.h` is generated from these files and their comments, in the order of `SECTIONS` in
//! `tests/docs/header.rs`. `cargo test --test header` checks that it is up to date, and
//! `UPDATE_HEADER=1 cargo test --test header` updates it.
//!
//! The comment of a function consists of a first sentence, paragraphs, `\param` and `\return`, then `\blocks`,
//! `\threadsafety`, `\python`, `\since` and `\sa`. A `# Safety` section is for Rust only and is left out of the header.

#![expect(non_camel_case_types, reason = "names of the C API")]

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::panic_boundary;
use crate::panic_boundary::FaultPoint;
use crate::runtime::init;
use crate::sys::tls;

pub mod barrier;
pub mod condition;
pub mod dump;
pub mod event;
pub mod library;
pub mod local;
pub mod lock;
pub mod rlock;
pub mod semaphore;
pub mod status;
pub mod thread;
pub mod threading;
pub mod timer;
pub mod types;
mod utils;

use status::{THREADING_OK, threading_status};
use types::Opaque;

/// Converts a pointer from C to a handle, without validating it.
#[inline(always)]
fn from_ptr<O: Opaque>(handle: *mut O) -> Handle<O::Object> {
    // A call that is to panic must not take a fast path, which has no panic boundary.
    #[cfg(fault)]
    if panic_boundary::fault::is_armed() {
        return Handle::NULL;
    }
    Handle::from_bits(handle.addr())
}

/// Converts a handle to a pointer for C.
#[inline(always)]
fn into_ptr<O: Opaque>(handle: Handle<O::Object>) -> *mut O {
    core::ptr::with_exposed_provenance_mut(handle.bits())
}

/// Runs an exported function inside the panic boundary: a panic becomes [`Error::Internal`].
#[inline(always)]
fn ffi_panic_boundary<R>(call: impl FnOnce() -> Result<R>) -> Result<R> {
    init::api_call(|| catch_internal_error(call))
}

/// As `ffi_panic_boundary`, for the functions that a signal handler may call. They lock no mutex.
#[inline(always)]
fn signal_safe<R>(call: impl FnOnce() -> Result<R>) -> Result<R> {
    init::signal_safe_call(|| catch_internal_error(call))
}

#[inline(always)]
fn catch_internal_error<R>(call: impl FnOnce() -> Result<R>) -> Result<R> {
    let body = || {
        panic_boundary::inject(FaultPoint::Call);
        call()
    };
    panic_boundary::catch_panic(body).unwrap_or(Err(Error::Internal))
}

/// Aligns the shortest fast paths to lines of the instruction cache. Calls of a few nanoseconds otherwise take a cycle
/// or two more, depending on where the linker has placed them. Rust can only align all functions, which would make the
/// library larger. But a section has the largest alignment of its parts, so this adds an empty part to the section of
/// each of these functions.
#[cfg(all(c_library, target_arch = "x86_64", target_os = "linux"))]
macro_rules! align_to_cache_lines {
    ($($function:literal),* $(,)?) => {
        $(core::arch::global_asm!(
            concat!(".pushsection .text.", $function, ",\"ax\",@progbits"),
            ".p2align 6",
            ".popsection",
        );)*
    };
}

#[cfg(all(c_library, target_arch = "x86_64", target_os = "linux"))]
align_to_cache_lines! {
    "threading_condition_notify",
    "threading_condition_notify_all",
    "threading_event_is_set",
    "threading_event_set",
    "threading_event_wait",
    "threading_local_get",
    "threading_lock_acquire",
    "threading_lock_release",
    "threading_lock_try_acquire",
    "threading_rlock_acquire",
    "threading_rlock_release",
    "threading_rlock_try_acquire",
    "threading_semaphore_acquire",
    "threading_semaphore_release",
    "threading_semaphore_try_acquire",
}

#[cold]
fn set_last_error(error: Error) -> threading_status {
    tls::with(|block| block.error.set(error.index()));
    error.status()
}

/// Combines the fast path of a frequent call with its slow path, which runs if the fast path returned `None`.
///
/// The fast path consists of loads, stores, comparisons and at most one atomic operation that succeeds. It cannot
/// panic and therefore needs no panic boundary. The slow path, which has one, is a separate function to which the fast
/// path jumps, so that only the slow path saves registers; it does not unwind. While a race detector is active,
/// `slot_fast` returns nothing, so that every call takes the slow path, which reports to the detector.
#[inline(always)]
fn fast_path_or<R>(fast: Option<R>, slow: impl FnOnce() -> R) -> R {
    #[cold]
    #[inline(never)]
    extern "C" fn out_of_line<R>(slow: impl FnOnce() -> R) -> R {
        slow()
    }
    match fast {
        Some(result) => result,
        None => out_of_line(slow),
    }
}

/// Calls an operation that succeeds or fails, for an export that returns a status.
#[inline(always)]
fn status(call: impl FnOnce() -> Result<()>) -> threading_status {
    status_of(ffi_panic_boundary(call))
}

/// Converts a result to a status.
#[inline(always)]
fn status_of(result: Result<()>) -> threading_status {
    match result {
        Ok(()) => THREADING_OK,
        Err(error) => set_last_error(error),
    }
}

/// Calls an operation with a second outcome that is not an error: `otherwise` is its status.
#[inline(always)]
fn status_or(otherwise: threading_status, call: impl FnOnce() -> Result<bool>) -> threading_status {
    match ffi_panic_boundary(call) {
        Ok(done) => ok_or_status(done, otherwise),
        Err(error) => set_last_error(error),
    }
}

#[inline(always)]
fn ok_or_status(done: bool, otherwise: threading_status) -> threading_status {
    if done { THREADING_OK } else { otherwise }
}

/// Calls an operation for an export that returns a value: NULL, 0 or false after an error.
#[inline(always)]
fn value_or_default<R: ErrorValue>(call: impl FnOnce() -> Result<R>) -> R {
    value_of(ffi_panic_boundary(call))
}

/// Converts a result to a value.
#[inline(always)]
fn value_of<R: ErrorValue>(result: Result<R>) -> R {
    match result {
        Ok(value) => value,
        Err(error) => {
            set_last_error(error);
            R::ERROR_VALUE
        }
    }
}

/// Calls an operation for an export that returns a handle: NULL after an error.
#[inline(always)]
fn handle_or_null<O: Opaque>(call: impl FnOnce() -> Result<Handle<O::Object>>) -> *mut O {
    value_or_default(|| call().map(into_ptr))
}

/// The error value of a function that does not return a status.
trait ErrorValue {
    const ERROR_VALUE: Self;
}

macro_rules! error_values {
    ($($type:ty = $value:expr),*) => { $(impl ErrorValue for $type { const ERROR_VALUE: Self = $value; })* };
}

error_values!(bool = false, u64 = 0, i64 = 0, usize = 0, f64 = 0.0);

impl<T> ErrorValue for *mut T {
    const ERROR_VALUE: Self = core::ptr::null_mut();
}

impl<T> ErrorValue for *const T {
    const ERROR_VALUE: Self = core::ptr::null();
}

#[cfg(test)]
mod tests {
    use super::*;
    use status::{THREADING_ERR_INTERNAL, threading_last_error};

    #[test]
    fn panic_becomes_internal_error() {
        assert_eq!(status(|| panic!("panic of a test")), THREADING_ERR_INTERNAL);
        assert_eq!(threading_last_error(), THREADING_ERR_INTERNAL);
        assert_eq!(value_or_default::<usize>(|| panic!("panic of a test")), 0);
    }
}
