//! Barrier
//!
//! A barrier is a synchronization point at which a fixed number of threads, its parties, wait for each
//! other. When the last of them arrives, all of them continue, and the next round begins. If the
//! barrier has an action, the last thread to arrive runs it before any of the threads returns.
//!
//! A barrier breaks when the timeout of a wait expires, when its action fails, or when it is aborted.
//! All waits of that round and all later waits then fail with THREADING_ERR_BROKEN_BARRIER until the
//! barrier is reset. However, a wait whose timeout expires while the action runs still succeeds, and a
//! thread that arrives while the action runs waits until the action is done, and then arrives in the
//! next round. The action may itself abort or reset the barrier: all waits of the round, including that
//! of the thread that runs the action, then fail with THREADING_ERR_BROKEN_BARRIER. A wait inside the
//! action fails with THREADING_ERR_DEADLOCK.
//!
//! Working in steps with other threads, one of which prints each step:
//!     static void *walk(void *arg)
//!     {
//!         threading_barrier *barrier = arg;
//!         for (int step = 0; step < 3; step++) {
//!             size_t index;
//!             if (threading_barrier_wait(barrier, &index) != THREADING_OK)
//!                 return NULL; // the barrier is broken
//!             if (index == 0)
//!                 printf("step %d\n", step);
//!         }
//!         return barrier;
//!     }

use core::ffi::{c_char, c_void};

use crate::barrier::Barrier;
use crate::capi::status::threading_status;
use crate::capi::types::{threading_action, threading_barrier};
use crate::capi::utils::{optional_cstr_arg, write_out};
use crate::capi::{from_ptr, handle_or_null, status, value_or_default};
use crate::handle::Handle;
use crate::time::Timeout;

/// Creates a barrier for a number of parties.
///
/// \param parties the number of threads that have to arrive, at least 1
/// \param action the function that the last thread to arrive runs before any of the threads returns;
///     NULL if there is none
/// \param arg the argument of the action, which must stay valid as long as the barrier exists
/// \return the new barrier, owned by the caller; NULL with THREADING_ERR_VALUE if `parties` is 0; NULL
///     with THREADING_ERR_NO_MEMORY if there is not enough memory
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.Barrier(parties, action)`
/// \since 0.1.0
/// \sa threading_barrier_wait, threading_barrier_set_timeout, threading_barrier_free
///
/// # Safety
/// `action` accepts `arg`, which stays valid as long as the barrier exists.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_barrier_new(
    parties: usize,
    action: threading_action,
    arg: *mut c_void,
) -> *mut threading_barrier {
    // SAFETY: guaranteed by the caller.
    handle_or_null(|| unsafe { Handle::<Barrier>::new(parties, action, arg) })
}

/// Adds a reference to a barrier.
///
/// \param barrier the barrier
/// \return the same handle, with one more reference owned by the caller; NULL with THREADING_ERR_HANDLE
///     if the handle is invalid; NULL with THREADING_ERR_OVERFLOW if the object has too many references
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_barrier_free
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_ref(barrier: *mut threading_barrier) -> *mut threading_barrier {
    handle_or_null(|| from_ptr(barrier).add_ref())
}

/// Releases a reference to a barrier. Releasing the last one destroys the barrier.
///
/// Waiters that have been woken do not prevent this; their waits return the result of the round.
///
/// \param barrier the barrier
/// \return THREADING_OK; THREADING_ERR_BUSY if it is the last reference and threads are blocked on the
///     barrier; THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_barrier_new, threading_barrier_ref
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_free(barrier: *mut threading_barrier) -> threading_status {
    status(|| from_ptr(barrier).free())
}

/// Sets the default timeout of a barrier, which threading_barrier_wait() uses. Initially, the default
/// timeout is THREADING_FOREVER.
///
/// The call does not affect waits that have already begun.
///
/// \param barrier the barrier
/// \param seconds the default timeout in seconds; with THREADING_FOREVER, threading_barrier_wait()
///     waits indefinitely
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE or
///     THREADING_ERR_OVERFLOW if `seconds` is out of range
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.Barrier(parties, action, timeout=seconds)`
/// \since 0.1.0
/// \sa threading_barrier_wait, threading_barrier_new
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_set_timeout(
    barrier: *mut threading_barrier,
    seconds: f64,
) -> threading_status {
    status(|| from_ptr(barrier).set_timeout(seconds))
}

/// Waits until all parties have arrived or the default timeout of the barrier expires.
///
/// \param barrier the barrier
/// \param index where to store the arrival index of the calling thread, from 0 for the first to arrive
///     to `parties - 1` for the last; NULL if it is not needed; nothing is stored if the call fails
/// \return THREADING_OK if all parties have arrived and the action is done;
///     THREADING_ERR_BROKEN_BARRIER if the barrier is already broken, or if it is reset or breaks
///     during the wait, for example because the default timeout expires; THREADING_ERR_CALLBACK if the
///     calling thread ran the action and the action failed; THREADING_ERR_DEADLOCK if the calling
///     thread is inside the action; THREADING_ERR_HANDLE if the handle is invalid;
///     THREADING_ERR_NO_MEMORY if the calling thread's wait record, which its first blocking call
///     allocates, cannot be allocated
///
/// \blocks until all parties have arrived and the action is done, the barrier breaks or is reset, or
///     the default timeout expires
/// \threadsafety any thread
/// \python `barrier.wait()`
/// \since 0.1.0
/// \sa threading_barrier_wait_timeout, threading_barrier_set_timeout, threading_barrier_abort,
///     threading_barrier_reset
///
/// # Safety
/// `index` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn threading_barrier_wait(
    barrier: *mut threading_barrier,
    index: *mut usize,
) -> threading_status {
    // SAFETY: guaranteed by the caller.
    status(|| unsafe { from_ptr(barrier).wait().map(|position| write_out(index, position)) })
}

/// Waits until all parties have arrived or the timeout expires.
///
/// If the timeout expires, the barrier breaks, and the waits of all threads fail. Time that is spent
/// waiting for the previous round's action does not count towards the timeout.
///
/// \param barrier the barrier
/// \param seconds the timeout in seconds, used instead of the default timeout; THREADING_FOREVER waits
///     indefinitely, 0 breaks the barrier unless the calling thread is the last to arrive
/// \param index where to store the arrival index of the calling thread, from 0 for the first to arrive
///     to `parties - 1` for the last; NULL if it is not needed; nothing is stored if the call fails
/// \return THREADING_OK, THREADING_ERR_CALLBACK, THREADING_ERR_DEADLOCK or THREADING_ERR_NO_MEMORY as
///     in threading_barrier_wait(); THREADING_ERR_BROKEN_BARRIER as in threading_barrier_wait(), where
///     `seconds` is the timeout; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE or
///     THREADING_ERR_OVERFLOW if `seconds` is out of range
///
/// \blocks until all parties have arrived and the action is done, the barrier breaks or is reset, or
///     the timeout expires
/// \threadsafety any thread
/// \python `barrier.wait(seconds)`
/// \since 0.1.0
/// \sa threading_barrier_wait, threading_barrier_abort, threading_barrier_reset
///
/// # Safety
/// `index` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn threading_barrier_wait_timeout(
    barrier: *mut threading_barrier,
    seconds: f64,
    index: *mut usize,
) -> threading_status {
    status(|| {
        let barrier = from_ptr(barrier);
        let timeout = barrier.or_handle_error(Timeout::new(seconds))?;
        // SAFETY: guaranteed by the caller.
        unsafe { barrier.wait_timeout(timeout).map(|position| write_out(index, position)) }
    })
}

/// Resets a barrier to its initial, unbroken state. Waits in progress fail with
/// THREADING_ERR_BROKEN_BARRIER.
///
/// \param barrier the barrier
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread, including inside the action
/// \python `barrier.reset()`
/// \since 0.1.0
/// \sa threading_barrier_abort, threading_barrier_broken, threading_barrier_wait
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_reset(barrier: *mut threading_barrier) -> threading_status {
    status(|| from_ptr(barrier).reset())
}

/// Breaks a barrier until it is reset. Waits in progress fail with THREADING_ERR_BROKEN_BARRIER.
///
/// \param barrier the barrier
/// \return THREADING_OK, even if the barrier is already broken; THREADING_ERR_HANDLE if the handle is
///     invalid
///
/// \blocks never
/// \threadsafety any thread, including inside the action
/// \python `barrier.abort()`
/// \since 0.1.0
/// \sa threading_barrier_reset, threading_barrier_broken, threading_barrier_wait
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_abort(barrier: *mut threading_barrier) -> threading_status {
    status(|| from_ptr(barrier).abort())
}

/// Returns the number of threads that have to arrive.
///
/// \param barrier the barrier
/// \return the number that was passed to threading_barrier_new(); 0 with THREADING_ERR_HANDLE if the
///     handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python `barrier.parties`
/// \since 0.1.0
/// \sa threading_barrier_n_waiting, threading_barrier_new
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_parties(barrier: *mut threading_barrier) -> usize {
    value_or_default(|| from_ptr(barrier).parties())
}

/// Returns the number of threads that have arrived in the current round. While the action runs, it is
/// the number of parties.
///
/// \param barrier the barrier
/// \return the number of threads; 0 if the barrier is broken; 0 with THREADING_ERR_HANDLE if the handle
///     is invalid
///
/// \blocks never
/// \threadsafety any thread, including inside the action
/// \python `barrier.n_waiting`
/// \since 0.1.0
/// \sa threading_barrier_parties, threading_barrier_broken
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_n_waiting(barrier: *mut threading_barrier) -> usize {
    value_or_default(|| from_ptr(barrier).n_waiting())
}

/// Returns whether a barrier is currently broken.
///
/// \param barrier the barrier
/// \return true if the barrier is broken, false if it is not; false with THREADING_ERR_HANDLE if the
///     handle is invalid
///
/// \blocks never
/// \threadsafety any thread, including inside the action
/// \python `barrier.broken`
/// \since 0.1.0
/// \sa threading_barrier_abort, threading_barrier_reset
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_broken(barrier: *mut threading_barrier) -> bool {
    value_or_default(|| from_ptr(barrier).broken())
}

/// Sets the name of a barrier, which dumps show.
///
/// The first 47 bytes of the name are kept, up to the end of a character. Several objects may have the
/// same name. An object without a name is shown by its handle.
///
/// \param barrier the barrier
/// \param name the name in UTF-8; NULL removes it
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE if the name
///     is not valid UTF-8; THREADING_ERR_NO_MEMORY if there is not enough memory
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_dump
///
/// # Safety
/// `name` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_barrier_set_name(
    barrier: *mut threading_barrier,
    name: *const c_char,
) -> threading_status {
    // SAFETY: guaranteed by the caller.
    status(|| from_ptr(barrier).set_name(unsafe { optional_cstr_arg(name) }))
}
