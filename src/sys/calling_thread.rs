//! What the system knows of the calling thread: its number, and whether it can be cancelled.

use core::ffi::c_int;
use core::ptr;

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}

const PTHREAD_CANCEL_DISABLE: c_int = 1;

/// The kernel's number of the calling thread.
pub(crate) fn native_id() -> u64 {
    // SAFETY: asks only.
    (unsafe { libc::gettid() }) as u64
}

/// Whether the calling thread is the one with which the process began.
pub(crate) fn is_initial_thread() -> bool {
    // SAFETY: asks only.
    native_id() == unsafe { libc::getpid() } as u64
}

/// Runs `f` without being cancelled by `pthread_cancel`, which stays pending. No call of this library is a
/// cancellation point, and the unwinding by which a thread is cancelled must not meet the guard of an export:
/// so this is around what the system makes one, and around the callbacks that run inside of a call.
pub(crate) fn with_cancel_disabled<R>(f: impl FnOnce() -> R) -> R {
    let mut former = 0;
    // SAFETY: changes the calling thread's state alone, and changes it back below.
    unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &mut former) };
    let result = f();
    // SAFETY: as above.
    unsafe { pthread_setcancelstate(former, ptr::null_mut()) };
    result
}
