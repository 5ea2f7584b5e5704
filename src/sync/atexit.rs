//! The registration of the atexit handler, under a mutex that is held across forks: libc's own list of handlers may be
//! locked while a handler is registered, and would stay locked in a child.

use crate::error::Result;
use crate::sync::mutex::Guarded;
use crate::sys::libc_hooks;

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
static REGISTRATION: Guarded<()> = Guarded::new(());

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
    REGISTRATION.hold();
}

/// Releases what `hold` took.
///
/// # Safety
/// As for `Guarded::let_go`.
pub(crate) unsafe fn let_go() {
    // SAFETY: the caller's promise.
    unsafe { REGISTRATION.let_go() };
}

/// As `let_go`, in a child of fork.
///
/// # Safety
/// As for `Guarded::renew`.
pub(crate) unsafe fn renew() {
    // SAFETY: the caller's promise.
    unsafe { REGISTRATION.renew() };
}
