//! Barrier
//!
//! A barrier is a place where a fixed number of threads wait for each other: the last to arrive lets all go on, again and again. A wait whose time
//! runs out breaks the barrier for everybody, until it is reset.

use super::status::threading_status;
use super::types::{threading_action, threading_barrier};
use super::{handle, object, status, value};
use crate::handle::Handle;
use core::ffi::c_void;

use crate::barrier::Barrier;
use crate::error::Result;
use crate::time::Timeout;

/// Makes a barrier for so many parties.
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_new(
    parties: usize,
    action: threading_action,
    arg: *mut c_void,
) -> *mut threading_barrier {
    handle(|| Handle::<Barrier>::new(parties, action, arg))
}

/// Takes one more reference.
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_ref(barrier: *mut threading_barrier) -> *mut threading_barrier {
    handle(|| object(barrier).add_ref())
}

/// Gives one reference back; the last one ends the barrier's life.
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_free(barrier: *mut threading_barrier) -> threading_status {
    status(|| object(barrier).free())
}

/// Sets the timeout of threading_barrier_wait().
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_set_timeout(
    barrier: *mut threading_barrier,
    seconds: f64,
) -> threading_status {
    status(|| object(barrier).set_timeout(seconds))
}

/// Waits until all parties have arrived, no longer than the barrier's default timeout.
///
/// # Safety
/// `index` is NULL or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn threading_barrier_wait(
    barrier: *mut threading_barrier,
    index: *mut usize,
) -> threading_status {
    // SAFETY: the caller's promise.
    status(|| unsafe { tell(index, object(barrier).wait()) })
}

/// Waits until all parties have arrived, no longer than the given time.
///
/// # Safety
/// `index` is NULL or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn threading_barrier_wait_timeout(
    barrier: *mut threading_barrier,
    seconds: f64,
    index: *mut usize,
) -> threading_status {
    status(|| {
        let barrier = object(barrier);
        let timeout = barrier.argument(Timeout::new(seconds))?;
        // SAFETY: the caller's promise.
        unsafe { tell(index, barrier.wait_timeout(timeout)) }
    })
}

/// # Safety
/// `index` is NULL or can be written to.
unsafe fn tell(index: *mut usize, place: Result<usize>) -> Result<()> {
    let place = place?;
    if !index.is_null() {
        // SAFETY: the caller's promise.
        unsafe { index.write(place) };
    }
    Ok(())
}

/// Empties the barrier, and mends it if it is broken.
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_reset(barrier: *mut threading_barrier) -> threading_status {
    status(|| object(barrier).reset())
}

/// Breaks the barrier.
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_abort(barrier: *mut threading_barrier) -> threading_status {
    status(|| object(barrier).abort())
}

/// Tells how many parties have to arrive.
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_parties(barrier: *mut threading_barrier) -> usize {
    value(|| object(barrier).parties())
}

/// Tells how many threads wait.
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_n_waiting(barrier: *mut threading_barrier) -> usize {
    value(|| object(barrier).n_waiting())
}

/// Tells whether the barrier is broken.
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_broken(barrier: *mut threading_barrier) -> bool {
    value(|| object(barrier).broken())
}
