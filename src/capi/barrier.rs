//! Barrier
//!
//! A barrier is a place where a fixed number of threads, its parties, wait for each other: the last to
//! arrive lets all go on, and the next round begins. If there is an action, the last one runs it before
//! anyone returns.
//!
//! A barrier breaks when a wait's time runs out, when its action fails, or by abort: everybody in that
//! round, and everybody who comes later, gets THREADING_ERR_BROKEN_BARRIER, until it is reset. But a
//! wait whose time runs out while the action runs still succeeds, and whoever comes meanwhile waits for
//! the next round. Inside of the action, abort and reset do not deadlock: all of the round, the last
//! one included, get THREADING_ERR_BROKEN_BARRIER; a wait there is THREADING_ERR_DEADLOCK.
//!
//! In step with others; one of them, whichever came first, tells it:
//!     static void *walk(void *arg)
//!     {
//!         threading_barrier *barrier = arg;
//!         for (int step = 0; step < 3; step++) {
//!             size_t index;
//!             if (threading_barrier_wait(barrier, &index) != THREADING_OK)
//!                 return NULL; // broken: somebody has given up
//!             if (index == 0)
//!                 printf("step %d\n", step);
//!         }
//!         return barrier;
//!     }

use crate::capi::status::threading_status;
use crate::capi::types::{threading_action, threading_barrier};
use crate::capi::{handle, object, status, value};
use crate::handle::Handle;
use core::ffi::c_void;

use crate::barrier::Barrier;
use crate::error::Result;
use crate::time::Timeout;

/// Makes a barrier for so many parties.
///
/// \param parties how many threads have to arrive, at least 1
/// \param action what the last to arrive does before anyone returns; NULL does nothing
/// \param arg the action's argument, to be kept valid as long as the barrier
/// \return the barrier, owned by the caller; NULL with THREADING_ERR_VALUE (no parties),
///         THREADING_ERR_NO_MEMORY
///
/// Blocks: never. Thread safety: any thread. Python: `threading.Barrier(parties, action)`. Since 0.1.0.
///
/// # Safety
/// The callbacks take their arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_barrier_new(
    parties: usize,
    action: threading_action,
    arg: *mut c_void,
) -> *mut threading_barrier {
    // SAFETY: the caller's promise.
    handle(|| unsafe { Handle::<Barrier>::new(parties, action, arg) })
}

/// Takes one more reference to a barrier.
///
/// \param barrier the barrier
/// \return the same handle, owned once more; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
///         (too many references)
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_ref(barrier: *mut threading_barrier) -> *mut threading_barrier {
    handle(|| object(barrier).add_ref())
}

/// Gives one reference to a barrier back. The last one ends its life, broken or not.
///
/// Waiters that have been let go do not keep it from that; they return as they should.
///
/// \param barrier the barrier
/// \return THREADING_OK; THREADING_ERR_BUSY when it is the last one and threads are blocked on the
///         barrier; THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_free(barrier: *mut threading_barrier) -> threading_status {
    status(|| object(barrier).free())
}

/// Sets the default timeout: that of threading_barrier_wait(), which begins without a limit. Waits that
/// have begun keep theirs.
///
/// \param barrier the barrier
/// \param seconds how long those wait at most, in seconds; THREADING_FOREVER waits without a limit
/// \return THREADING_OK; THREADING_ERR_HANDLE, THREADING_ERR_VALUE, THREADING_ERR_OVERFLOW
///
/// Blocks: never. Thread safety: any thread. Python:
/// `threading.Barrier(parties, action, timeout=seconds)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_set_timeout(
    barrier: *mut threading_barrier,
    seconds: f64,
) -> threading_status {
    status(|| object(barrier).set_timeout(seconds))
}

/// Waits until all parties have arrived, no longer than the barrier's default timeout.
///
/// \param barrier the barrier
/// \param index where to write the caller's place in the order of arrival, from 0 to parties - 1, if it
///         succeeds; may be NULL
/// \return THREADING_OK when all have arrived and the action is done; THREADING_ERR_BROKEN_BARRIER when
///         the barrier is broken, or breaks or is reset meanwhile, by the caller's own time too;
///         THREADING_ERR_CALLBACK in the thread that ran the action, when that failed;
///         THREADING_ERR_DEADLOCK inside of the action; THREADING_ERR_HANDLE; THREADING_ERR_NO_MEMORY
///         when the thread has never waited before and there is no memory for its record
///
/// Blocks: until all have arrived and the action is done, or the barrier breaks, is reset, or the
/// default timeout runs out. Thread safety: any thread. Python: `barrier.wait()`. Since 0.1.0.
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
/// When it runs out the barrier is broken, for the caller and for all others. The time in which
/// newcomers stand aside while the action of the round before runs does not count.
///
/// \param barrier the barrier
/// \param seconds how long to wait at most, in seconds, in place of the default timeout;
///         THREADING_FOREVER waits without a limit, 0 breaks the barrier unless the caller is the last
///         to arrive
/// \param index where to write the caller's place in the order of arrival, from 0 to parties - 1, if it
///         succeeds; may be NULL
/// \return THREADING_OK, THREADING_ERR_BROKEN_BARRIER (also when the time ran out),
///         THREADING_ERR_CALLBACK, THREADING_ERR_DEADLOCK, THREADING_ERR_NO_MEMORY as
///         threading_barrier_wait(); THREADING_ERR_HANDLE, THREADING_ERR_VALUE, THREADING_ERR_OVERFLOW
///
/// Blocks: until all have arrived and the action is done, or the barrier breaks, is reset, or the time
/// runs out. Thread safety: any thread. Python: `barrier.wait(seconds)`. Since 0.1.0.
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

/// Empties the barrier, and mends it if it is broken. Threads that wait get
/// THREADING_ERR_BROKEN_BARRIER.
///
/// \param barrier the barrier
/// \return THREADING_OK; THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread, the action included. Python: `barrier.reset()`. Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_reset(barrier: *mut threading_barrier) -> threading_status {
    status(|| object(barrier).reset())
}

/// Breaks the barrier, until it is reset. Threads that wait get THREADING_ERR_BROKEN_BARRIER.
///
/// \param barrier the barrier
/// \return THREADING_OK, also when it is broken already; THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread, the action included. Python: `barrier.abort()`. Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_abort(barrier: *mut threading_barrier) -> threading_status {
    status(|| object(barrier).abort())
}

/// Tells how many threads have to arrive.
///
/// \param barrier the barrier
/// \return the number that was given to threading_barrier_new(); 0 with THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: `barrier.parties`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_parties(barrier: *mut threading_barrier) -> usize {
    value(|| object(barrier).parties())
}

/// Tells how many threads of the round have arrived, at this moment. Inside of the action it is all of
/// them.
///
/// \param barrier the barrier
/// \return the number; 0 also when the barrier is broken, or with THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread, the action included. Python: `barrier.n_waiting`. Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_n_waiting(barrier: *mut threading_barrier) -> usize {
    value(|| object(barrier).n_waiting())
}

/// Tells whether the barrier is broken, at this moment.
///
/// \param barrier the barrier
/// \return true if so; false if not, or with THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread, the action included. Python: `barrier.broken`. Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_barrier_broken(barrier: *mut threading_barrier) -> bool {
    value(|| object(barrier).broken())
}
