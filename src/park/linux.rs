//! Sleeping by futex.

use crate::atomic::AtomicU32;
use core::ptr;

use crate::time::Deadline;

pub(super) fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> bool {
    let until = deadline.timespec();
    // FUTEX_WAIT_BITSET takes a moment, FUTEX_WAIT would take a duration: a wait that a signal interrupts
    // goes on until the same moment.
    // SAFETY: the word is aligned and lives during the call; `until` is NULL or a timespec.
    let woken = unsafe {
        libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG,
            expected,
            until.as_ref().map_or(ptr::null(), ptr::from_ref),
            ptr::null::<u32>(),
            libc::FUTEX_BITSET_MATCH_ANY,
        )
    };
    // EINTR and EAGAIN are as good as a wake-up: the caller looks at the word again.
    // SAFETY: errno is this thread's.
    woken == 0 || unsafe { *libc::__errno_location() } != libc::ETIMEDOUT
}

pub(super) fn wake(word: &AtomicU32, count: u32) -> bool {
    // SAFETY: the word is only an address here; a futex call never writes to it.
    let woken = unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG, count)
    };
    woken != 0
}
