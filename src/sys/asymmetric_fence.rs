//! A pair of fences of which one costs nothing: `light`, for a thread that executes it very often, and `heavy`, for
//! other threads, which execute it rarely.
//!
//! If one thread executes `light` between a store and a load, and another `heavy` between a store and a load, at least
//! one of them sees the store of the other: as with two full fences. `light` only stops the compiler; `heavy` asks the
//! kernel to execute a full fence on each CPU that runs a thread of this process (`membarrier`).
//!
//! The kernel permits that after a registration, which takes a few microseconds in a process with one thread, and
//! several milliseconds in others. So the library registers the process when it is loaded, if the process has one
//! thread then. A child of fork inherits the registration.

#[cfg(all(target_os = "linux", not(model)))]
use crate::sys::atomic::AtomicBool;
use crate::sys::atomic::Ordering;

#[cfg(all(target_os = "linux", not(model)))]
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static REGISTERED: AtomicBool = AtomicBool::new(false);

/// Registers the process, if it has one thread. Called when the library is loaded, by the initial thread.
pub(crate) fn register() {
    #[cfg(all(target_os = "linux", not(model)))]
    if linux::has_one_thread() && linux::membarrier(linux::REGISTER) {
        REGISTERED.store(true, Ordering::Relaxed);
    }
}

/// Returns whether the fences can be used.
#[inline]
pub(crate) fn is_available() -> bool {
    #[cfg(all(target_os = "linux", not(model)))]
    let is_available = REGISTERED.load(Ordering::Relaxed);
    // Models check the protocols with full fences.
    #[cfg(not(all(target_os = "linux", not(model))))]
    let is_available = cfg!(model);
    is_available
}

/// The fence of the thread that executes it often.
#[inline(always)]
pub(crate) fn light() {
    #[cfg(not(model))]
    core::sync::atomic::compiler_fence(Ordering::SeqCst);
    #[cfg(model)]
    crate::sys::atomic::fence(Ordering::SeqCst);
}

/// The fence of the other threads. Called only if the fences are available.
pub(crate) fn heavy() {
    crate::sys::atomic::fence(Ordering::SeqCst);
    #[cfg(all(target_os = "linux", not(model)))]
    linux::fence_other_threads();
}

#[cfg(all(target_os = "linux", not(model)))]
pub(super) mod linux {
    use crate::sys::calling_thread::pause_for_a_millisecond;
    use crate::sys::preserving_errno;
    use core::ffi::c_int;

    pub(super) const REGISTER: c_int = libc::MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED;
    const FENCE: c_int = libc::MEMBARRIER_CMD_PRIVATE_EXPEDITED;

    pub(in crate::sys) fn membarrier(command: c_int) -> bool {
        // SAFETY: the call has no preconditions, and changes no memory. All six arguments are passed, since interposers
        // of syscall() may read those that it does not need.
        preserving_errno(|| unsafe { libc::syscall(libc::SYS_membarrier, command, 0, 0, 0, 0, 0) }) == 0
    }

    /// Returns whether the process has one thread; false if that is not known.
    pub(super) fn has_one_thread() -> bool {
        /// A directory has a link from its parent, one from itself, and one from each directory in it.
        const LINKS_OF_ONE_DIRECTORY: libc::nlink_t = 3;
        let mut status = core::mem::MaybeUninit::<libc::stat>::uninit();
        // SAFETY: the path ends with NUL, and `status` is valid for writes; it is initialized if the call succeeds.
        preserving_errno(|| unsafe {
            libc::stat(c"/proc/self/task".as_ptr(), status.as_mut_ptr()) == 0
                && status.assume_init().st_nlink == LINKS_OF_ONE_DIRECTORY
        })
    }

    pub(super) fn fence_other_threads() {
        if membarrier(FENCE) || membarrier(REGISTER) && membarrier(FENCE) {
            return;
        }
        // The program has forbidden the call since (seccomp). Each CPU completes its stores much earlier than this.
        pause_for_a_millisecond();
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn the_process_has_several_threads_in_tests() {
            std::thread::spawn(|| assert!(!has_one_thread())).join().unwrap();
        }
    }
}
