//! Dumps on a signal: a signal handler that makes a dump, and then calls the handler that it has replaced.

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

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

/// What the handlers of this library have replaced, by signal, to be restored.
struct Former(UnsafeCell<[MaybeUninit<libc::sigaction>; SIGNALS]>);

// SAFETY: accessed only by the thread that holds `INSTALLING`.
unsafe impl Sync for Former {}

static FORMER: Former = Former(UnsafeCell::new([const { MaybeUninit::uninit() }; SIGNALS]));

/// The addresses of the replaced handlers with one argument, by signal, and of those with three. They are kept when a
/// handler is restored: a thread that has received the signal before that may call it later. In two arrays, so that each
/// handler is called with its own arguments even if another one takes its place at the same time.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static PLAIN: [AtomicUsize; SIGNALS] = [const { AtomicUsize::new(0) }; SIGNALS];
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static WITH_INFO: [AtomicUsize; SIGNALS] = [const { AtomicUsize::new(0) }; SIGNALS];

/// A signal handler with `SA_SIGINFO`.
type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

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
    happens_after(&FORMER);
    // SAFETY: this thread holds `INSTALLING`.
    let former = unsafe { &mut (*FORMER.0.get())[index] };
    if fd >= 0 {
        // SAFETY: all zeros are a valid value, which is replaced.
        let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
        // SAFETY: `action` is valid for writes.
        if unsafe { sys::sigaction(signal, core::ptr::null(), &mut action) } != 0 {
            return Err(Error::Signal);
        }
        // The program may have installed a handler of this library again, which it had found installed.
        let is_own = [dump_only as Handler, call_plain, call_with_info]
            .into_iter()
            .any(|own| address(own) == action.sa_sigaction);
        if !is_own {
            former.write(action);
        }
        happens_before(&FORMER);
        // Everything is stored before the handler is installed, which runs from then on.
        FILES[index].store(fd, Ordering::Release);
        if is_own {
            return Ok(());
        }
        action.sa_sigaction = address(handler_for(index, &action));
        // Waits go on, and the handler runs on the thread's alternate stack if it has one. The former handler finds the
        // signal mask that it has asked for.
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

/// Returns the handler that replaces `former`, and stores the address of that.
fn handler_for(index: usize, former: &libc::sigaction) -> Handler {
    let (handlers, handler): (_, Handler) = match former.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => return dump_only,
        _ if former.sa_flags & libc::SA_SIGINFO != 0 => (&WITH_INFO, call_with_info),
        _ => (&PLAIN, call_plain),
    };
    handlers[index].store(former.sa_sigaction, Ordering::Release);
    handler
}

fn address(handler: Handler) -> usize {
    handler as *const () as usize
}

/// Writes a dump to the file of the signal. The signal has none if the handler was removed after the thread had received
/// the signal.
extern "C" fn dump_only(signal: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    happens_after(&FORMER);
    let fd = FILES[signal as usize].load(Ordering::Acquire);
    if fd != NONE {
        let _ = dump(fd);
    }
}

extern "C" fn call_plain(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    dump_only(signal, info, context);
    let former = PLAIN[signal as usize].load(Ordering::Acquire);
    // SAFETY: the program had installed this handler for this signal, without `SA_SIGINFO`. Stored before the library's
    // handler was installed.
    let former = unsafe { core::mem::transmute::<usize, extern "C" fn(c_int)>(former) };
    former(signal);
}

extern "C" fn call_with_info(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    dump_only(signal, info, context);
    let former = WITH_INFO[signal as usize].load(Ordering::Acquire);
    // SAFETY: as in `call_plain`, with `SA_SIGINFO`.
    let former = unsafe { core::mem::transmute::<usize, Handler>(former) };
    former(signal, info, context);
}
