//! What `pthread` offers on Linux: the kernel reports the exit of a thread, and names threads.

use core::ffi::{CStr, c_ulong};
use core::ptr;
use std::io::Write;

use crate::sys;
use crate::sys::atomic::AtomicU32;
use crate::sys::calling_thread::with_cancel_disabled;
use crate::sys::futex;
use crate::time::Deadline;

/// Registers `word` with the kernel, which clears it after the calling thread's last instruction and wakes one waiter.
/// Returns the calling thread's native ID, or 0 on failure.
///
/// This replaces the word that libc has registered for pthread_join(). No thread waits for that word if the thread is
/// detached, and a detached thread on a stack that libc has not allocated frees libc's other memory itself.
pub(crate) fn set_tid_address(word: &AtomicU32) -> u32 {
    // SAFETY: the word is in the thread's slot, which stays referenced until the thread has exited.
    let id = sys::preserving_errno(|| unsafe { libc::syscall(libc::SYS_set_tid_address, word.as_ptr()) });
    id.max(0) as u32
}

/// Blocks while `word` is `expected`, until woken by `wake_shared` or by the kernel at a thread's exit, or until the
/// deadline. Returns false only if the deadline has passed. `futex::wait` cannot be used for this: the kernel's wake-up
/// is not process-private, and the portable backend does not see it.
pub(crate) fn wait_shared(word: &AtomicU32, expected: u32, deadline: Deadline) -> bool {
    let remaining = deadline.remaining();
    let timeout = remaining.as_ref().map_or(ptr::null(), ptr::from_ref);
    let nothing = ptr::null::<u32>();
    // SAFETY: the word is aligned and valid during the call; the timeout is NULL or a timespec.
    sys::preserving_errno(|| unsafe {
        let result = libc::syscall(
            libc::SYS_futex,
            word.as_ptr(),
            libc::FUTEX_WAIT,
            expected,
            timeout,
            nothing,
            0_u32,
        );
        futex::is_in_time(result, deadline)
    })
}

/// Wakes all threads that are in `wait_shared` on this word. Returns whether any was parked.
pub(crate) fn wake_shared(word: &AtomicU32) -> bool {
    let nothing = ptr::null::<u32>();
    // SAFETY: the kernel uses only the address of the word.
    let woken = sys::preserving_errno(|| unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX, nothing, nothing, 0_u32)
    });
    woken > 0
}

/// Returns whether a thread with this native ID exists in this process.
pub(crate) fn thread_exists(native_id: u32) -> bool {
    let (status, error) = sys::preserving_errno(|| {
        // SAFETY: signal 0 has no effect; the kernel only checks whether the thread exists.
        let status = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), native_id, 0) };
        (status, sys::errno())
    });
    // If a seccomp filter rejects the call, the error is another one.
    status == 0 || error != libc::ESRCH && is_in_proc(native_id)
}

/// As `thread_exists`, if tgkill() is not permitted. Returns true if `/proc` is not available either.
#[cold]
fn is_in_proc(native_id: u32) -> bool {
    let listed = |id: u32| {
        let mut path = [0; 40];
        let written = write!(&mut path[..39], "/proc/self/task/{id}");
        debug_assert!(written.is_ok());
        // SAFETY: the path ends with NUL.
        unsafe { sys::access(path.as_ptr().cast(), libc::F_OK) == 0 }
    };
    // SAFETY: no preconditions.
    listed(native_id) || !listed(unsafe { libc::gettid() } as u32)
}

/// Sets the name that system tools show for a thread: the one with this native ID, or the calling thread.
pub(crate) fn set_name(native_id: Option<u32>, name: &CStr) {
    match native_id {
        // SAFETY: the name ends with NUL; the kernel copies at most 15 bytes of it.
        None => unsafe {
            sys::prctl(libc::PR_SET_NAME, name.as_ptr() as c_ulong, 0, 0, 0);
        },
        Some(id) => {
            let mut path = [0; 40];
            let written = write!(&mut path[..39], "/proc/self/task/{id}/comm");
            debug_assert!(written.is_ok());
            // SAFETY: both strings end with NUL; the descriptor is valid until it is closed.
            with_cancel_disabled(|| unsafe {
                let file = sys::open(path.as_ptr().cast(), libc::O_WRONLY | libc::O_CLOEXEC);
                if file >= 0 {
                    sys::write(file, name.as_ptr().cast(), name.count_bytes());
                    sys::close(file);
                }
            });
        }
    }
}
