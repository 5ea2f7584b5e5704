//! Threads as the system has them: started and joined through libc's pthread.

use core::ffi::{CStr, c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use std::io::Write;

use crate::error::{Error, Result};
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

/// Starts a thread. A stack of 0 bytes is the system's default.
pub(crate) fn start(entry: Entry, arg: *mut c_void, stack: usize, detached: bool) -> Result<usize> {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: initialised here, destroyed below.
    if unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) } != 0 {
        return Err(Error::NoMemory);
    }
    let attributes = attributes.as_mut_ptr();
    let mut thread: libc::pthread_t = 0;
    // SAFETY: the attributes are initialised; whoever calls promises that the routine takes the argument.
    let started = unsafe {
        (stack == 0 || libc::pthread_attr_setstacksize(attributes, round_up(stack)) == 0)
            && (!detached
                || libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED) == 0)
            && pthread_create(&mut thread, attributes, entry, arg) == 0
    };
    // SAFETY: initialised above.
    unsafe { libc::pthread_attr_destroy(attributes) };
    if started { Ok(thread as usize) } else { Err(Error::NoThread) }
}

fn round_up(stack: usize) -> usize {
    const PAGE: usize = 4096;
    stack.checked_next_multiple_of(PAGE).unwrap_or(usize::MAX & !(PAGE - 1))
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

/// Waits for the end of a thread; its result, or `None` if the time ran out. An error if it is just waiting
/// for the caller's end. One caller at a time, and none after a success.
pub(crate) fn join(thread: usize, deadline: Deadline) -> Result<Option<*mut c_void>> {
    let mut result = ptr::null_mut();
    let thread = thread as libc::pthread_t;
    // SAFETY: the thread was started here and nobody has joined it yet.
    let joined = uncancelled(|| unsafe {
        match deadline.timespec() {
            None => libc::pthread_join(thread, &mut result),
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
pub(crate) fn try_join(thread: usize) -> Result<Option<*mut c_void>> {
    let mut result = ptr::null_mut();
    // SAFETY: as in `join`.
    let joined = unsafe { libc::pthread_tryjoin_np(thread as libc::pthread_t, &mut result) };
    outcome(joined, result)
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
