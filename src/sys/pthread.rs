//! Threads as the system has them: started and joined through libc's pthread.

use crate::sys::atomic::{AtomicU32, AtomicUsize, Ordering};
use core::cell::Cell;
use core::ffi::{CStr, c_int, c_ulong, c_void};
use core::mem::MaybeUninit;
use core::ptr;
use std::io::Write;

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::annotate;
use crate::sys::calling_thread::with_cancel_disabled;
#[cfg(not(model))]
use crate::sys::thread_state;
use crate::time::Deadline;

/// A start routine.
pub(crate) type StartRoutine = extern "C-unwind" fn(*mut c_void) -> *mut c_void;

unsafe extern "C" {
    fn pthread_create(
        thread: *mut libc::pthread_t,
        attributes: *const libc::pthread_attr_t,
        start_routine: StartRoutine,
        arg: *mut c_void,
    ) -> c_int;
}

/// The size of the stacks of threads that are started from now on, those that run timers' functions among them; 0 is
/// the system's default.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(crate) static STACK_SIZE: AtomicUsize = AtomicUsize::new(0);

/// The smallest stack that the system accepts.
pub(crate) const MIN_STACK: usize = libc::PTHREAD_STACK_MIN;

/// Calls `f` with attributes of threads that are the system's default.
fn with_attributes<R>(f: impl FnOnce(*mut libc::pthread_attr_t) -> R) -> Result<R> {
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: initialised here, destroyed below.
    if unsafe { sys::pthread_attr_init(attributes.as_mut_ptr()) } != 0 {
        return Err(Error::NoMemory);
    }
    let result = f(attributes.as_mut_ptr());
    // SAFETY: initialised above.
    unsafe { sys::pthread_attr_destroy(attributes.as_mut_ptr()) };
    Ok(result)
}

fn page_size() -> usize {
    // SAFETY: asks only.
    (unsafe { sys::sysconf(libc::_SC_PAGESIZE) }) as usize
}

/// How much a stack must be larger than was asked for. Static thread-local storage lies on it, which may be more than
/// small stacks have; and sanitizers want to find some room besides. It is asked once, since it is the same for all
/// threads of a process.
fn stack_overhead() -> usize {
    const UNKNOWN: usize = usize::MAX;
    /// What is usual besides a page.
    const TYPICAL_OVERHEAD: usize = 22 * 1024;
    const SANITIZER_OVERHEAD: usize = 256 * 1024;
    #[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
    static EXTRA: AtomicUsize = AtomicUsize::new(UNKNOWN);
    let known = EXTRA.load(Ordering::Relaxed);
    if known != UNKNOWN {
        return known;
    }
    type GetMinStack = unsafe extern "C" fn(*const libc::pthread_attr_t) -> usize;
    // SAFETY: a name that ends with NUL; the function of this name has this type, and takes initialised attributes.
    let min_stack = unsafe {
        let function = sys::dlsym(libc::RTLD_DEFAULT, c"__pthread_get_minstack".as_ptr());
        if function.is_null() {
            0
        } else {
            let function = core::mem::transmute::<*mut c_void, GetMinStack>(function);
            with_attributes(|attributes| function(attributes)).unwrap_or(0)
        }
    };
    let has = |name: &CStr| {
        // SAFETY: as above.
        !unsafe { sys::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.is_null()
    };
    let sanitized = [c"__asan_init", c"__msan_init", c"__hwasan_init", c"__lsan_init"].into_iter().any(has);
    let extra = if sanitized {
        min_stack + SANITIZER_OVERHEAD
    } else {
        min_stack.saturating_sub(page_size() + TYPICAL_OVERHEAD)
    };
    EXTRA.store(extra, Ordering::Relaxed);
    extra
}

/// The size of a stack of so many bytes, 0 being the system's default, and that of its guard: whole pages.
pub(crate) fn stack_layout(size: usize) -> Result<(usize, usize)> {
    let (mut default, mut guard) = (0, 0);
    // SAFETY: the attributes are initialised.
    with_attributes(|attributes| unsafe {
        libc::pthread_attr_getstacksize(attributes, &mut default);
        libc::pthread_attr_getguardsize(attributes, &mut guard);
    })?;
    let page = page_size();
    let whole_pages = |size: usize| size.checked_next_multiple_of(page).unwrap_or(usize::MAX / page * page);
    let size = if size == 0 { default } else { size };
    Ok((whole_pages(size.saturating_add(stack_overhead())), whole_pages(guard.max(page))))
}

/// pthread_create; preserves `errno`.
///
/// # Safety
/// That of libc's function.
unsafe fn create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    start_routine: StartRoutine,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: guaranteed by the caller.
    sys::preserving_errno(|| unsafe { pthread_create(thread, attributes, start_routine, arg) })
}

/// The stack of a new thread: its lowest address, or `None` if pthread is to map one, and its size.
pub(crate) struct StackSpec {
    pub(crate) base: Option<usize>,
    pub(crate) size: usize,
}

/// Starts a thread on a stack. On one of this library's it is detached, so that the user may not join or detach it by
/// pthread: its end is told by the kernel (`set_tid_address`). Otherwise it is to be joined, by what pthread writes to
/// `id`: it does so before the thread runs, which may end, and be joined by another thread, before this function
/// returns.
pub(crate) fn start(
    start_routine: StartRoutine,
    arg: *mut c_void,
    stack: &StackSpec,
    id: &Cell<libc::pthread_t>,
) -> Result<()> {
    // SAFETY: the attributes are initialised; the stack is the new thread's alone; whoever calls promises
    // that the routine takes the argument.
    let started = with_attributes(|attributes| unsafe {
        let status = match stack.base {
            Some(lowest) => {
                sys::pthread_attr_setstack(attributes, lowest as *mut c_void, stack.size)
                    | libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED)
            }
            None => libc::pthread_attr_setstacksize(attributes, stack.size),
        };
        status == 0 && annotate::observe_accesses(|| create(id.as_ptr(), attributes, start_routine, arg)) == 0
    })?;
    if started { Ok(()) } else { Err(Error::NoThread) }
}

/// Starts a thread that nobody joins.
#[cfg(model)]
pub(crate) fn start_detached(start_routine: StartRoutine, arg: *mut c_void) -> Result<()> {
    crate::model::thread::start(start_routine, arg);
    Ok(())
}

/// Starts a detached thread. It begins with all signals blocked, and, where the system allows that, with the
/// scheduling and the CPUs of the main thread, whatever those of the calling thread are.
#[cfg(not(model))]
pub(crate) fn start_detached(start_routine: StartRoutine, arg: *mut c_void) -> Result<()> {
    let (size, _) = stack_layout(STACK_SIZE.load(Ordering::Relaxed))?;
    let start = |with_baseline: bool| {
        let (mut thread, mut is_baseline_set) = (0, false);
        // SAFETY: as in `start`.
        let error = with_attributes(|attributes| unsafe {
            let set = libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED)
                | libc::pthread_attr_setstacksize(attributes, size);
            match set {
                0 => {
                    is_baseline_set = with_baseline
                        && sys::preserving_errno(|| thread_state::apply_to_attributes(attributes));
                    annotate::observe_accesses(|| create(&mut thread, attributes, start_routine, arg))
                }
                error => error,
            }
        })?;
        Ok((error, is_baseline_set))
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
fn without_signals<R>(f: impl FnOnce() -> R) -> R {
    let (mut all, mut former) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: initialised here; changes the calling thread's mask alone.
    let blocked = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        sys::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), former.as_mut_ptr()) == 0
    };
    let result = f();
    if blocked {
        // SAFETY: written above.
        unsafe { sys::pthread_sigmask(libc::SIG_SETMASK, former.as_ptr(), ptr::null_mut()) };
    }
    result
}

/// Runs a callback inside of a call: with_cancel_disabled, and before the eyes of race detectors.
pub(crate) fn call_user<R>(f: impl FnOnce() -> R) -> R {
    with_cancel_disabled(|| annotate::observe_accesses(f))
}

/// Starts a thread for a task of the library's own, detached and with a small stack.
pub(crate) fn start_helper(start_routine: StartRoutine) -> Result<()> {
    const STACK: usize = 128 * 1024;
    let (size, _) = stack_layout(STACK)?;
    // SAFETY: the attributes are initialised.
    with_attributes(|attributes| unsafe {
        if libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED) != 0
            || libc::pthread_attr_setstacksize(attributes, size) != 0
        {
            return Err(Error::NoThread);
        }
        create_without_signals(attributes, start_routine).map(|_| ())
    })?
}

/// Creates a thread that handles no signals, which are for the user's threads.
///
/// # Safety
/// The attributes are initialised; the routine takes NULL.
unsafe fn create_without_signals(
    attributes: *const libc::pthread_attr_t,
    start_routine: StartRoutine,
) -> Result<libc::pthread_t> {
    let mut thread = 0;
    // SAFETY: guaranteed by the caller.
    let created =
        without_signals(|| unsafe { create(&mut thread, attributes, start_routine, ptr::null_mut()) });
    if created == 0 { Ok(thread) } else { Err(Error::NoThread) }
}

/// What pthread says of a thread.
pub(crate) enum JoinOutcome {
    /// It is gone, and its result was this.
    Exited(*mut c_void),
    /// It is gone, and pthread does not tell its result.
    ExitedUnknown,
    StillRunning,
}

/// Waits for the end of a thread, which is near. One caller at a time, and none after a success.
pub(crate) fn join(thread: libc::pthread_t) -> JoinOutcome {
    let mut result = ptr::null_mut();
    // SAFETY: the thread was started here and nobody has joined it yet.
    let joined = with_cancel_disabled(|| unsafe {
        annotate::observe_accesses(|| sys::pthread_join(thread, &mut result))
    });
    if joined == 0 { JoinOutcome::Exited(result) } else { JoinOutcome::ExitedUnknown }
}

/// The kernel clears this word when the calling thread has run its last instruction, and wakes one sleeper. The number
/// of the thread, or 0 if the call fails.
///
/// Pthread has the kernel clear a word of its own for `pthread_join`. No thread waits for that of a detached thread;
/// and such a thread itself frees what pthread has allocated for it, if its stack is not pthread's.
pub(crate) fn set_tid_address(word: &AtomicU32) -> u32 {
    // SAFETY: the word outlives the thread: it is that of the thread's slot, which the thread keeps.
    let id = sys::preserving_errno(|| unsafe { libc::syscall(libc::SYS_set_tid_address, word.as_ptr()) });
    id.max(0) as u32
}

/// What the calling thread has given to `pthread_exit`, or `PTHREAD_CANCELED` if it is being cancelled; NULL where that
/// is not known. By a thread in its last destructor.
///
/// Pthread returns the result of a thread by `pthread_join` only, which fails for a detached thread. So it is read
/// where pthread keeps it, at a place that is found by an experiment, once in a process.
pub(crate) fn exit_value() -> *mut c_void {
    const UNKNOWN: usize = 0;
    #[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
    static RESULT_OFFSET: AtomicUsize = AtomicUsize::new(UNKNOWN);
    let mut offset = RESULT_OFFSET.load(Ordering::Relaxed);
    if offset == UNKNOWN {
        offset = find_result_offset().unwrap_or(UNKNOWN);
        RESULT_OFFSET.store(offset, Ordering::Relaxed);
    }
    if offset == UNKNOWN {
        return ptr::null_mut();
    }
    // SAFETY: inside of what pthread has for the calling thread.
    unsafe { ptr::with_exposed_provenance::<*mut c_void>(libc::pthread_self() as usize + offset).read() }
}

/// A result that lies nowhere else.
const SENTINEL: usize = 0x7ea4_c0de_517e_d00d_u64 as usize;

extern "C-unwind" fn return_sentinel(_: *mut c_void) -> *mut c_void {
    ptr::without_provenance_mut(SENTINEL)
}

/// How far the result of a thread lies from what `pthread_self` points to there: a thread that returns a mark is
/// joined, and its stack, above which pthread keeps what it knows of the thread, is searched for the mark.
fn find_result_offset() -> Option<usize> {
    let (size, _) = stack_layout(64 * 1024).ok()?;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK;
    // SAFETY: new memory, unmapped below after the thread has ended; the search reads nothing else.
    with_cancel_disabled(|| unsafe {
        let stack = sys::mmap(ptr::null_mut(), size, protection, flags, -1, 0);
        if stack == libc::MAP_FAILED {
            return None;
        }
        let thread = with_attributes(|attributes| {
            if sys::pthread_attr_setstack(attributes, stack, size) == 0 {
                create_without_signals(attributes, return_sentinel).ok()
            } else {
                None
            }
        });
        let thread = thread.ok().flatten();
        let mut result = ptr::null_mut();
        let found =
            thread.filter(|&thread| sys::pthread_join(thread, &mut result) == 0 && result.addr() == SENTINEL);
        let offset = found.and_then(|thread| {
            let (begin, end) = (thread as usize, stack as usize + size);
            let is_sentinel = |at: &usize| ptr::with_exposed_provenance::<usize>(*at).read() == SENTINEL;
            let inside = begin > stack as usize && begin < end && begin % size_of::<usize>() == 0;
            let mut places = (begin..end).step_by(size_of::<usize>()).filter(|at| inside && is_sentinel(at));
            let place = places.next().filter(|_| places.next().is_none())?;
            Some(place - begin)
        });
        sys::munmap(stack, size);
        offset
    })
}

/// Sleeps as long as `word` is `expected`, until woken by `wake_shared` or by the kernel at a thread's end, or until
/// the deadline. False only if the timeout expired. Not of `park`, whose futexes the kernel does not know.
pub(crate) fn wait_shared(word: &AtomicU32, expected: u32, deadline: Deadline) -> bool {
    let remaining = deadline.remaining();
    let timeout = remaining.as_ref().map_or(ptr::null(), ptr::from_ref);
    let nothing = ptr::null::<u32>();
    // SAFETY: the word is aligned and lives during the call; the timeout is NULL or a timespec.
    sys::preserving_errno(|| unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, expected, timeout, nothing, 0_u32)
            == 0
            || sys::errno() != libc::ETIMEDOUT
    })
}

/// Wakes all that sleep by `wait_shared` on this word.
pub(crate) fn wake_shared(word: &AtomicU32) {
    let nothing = ptr::null::<u32>();
    // SAFETY: the word is only an address here.
    sys::preserving_errno(|| unsafe {
        libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, i32::MAX, nothing, nothing, 0_u32)
    });
}

/// No thread will join this one.
pub(crate) fn detach(thread: libc::pthread_t) {
    // SAFETY: as in `join`.
    unsafe { sys::pthread_detach(thread) };
}

/// Whether a thread with this number exists in this process.
pub(crate) fn thread_exists(native_id: u32) -> bool {
    let (status, error) = sys::preserving_errno(|| {
        // SAFETY: signal 0 asks only.
        let status = unsafe { libc::syscall(libc::SYS_tgkill, libc::getpid(), native_id, 0) };
        (status, sys::errno())
    });
    // Whatever a filter of system calls says, it does not say that there is no such thread.
    status == 0 || error != libc::ESRCH && is_in_proc(native_id)
}

/// As `thread_exists`, where the kernel does not say it; true where that cannot be known.
#[cold]
fn is_in_proc(native_id: u32) -> bool {
    let listed = |id: u32| {
        let mut path = [0; 40];
        let written = write!(&mut path[..39], "/proc/self/task/{id}");
        debug_assert!(written.is_ok());
        // SAFETY: the path ends with NUL.
        unsafe { sys::access(path.as_ptr().cast(), libc::F_OK) == 0 }
    };
    // SAFETY: asks only.
    listed(native_id) || !listed(unsafe { libc::gettid() } as u32)
}

/// Names a thread in the system's tools: the calling one, or the one with this number.
pub(crate) fn set_name(native_id: Option<u32>, name: &CStr) {
    match native_id {
        // SAFETY: the name ends with NUL; the system takes 15 bytes of it.
        None => unsafe {
            sys::prctl(libc::PR_SET_NAME, name.as_ptr() as c_ulong, 0, 0, 0);
        },
        Some(id) => {
            let mut file = [0; 40];
            let written = write!(&mut file[..39], "/proc/self/task/{id}/comm");
            debug_assert!(written.is_ok());
            // SAFETY: both strings end with NUL; the file is closed again.
            with_cancel_disabled(|| unsafe {
                let file = sys::open(file.as_ptr().cast(), libc::O_WRONLY | libc::O_CLOEXEC);
                if file >= 0 {
                    sys::write(file, name.as_ptr().cast(), name.count_bytes());
                    sys::close(file);
                }
            });
        }
    }
}
