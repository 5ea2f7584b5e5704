//! Barriers, with and without a closure as their action.

use core::ffi::{c_int, c_void};
use core::ptr;
use std::sync::Arc;

use super::closures::catch_and_report;
use super::owned::OwnedHandle;
use crate::barrier::Barrier;
use crate::error::Result;
use crate::handle::Handle;
use crate::time::Timeout;

impl Barrier {
    /// Creates a barrier for this number of parties, without an action. Python: `Barrier(parties)`. For a barrier with
    /// an action, see [`ActionBarrier`].
    pub fn new(parties: usize) -> Result<OwnedHandle<Barrier>> {
        // SAFETY: there is no action.
        unsafe { Handle::<Barrier>::new(parties, None, ptr::null_mut()) }.map(OwnedHandle::from_handle)
    }
}

/// A barrier with an action: a closure that the last thread to arrive runs before any wait returns.
/// Python: `Barrier(parties, action)`.
///
/// If the action panics, the barrier breaks: the wait of the last thread returns
/// [`Error::Callback`](crate::Error::Callback), and those of the others
/// [`Error::BrokenBarrier`](crate::Error::BrokenBarrier).
///
/// It does not expose a [`Handle`], because a copy of that could outlive the closure. Threads share it by reference,
/// or in an [`Arc`].
///
/// ```
/// use std::sync::atomic::{AtomicU32, Ordering};
/// use threading::ActionBarrier;
///
/// static ROUNDS: AtomicU32 = AtomicU32::new(0);
/// let barrier = ActionBarrier::new(2, || { ROUNDS.fetch_add(1, Ordering::Relaxed); })?;
/// std::thread::scope(|scope| {
///     for _ in 0..2 {
///         scope.spawn(|| {
///             barrier.wait().unwrap();
///             assert_eq!(ROUNDS.load(Ordering::Relaxed), 1);
///         });
///     }
/// });
/// # Ok::<(), threading::Error>(())
/// ```
pub struct ActionBarrier<F> {
    barrier: OwnedHandle<Barrier>,
    /// Declared, and so dropped, after the barrier.
    _action: Arc<F>,
}

impl<F: Fn() + Send + Sync + 'static> ActionBarrier<F> {
    /// Creates a barrier for this number of parties.
    pub fn new(parties: usize, action: F) -> Result<Self> {
        unsafe extern "C-unwind" fn call<F: Fn()>(arg: *mut c_void) -> c_int {
            // SAFETY: the action lives as long as the barrier, and each wait borrows both.
            c_int::from(catch_and_report(|| unsafe { &*arg.cast::<F>() }()).is_none())
        }
        let action = Arc::new(action);
        let arg = Arc::as_ptr(&action).cast_mut().cast();
        // SAFETY: the action outlives the barrier, and is `Sync`.
        let barrier = unsafe { Handle::<Barrier>::new(parties, Some(call::<F>), arg)? };
        Ok(ActionBarrier { barrier: OwnedHandle::from_handle(barrier), _action: action })
    }
}

/// The methods of a barrier's handle.
macro_rules! forward {
    ($($(#[$doc:meta])* $name:ident($($arg:ident: $type:ty)?) -> $result:ty;)*) => {
        impl<F> ActionBarrier<F> {
            $($(#[$doc])* pub fn $name(&self $(, $arg: $type)?) -> Result<$result> {
                self.barrier.$name($($arg)?)
            })*
        }
    };
}

forward! {
    /// Sets the timeout of [`wait`](Self::wait), in seconds.
    set_timeout(seconds: f64) -> ();
    /// Blocks until all parties have arrived. Returns the index of the calling thread's arrival, from 0.
    wait() -> usize;
    /// Like [`wait`](Self::wait), with this timeout. If it expires, the barrier breaks.
    wait_timeout(timeout: Timeout) -> usize;
    /// Resets the barrier to its initial, unbroken state. Waits in progress return an error.
    reset() -> ();
    /// Breaks the barrier: current and later waits return an error until it is reset.
    abort() -> ();
    /// Returns the number of parties.
    parties() -> usize;
    /// Returns the number of threads that have arrived in the current round, as a snapshot.
    n_waiting() -> usize;
    /// Returns true if the barrier is broken, as a snapshot.
    broken() -> bool;
}
