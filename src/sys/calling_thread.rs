//! The calling thread's native ID and cancellation state.

use core::ffi::c_int;
use core::ptr;

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}

const PTHREAD_CANCEL_DISABLE: c_int = if cfg!(target_vendor = "apple") { 0 } else { 1 };

/// Returns the calling thread's native ID, which the kernel assigns.
pub(crate) fn native_id() -> u64 {
    #[cfg(target_os = "linux")]
    // SAFETY: no preconditions.
    let id = unsafe { libc::gettid() } as u64;
    #[cfg(target_os = "freebsd")]
    // SAFETY: no preconditions.
    let id = unsafe { libc::pthread_getthreadid_np() } as u64;
    #[cfg(target_vendor = "apple")]
    let id = {
        let mut id = 0;
        // SAFETY: 0 is the calling thread; `id` is valid for writes.
        unsafe { libc::pthread_threadid_np(0, &mut id) };
        id
    };
    id
}

/// Returns whether the calling thread is the process's initial thread.
pub(crate) fn is_initial_thread() -> bool {
    #[cfg(target_os = "linux")]
    // SAFETY: no preconditions.
    let is_initial = native_id() == unsafe { libc::getpid() } as u64;
    #[cfg(not(target_os = "linux"))]
    // SAFETY: no preconditions.
    let is_initial = unsafe { libc::pthread_main_np() } == 1;
    is_initial
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

/// Lets other threads of the same priority run on the calling thread's CPU, if there are any.
pub(crate) fn yield_cpu() {
    // SAFETY: no preconditions. It fails only where a filter of system calls does not permit it.
    super::preserving_errno(|| unsafe { libc::sched_yield() });
}

/// Blocks the calling thread for a millisecond, or until a signal arrives. May be called in a signal handler.
pub(crate) fn pause_for_a_millisecond() {
    pause(1);
}

/// As `pause_for_a_millisecond`, for this number of milliseconds.
pub(crate) fn pause(milliseconds: c_int) {
    // SAFETY: without descriptors, the pointer is not used.
    let poll = || unsafe { libc::poll(ptr::null_mut(), 0, milliseconds) };
    with_cancel_disabled(|| super::preserving_errno(poll));
}
