//! Semaphore
//!
//! A semaphore is a counter that is never below zero: acquire takes one and waits as long as there is none, release gives some back. A bounded
//! semaphore refuses to be released above the value with which it was made.

use super::status::{THREADING_TIMED_OUT, THREADING_WOULD_BLOCK, threading_status};
use super::types::threading_semaphore;
use super::{handle, object, outcome, status, value};
use crate::handle::Handle;
use crate::semaphore::Semaphore;
use crate::time::Timeout;

/// The highest value of a semaphore.
pub const THREADING_SEMAPHORE_MAX: i32 = 2147483647;

/// Makes a semaphore with this value.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_new(value: i64) -> *mut threading_semaphore {
    handle(|| Handle::<Semaphore>::new(value))
}

/// Makes a semaphore with this value, which it will never exceed.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_new_bounded(value: i64) -> *mut threading_semaphore {
    handle(|| Handle::<Semaphore>::new_bounded(value))
}

/// Takes one more reference.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_ref(semaphore: *mut threading_semaphore) -> *mut threading_semaphore {
    handle(|| object(semaphore).add_ref())
}

/// Gives one reference back; the last one ends the semaphore's life.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_free(semaphore: *mut threading_semaphore) -> threading_status {
    status(|| object(semaphore).free())
}

/// Takes one, and waits as long as there is none.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_acquire(semaphore: *mut threading_semaphore) -> threading_status {
    status(|| object(semaphore).acquire(Timeout::FOREVER).map(drop))
}

/// Takes one if there is one.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_try_acquire(semaphore: *mut threading_semaphore) -> threading_status {
    outcome(THREADING_WOULD_BLOCK, || object(semaphore).acquire(Timeout::NONE))
}

/// Takes one, and waits for it no longer than the given time.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_acquire_timeout(
    semaphore: *mut threading_semaphore,
    seconds: f64,
) -> threading_status {
    outcome(THREADING_TIMED_OUT, || {
        let semaphore = object(semaphore);
        semaphore.acquire(semaphore.argument(Timeout::new(seconds))?)
    })
}

/// Gives one back.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_release(semaphore: *mut threading_semaphore) -> threading_status {
    status(|| object(semaphore).release(1))
}

/// Gives n back.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_release_n(
    semaphore: *mut threading_semaphore,
    n: i64,
) -> threading_status {
    status(|| object(semaphore).release(n))
}

/// Tells how many could be taken.
#[unsafe(no_mangle)]
pub extern "C" fn threading_semaphore_value(semaphore: *mut threading_semaphore) -> i64 {
    value(|| object(semaphore).value())
}
