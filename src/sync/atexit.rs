//! The registration of the atexit handler, under a mutex that is held across forks: libc's own list of handlers may be
//! locked while a handler is registered, and would stay locked in a child.

use crate::error::Result;
use crate::sync::mutex::InternalMutex;
use crate::sys::libc_hooks;

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static REGISTRATION: InternalMutex<()> = InternalMutex::new(());

/// From now on, the exit of the process waits for its threads.
pub(crate) fn ensure_atexit_registered() -> Result<()> {
    // In a model, the process is the checker's.
    if cfg!(model) || libc_hooks::is_atexit_registered() {
        return Ok(());
    }
    let _once = REGISTRATION.lock();
    if libc_hooks::is_atexit_registered() { Ok(()) } else { libc_hooks::register_atexit_handler() }
}

/// Holds the mutex across a fork.
pub(crate) fn hold() {
    REGISTRATION.lock_for_fork();
}

/// Releases what `hold` took.
///
/// # Safety
/// As for `InternalMutex::let_go`.
pub(crate) unsafe fn let_go() {
    // SAFETY: the caller's promise.
    unsafe { REGISTRATION.unlock_after_fork() };
}

/// As `let_go`, in a child of fork.
///
/// # Safety
/// As for `InternalMutex::reinit_in_child`.
pub(crate) unsafe fn reinit_in_child() {
    // SAFETY: the caller's promise.
    unsafe { REGISTRATION.reinit_in_child() };
}
