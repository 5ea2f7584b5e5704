//! Dumps on a signal: a signal handler that makes a dump, and then calls the handler that it has replaced.

use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

use crate::dump::dump;
use crate::error::{Error, Result};
use crate::sync::mutex::InternalMutex;
use crate::sys;
use crate::sys::annotate::{happens_after, happens_before, ignore_accesses};

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
/// handler is restored: a thread that has received the signal before that may call it later. In two arrays, so that
/// each handler is called with its own arguments even if another one takes its place at the same time.
///
/// If the program has installed a handler that calls the library's, and asks for dumps again, the library's handler
/// that replaces it is another one, and calls this one. So there are several sets, which are used in turn.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static PLAIN: [[AtomicUsize; SIGNALS]; SETS] = [const { [const { AtomicUsize::new(0) }; SIGNALS] }; SETS];
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static WITH_INFO: [[AtomicUsize; SIGNALS]; SETS] = [const { [const { AtomicUsize::new(0) }; SIGNALS] }; SETS];

const SETS: usize = 3;

/// The set of each signal that was used last. Handlers of the other sets make no dump.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static LAST_SET: [AtomicUsize; SIGNALS] = [const { AtomicUsize::new(0) }; SIGNALS];

/// A signal handler with `SA_SIGINFO`.
type Handler = extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

const CALL_PLAIN: [Handler; SETS] = [call_plain::<0>, call_plain::<1>, call_plain::<2>];
const CALL_WITH_INFO: [Handler; SETS] = [call_with_info::<0>, call_with_info::<1>, call_with_info::<2>];

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static INSTALLING: InternalMutex<()> = InternalMutex::new(());

/// Installs a handler of the signal that makes a dump to this file descriptor; -1 restores the handler that was
/// replaced.
pub(crate) fn dump_on_signal(signal: c_int, fd: c_int) -> Result<()> {
    let index =
        usize::try_from(signal).ok().filter(|index| (1..SIGNALS).contains(index)).ok_or(Error::Signal)?;
    if [libc::SIGKILL, libc::SIGSTOP].contains(&signal) {
        return Err(Error::Signal);
    }
    if fd < NONE {
        return Err(Error::Descriptor);
    }
    let _installing = INSTALLING.lock();
    let installed = FILES[index].load(Ordering::Relaxed) != NONE;
    happens_after(&FORMER);
    // SAFETY: this thread holds `INSTALLING`.
    let former = unsafe { &mut (*FORMER.0.get())[index] };
    // SAFETY: all zeros are a valid value, which is replaced.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    // SAFETY: `action` is valid for writes.
    if unsafe { sys::sigaction(signal, core::ptr::null(), &mut action) } != 0 {
        return Err(Error::Signal);
    }
    if fd == NONE && !installed {
        return Ok(());
    }
    // The program may have installed another handler since, or a handler of this library again, which it had found
    // installed.
    let is_own = is_own(&action);
    if fd == NONE {
        if is_own {
            // SAFETY: `former` was written when the handler was installed.
            unsafe { sys::sigaction(signal, former.as_ptr(), core::ptr::null_mut()) };
        }
        FILES[index].store(NONE, Ordering::Release);
        return Ok(());
    }
    if is_own {
        FILES[index].store(fd, Ordering::Release);
        return Ok(());
    }
    former.write(action);
    happens_before(&FORMER);
    let former_file = FILES[index].swap(fd, Ordering::Release);
    // Everything is stored before the handler is installed, which runs from then on.
    let handler = handler_for(index, &action);
    action.sa_flags = flags_for(&action);
    action.sa_sigaction = address(handler);
    // SAFETY: the handler is async-signal-safe.
    if unsafe { sys::sigaction(signal, &action, core::ptr::null_mut()) } != 0 {
        FILES[index].store(former_file, Ordering::Release);
        return Err(Error::Signal);
    }
    Ok(())
}

/// Returns whether the handler is one of this library's.
fn is_own(action: &libc::sigaction) -> bool {
    let mut own = CALL_PLAIN.iter().chain(&CALL_WITH_INFO).chain(&[dump_without_former as Handler]);
    own.any(|&own| address(own) == action.sa_sigaction)
}

/// Returns the flags for the handler that replaces `former`. It runs on the thread's alternate stack if it has one. A
/// former handler finds the signal mask that it has asked for, and ends waits if it has asked for that; without one,
/// waits go on. If it has asked for one signal only, this handler also gets only one, and the default action follows as
/// without it: a handler of a fault may return because the next fault ends the process.
fn flags_for(former: &libc::sigaction) -> c_int {
    const OF_CHILDREN: c_int = libc::SA_NOCLDSTOP | libc::SA_NOCLDWAIT;
    let has_handler = !matches!(former.sa_sigaction, libc::SIG_DFL | libc::SIG_IGN);
    let kept = former.sa_flags & (libc::SA_NODEFER | libc::SA_RESTART | libc::SA_RESETHAND | OF_CHILDREN);
    libc::SA_SIGINFO
        | libc::SA_ONSTACK
        | if has_handler { kept } else { kept & OF_CHILDREN | libc::SA_RESTART }
}

/// Returns the handler that replaces `former`, and stores the address of that.
fn handler_for(index: usize, former: &libc::sigaction) -> Handler {
    let (stored, handlers) = match former.sa_sigaction {
        libc::SIG_DFL | libc::SIG_IGN => return dump_without_former,
        _ if former.sa_flags & libc::SA_SIGINFO != 0 => (&WITH_INFO, CALL_WITH_INFO),
        _ => (&PLAIN, CALL_PLAIN),
    };
    let last = LAST_SET[index].load(Ordering::Relaxed);
    let is_unused =
        [&PLAIN, &WITH_INFO].iter().all(|stored| stored[last][index].load(Ordering::Relaxed) == 0);
    let is_same = stored[last][index].load(Ordering::Relaxed) == former.sa_sigaction;
    let set = if is_unused || is_same { last } else { (last + 1) % SETS };
    stored[set][index].store(former.sa_sigaction, Ordering::Release);
    LAST_SET[index].store(set, Ordering::Release);
    handlers[set]
}

fn address(handler: Handler) -> usize {
    handler as *const () as usize
}

/// Writes a dump to the file of the signal. The signal has none if the handler was removed after the thread had
/// received the signal.
fn dump_to_file(signal: c_int) {
    // The handler may have interrupted a call of the library, which ignores accesses: in the handler, ThreadSanitizer
    // observes them again.
    ignore_accesses(|| {
        happens_after(&FORMER);
        let fd = FILES[signal as usize].load(Ordering::Acquire);
        if fd != NONE {
            let _ = dump(fd);
        }
    });
}

extern "C" fn dump_without_former(signal: c_int, info: *mut libc::siginfo_t, _: *mut c_void) {
    dump_to_file(signal);
    // SAFETY: the system passes valid information.
    let is_raised_by_system = unsafe { (*info).si_code } > 0;
    if is_raised_by_system && matches!(signal, libc::SIGSEGV | libc::SIGBUS | libc::SIGFPE | libc::SIGILL) {
        // The thread is about to execute the faulting instruction again, and would do so without end.
        // SAFETY: all zeros are the default action.
        unsafe { sys::sigaction(signal, &core::mem::zeroed(), core::ptr::null_mut()) };
    }
}

extern "C" fn call_plain<const SET: usize>(signal: c_int, _: *mut libc::siginfo_t, _: *mut c_void) {
    dump_if_last(SET, signal);
    let former = PLAIN[SET][signal as usize].load(Ordering::Acquire);
    // SAFETY: the program had installed this handler for this signal, without `SA_SIGINFO`. Stored before the library's
    // handler was installed.
    let former = unsafe { core::mem::transmute::<usize, extern "C" fn(c_int)>(former) };
    former(signal);
}

extern "C" fn call_with_info<const SET: usize>(
    signal: c_int,
    info: *mut libc::siginfo_t,
    context: *mut c_void,
) {
    dump_if_last(SET, signal);
    let former = WITH_INFO[SET][signal as usize].load(Ordering::Acquire);
    // SAFETY: as in `call_plain`, with `SA_SIGINFO`.
    let former = unsafe { core::mem::transmute::<usize, Handler>(former) };
    former(signal, info, context);
}

/// Writes the dump, unless the handler of a later set writes it.
fn dump_if_last(set: usize, signal: c_int) {
    if LAST_SET[signal as usize].load(Ordering::Acquire) == set {
        dump_to_file(signal);
    }
}
