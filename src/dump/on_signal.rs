//! Dumps on a signal: a signal handler that makes a dump, and then calls the handler that it has replaced.

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicI32, Ordering};

use crate::dump::dump;
use crate::error::{Error, Result};
use crate::sync::mutex::InternalMutex;
use crate::sys;
use crate::sys::annotate::{happens_after, happens_before};

const SIGNALS: usize = 65;
const NONE: c_int = -1;

/// The file descriptors, by signal; `NONE` if the signal makes no dump.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static FILES: [AtomicI32; SIGNALS] = [const { AtomicI32::new(NONE) }; SIGNALS];

/// The handlers that have been replaced, by signal.
struct Former(UnsafeCell<[MaybeUninit<libc::sigaction>; SIGNALS]>);

// SAFETY: an element is written under `INSTALLING` before the signal's descriptor is stored, with release, and is not
// changed as long as that is not `NONE`.
unsafe impl Sync for Former {}

static FORMER: Former = Former(UnsafeCell::new([const { MaybeUninit::uninit() }; SIGNALS]));

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static INSTALLING: InternalMutex<()> = InternalMutex::new(());

/// Installs a handler of the signal that makes a dump to this file descriptor; a negative one restores the handler that
/// was replaced.
pub(crate) fn dump_on_signal(signal: c_int, fd: c_int) -> Result<()> {
    let index =
        usize::try_from(signal).ok().filter(|index| (1..SIGNALS).contains(index)).ok_or(Error::Signal)?;
    let _installing = INSTALLING.lock();
    let installed = FILES[index].load(Ordering::Relaxed) != NONE;
    if fd >= 0 && installed {
        FILES[index].store(fd, Ordering::Release);
        return Ok(());
    }
    // SAFETY: only the owner of `INSTALLING` writes the element.
    let former = unsafe { &mut (*FORMER.0.get())[index] };
    if fd >= 0 {
        // All that the handler needs is stored before it is installed, because it may run immediately.
        // SAFETY: `former` is valid for writes.
        if unsafe { sys::sigaction(signal, core::ptr::null(), former.as_mut_ptr()) } != 0 {
            return Err(Error::Signal);
        }
        happens_before(&FORMER);
        FILES[index].store(fd, Ordering::Release);
        // SAFETY: written above.
        let mut action = unsafe { former.assume_init_read() };
        action.sa_sigaction = handle as *const () as usize;
        // System calls are restarted, and the handler runs on the thread's alternate stack if it has one. The mask of
        // the former handler is kept for its call.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART | libc::SA_ONSTACK;
        // SAFETY: the handler is async-signal-safe.
        if unsafe { sys::sigaction(signal, &action, core::ptr::null_mut()) } != 0 {
            FILES[index].store(NONE, Ordering::Release);
            return Err(Error::Signal);
        }
    } else if installed {
        // SAFETY: `former` was written when the handler was installed.
        unsafe { sys::sigaction(signal, former.as_ptr(), core::ptr::null_mut()) };
        FILES[index].store(NONE, Ordering::Release);
    }
    Ok(())
}

extern "C" fn handle(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    let index = signal as usize;
    let fd = FILES[index].load(Ordering::Acquire);
    if fd == NONE {
        return;
    }
    happens_after(&FORMER);
    let _ = dump(fd);
    // SAFETY: written before the descriptor was stored.
    let former = unsafe { (*FORMER.0.get())[index].assume_init_ref() };
    if former.sa_sigaction == libc::SIG_DFL || former.sa_sigaction == libc::SIG_IGN {
        return;
    }
    // SAFETY: the program has installed this handler for this signal, with these flags.
    unsafe {
        if former.sa_flags & libc::SA_SIGINFO != 0 {
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                core::mem::transmute(former.sa_sigaction);
            handler(signal, info, context);
        } else {
            let handler: extern "C" fn(c_int) = core::mem::transmute(former.sa_sigaction);
            handler(signal);
        }
    }
}
