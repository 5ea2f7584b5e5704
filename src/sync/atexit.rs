//! Registers the atexit handler under a mutex that is held across forks: libc may lock its list of handlers during the
//! registration, and a fork at that moment would leave the list locked in the child.

use crate::error::Result;
use crate::sync::mutex::InternalMutex;
use crate::sys::libc_hooks;

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static REGISTRATION: InternalMutex<()> = InternalMutex::new(());

/// Registers the atexit handler, which joins the threads at process exit, unless it is registered already.
pub(crate) fn ensure_atexit_registered() -> Result<()> {
    // The process of a model belongs to the model checker.
    if cfg!(model) || libc_hooks::is_atexit_registered() {
        return Ok(());
    }
    let _guard = REGISTRATION.lock();
    if libc_hooks::is_atexit_registered() { Ok(()) } else { libc_hooks::register_atexit_handler() }
}

/// Locks the mutex across a fork.
pub(crate) fn lock_for_fork() {
    REGISTRATION.lock_for_fork();
}

/// Unlocks the mutex in the parent.
///
/// # Safety
/// As for `InternalMutex::unlock_after_fork`.
pub(crate) unsafe fn unlock_after_fork() {
    // SAFETY: guaranteed by the caller.
    unsafe { REGISTRATION.unlock_after_fork() };
}

/// Unlocks the mutex in the child.
///
/// # Safety
/// As for `InternalMutex::reinit_in_child`.
pub(crate) unsafe fn reinit_in_child() {
    // SAFETY: guaranteed by the caller.
    unsafe { REGISTRATION.reinit_in_child() };
}
