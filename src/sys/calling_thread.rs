//! The calling thread's native ID and cancellation state.

use core::ffi::c_int;
use core::ptr;

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}

const PTHREAD_CANCEL_DISABLE: c_int = 1;

/// Returns the calling thread's native ID, which the kernel assigns.
pub(crate) fn native_id() -> u64 {
    // SAFETY: no preconditions.
    (unsafe { libc::gettid() }) as u64
}

/// Returns whether the calling thread is the process's initial thread.
pub(crate) fn is_initial_thread() -> bool {
    // SAFETY: no preconditions.
    native_id() == unsafe { libc::getpid() } as u64
}

/// Runs `f` with cancellation disabled; a request by `pthread_cancel` stays pending. No call of this library is a
/// cancellation point, and the unwinding of a cancelled thread must not cross the panic boundary of an exported
/// function. So this wraps functions of libc that are cancellation points, and callbacks that run during a call.
pub(crate) fn with_cancel_disabled<R>(f: impl FnOnce() -> R) -> R {
    let mut previous = 0;
    // SAFETY: changes only the calling thread's state, which is restored below.
    unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &mut previous) };
    let result = f();
    // SAFETY: as above.
    unsafe { pthread_setcancelstate(previous, ptr::null_mut()) };
    result
}
