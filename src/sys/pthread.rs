//! Operating system threads: pthread functions, and what Linux offers beyond them.

use crate::sys::atomic::{AtomicUsize, Ordering};
use core::cell::Cell;
use core::ffi::{CStr, c_int, c_void};
use core::mem::MaybeUninit;
use core::ptr;

use crate::error::{Error, Result};
use crate::sys;
use crate::sys::annotate;
#[cfg(not(model))]
use crate::sys::baseline;
use crate::sys::calling_thread::with_cancel_disabled;

#[cfg(target_os = "linux")]
#[path = "pthread_linux.rs"]
mod backend;
#[cfg(not(target_os = "linux"))]
#[path = "pthread_portable.rs"]
mod backend;
pub(crate) use backend::{set_name, set_tid_address, thread_exists, wait_shared, wake_shared};

/// A start routine. It may unwind, by `pthread_exit`.
pub(crate) type StartRoutine = extern "C-unwind" fn(*mut c_void) -> *mut c_void;

unsafe extern "C" {
    fn pthread_create(
        thread: *mut libc::pthread_t,
        attributes: *const libc::pthread_attr_t,
        start_routine: StartRoutine,
        arg: *mut c_void,
    ) -> c_int;
    // The crate `libc` does not declare these for all systems.
    fn pthread_attr_getguardsize(attributes: *const libc::pthread_attr_t, size: *mut usize) -> c_int;
    #[cfg(all(target_os = "linux", not(target_env = "gnu")))]
    fn pthread_attr_getdetachstate(attributes: *const libc::pthread_attr_t, state: *mut c_int) -> c_int;
}

/// The stack size of threads that are started from now on, including the timers' threads; 0 is the system's default.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
pub(crate) static STACK_SIZE: AtomicUsize = AtomicUsize::new(0);

/// The smallest stack size: what the system accepts, but at least as much as with glibc. musl accepts 2 KiB, which is
/// less than the library itself uses.
pub(crate) const MIN_STACK: usize =
    if libc::PTHREAD_STACK_MIN < 16 * 1024 { 16 * 1024 } else { libc::PTHREAD_STACK_MIN };

/// The flag of mmap() for stacks. On FreeBSD, it has another meaning: the mapping grows.
pub(crate) const MAP_STACK: c_int = {
    #[cfg(target_os = "linux")]
    let flag = libc::MAP_STACK;
    #[cfg(not(target_os = "linux"))]
    let flag = 0;
    flag
};

/// Calls `f` with thread attributes that have the system's default values.
fn with_attributes<R>(f: impl FnOnce(*mut libc::pthread_attr_t) -> R) -> Result<R> {
    let mut attributes = MaybeUninit::uninit();
    // SAFETY: initialized here, destroyed below.
    if unsafe { sys::pthread_attr_init(attributes.as_mut_ptr()) } != 0 {
        return Err(Error::NoMemory);
    }
    let result = f(attributes.as_mut_ptr());
    // SAFETY: initialized above.
    unsafe { sys::pthread_attr_destroy(attributes.as_mut_ptr()) };
    Ok(result)
}

pub(crate) fn page_size() -> usize {
    // SAFETY: no preconditions.
    (unsafe { sys::sysconf(libc::_SC_PAGESIZE) }) as usize
}

/// Returns how much larger than requested a stack must be. libc places static thread-local storage on the stack, which
/// may be larger than a small stack, and sanitizers need additional space. The value is the same for all threads of a
/// process, and computed once.
fn stack_overhead() -> usize {
    const UNKNOWN: usize = usize::MAX;
    /// What libc uses in most programs, in addition to a page.
    const TYPICAL_OVERHEAD: usize = 22 * 1024;
    const SANITIZER_OVERHEAD: usize = 256 * 1024;
    #[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
    static OVERHEAD: AtomicUsize = AtomicUsize::new(UNKNOWN);
    let known = OVERHEAD.load(Ordering::Relaxed);
    if known != UNKNOWN {
        return known;
    }
    type GetMinStack = unsafe extern "C" fn(*const libc::pthread_attr_t) -> usize;
    // SAFETY: the name ends with NUL; the function of this name has this type, and takes initialized attributes.
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
        // SAFETY: the name ends with NUL.
        !unsafe { sys::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.is_null()
    };
    let sanitized = [c"__asan_init", c"__msan_init", c"__hwasan_init", c"__lsan_init"].into_iter().any(has);
    let overhead = if sanitized {
        min_stack + SANITIZER_OVERHEAD
    } else {
        min_stack.saturating_sub(page_size() + TYPICAL_OVERHEAD)
    };
    OVERHEAD.store(overhead, Ordering::Relaxed);
    overhead
}

/// Returns the size of the stack to allocate for a requested size (0: the system's default), and the size of its guard
/// area, in whole pages.
pub(crate) fn stack_layout(size: usize) -> Result<(usize, usize)> {
    let (mut default, mut guard) = (0, 0);
    // SAFETY: the attributes are initialized.
    with_attributes(|attributes| unsafe {
        libc::pthread_attr_getstacksize(attributes, &mut default);
        pthread_attr_getguardsize(attributes, &mut guard);
    })?;
    let page = page_size();
    let whole_pages = |size: usize| size.checked_next_multiple_of(page).unwrap_or(usize::MAX / page * page);
    let size = if size == 0 { default } else { size };
    Ok((whole_pages(size.saturating_add(stack_overhead())), whole_pages(guard.max(page))))
}

/// `pthread_create`; preserves `errno`.
///
/// # Safety
/// As for libc's function.
unsafe fn create(
    thread: *mut libc::pthread_t,
    attributes: *const libc::pthread_attr_t,
    start_routine: StartRoutine,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: guaranteed by the caller.
    sys::preserving_errno(|| unsafe { pthread_create(thread, attributes, start_routine, arg) })
}

/// The stack of a new thread: its lowest address, or `None` if libc allocates it, and its size.
pub(crate) struct StackSpec {
    pub(crate) base: Option<usize>,
    pub(crate) size: usize,
}

/// Whether pthread_create() stores the ID of the new thread before that thread runs. Other libcs store it after the
/// thread was created, which may be after its exit.
const CREATOR_STORES_ID: bool = cfg!(all(target_os = "linux", target_env = "gnu"));

/// Starts a thread on the given stack. A thread on a stack of this library is detached, so that the program cannot join
/// or detach it by pthread functions; the kernel reports its exit (`set_tid_address`). A thread on a stack of libc is
/// joinable. Its ID is in `id` before it exits, since another thread may join it before this function returns:
/// pthread_create() stores it, or the thread itself (`store_own_id`).
pub(crate) fn start(
    start_routine: StartRoutine,
    arg: *mut c_void,
    stack: &StackSpec,
    id: &Cell<libc::pthread_t>,
) -> Result<()> {
    let mut unused_id = MaybeUninit::uninit();
    let id = if CREATOR_STORES_ID { id.as_ptr() } else { unused_id.as_mut_ptr() };
    // SAFETY: the attributes are initialized; only the new thread uses the stack; the caller guarantees that the
    // routine accepts the argument.
    let started = with_attributes(|attributes| unsafe {
        let status = match stack.base {
            Some(base) => {
                sys::pthread_attr_setstack(attributes, base as *mut c_void, stack.size)
                    | libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED)
            }
            None => libc::pthread_attr_setstacksize(attributes, stack.size),
        };
        status == 0 && annotate::observe_accesses(|| create(id, attributes, start_routine, arg)) == 0
    })?;
    if started { Ok(()) } else { Err(Error::NoThread) }
}

/// Called by a new thread with the `id` of `start`.
pub(crate) fn store_own_id(id: &Cell<libc::pthread_t>) {
    if !CREATOR_STORES_ID {
        // SAFETY: no preconditions.
        id.set(unsafe { libc::pthread_self() });
    }
}

/// Starts a detached thread.
#[cfg(model)]
pub(crate) fn start_detached(start_routine: StartRoutine, arg: *mut c_void) -> Result<()> {
    crate::model::thread::start(start_routine, arg);
    Ok(())
}

/// Starts a detached thread. It begins with all signals blocked, and with the scheduling parameters and CPU affinity of
/// the main thread instead of those of the calling thread, where the system permits it.
#[cfg(not(model))]
pub(crate) fn start_detached(start_routine: StartRoutine, arg: *mut c_void) -> Result<()> {
    let (size, _) = stack_layout(STACK_SIZE.load(Ordering::Relaxed))?;
    let start = |with_baseline: bool| {
        let (mut thread, mut is_baseline_set) = (MaybeUninit::uninit(), false);
        // SAFETY: as in `start`.
        let error = with_attributes(|attributes| unsafe {
            let set = libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED)
                | libc::pthread_attr_setstacksize(attributes, size);
            match set {
                0 => {
                    is_baseline_set =
                        with_baseline && sys::preserving_errno(|| baseline::apply_to_attributes(attributes));
                    annotate::observe_accesses(|| create(thread.as_mut_ptr(), attributes, start_routine, arg))
                }
                error => error,
            }
        })?;
        Ok((error, is_baseline_set))
    };
    let error = with_signals_blocked(|| match start(true)? {
        (0, _) => Ok(0),
        // The attributes are not permitted, or these CPUs do not exist any more. The new thread itself restores what it
        // can.
        (error, true) if error != libc::EAGAIN => Ok(start(false)?.0),
        (error, _) => Ok(error),
    })?;
    if error == 0 { Ok(()) } else { Err(Error::NoThread) }
}

/// Runs `f` with all signals blocked, except those that cannot be blocked.
fn with_signals_blocked<R>(f: impl FnOnce() -> R) -> R {
    let (mut all, mut previous) = (MaybeUninit::uninit(), MaybeUninit::uninit());
    // SAFETY: initialized here; changes only the calling thread's mask.
    let blocked = unsafe {
        libc::sigfillset(all.as_mut_ptr());
        sys::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), previous.as_mut_ptr()) == 0
    };
    let result = f();
    if blocked {
        // SAFETY: initialized above.
        unsafe { sys::pthread_sigmask(libc::SIG_SETMASK, previous.as_ptr(), ptr::null_mut()) };
    }
    result
}

/// Runs a callback during a call of the library: with cancellation disabled, and observed by race detectors.
pub(crate) fn call_user<R>(f: impl FnOnce() -> R) -> R {
    with_cancel_disabled(|| annotate::observe_accesses(f))
}

/// Starts a detached thread with a small stack and all signals blocked, for work of the library itself.
pub(crate) fn start_helper(start_routine: StartRoutine) -> Result<()> {
    const HELPER_STACK_SIZE: usize = 128 * 1024;
    let (size, _) = stack_layout(HELPER_STACK_SIZE)?;
    // SAFETY: the attributes are initialized.
    with_attributes(|attributes| unsafe {
        if libc::pthread_attr_setdetachstate(attributes, libc::PTHREAD_CREATE_DETACHED) != 0
            || libc::pthread_attr_setstacksize(attributes, size) != 0
        {
            return Err(Error::NoThread);
        }
        create_with_signals_blocked(attributes, start_routine).map(|_| ())
    })?
}

/// Creates a thread with all signals blocked, so that the program's threads handle them.
///
/// # Safety
/// The attributes are initialized; the routine accepts NULL.
unsafe fn create_with_signals_blocked(
    attributes: *const libc::pthread_attr_t,
    start_routine: StartRoutine,
) -> Result<libc::pthread_t> {
    let mut thread = MaybeUninit::uninit();
    // SAFETY: guaranteed by the caller; on success, the function has written the ID.
    unsafe {
        let created =
            with_signals_blocked(|| create(thread.as_mut_ptr(), attributes, start_routine, ptr::null_mut()));
        if created == 0 { Ok(thread.assume_init()) } else { Err(Error::NoThread) }
    }
}

/// The outcome of a join.
pub(crate) enum JoinOutcome {
    /// The thread has exited with this result.
    Exited(*mut c_void),
    /// The thread has exited, and its result is unknown.
    ExitedUnknown,
    StillRunning,
}

/// Joins a thread that is about to exit. Must not be called by two threads at the same time, or again after a success.
pub(crate) fn join(thread: libc::pthread_t) -> JoinOutcome {
    let mut result = ptr::null_mut();
    // SAFETY: the thread was started as joinable and has not been joined.
    let joined = with_cancel_disabled(|| unsafe {
        annotate::observe_accesses(|| sys::pthread_join(thread, &mut result))
    });
    if joined == 0 { JoinOutcome::Exited(result) } else { JoinOutcome::ExitedUnknown }
}

/// Returns whether the program has detached the calling thread, which runs on a stack of libc. With musl,
/// pthread_join() of such a thread ends the process; elsewhere it fails, so the answer is not needed there.
pub(crate) fn is_detached() -> bool {
    #[cfg(all(target_os = "linux", not(target_env = "gnu")))]
    {
        let (mut attributes, mut state) = (MaybeUninit::uninit(), 0);
        // SAFETY: the first function initializes the attributes if it succeeds.
        return unsafe {
            if sys::pthread_getattr_np(libc::pthread_self(), attributes.as_mut_ptr()) != 0 {
                return false;
            }
            pthread_attr_getdetachstate(attributes.as_ptr(), &mut state);
            sys::pthread_attr_destroy(attributes.as_mut_ptr());
            state == libc::PTHREAD_CREATE_DETACHED
        };
    }
    #[cfg(not(all(target_os = "linux", not(target_env = "gnu"))))]
    false
}

/// Whether the kernel may report the exit of a thread through `set_tid_address`. musl holds its lock of all threads
/// while a thread exits, and the kernel unlocks it through the same address: with another address, the lock would stay
/// locked.
pub(crate) const KERNEL_REPORTS_EXIT: bool = cfg!(all(target_os = "linux", target_env = "gnu"));

/// Returns the argument with which the calling thread has called pthread_exit(), `PTHREAD_CANCELED` if the thread is
/// being cancelled, or NULL if the value is unknown. Called by a thread in its last destructor.
///
/// libc returns the result of a thread only from pthread_join(), which fails for a detached thread. So this reads it
/// where libc stores it, at an offset that `find_result_offset` determines: once in a process, if it succeeds.
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
    // SAFETY: the offset is inside libc's descriptor of the calling thread.
    unsafe { ptr::with_exposed_provenance::<*mut c_void>(libc::pthread_self() as usize + offset).read() }
}

/// A result that is unlikely to occur elsewhere in memory.
const SENTINEL: usize = 0x7ea4_c0de_517e_d00d_u64 as usize;

extern "C-unwind" fn return_sentinel(_: *mut c_void) -> *mut c_void {
    ptr::without_provenance_mut(SENTINEL)
}

/// Determines the offset of a thread's result from the address that pthread_self() returns. Starts a thread that
/// returns `SENTINEL`, joins it, and searches the top of its stack, where libc keeps the thread's descriptor, for that
/// value. There must be exactly one.
fn find_result_offset() -> Option<usize> {
    let (size, _) = stack_layout(64 * 1024).ok()?;
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | MAP_STACK;
    // SAFETY: new memory, which is unmapped below after the thread has exited; the search reads nothing else.
    with_cancel_disabled(|| unsafe {
        let stack = sys::mmap(ptr::null_mut(), size, protection, flags, -1, 0);
        if stack == libc::MAP_FAILED {
            return None;
        }
        let thread = with_attributes(|attributes| {
            if sys::pthread_attr_setstack(attributes, stack, size) == 0 {
                create_with_signals_blocked(attributes, return_sentinel).ok()
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
            if begin <= stack as usize || begin % size_of::<usize>() != 0 {
                return None;
            }
            let is_sentinel = |at: &usize| ptr::with_exposed_provenance::<usize>(*at).read() == SENTINEL;
            let mut matches = (begin..end).step_by(size_of::<usize>()).filter(is_sentinel);
            let address = matches.next().filter(|_| matches.next().is_none())?;
            Some(address - begin)
        });
        sys::munmap(stack, size);
        offset
    })
}

/// Detaches a thread.
pub(crate) fn detach(thread: libc::pthread_t) {
    // SAFETY: as in `join`.
    unsafe { sys::pthread_detach(thread) };
}
