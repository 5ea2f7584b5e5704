//! What happens to a failure that a thread could not handle.

use core::ffi::{CStr, c_void};

use crate::callbacks::ExceptHook;
use crate::error::Result;
use crate::handle::Handle;
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sys;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::calling_thread::with_cancel_disabled;
use crate::sys::pthread;
use crate::thread::naming;
use crate::thread::object::Thread;

struct Hook {
    hook: Option<ExceptHook>,
    arg: usize,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static HOOK: InternalMutex<Hook> = InternalMutex::new(Hook { hook: None, arg: 0 });

impl ForkReset for Hook {
    fn reset_in_child(&mut self) {
        // A hook must not be called with another one's argument.
        *self = Hook { hook: None, arg: 0 };
    }
}

/// Sets the hook; `None` is the default.
pub(crate) fn set(hook: Option<ExceptHook>, arg: *mut c_void) {
    happens_before(&HOOK);
    *HOOK.lock() = Hook { hook, arg: arg as usize };
}

/// The hook and its argument.
pub(crate) fn get() -> (Option<ExceptHook>, *mut c_void) {
    let hook = HOOK.lock();
    happens_after(&HOOK);
    (hook.hook, hook.arg as *mut c_void)
}

/// Calls the hook for a thread.
pub(crate) fn report(thread: Handle<Thread>, kind: &CStr, message: &CStr) -> Result<()> {
    match get() {
        (Some(hook), arg) => {
            // SAFETY: whoever set the hook promised that it takes this argument.
            pthread::call_user(|| unsafe {
                hook(thread.bits() as *mut c_void, kind.as_ptr(), message.as_ptr(), arg);
            });
        }
        (None, _) => {
            let name = naming::get_or_create(thread).unwrap_or(c"?".as_ptr());
            // SAFETY: a thread's names are kept as long as it lives, and end with NUL.
            let name = unsafe { CStr::from_ptr(name) };
            print(&[c"Exception in thread ", name, c": ", kind, c": ", message, c"\n"]);
        }
    }
    Ok(())
}

/// One line to stderr in one call, so that lines of several threads do not mix; without memory, and without a
/// lock that a child of fork might find held. Where stderr is closed, nobody wants to know.
fn print(parts: &[&CStr; 7]) {
    let parts = parts
        .map(|part| libc::iovec { iov_base: part.as_ptr().cast_mut().cast(), iov_len: part.count_bytes() });
    // SAFETY: so many strings of these lengths, which are only read.
    with_cancel_disabled(|| unsafe { sys::writev(libc::STDERR_FILENO, parts.as_ptr(), parts.len() as i32) });
}

/// Holds the hook across a fork.
pub(crate) fn lock_for_fork() {
    HOOK.lock_for_fork();
}

/// Gives back what `hold` took.
///
/// # Safety
/// As for `InternalMutex::let_go`.
pub(crate) unsafe fn unlock_after_fork() {
    // SAFETY: the caller's promise.
    unsafe { HOOK.unlock_after_fork() };
}

/// As `let_go`, in a child of fork.
///
/// # Safety
/// As for `InternalMutex::reinit_in_child`.
pub(crate) unsafe fn reinit_in_child() {
    // SAFETY: the caller's promise.
    unsafe { HOOK.reinit_in_child() };
}
