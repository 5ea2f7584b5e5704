//! What `pthread` offers on systems other than Linux. There, the kernel does not report the exit of a thread to this
//! library: threads run on stacks of libc, and are joined by `pthread_join`.

use core::ffi::CStr;

use crate::sys;
use crate::sys::atomic::AtomicU32;
use crate::sys::futex;
use crate::time::Deadline;

/// Registers nothing, and returns 0.
pub(crate) fn set_tid_address(_: &AtomicU32) -> u32 {
    0
}

/// As `futex::wait`: no kernel wakes the waiter.
pub(crate) fn wait_shared(word: &AtomicU32, expected: u32, deadline: Deadline) -> bool {
    futex::wait(word, expected, deadline)
}

/// Wakes all threads that are in `wait_shared` on this word. Returns whether any was parked.
pub(crate) fn wake_shared(word: &AtomicU32) -> bool {
    futex::wake_all(word)
}

/// Returns whether a thread with this native ID exists in this process.
#[cfg(target_os = "freebsd")]
pub(crate) fn thread_exists(native_id: u32) -> bool {
    sys::preserving_errno(|| {
        // SAFETY: signal 0 has no effect; the kernel only checks whether the thread exists.
        let status = unsafe { libc::thr_kill(native_id.into(), 0) };
        status == 0 || sys::errno() != libc::ESRCH
    })
}

/// Returns whether a thread with this native ID exists in this process.
#[cfg(target_vendor = "apple")]
pub(crate) fn thread_exists(native_id: u32) -> bool {
    const PROC_PIDTHREADID64INFO: core::ffi::c_int = 15;
    let mut info = core::mem::MaybeUninit::<libc::proc_threadinfo>::uninit();
    let bytes = size_of_val(&info) as core::ffi::c_int;
    sys::preserving_errno(|| {
        // SAFETY: `info` is valid for writes of `bytes` bytes.
        let written = unsafe {
            let buffer = info.as_mut_ptr().cast();
            libc::proc_pidinfo(libc::getpid(), PROC_PIDTHREADID64INFO, native_id.into(), buffer, bytes)
        };
        written > 0 || sys::errno() != libc::ESRCH
    })
}

/// Sets the name that tools of the system show for the calling thread. The name of another thread cannot be set.
pub(crate) fn set_name(native_id: Option<u32>, name: &CStr) {
    if native_id.is_some() {
        return;
    }
    // SAFETY: the name ends with NUL.
    sys::preserving_errno(|| unsafe {
        #[cfg(target_vendor = "apple")]
        libc::pthread_setname_np(name.as_ptr());
        #[cfg(not(target_vendor = "apple"))]
        libc::pthread_set_name_np(libc::pthread_self(), name.as_ptr());
    });
}
