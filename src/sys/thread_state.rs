//! The thread state in which each timer's function begins.
//!
//! The functions of many timers run one after the other on the same threads. State that the system and libc keep per
//! thread, and that a function can change, is restored after the function:
//!
//! | state | value |
//! |---|---|
//! | signal mask | that of the main thread when the library was loaded |
//! | scheduling policy, priority, nice value | those of the main thread when the library was loaded |
//! | CPU affinity | that of the main thread when the library was loaded |
//! | alternate signal stack | that with which the timer thread began: none, or a sanitizer's |
//! | name of the timer thread | [`NAME`] |
//! | floating-point environment | the default |
//! | locale of the thread | the global one |
//! | cancellation | enabled and deferred |
//! | `errno` | 0 |
//!
//! The last four are reset for each function. The others are the kernel's. To check them takes several system calls,
//! which is longer than all other work of the library for a timer. So they are checked as follows:
//!
//! - Not at all after a function that took less than a quarter of the shortest system call that was measured in this
//!   process (`SHORTEST_SYSCALL_CYCLES`): such a function has made no system call.
//! - After each function that is not trusted, and before the thread parks.
//! - Between two calls of the same trusted function only if [`CHECK_TIME_DIVISOR`] times the duration of the last
//!   check has passed since then. A function is trusted after [`CHECKS_UNTIL_TRUSTED`] checks that found no change. If
//!   it changes the state after that, the next check finds the change, and the function is never trusted again.
//!
//! So what a function changes never reaches another function. It can reach later calls of the same function, until the
//! next check, if it is the first change after many calls that changed nothing.
//!
//! The file exceeds 400 lines because it reads and writes each of these states, in the forms that the kernel has for them.
#![cfg_attr(
    not(target_os = "linux"),
    allow(dead_code, reason = "scheduling parameters and CPU affinity are restored on Linux only")
)]

use core::ffi::{CStr, c_int};
use core::mem::MaybeUninit;
use core::ptr;

use crate::sys;
use crate::sys::atomic::{AtomicU32, Ordering};
use crate::sys::calling_thread;

/// The name of the timer threads.
pub(crate) const NAME: &CStr = c"threading-timer";

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
    fn pthread_setcanceltype(kind: c_int, old: *mut c_int) -> c_int;
}

const PTHREAD_CANCEL_ENABLE: c_int = if cfg!(target_vendor = "apple") { 1 } else { 0 };
const PTHREAD_CANCEL_DEFERRED: c_int = if cfg!(target_vendor = "apple") { 2 } else { 0 };
/// `LC_GLOBAL_LOCALE`.
const GLOBAL_LOCALE: libc::locale_t = ptr::without_provenance_mut(usize::MAX);

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
struct CpuSet {
    words: [usize; CpuSet::WORDS],
    /// The number of bytes that the kernel has written.
    bytes: usize,
}

impl CpuSet {
    const MAX_CPUS: usize = 4096;
    const WORDS: usize = CpuSet::MAX_CPUS / usize::BITS as usize;

    /// Returns the CPU affinity of the thread with this native ID (0: the calling thread).
    #[cfg(target_os = "linux")]
    fn of(thread: libc::pid_t) -> Option<CpuSet> {
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
    fn of(_: libc::pid_t) -> Option<CpuSet> {
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

    fn equals(&self, other: &CpuSet) -> bool {
        let words = self.bytes.div_ceil(size_of::<usize>());
        self.words[..words] == other.words[..words]
    }
}

/// The state of the main thread.
struct MainThreadState {
    mask: libc::sigset_t,
    scheduling: Option<SchedAttr>,
    cpus: Option<CpuSet>,
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

fn baseline() -> Option<&'static MainThreadState> {
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

fn current_mask() -> libc::sigset_t {
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
    let mut blocked = 0;
    calling_thread::with_cancel_disabled(|| {
        let mut text = [0_u8; 4096];
        // SAFETY: the path ends with NUL; at most the length of `text` is read; the descriptor is valid until it is
        // closed.
        let length = unsafe {
            let file = libc::open(c"/proc/self/status".as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC);
            if file < 0 {
                return;
            }
            let length = libc::read(file, text.as_mut_ptr().cast(), text.len());
            libc::close(file);
            length
        };
        let text = &text[..usize::try_from(length).unwrap_or(0)];
        blocked = parse_blocked_signals(text).unwrap_or(0);
    });
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

/// The number of cycles of the shortest system call so far that has changed the signal mask; 0 before the first one.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static SHORTEST_SYSCALL_CYCLES: AtomicU32 = AtomicU32::new(0);

/// Whether threads can read a cycle counter that has the same rate on all CPUs.
const HAS_CYCLE_COUNTER: bool = cfg!(all(target_arch = "x86_64", not(model)));

#[inline(always)]
fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: all x86-64 CPUs have the counter.
    let cycles = unsafe { core::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    let cycles = 0;
    cycles
}

/// How many checks must find no change before a function is trusted.
const CHECKS_UNTIL_TRUSTED: u32 = 128;
/// Checks after trusted functions take at most 1 / `CHECK_TIME_DIVISOR` of the time.
const CHECK_TIME_DIVISOR: u64 = 32;

/// Measures how long a function takes.
pub(crate) struct Stopwatch {
    started: u64,
}

impl Stopwatch {
    #[inline(always)]
    pub(crate) fn start() -> Stopwatch {
        Stopwatch { started: if HAS_CYCLE_COUNTER { cycles() } else { 0 } }
    }

    /// Creates a stopwatch that counts any function as long enough for a system call.
    #[inline(always)]
    pub(crate) fn unmeasured() -> Stopwatch {
        Stopwatch { started: 0 }
    }

    /// Returns the time at which the function has returned, or `None` if it was too short for a system call.
    #[inline(always)]
    pub(crate) fn stop(self) -> Option<StopTime> {
        if !HAS_CYCLE_COUNTER {
            return Some(StopTime { cycles: 0 });
        }
        let at = cycles();
        let shortest = u64::from(SHORTEST_SYSCALL_CYCLES.load(Ordering::Relaxed));
        (at.wrapping_sub(self.started) >= shortest / 4).then_some(StopTime { cycles: at })
    }
}

/// The time at which a function that may have made a system call has returned.
pub(crate) struct StopTime {
    cycles: u64,
}

/// The history of a function, which is identified by its address.
#[derive(Clone, Copy)]
struct FunctionRecord {
    function: usize,
    /// How many checks have found no change, up to `CHECKS_UNTIL_TRUSTED`; or `NEVER_TRUSTED`.
    clean_checks: u32,
}

impl FunctionRecord {
    const NEVER_TRUSTED: u32 = u32::MAX;
    const EMPTY: FunctionRecord = FunctionRecord { function: 0, clean_checks: 0 };
}

/// What a timer thread knows of its own state.
pub(crate) struct ThreadState {
    /// The alternate signal stack with which the thread began. Sanitizers allocate one.
    signal_stack: Option<libc::stack_t>,
    /// Whether the system has permitted to restore the whole baseline.
    pub(crate) is_clean: bool,
    /// The address of the last function; 0 for destructors.
    last_function: usize,
    /// How many functions have returned since the last check.
    unchecked: u32,
    /// When the last function returned, in cycles, as the next two.
    last_end: u64,
    /// When the last check ended.
    checked_at: u64,
    /// How long the last check took.
    check_duration: u64,
    /// A cache of function records, indexed by a hash of the address.
    records: [FunctionRecord; ThreadState::MAX_RECORDS],
}

impl ThreadState {
    const MAX_RECORDS: usize = 32;

    /// Sets the state of the calling thread, a new timer thread, for its first function.
    pub(crate) fn init_current() -> ThreadState {
        let mut state = ThreadState {
            signal_stack: signal_stack(),
            is_clean: true,
            last_function: 0,
            unchecked: 0,
            last_end: 0,
            checked_at: 0,
            check_duration: 0,
            records: [FunctionRecord::EMPTY; ThreadState::MAX_RECORDS],
        };
        if cfg!(model) {
            return state;
        }
        restore_libc_state();
        state.restore_kernel_state();
        // Measures `SHORTEST_SYSCALL_CYCLES`. The first system calls are slower than later ones.
        for _ in 0..32 {
            restore_mask();
        }
        state
    }

    /// Records that a function has returned that may have made a system call.
    pub(crate) fn note_function_end(&mut self, function: usize, stopped: StopTime) {
        self.last_function = function;
        self.unchecked += 1;
        self.last_end = stopped.cycles;
    }

    /// Records that destructors have been called, which are never trusted.
    pub(crate) fn note_untrusted(&mut self) {
        const UNKNOWN: usize = 0;
        self.note_function_end(UNKNOWN, StopTime { cycles: self.last_end });
    }

    /// Returns whether the kernel's state must be checked before the thread parks.
    pub(crate) fn has_unchecked_functions(&self) -> bool {
        self.unchecked != 0
    }

    /// Returns whether the kernel's state must be checked before this function is called.
    pub(crate) fn needs_check_before(&self, function: usize) -> bool {
        if self.unchecked == 0 {
            return false;
        }
        let recently_checked = if HAS_CYCLE_COUNTER {
            self.last_end.wrapping_sub(self.checked_at) < self.check_duration * CHECK_TIME_DIVISOR
        } else {
            self.unchecked < CHECK_TIME_DIVISOR as u32
        };
        !(recently_checked && function == self.last_function && self.is_trusted(function))
    }

    /// Returns whether enough checks after this function have found no change.
    #[inline]
    pub(crate) fn is_trusted(&self, function: usize) -> bool {
        let record = &self.records[Self::index(function)];
        record.function == function && record.clean_checks == CHECKS_UNTIL_TRUSTED
    }

    /// Returns the index of a function's record. Functions are often aligned to 16 bytes.
    fn index(function: usize) -> usize {
        (function >> 4 ^ function >> 9) % Self::MAX_RECORDS
    }

    /// Checks the kernel's state, and restores what functions have changed.
    pub(crate) fn restore_kernel_state(&mut self) {
        let unchecked = core::mem::take(&mut self.unchecked);
        if cfg!(model) {
            return;
        }
        let stopwatch = Stopwatch::start();
        let (same_cpus, clean_cpus) = restore_cpus();
        let (same_scheduling, clean_scheduling) = restore_scheduling();
        self.is_clean = clean_cpus && clean_scheduling;
        let same =
            self.restore_signal_stack() & restore_name() & same_cpus & same_scheduling & restore_mask();
        if HAS_CYCLE_COUNTER {
            self.checked_at = cycles();
            self.check_duration = self.checked_at.wrapping_sub(stopwatch.started);
        }
        match unchecked {
            0 => {}
            1 => self.record_check(same),
            _ if same => {}
            _ => {
                // Any of the functions may have changed the state.
                self.records
                    .iter_mut()
                    .filter(|record| record.clean_checks != FunctionRecord::NEVER_TRUSTED)
                    .for_each(|record| record.clean_checks = 0);
                self.record_check(false);
            }
        }
    }

    /// Records whether a check has found the state unchanged after the last function.
    fn record_check(&mut self, same: bool) {
        if self.last_function == 0 {
            return;
        }
        let record = &mut self.records[Self::index(self.last_function)];
        if record.function != self.last_function {
            if same && record.clean_checks == FunctionRecord::NEVER_TRUSTED {
                return;
            }
            *record = FunctionRecord { function: self.last_function, clean_checks: 0 };
        }
        if !same {
            record.clean_checks = FunctionRecord::NEVER_TRUSTED;
        } else if record.clean_checks < CHECKS_UNTIL_TRUSTED {
            record.clean_checks += 1;
        }
    }

    /// Returns whether it was unchanged, as `restore_mask` and `restore_name`.
    fn restore_signal_stack(&self) -> bool {
        let (Some(wanted), Some(current)) = (&self.signal_stack, signal_stack()) else { return true };
        let equals = if wanted.ss_flags & libc::SS_DISABLE != 0 {
            current.ss_flags & libc::SS_DISABLE != 0
        } else {
            (wanted.ss_sp, wanted.ss_size, wanted.ss_flags)
                == (current.ss_sp, current.ss_size, current.ss_flags)
        };
        if !equals {
            // SAFETY: disabled, or the stack that the thread has had from its beginning.
            unsafe { libc::sigaltstack(wanted, ptr::null_mut()) };
        }
        equals
    }
}

fn signal_stack() -> Option<libc::stack_t> {
    let mut stack = MaybeUninit::uninit();
    // SAFETY: `stack` is valid for writes, and initialized if the call succeeds.
    unsafe { (libc::sigaltstack(ptr::null(), stack.as_mut_ptr()) == 0).then(|| stack.assume_init()) }
}

fn restore_mask() -> bool {
    let Some(found) = baseline() else { return true };
    let mut previous = found.mask;
    let stopwatch = Stopwatch::start();
    // SAFETY: changes only the calling thread's mask.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &found.mask, &mut previous) };
    if HAS_CYCLE_COUNTER {
        let taken = u32::try_from(cycles().wrapping_sub(stopwatch.started)).unwrap_or(u32::MAX);
        let shortest = SHORTEST_SYSCALL_CYCLES.load(Ordering::Relaxed);
        if shortest == 0 || taken < shortest {
            let _ = SHORTEST_SYSCALL_CYCLES.compare_exchange(
                shortest,
                taken,
                Ordering::Relaxed,
                Ordering::Relaxed,
            );
        }
    }
    signal_bits(&previous) == signal_bits(&found.mask)
}

/// Returns the signals that the kernel knows, 1 to 64, as bits.
fn signal_bits(mask: &libc::sigset_t) -> u64 {
    // Apple's set has 32 bits.
    const BYTES: usize = if size_of::<libc::sigset_t>() < 8 { size_of::<libc::sigset_t>() } else { 8 };
    let mut bits = [0; 8];
    // SAFETY: the set has at least `BYTES` bytes.
    bits[..BYTES].copy_from_slice(unsafe { &*ptr::from_ref(mask).cast::<[u8; BYTES]>() });
    u64::from_ne_bytes(bits)
}

#[cfg(target_os = "linux")]
fn restore_name() -> bool {
    const COMM_SIZE: usize = 16;
    let mut name = [0_u8; COMM_SIZE];
    // SAFETY: the kernel writes 16 bytes, NUL included.
    let read = unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) } == 0;
    let same = read && CStr::from_bytes_until_nul(&name) == Ok(NAME);
    if !same {
        // SAFETY: the name ends with NUL.
        unsafe { libc::prctl(libc::PR_SET_NAME, NAME.as_ptr()) };
    }
    same
}

#[cfg(not(target_os = "linux"))]
fn restore_name() -> bool {
    sys::pthread::set_name(None, NAME);
    true
}

/// Returns whether they were unchanged, and whether they are restored: the system may not permit that.
#[cfg(target_os = "linux")]
fn restore_cpus() -> (bool, bool) {
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
fn restore_scheduling() -> (bool, bool) {
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
fn restore_cpus() -> (bool, bool) {
    (true, true)
}

#[cfg(not(target_os = "linux"))]
fn restore_scheduling() -> (bool, bool) {
    (true, true)
}

/// Restores what a function may have changed in libc and in the CPU. Called immediately after the function, since the
/// code after it must not be cancelled.
#[inline]
pub(crate) fn restore_libc_state() {
    if cfg!(model) {
        return;
    }
    // SAFETY: each call changes only the calling thread's state.
    unsafe {
        pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, ptr::null_mut());
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, ptr::null_mut());
        libc::uselocale(GLOBAL_LOCALE);
    }
    restore_floating_point();
}

/// Sets `errno` to 0, which each function begins with.
#[inline(always)]
pub(crate) fn clear_errno() {
    // SAFETY: the address of the calling thread's `errno` is always valid.
    unsafe { *sys::errno_location() = 0 };
}

#[cfg(any(target_arch = "x86_64", all(target_arch = "x86", target_feature = "sse")))]
#[inline(always)]
fn restore_floating_point() {
    const MXCSR: u32 = 0x1f80;
    const X87: u16 = 0x37f;
    const EXCEPTIONS: u16 = 0x7f;
    let (mut mxcsr, mut control) = (0_u32, 0_u16);
    let status: u16;
    // SAFETY: reads the registers into these variables.
    unsafe {
        core::arch::asm!(
            "stmxcsr [{mxcsr}]",
            "fnstcw [{control}]",
            "fnstsw ax",
            mxcsr = in(reg) &mut mxcsr,
            control = in(reg) &mut control,
            out("ax") status,
            options(nostack, preserves_flags),
        );
    }
    if mxcsr != MXCSR {
        let default = MXCSR;
        // SAFETY: the value with which programs begin.
        unsafe {
            core::arch::asm!("ldmxcsr [{}]", in(reg) &default, options(nostack, readonly, preserves_flags))
        };
    }
    if control != X87 || status & EXCEPTIONS != 0 {
        // SAFETY: between function calls, the x87 registers contain no values.
        unsafe {
            core::arch::asm!(
                "fninit",
                out("st(0)") _, out("st(1)") _, out("st(2)") _, out("st(3)") _,
                out("st(4)") _, out("st(5)") _, out("st(6)") _, out("st(7)") _,
                options(nomem, nostack),
            );
        }
    }
}

#[cfg(target_arch = "aarch64")]
#[inline(always)]
fn restore_floating_point() {
    // SAFETY: the values with which programs begin.
    unsafe { core::arch::asm!("msr fpcr, xzr", "msr fpsr, xzr", options(nomem, nostack)) };
}

#[cfg(any(target_arch = "riscv64", target_arch = "riscv32"))]
#[inline(always)]
fn restore_floating_point() {
    // SAFETY: the value with which programs begin.
    unsafe { core::arch::asm!("csrw fcsr, zero", options(nomem, nostack)) };
}

#[cfg(all(target_arch = "arm", target_abi = "eabihf"))]
#[inline(always)]
fn restore_floating_point() {
    // SAFETY: the value with which programs begin.
    unsafe { core::arch::asm!("vmsr fpscr, {}", in(reg) 0, options(nomem, nostack)) };
}

#[cfg(target_arch = "s390x")]
#[inline(always)]
fn restore_floating_point() {
    // SAFETY: the value with which programs begin.
    unsafe { core::arch::asm!("sfpc {}", in(reg) 0, options(nomem, nostack)) };
}

/// On other architectures, only libm knows the default environment, and programs may be linked without libm.
#[cfg(not(any(
    target_arch = "x86_64",
    all(target_arch = "x86", target_feature = "sse"),
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "riscv32",
    all(target_arch = "arm", target_abi = "eabihf"),
    target_arch = "s390x"
)))]
#[inline(always)]
fn restore_floating_point() {}

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

    #[test]
    fn mask_and_cpus_are_restored() {
        record_baseline();
        std::thread::spawn(|| {
            let mut state = ThreadState::init_current();
            let mut full = MaybeUninit::uninit();
            // SAFETY: changes only the calling thread's state.
            unsafe {
                libc::sigfillset(full.as_mut_ptr());
                libc::pthread_sigmask(libc::SIG_SETMASK, full.as_ptr(), ptr::null_mut());
                let mut one: libc::cpu_set_t = core::mem::zeroed();
                let first = (0..1024).find(|&cpu| {
                    libc::CPU_ISSET(cpu, &*(baseline().unwrap().cpus.unwrap().words.as_ptr().cast()))
                });
                libc::CPU_SET(first.unwrap(), &mut one);
                libc::sched_setaffinity(0, size_of_val(&one), &one);
            }
            state.restore_kernel_state();
            // SAFETY: the mask is initialized.
            let blocked = |signal| unsafe { libc::sigismember(&current_mask(), signal) };
            // SAFETY: as above.
            let expected = |signal| unsafe { libc::sigismember(&baseline().unwrap().mask, signal) };
            assert!((1..32).all(|signal| blocked(signal) == expected(signal)));
            assert!(CpuSet::of(0).unwrap().equals(&baseline().unwrap().cpus.unwrap()));
            assert!(state.is_clean);
        })
        .join()
        .unwrap();
    }
}
