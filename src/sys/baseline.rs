//! The baseline: the signal mask, scheduling parameters and CPU affinity of the main thread when the library was
//! loaded, which timer threads and their functions begin with.
#![cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "scheduling parameters and CPU affinity are restored on Linux only")
)]

#[cfg(target_os = "linux")]
use core::ffi::c_int;
use core::mem::MaybeUninit;
use core::ptr;

use crate::sys::atomic::{AtomicU32, Ordering};
use crate::sys::calling_thread;
use crate::sys::fd;

/// `struct sched_attr` in its first version.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

impl SchedAttr {
    fn equals(&self, other: &SchedAttr) -> bool {
        (self.policy, self.nice, self.priority) == (other.policy, other.nice, other.priority)
    }

    /// Returns the attributes of the thread with this native ID (0: the calling thread).
    #[cfg(target_os = "linux")]
    fn of(thread: libc::pid_t) -> Option<SchedAttr> {
        let mut scheduling = SchedAttr::default();
        let size = size_of::<SchedAttr>();
        // SAFETY: `scheduling` is valid for writes of `size` bytes.
        let read = unsafe { libc::syscall(libc::SYS_sched_getattr, thread, &raw mut scheduling, size, 0) };
        (read == 0).then_some(scheduling)
    }

    /// Other systems are not asked: scheduling parameters are not restored.
    #[cfg(not(target_os = "linux"))]
    fn of(_: libc::pid_t) -> Option<SchedAttr> {
        None
    }
}

/// A set of CPUs, in the kernel's format.
#[derive(Clone, Copy)]
pub(super) struct CpuSet {
    pub(super) words: [usize; CpuSet::WORDS],
    /// The number of bytes that the kernel has written.
    bytes: usize,
}

impl CpuSet {
    const MAX_CPUS: usize = 4096;
    const WORDS: usize = CpuSet::MAX_CPUS / usize::BITS as usize;

    /// Returns the CPU affinity of the thread with this native ID (0: the calling thread).
    #[cfg(target_os = "linux")]
    pub(super) fn of(thread: libc::pid_t) -> Option<CpuSet> {
        let mut words = MaybeUninit::<[usize; CpuSet::WORDS]>::uninit();
        let room = size_of_val(&words);
        // SAFETY: `words` is valid for writes of `room` bytes.
        let written = unsafe { libc::syscall(libc::SYS_sched_getaffinity, thread, room, words.as_mut_ptr()) };
        let bytes = usize::try_from(written).ok().filter(|&bytes| bytes != 0)?;
        let mut cpus = CpuSet { words: [0; CpuSet::WORDS], bytes };
        // SAFETY: the kernel has written `bytes` bytes; the source and the target do not overlap.
        unsafe {
            ptr::copy_nonoverlapping(words.as_ptr().cast::<u8>(), cpus.words.as_mut_ptr().cast(), bytes);
        }
        Some(cpus)
    }

    /// Other systems are not asked: the CPU affinity is not restored.
    #[cfg(not(target_os = "linux"))]
    pub(super) fn of(_: libc::pid_t) -> Option<CpuSet> {
        None
    }

    /// Sets the CPU affinity of a new thread. Returns whether that has succeeded. musl has no such function; there, the
    /// new thread itself changes its affinity.
    ///
    /// # Safety
    /// The attributes are initialized.
    #[cfg(not(model))]
    unsafe fn apply_to_attributes(&self, attributes: *mut libc::pthread_attr_t) -> bool {
        #[cfg(target_env = "gnu")]
        // SAFETY: guaranteed by the caller; `words` has `bytes` bytes.
        return unsafe {
            libc::pthread_attr_setaffinity_np(attributes, self.bytes, self.words.as_ptr().cast()) == 0
        };
        #[cfg(not(target_env = "gnu"))]
        {
            let _ = attributes;
            false
        }
    }

    pub(super) fn equals(&self, other: &CpuSet) -> bool {
        let words = self.bytes.div_ceil(size_of::<usize>());
        self.words[..words] == other.words[..words]
    }
}

/// The state of the main thread.
pub(super) struct MainThreadState {
    pub(super) mask: libc::sigset_t,
    scheduling: Option<SchedAttr>,
    pub(super) cpus: Option<CpuSet>,
}

/// The main thread's state when the library was loaded, as `std::sync::Once` initializes values. `state` is
/// `INCOMPLETE`, `RUNNING` while one thread writes `found` (set with acquire), or `COMPLETE` from then on (set with
/// release).
struct Baseline {
    state: AtomicU32,
    found: core::cell::UnsafeCell<MainThreadState>,
}

const INCOMPLETE: u32 = 0;
const RUNNING: u32 = 1;
const COMPLETE: u32 = 2;

// SAFETY: `found` is written only by the thread that changed `state` to `RUNNING`, and read only in `COMPLETE`.
unsafe impl Sync for Baseline {}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static BASELINE: Baseline = Baseline {
    state: AtomicU32::new(INCOMPLETE),
    found: core::cell::UnsafeCell::new(MainThreadState {
        // SAFETY: zeroed memory is a valid, empty set.
        mask: unsafe { MaybeUninit::zeroed().assume_init() },
        scheduling: None,
        cpus: None,
    }),
};

pub(super) fn baseline() -> Option<&'static MainThreadState> {
    if cfg!(model) || BASELINE.state.load(Ordering::Acquire) != COMPLETE {
        return None;
    }
    // SAFETY: in `COMPLETE`, `found` does not change any more.
    Some(unsafe { &*BASELINE.found.get() })
}

/// Records the state of the main thread, once: when the library is loaded, or at the latest when the first timer is
/// started.
pub(crate) fn record_baseline() {
    if cfg!(model)
        || BASELINE.state.compare_exchange(INCOMPLETE, RUNNING, Ordering::Acquire, Ordering::Relaxed).is_err()
    {
        return;
    }
    let is_main = calling_thread::is_initial_thread();
    // SAFETY: no preconditions.
    let thread = if is_main { 0 } else { unsafe { libc::getpid() } };
    // SAFETY: only the calling thread has changed the state to `RUNNING`.
    let found = unsafe { &mut *BASELINE.found.get() };
    found.mask = if is_main { current_mask() } else { main_thread_mask() };
    found.scheduling = SchedAttr::of(thread);
    found.cpus = CpuSet::of(thread);
    BASELINE.state.store(COMPLETE, Ordering::Release);
}

pub(super) fn current_mask() -> libc::sigset_t {
    let mut mask = MaybeUninit::zeroed();
    // SAFETY: `mask` is valid for writes; zeroed memory is a valid set.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, ptr::null(), mask.as_mut_ptr());
        mask.assume_init()
    }
}

/// Reads the main thread's signal mask from `/proc`, for a calling thread that is not the main thread. Returns an empty
/// mask if that fails.
fn main_thread_mask() -> libc::sigset_t {
    let mut text = [0; 4096];
    let length = fd::read_beginning(c"/proc/self/status", &mut text);
    let blocked = parse_blocked_signals(&text[..length]).unwrap_or(0);
    let mut mask = MaybeUninit::zeroed();
    // SAFETY: initialized here; libc does not add the signals that it uses internally.
    unsafe {
        libc::sigemptyset(mask.as_mut_ptr());
        for signal in (1..=64).filter(|signal| blocked & 1_u64 << (signal - 1) != 0) {
            libc::sigaddset(mask.as_mut_ptr(), signal);
        }
        mask.assume_init()
    }
}

/// Returns the blocked signals from the text of `/proc/self/status`; bit 0 is signal 1.
fn parse_blocked_signals(status: &[u8]) -> Option<u64> {
    let line = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"SigBlk:"))?;
    let digits = core::str::from_utf8(line).ok()?.trim();
    u64::from_str_radix(digits, 16).ok()
}

/// Sets the main thread's scheduling parameters and CPU affinity in the attributes of a new thread, if those of the
/// calling thread differ. Otherwise a new thread would inherit them, and if the calling thread is pinned and has a
/// higher priority, would not run before it blocks. Returns whether any attribute was set.
///
/// # Safety
/// The attributes are initialized.
#[cfg(all(not(model), target_os = "linux"))]
pub(crate) unsafe fn apply_to_attributes(attributes: *mut libc::pthread_attr_t) -> bool {
    let Some(found) = baseline() else { return false };
    let mut is_set = false;
    let other_cpus = found.cpus.as_ref().filter(|cpus| CpuSet::of(0).is_some_and(|own| !own.equals(cpus)));
    if let Some(cpus) = other_cpus {
        // SAFETY: guaranteed by the caller.
        is_set |= unsafe { cpus.apply_to_attributes(attributes) };
    }
    let is_other = |found: &SchedAttr| SchedAttr::of(0).is_some_and(|own| !own.equals(found));
    if let Some(scheduling) = found.scheduling.filter(is_other) {
        // The new thread itself sets a policy that libc does not accept here.
        let is_real_time = matches!(scheduling.policy as c_int, libc::SCHED_FIFO | libc::SCHED_RR);
        let policy = if is_real_time { scheduling.policy as c_int } else { libc::SCHED_OTHER };
        let priority = if is_real_time { scheduling.priority as c_int } else { 0 };
        let parameters = scheduling_parameters(priority);
        // SAFETY: guaranteed by the caller.
        is_set |= unsafe {
            libc::pthread_attr_setschedpolicy(attributes, policy) == 0
                && libc::pthread_attr_setschedparam(attributes, &parameters) == 0
                && libc::pthread_attr_setinheritsched(attributes, libc::PTHREAD_EXPLICIT_SCHED) == 0
        };
    }
    is_set
}

/// On other systems than Linux, a new thread inherits the parameters of the calling thread.
#[cfg(all(not(model), not(target_os = "linux")))]
pub(crate) unsafe fn apply_to_attributes(_: *mut libc::pthread_attr_t) -> bool {
    false
}

/// On some systems, the structure has further fields, which are not used.
#[cfg(target_os = "linux")]
fn scheduling_parameters(priority: c_int) -> libc::sched_param {
    // SAFETY: zeroed memory is a valid value.
    let mut parameters: libc::sched_param = unsafe { core::mem::zeroed() };
    parameters.sched_priority = priority;
    parameters
}

/// Returns whether a thread that the calling thread starts has the main thread's scheduling parameters.
pub(crate) fn can_inherit_scheduling() -> bool {
    match baseline().map(|found| found.scheduling) {
        Some(Some(wanted)) => SchedAttr::of(0).is_some_and(|own| own.equals(&wanted)),
        _ => true,
    }
}

/// Returns whether they were unchanged, and whether they are restored: the system may not permit that.
#[cfg(target_os = "linux")]
pub(super) fn restore_cpus() -> (bool, bool) {
    let Some(wanted) = baseline().and_then(|found| found.cpus.as_ref()) else { return (true, true) };
    let Some(current) = CpuSet::of(0) else { return (true, true) };
    if wanted.equals(&current) {
        return (true, true);
    }
    // SAFETY: `words` has `bytes` bytes.
    let error = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, wanted.bytes, wanted.words.as_ptr()) };
    (false, error == 0)
}

/// As `restore_cpus`. For example, an unprivileged thread cannot lower its nice value.
#[cfg(target_os = "linux")]
pub(super) fn restore_scheduling() -> (bool, bool) {
    const RESET_ON_FORK: u64 = 1;
    let Some(found) = baseline().and_then(|found| found.scheduling) else { return (true, true) };
    let Some(current) = SchedAttr::of(0) else { return (true, true) };
    if current.equals(&found) {
        return (true, true);
    }
    // libc may have cached what a function has set by pthread_setschedparam().
    let parameters = scheduling_parameters(found.priority as c_int);
    // SAFETY: affects only the calling thread.
    unsafe { libc::pthread_setschedparam(libc::pthread_self(), found.policy as c_int, &parameters) };
    let wanted =
        SchedAttr { flags: current.flags & RESET_ON_FORK, size: size_of::<SchedAttr>() as u32, ..found };
    // SAFETY: `wanted` contains its size.
    let error = unsafe {
        libc::syscall(libc::SYS_sched_setattr, 0 as libc::c_long, &raw const wanted, 0 as libc::c_long)
    };
    (false, error == 0)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn restore_cpus() -> (bool, bool) {
    (true, true)
}

#[cfg(not(target_os = "linux"))]
pub(super) fn restore_scheduling() -> (bool, bool) {
    (true, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocked_signals_are_parsed_from_a_status_file() {
        let status =
            b"Name:\tx\nSigPnd:\t0000000000000000\nSigBlk:\t0000000000004001\nSigIgn:\t0000000000000002\n";
        assert_eq!(parse_blocked_signals(status), Some(1 << (libc::SIGTERM - 1) | 1));
        assert_eq!(parse_blocked_signals(b"SigBlk:\tno number\n"), None);
        assert_eq!(parse_blocked_signals(b""), None);
    }
}
