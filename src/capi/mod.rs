//! The C API: one file per object. A function here checks nothing but its pointers, calls the object's method, and turns the result
//! into what C gets; what the call means is the object's.
//!
//! `include/threading.h` is generated from these files, in the order of [`types`], [`status`], [`library`], [`thread`] and so on; their
//! comments are its text. `cargo test --test header` compares, `UPDATE_HEADER=1 cargo test --test header` writes.

#![expect(non_camel_case_types, reason = "the names of C")]

use crate::error::{Error, Result};
use crate::handle::Handle;
use crate::panic_boundary;
use crate::panic_boundary::Place;
use crate::runtime::init;
use crate::sys::tls;

pub mod barrier;
pub mod condition;
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

use status::{THREADING_OK, threading_status};
use types::Opaque;

/// The object that C names by this pointer, whatever it is.
#[inline(always)]
fn object<O: Opaque>(handle: *mut O) -> Handle<O::Object> {
    #[cfg(fault)]
    if panic_boundary::fault::is_armed() {
        return Handle::NULL;
    }
    Handle::from_bits(handle.addr())
}

/// What C gets for a handle.
#[inline(always)]
fn pointer<O: Opaque>(handle: Handle<O::Object>) -> *mut O {
    core::ptr::with_exposed_provenance_mut(handle.bits())
}

/// The one guard under which every export runs: a defect of ours stays ours.
#[inline(always)]
fn guard<R>(call: impl FnOnce() -> Result<R>) -> Result<R> {
    let guarded = || {
        panic_boundary::inject(Place::Call);
        call()
    };
    init::call(|| panic_boundary::contain(guarded).unwrap_or(Err(Error::Internal)))
}

#[cold]
fn failed(error: Error) -> threading_status {
    tls::with(|mine| mine.error.set(error.number()));
    error.status()
}

/// The short way of a call that is made very often, and the long way for whatever the short one leaves open.
/// The short way is loads and stores, comparisons and at most one atomic operation that succeeds; it cannot panic,
/// and so needs no guard. The long way, which has the guard, is a function of its own to which the short one
/// jumps, so that it alone saves registers; it does not unwind. While a race detector watches, `slot_at_once` finds
/// nothing, and so all goes the long way, where it is announced.
#[inline(always)]
fn shortcut<R>(short: Option<R>, long: impl FnOnce() -> R) -> R {
    #[cold]
    #[inline(never)]
    extern "C" fn out_of_line<R>(long: impl FnOnce() -> R) -> R {
        long()
    }
    match short {
        Some(result) => result,
        None => out_of_line(long),
    }
}

/// For functions that return a status and have no outcome but success.
#[inline(always)]
fn status(call: impl FnOnce() -> Result<()>) -> threading_status {
    match guard(call) {
        Ok(()) => THREADING_OK,
        Err(error) => failed(error),
    }
}

/// For functions that return a status and have another outcome besides success.
#[inline(always)]
fn outcome(otherwise: threading_status, call: impl FnOnce() -> Result<bool>) -> threading_status {
    match guard(call) {
        Ok(done) => choose(done, otherwise),
        Err(error) => failed(error),
    }
}

#[inline(always)]
fn choose(done: bool, otherwise: threading_status) -> threading_status {
    if done { THREADING_OK } else { otherwise }
}

/// For functions that return a value: NULL, 0 or false for a bad handle.
#[inline(always)]
fn value<R: Bad>(call: impl FnOnce() -> Result<R>) -> R {
    match guard(call) {
        Ok(value) => value,
        Err(error) => {
            failed(error);
            R::BAD
        }
    }
}

/// For functions that return a handle.
#[inline(always)]
fn handle<O: Opaque>(call: impl FnOnce() -> Result<Handle<O::Object>>) -> *mut O {
    value(|| call().map(pointer))
}

/// What a function without a status answers when it fails.
trait Bad {
    const BAD: Self;
}

macro_rules! bad {
    ($($type:ty = $bad:expr),*) => { $(impl Bad for $type { const BAD: Self = $bad; })* };
}

bad!(bool = false, u64 = 0, i64 = 0, usize = 0, f64 = 0.0);

impl<T> Bad for *mut T {
    const BAD: Self = core::ptr::null_mut();
}

impl<T> Bad for *const T {
    const BAD: Self = core::ptr::null();
}

#[cfg(test)]
mod tests {
    use super::*;
    use status::{THREADING_ERR_INTERNAL, threading_last_error};

    #[test]
    fn a_defect_of_ours_becomes_an_error() {
        assert_eq!(status(|| panic!("a defect, for the test")), THREADING_ERR_INTERNAL);
        assert_eq!(threading_last_error(), THREADING_ERR_INTERNAL);
        assert_eq!(value::<usize>(|| panic!("a defect, for the test")), 0);
    }
}
