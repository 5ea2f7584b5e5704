//! Registers the atexit handler under a mutex that is held across forks: libc may lock its list of handlers during the
//! registration, and a fork at that moment would leave the list locked in the child.

use crate::error::Result;
use crate::sync::fork_lock::ForkLock;
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sys::libc_hooks;

/// The permission to register the handler.
struct Registration;

impl ForkReset for Registration {
    fn reset_in_child(&mut self) {}
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static REGISTRATION: InternalMutex<Registration> = InternalMutex::new(Registration);

/// Registers the atexit handler, which joins the threads at process exit, unless it is registered already.
#[inline(always)]
pub(crate) fn ensure_atexit_registered() -> Result<()> {
    // The process of a model belongs to the model checker.
    if cfg!(model) || libc_hooks::is_atexit_registered() { Ok(()) } else { register_once() }
}

#[cold]
#[inline(never)]
fn register_once() -> Result<()> {
    let _guard = REGISTRATION.lock();
    if libc_hooks::is_atexit_registered() { Ok(()) } else { libc_hooks::register_atexit_handler() }
}

/// Returns the mutex, which is locked across a fork.
pub(crate) fn fork_lock() -> &'static impl ForkLock {
    &REGISTRATION
}
