//! Threads as the system has them: started and joined through libc's pthread.

use crate::atomic::{AtomicU8, Ordering};
use core::ffi::{CStr, c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use std::io::Write;

use super::stacks::Stack;
use crate::detector;
use crate::error::{Error, Result};
#[cfg(not(model))]
use crate::sys::thread_state;
use crate::time::Deadline;

/// A start routine.
pub(crate) type Entry = extern "C-unwind" fn(*mut c_void) -> *mut c_void;

unsafe extern "C" {
    fn pthread_create(
        thread: *mut libc::pthread_t,
        attributes: *const libc::pthread_attr_t,
        entry: Entry,
        arg: *mut c_void,
    ) -> c_int;
    fn pthread_clockjoin_np(
        thread: libc::pthread_t,
        result: *mut *mut c_void,
        clock: libc::clockid_t,
        until: *const libc::timespec,
    ) -> c_int;
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
}

const PTHREAD_CANCEL_DISABLE: c_int = 1;

/// The smallest stack that the system accepts.
pub(crate) const MIN_STACK: usize = libc::PTHREAD_STACK_MIN;

/// Calls `f` with attributes of threads that are the system's default.
fn with_attributes<R>(f: impl FnOnce(*mut libc::pthread_attr_t) -> R) -> Result<R> {
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: initialised here, destroyed below.
    if unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) } != 0 {
        return Err(Error::NoMemory);
    }
    let result = f(attributes.as_mut_ptr());
    // SAFETY: initialised above.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    Ok(result)
}

/// The size of a stack of so many bytes, 0 being the system's default, and that of its guard: whole pages.
pub(super) fn stack_layout(size: usize) -> Result<(usize, usize)> {
    let (mut default, mut guard) = (0, 0);
    // SAFETY: the attributes are initialised.
    with_attributes(|attributes| unsafe {
        libc::pthread_attr_getstacksize(attributes, &mut default);
        libc::pthread_attr_getguardsize(attributes, &mut guard);
    })?;
    // SAFETY: asks only.
    let page = unsafe { libc::sysconf(libc::_SC_PAGESIZE) } as usize;
    let whole_pages = |size: usize| size.checked_next_multiple_of(page).unwrap_or(usize::MAX / page * page);
    Ok((whole_pages(if size == 0 { default } else { size }), whole_pages(guard.max(page))))
}

/// Whether the process may have so many addresses and no more.
pub(super) fn limits_addresses() -> bool {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` is there to write to.
    (unsafe { libc::getrlimit(libc::RLIMIT_AS, &mut limit) }) == 0 && limit.rlim_cur != libc::RLIM_INFINITY
}

/// Whether the system counts memory when it is mapped, and refuses more than it has. It is asked once.
pub(super) fn counts_addresses() -> bool {
    const UNKNOWN: u8 = 0;
    const NEVER_OVERCOMMITS: u8 = b'2';
    #[cfg_attr(target_os = "linux", unsafe(link_section = "threading_own"))]
    static MODE: AtomicU8 = AtomicU8::new(UNKNOWN);
    let mut mode = MODE.load(Ordering::Relaxed);
    if mode == UNKNOWN {
        mode = b'0';
        // SAFETY: the name ends with NUL; one byte is read; the file is closed again.
        uncancelled(|| unsafe {
            let file =
                libc::open(c"/proc/sys/vm/overcommit_memory".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            if file >= 0 {
                libc::read(file, (&raw mut mode).cast(), 1);
                libc::close(file);
            }
        });
        MODE.store(mode, Ordering::Relaxed);
    }
    mode == NEVER_OVERCOMMITS
}

/// Starts a thread on a stack, to be joined.
pub(crate) fn start(entry: Entry, arg: *mut c_void, stack: &Stack) -> Result<()> {
    // SAFETY: the attributes are initialised; the stack is the new thread's alone; whoever calls promises
    // that the routine takes the argument.
    let started = with_attributes(|attributes| unsafe {
        let placed = match stack.place() {
            Some(lowest) => libc::pthread_attr_setstack(attributes, lowest as *mut c_void, stack.size()),
            None => libc::pthread_attr_setstacksize(attributes, stack.size()),
        };
        placed == 0 && detector::seen(|| pthread_create(stack.thread.as_ptr(), attributes, entry, arg)) == 0
    })?;
    if started { Ok(()) } else { Err(Error::NoThread) }
}

/// Starts a thread that nobody joins.
#[cfg(model)]
pub(crate) fn start_detached(entry: Entry, arg: *mut c_void) -> Result<()> {
    crate::model::thread::start(entry, arg);
    Ok(())
}

/// Starts a detached thread. It begins with all signals blocked, and, where the system allows that, with the
/// scheduling and the CPUs of the main thread, whatever those of the calling thread are.
#[cfg(not(model))]
pub(crate) fn start_detached(entry: Entry, arg: *mut c_void) -> Result<()> {
    let start = |with_requests: bool| {
        let (mut thread, mut requested) = (0, false);
        // SAFETY: as in `start`.
        let error = with_attributes(|attributes| unsafe {
            match libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED) {
                0 => {
                    requested = with_requests && thread_state::request(attributes);
                    detector::seen(|| pthread_create(&mut thread, attributes, entry, arg))
                }
                error => error,
            }
        })?;
        Ok((error, requested))
    };
    let error = without_signals(|| match start(true)? {
        (0, _) => Ok(0),
        // Not permitted, or none of these CPUs is there any more: the new thread itself does what it can.
        (error, true) if error != libc::EAGAIN => Ok(start(false)?.0),
        (error, _) => Ok(error),
    })?;
    if error == 0 { Ok(()) } else { Err(Error::NoThread) }
}

/// Runs `f` with all signals blocked that can be.
#[cfg(not(model))]
fn without_signals<R>(f: impl FnOnce() -> R) -> R {
    let (mut all, mut former) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: initialised here; changes the calling thread's mask alone.
    let blocked = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), former.as_mut_ptr()) == 0
    };
    let result = f();
    if blocked {
        // SAFETY: written above.
        unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, former.as_ptr(), ptr::null_mut()) };
    }
    result
}

/// Runs `f` without being cancelled by `pthread_cancel`, which stays pending. No call of this library is a
/// cancellation point, and the unwinding by which a thread is cancelled must not meet the guard of an export:
/// so this is around what the system makes one, and around the callbacks that run inside of a call.
pub(crate) fn uncancelled<R>(f: impl FnOnce() -> R) -> R {
    let mut former = 0;
    // SAFETY: changes the calling thread's state alone, and changes it back below.
    unsafe { pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &mut former) };
    let result = f();
    // SAFETY: as above.
    unsafe { pthread_setcancelstate(former, ptr::null_mut()) };
    result
}

/// Runs a callback inside of a call: uncancelled, and before the eyes of race detectors.
pub(crate) fn callback<R>(f: impl FnOnce() -> R) -> R {
    uncancelled(|| detector::seen(f))
}

/// Waits for the end of the thread on this stack; its result, or `None` if the time ran out. An error if it
/// is just waiting for the caller's end. One caller at a time, and none after a success.
pub(crate) fn join(stack: &Stack, deadline: Deadline) -> Result<Option<*mut c_void>> {
    let mut result = ptr::null_mut();
    let thread = stack.thread.get();
    // SAFETY: the thread was started here and nobody has joined it yet.
    let joined = uncancelled(|| unsafe {
        match deadline.timespec() {
            None => detector::seen(|| libc::pthread_join(thread, &mut result)),
            Some(until) => pthread_clockjoin_np(thread, &mut result, libc::CLOCK_MONOTONIC, &until),
        }
    });
    outcome(joined, result)
}

fn outcome(joined: c_int, result: *mut c_void) -> Result<Option<*mut c_void>> {
    match joined {
        0 => Ok(Some(result)),
        libc::EDEADLK => Err(Error::JoinSelf),
        _ => Ok(None),
    }
}

/// As `join`, but does not wait.
pub(crate) fn try_join(stack: &Stack) -> Result<Option<*mut c_void>> {
    let mut result = ptr::null_mut();
    // SAFETY: as in `join`.
    let joined = unsafe { libc::pthread_tryjoin_np(stack.thread.get(), &mut result) };
    outcome(joined, result)
}

/// Nobody will join the thread on this stack.
pub(super) fn detach(stack: &Stack) {
    // SAFETY: as in `join`.
    unsafe { libc::pthread_detach(stack.thread.get()) };
}

/// Whether a thread with this number exists in this process.
pub(crate) fn has_thread(native_id: u32) -> bool {
    // SAFETY: signal 0 asks only.
    unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), native_id, 0) == 0 }
}

/// Names a thread in the system's tools: the calling one, or the one with this number.
pub(crate) fn set_name(native_id: Option<u32>, name: &CStr) {
    match native_id {
        // SAFETY: the name ends with NUL; the system takes 15 bytes of it.
        None => unsafe {
            libc::prctl(libc::PR_SET_NAME, name.as_ptr());
        },
        Some(id) => {
            let mut file = [0; 40];
            let written = write!(&mut file[..39], "/proc/self/task/{id}/comm");
            debug_assert!(written.is_ok());
            // SAFETY: both strings end with NUL; the file is closed again.
            uncancelled(|| unsafe {
                let file = libc::open(file.as_ptr().cast(), libc::O_WRONLY | libc::O_CLOEXEC);
                if file >= 0 {
                    libc::write(file, name.as_ptr().cast(), name.count_bytes());
                    libc::close(file);
                }
            });
        }
    }
}
