//! Sleeping by futex.

use crate::sys::atomic::AtomicU32;
use core::ptr;

use crate::sys;
use crate::time::Deadline;

// Both calls pass all six arguments of the system call, as every interposer of syscall() expects that reads those that
// it does not need.

pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> bool {
    // The kernel gets the time that is left, and not the deadline: a preloaded library may have replaced clock_gettime()
    // by one whose clock is not the kernel's (libfaketime does).
    let remaining = deadline.remaining();
    // EINTR and EAGAIN are as good as a wake-up: the caller looks at the word again, and waits for the rest of the time.
    // SAFETY: the word is aligned and lives during the call; `remaining` is NULL or a timespec.
    sys::preserving_errno(|| unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG,
            expected,
            remaining.as_ref().map_or(ptr::null(), ptr::from_ref),
            ptr::null::<u32>(),
            0_u32,
        ) == 0
            || sys::errno() != libc::ETIMEDOUT
    })
}

pub(crate) fn wake(word: &AtomicU32, count: u32) -> bool {
    // SAFETY: the word is only an address here; a futex call never writes to it.
    let woken = sys::preserving_errno(|| unsafe {
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
