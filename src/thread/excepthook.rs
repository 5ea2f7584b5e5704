//! The hook for unhandled exceptions. Python: `threading.excepthook`.

use core::ffi::{CStr, c_void};

use crate::callbacks::ExceptHook;
use crate::error::Result;
use crate::handle::Handle;
use crate::sync::fork_lock::ForkLock;
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::fd;
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
        // The fork may have interrupted a change: hook and argument may not belong together.
        *self = Hook { hook: None, arg: 0 };
    }
}

/// Sets the hook and its argument; `None` restores the default.
pub(crate) fn set(hook: Option<ExceptHook>, arg: *mut c_void) {
    happens_before(&HOOK);
    *HOOK.lock() = Hook { hook, arg: arg as usize };
}

/// Returns the hook and its argument.
pub(crate) fn get() -> (Option<ExceptHook>, *mut c_void) {
    let hook = HOOK.lock();
    happens_after(&HOOK);
    (hook.hook, hook.arg as *mut c_void)
}

/// Calls the hook, or prints the exception to stderr if there is none.
pub(crate) fn report(thread: Handle<Thread>, kind: &CStr, message: &CStr) -> Result<()> {
    match get() {
        (Some(hook), arg) => {
            // SAFETY: the hook takes this argument, as promised when both were set.
            pthread::call_user(|| unsafe {
                hook(thread.bits() as *mut c_void, kind.as_ptr(), message.as_ptr(), arg);
            });
        }
        (None, _) => {
            let name = naming::get_or_create(thread).unwrap_or(c"?".as_ptr());
            // SAFETY: a name that was returned stays valid as long as the thread, and ends with NUL.
            let name = unsafe { CStr::from_ptr(name) };
            print(&[c"Exception in thread ", name, c": ", kind, c": ", message, c"\n"]);
        }
    }
    Ok(())
}

/// Prints a line to stderr with one system call, so that the lines of several threads do not mix. Allocates no memory
/// and takes no lock that a child of fork could find held. Errors are ignored, and raise no signal.
fn print(parts: &[&CStr; 7]) {
    let _: Result<()> = fd::without_signals(|| fd::write_parts(libc::STDERR_FILENO, parts));
}

/// Returns the mutex, which is locked across a fork.
pub(crate) fn fork_lock() -> &'static impl ForkLock {
    &HOOK
}
