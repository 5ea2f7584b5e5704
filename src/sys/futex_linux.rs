//! The futex backend: Linux's system call.

use crate::sys::atomic::AtomicU32;
use core::ptr;

use crate::sys::SavedErrno;
use crate::time::Deadline;

// Both functions pass all six arguments of the system call, since interposers of syscall() may read those that it does
// not need.

#[inline(always)]
pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> bool {
    // A relative timeout, not the deadline: a preloaded library may have replaced clock_gettime(), so that its clock is
    // not the kernel's (libfaketime).
    let remaining = deadline.remaining();
    let _errno = SavedErrno::new();
    // SAFETY: the word is aligned and valid during the call; the timeout is NULL or a timespec.
    let result = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            remaining.as_ref().map_or(ptr::null(), ptr::from_ref),
            ptr::null::<u32>(),
            0_u32,
        )
    };
    super::is_in_time(result, deadline)
}

pub(crate) fn wake(word: &AtomicU32, count: u32) -> bool {
    // SAFETY: the kernel uses only the address of the word.
    let woken = crate::sys::preserving_errno(|| unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG,
            count,
            ptr::null::<libc::timespec>(),
            ptr::null::<u32>(),
            0_u32,
        )
    });
    woken != 0
}
