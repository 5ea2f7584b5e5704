//! The state in which each timer's function begins.
//!
//! Functions of many timers run one after the other in the same system threads. What the system and libc keep for a
//! thread and a function can change is put back after it:
//!
//! | state | value |
//! |---|---|
//! | signal mask | that of the main thread when the library was loaded |
//! | scheduling policy, priority, nice value | those of the main thread when the library was loaded |
//! | CPU affinity | that of the main thread when the library was loaded |
//! | alternate signal stack | that with which the system thread began: none |
//! | name of the system thread | [`NAME`] |
//! | floating-point environment | the default |
//! | locale of the thread | the global one |
//! | cancellation | enabled and deferred |
//! | `errno` | 0 |
//!
//! The last four are put back after each function. The others are the kernel's, and to look at them all takes longer
//! than the rest of what the library does for a timer. So it looks
//!
//! - not at all after a function that took less than a quarter of the shortest system call of this kind that was
//!   ever measured in this process (`SHORTEST_SYSCALL_CYCLES`, in cycles): such a function has made none;
//! - after each function that it does not trust, and before the thread sleeps;
//! - after a function that it is_trusted when [`CHECK_TIME_DIVISOR`] times as long has passed as the last check took.
//!   It is_trusted a function that it has checked [`CHECKS_UNTIL_TRUSTED`] times, and that has never changed anything.
//!   A function that changes the state for the first time after that is found by the next check, and is never trusted
//!   again.

use core::ffi::{CStr, c_int, c_long};
use core::mem::MaybeUninit;
use core::ptr;

use crate::sys::atomic::{AtomicU32, Ordering};
use crate::sys::calling_thread;

/// The name of the system threads that run timers' functions.
pub(crate) const NAME: &CStr = c"threading-timer";

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, old: *mut c_int) -> c_int;
    fn pthread_setcanceltype(kind: c_int, old: *mut c_int) -> c_int;
}

const PTHREAD_CANCEL_ENABLE: c_int = 0;
const PTHREAD_CANCEL_DEFERRED: c_int = 0;
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

    /// Of the thread with this number, 0 being the calling one.
    fn of(thread: libc::pid_t) -> Option<SchedAttr> {
        let mut scheduling = SchedAttr::default();
        let size = size_of::<SchedAttr>();
        // SAFETY: `scheduling` has room for `size` bytes.
        let read = unsafe { libc::syscall(libc::SYS_sched_getattr, thread, &raw mut scheduling, size, 0) };
        (read == 0).then_some(scheduling)
    }
}

/// A set of CPUs, as the kernel writes it.
#[derive(Clone, Copy)]
struct CpuSet {
    words: [usize; CpuSet::WORDS],
    /// How many bytes of it the kernel has written.
    bytes: usize,
}

impl CpuSet {
    const MAX_CPUS: usize = 4096;
    const WORDS: usize = CpuSet::MAX_CPUS / usize::BITS as usize;

    /// Those of the thread with this number, 0 being the calling one.
    fn of(thread: libc::pid_t) -> Option<CpuSet> {
        let mut words = MaybeUninit::<[usize; CpuSet::WORDS]>::uninit();
        let room = size_of_val(&words);
        // SAFETY: `words` has this room.
        let written = unsafe { libc::syscall(libc::SYS_sched_getaffinity, thread, room, words.as_mut_ptr()) };
        let bytes = usize::try_from(written).ok().filter(|&bytes| bytes != 0)?;
        let mut cpus = CpuSet { words: [0; CpuSet::WORDS], bytes };
        // SAFETY: the kernel has written `bytes` bytes; the source and the target do not overlap.
        unsafe {
            ptr::copy_nonoverlapping(words.as_ptr().cast::<u8>(), cpus.words.as_mut_ptr().cast(), bytes);
        }
        Some(cpus)
    }

    fn equals(&self, other: &CpuSet) -> bool {
        let words = self.bytes.div_ceil(size_of::<usize>());
        self.words[..words] == other.words[..words]
    }
}

/// What the library has found in the main thread.
struct MainThreadState {
    mask: libc::sigset_t,
    scheduling: Option<SchedAttr>,
    cpus: Option<CpuSet>,
}

/// `state` is `INCOMPLETE`, `RUNNING` while one thread fills `found`, or `COMPLETE` from then on.
struct Baseline {
    state: AtomicU32,
    found: core::cell::UnsafeCell<MainThreadState>,
}

const INCOMPLETE: u32 = 0;
const RUNNING: u32 = 1;
const COMPLETE: u32 = 2;

// SAFETY: `found` is written by the one thread that changed `state` to `RUNNING`, and read in `COMPLETE` only.
unsafe impl Sync for Baseline {}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static BASELINE: Baseline = Baseline {
    state: AtomicU32::new(INCOMPLETE),
    found: core::cell::UnsafeCell::new(MainThreadState {
        // SAFETY: a set of bits, none of which is set.
        mask: unsafe { MaybeUninit::zeroed().assume_init() },
        scheduling: None,
        cpus: None,
    }),
};

fn baseline() -> Option<&'static MainThreadState> {
    if cfg!(model) || BASELINE.state.load(Ordering::Acquire) != COMPLETE {
        return None;
    }
    // SAFETY: it does not change any more.
    Some(unsafe { &*BASELINE.found.get() })
}

/// Reads the state of the main thread, once: when the library is loaded, or else when the first timer is started.
pub(crate) fn record_baseline() {
    if cfg!(model)
        || BASELINE.state.compare_exchange(INCOMPLETE, RUNNING, Ordering::Acquire, Ordering::Relaxed).is_err()
    {
        return;
    }
    let is_main = calling_thread::is_initial_thread();
    // SAFETY: asks only.
    let thread = if is_main { 0 } else { unsafe { libc::getpid() } };
    // SAFETY: this thread alone has changed the state to `RUNNING`.
    let found = unsafe { &mut *BASELINE.found.get() };
    found.mask = if is_main { current_mask() } else { main_thread_mask() };
    found.scheduling = SchedAttr::of(thread);
    found.cpus = CpuSet::of(thread);
    BASELINE.state.store(COMPLETE, Ordering::Release);
}

fn current_mask() -> libc::sigset_t {
    let mut mask = MaybeUninit::zeroed();
    // SAFETY: asks only; zero is an empty set.
    unsafe {
        libc::pthread_sigmask(libc::SIG_SETMASK, ptr::null(), mask.as_mut_ptr());
        mask.assume_init()
    }
}

/// The mask of the main thread, which is another one than the calling thread. Where `/proc` does not show it, none is
/// blocked.
fn main_thread_mask() -> libc::sigset_t {
    let mut blocked = 0;
    calling_thread::with_cancel_disabled(|| {
        let mut text = [0_u8; 4096];
        // SAFETY: the name ends with NUL; at most the length of `text` is read; the file is closed again.
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
    // SAFETY: initialised here; libc does not add the signals that it keeps for itself.
    unsafe {
        libc::sigemptyset(mask.as_mut_ptr());
        for signal in (1..=64).filter(|signal| blocked & 1_u64 << (signal - 1) != 0) {
            libc::sigaddset(mask.as_mut_ptr(), signal);
        }
        mask.assume_init()
    }
}

/// The line `SigBlk` of a file `status` of `/proc`: the signals from 1 on, as bits.
fn parse_blocked_signals(status: &[u8]) -> Option<u64> {
    let line = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"SigBlk:"))?;
    let digits = core::str::from_utf8(line).ok()?.trim();
    u64::from_str_radix(digits, 16).ok()
}

/// Sets the scheduling policy and the CPUs of the main thread in the attributes of a new thread, where those of the
/// calling thread are others: a thread that a pinned one of a higher priority starts must not wait for the CPU of its
/// creator. Returns whether any attribute was set.
///
/// # Safety
/// The attributes are initialised.
#[cfg(not(model))]
pub(crate) unsafe fn apply_to_attributes(attributes: *mut libc::pthread_attr_t) -> bool {
    let Some(found) = baseline() else { return false };
    let mut is_set = false;
    if let (Some(cpus), Some(own)) = (&found.cpus, CpuSet::of(0))
        && !own.equals(cpus)
    {
        // SAFETY: the caller's promise; the set is as long as it says.
        is_set |=
            unsafe { libc::pthread_attr_setaffinity_np(attributes, cpus.bytes, cpus.words.as_ptr().cast()) }
                == 0;
    }
    if let (Some(scheduling), Some(own)) = (found.scheduling, SchedAttr::of(0))
        && !own.equals(&scheduling)
    {
        // A policy that pthread does not know is set by the thread itself.
        let is_real_time = matches!(scheduling.policy as c_int, libc::SCHED_FIFO | libc::SCHED_RR);
        let policy = if is_real_time { scheduling.policy as c_int } else { libc::SCHED_OTHER };
        let priority = if is_real_time { scheduling.priority as c_int } else { 0 };
        let parameters = libc::sched_param { sched_priority: priority };
        // SAFETY: guaranteed by the caller.
        is_set |= unsafe {
            libc::pthread_attr_setschedpolicy(attributes, policy) == 0
                && libc::pthread_attr_setschedparam(attributes, &parameters) == 0
                && libc::pthread_attr_setinheritsched(attributes, libc::PTHREAD_EXPLICIT_SCHED) == 0
        };
    }
    is_set
}

/// Whether a thread that the calling one starts can have the scheduling of the main thread.
pub(crate) fn can_inherit_scheduling() -> bool {
    match baseline().map(|found| found.scheduling) {
        Some(Some(wanted)) => SchedAttr::of(0).is_some_and(|own| own.equals(&wanted)),
        _ => true,
    }
}

/// The number of cycles of the shortest change of a signal mask so far; 0 as long as none was measured.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static SHORTEST_SYSCALL_CYCLES: AtomicU32 = AtomicU32::new(0);

/// Whether the processor counts cycles at the same rate everywhere, in a register that each thread can read.
const HAS_CYCLE_COUNTER: bool = cfg!(all(target_arch = "x86_64", not(model)));

#[inline(always)]
fn cycles() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: each processor of this kind has the counter.
    let cycles = unsafe { core::arch::x86_64::_rdtsc() };
    #[cfg(not(target_arch = "x86_64"))]
    let cycles = 0;
    cycles
}

/// How many checks have to find nothing changed before a function is trusted.
const CHECKS_UNTIL_TRUSTED: u32 = 64;
/// Checks of trusted functions take one part in `CHECK_TIME_DIVISOR` of the time at most.
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

    /// For a function whose time does not matter: it counts as long enough for a system call.
    #[inline(always)]
    pub(crate) fn unmeasured() -> Stopwatch {
        Stopwatch { started: 0 }
    }

    /// When the function has ended: `None` if it was too short for a system call.
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

/// A function that could have made a system call has ended.
pub(crate) struct StopTime {
    cycles: u64,
}

/// What is known of a function, by its address.
#[derive(Clone, Copy)]
struct FunctionRecord {
    function: usize,
    /// How many checks have found nothing changed, up to `CHECKS_UNTIL_TRUSTED`, or `NEVER_TRUSTED`.
    clean_checks: u32,
}

impl FunctionRecord {
    const NEVER_TRUSTED: u32 = u32::MAX;
    const EMPTY: FunctionRecord = FunctionRecord { function: 0, clean_checks: 0 };
}

/// The state of a system thread that runs timers' functions.
pub(crate) struct ThreadState {
    /// The alternate signal stack with which the thread began: a sanitizer gives it one.
    signal_stack: Option<libc::stack_t>,
    /// The system allows all that the baseline asks for.
    pub(crate) is_clean: bool,
    /// The last function, and how many have ended since the last look.
    last_function: usize,
    unchecked: u32,
    /// When the last of them ended, when the last look did, and how long that took, in cycles.
    last_end: u64,
    checked_at: u64,
    check_duration: u64,
    records: [FunctionRecord; ThreadState::MAX_RECORDS],
}

impl ThreadState {
    const MAX_RECORDS: usize = 32;

    /// Puts the calling thread, which has just begun, into the state that each function finds.
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
        // The first calls are not the shortest.
        for _ in 0..32 {
            restore_mask();
        }
        state
    }

    /// Notes that a function has ended that could have made a system call.
    pub(crate) fn note_function_end(&mut self, function: usize, stopped: StopTime) {
        self.last_function = function;
        self.unchecked += 1;
        self.last_end = stopped.cycles;
    }

    /// Notes that destructors are called, of which nothing is known.
    pub(crate) fn note_untrusted(&mut self) {
        const UNKNOWN: usize = 0;
        self.note_function_end(UNKNOWN, StopTime { cycles: self.last_end });
    }

    /// Whether the kernel's state is to be looked at before the thread sleeps.
    pub(crate) fn has_unchecked_functions(&self) -> bool {
        self.unchecked != 0
    }

    /// Whether it is to be looked at before the next function begins.
    pub(crate) fn needs_check(&self) -> bool {
        if self.unchecked == 0 {
            return false;
        }
        let is_soon = if HAS_CYCLE_COUNTER {
            self.last_end.wrapping_sub(self.checked_at) < self.check_duration * CHECK_TIME_DIVISOR
        } else {
            self.unchecked < CHECK_TIME_DIVISOR as u32
        };
        !(is_soon && self.is_trusted(self.last_function))
    }

    /// Whether the function has been checked often enough.
    #[inline]
    pub(crate) fn is_trusted(&self, function: usize) -> bool {
        let known = &self.records[Self::index(function)];
        known.function == function && known.clean_checks == CHECKS_UNTIL_TRUSTED
    }

    /// Functions are often aligned to 16 bytes.
    fn index(function: usize) -> usize {
        (function >> 4 ^ function >> 9) % Self::MAX_RECORDS
    }

    /// Looks at the kernel's state, and puts back what functions have changed there.
    pub(crate) fn restore_kernel_state(&mut self) {
        let functions = core::mem::take(&mut self.unchecked);
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
        match functions {
            0 => {}
            1 => self.record_check(same),
            _ if same => {}
            _ => {
                // It may have been any of them.
                self.records
                    .iter_mut()
                    .filter(|known| known.clean_checks != FunctionRecord::NEVER_TRUSTED)
                    .for_each(|known| known.clean_checks = 0);
                self.record_check(false);
            }
        }
    }

    /// The last function has changed nothing, or something.
    fn record_check(&mut self, same: bool) {
        if self.last_function == 0 {
            return;
        }
        let known = &mut self.records[Self::index(self.last_function)];
        if known.function != self.last_function {
            if same && known.clean_checks == FunctionRecord::NEVER_TRUSTED {
                return;
            }
            *known = FunctionRecord { function: self.last_function, clean_checks: 0 };
        }
        if !same {
            known.clean_checks = FunctionRecord::NEVER_TRUSTED;
        } else if known.clean_checks < CHECKS_UNTIL_TRUSTED {
            known.clean_checks += 1;
        }
    }

    /// Whether it was the same, here and below.
    fn restore_signal_stack(&self) -> bool {
        let (Some(wanted), Some(current)) = (&self.signal_stack, signal_stack()) else { return true };
        let equals = if wanted.ss_flags & libc::SS_DISABLE != 0 {
            current.ss_flags & libc::SS_DISABLE != 0
        } else {
            (wanted.ss_sp, wanted.ss_size, wanted.ss_flags)
                == (current.ss_sp, current.ss_size, current.ss_flags)
        };
        if !equals {
            // SAFETY: none, or that which the thread has had from its beginning.
            unsafe { libc::sigaltstack(wanted, ptr::null_mut()) };
        }
        equals
    }
}

fn signal_stack() -> Option<libc::stack_t> {
    let mut stack = MaybeUninit::uninit();
    // SAFETY: asks only; written if it succeeds.
    unsafe { (libc::sigaltstack(ptr::null(), stack.as_mut_ptr()) == 0).then(|| stack.assume_init()) }
}

fn restore_mask() -> bool {
    let Some(found) = baseline() else { return true };
    let mut former = found.mask;
    let stopwatch = Stopwatch::start();
    // SAFETY: changes the calling thread's mask alone.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &found.mask, &mut former) };
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
    bits(&former) == bits(&found.mask)
}

/// The signals up to 64, of which the kernel has told.
fn bits(mask: &libc::sigset_t) -> u64 {
    const { assert!(size_of::<libc::sigset_t>() >= size_of::<u64>()) };
    // SAFETY: the set begins with so many bits.
    unsafe { ptr::from_ref(mask).cast::<u64>().read_unaligned() }
}

fn restore_name() -> bool {
    const ROOM: usize = 16;
    let mut name = [0_u8; ROOM];
    // SAFETY: the kernel writes 16 bytes, NUL included.
    let read = unsafe { libc::prctl(libc::PR_GET_NAME, name.as_mut_ptr()) } == 0;
    let same = read && CStr::from_bytes_until_nul(&name) == Ok(NAME);
    if !same {
        // SAFETY: the name ends with NUL.
        unsafe { libc::prctl(libc::PR_SET_NAME, NAME.as_ptr()) };
    }
    same
}

/// Whether they were the same, and whether they are now: the system may not allow it.
fn restore_cpus() -> (bool, bool) {
    let Some(wanted) = baseline().and_then(|found| found.cpus.as_ref()) else { return (true, true) };
    let Some(current) = CpuSet::of(0) else { return (true, true) };
    if wanted.equals(&current) {
        return (true, true);
    }
    // SAFETY: the set is as long as it says.
    let error = unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, wanted.bytes, wanted.words.as_ptr()) };
    (false, error == 0)
}

/// As `restore_cpus`: an ordinary user's thread does not get a lower nice value.
fn restore_scheduling() -> (bool, bool) {
    const RESET_ON_FORK: u64 = 1;
    let Some(found) = baseline().and_then(|found| found.scheduling) else { return (true, true) };
    let Some(current) = SchedAttr::of(0) else { return (true, true) };
    if current.equals(&found) {
        return (true, true);
    }
    // libc may remember what a function has set through it.
    let parameters = libc::sched_param { sched_priority: found.priority as c_int };
    // SAFETY: changes the calling thread alone; what the system does not allow changes nothing.
    unsafe { libc::pthread_setschedparam(libc::pthread_self(), found.policy as c_int, &parameters) };
    let wanted =
        SchedAttr { flags: current.flags & RESET_ON_FORK, size: size_of::<SchedAttr>() as u32, ..found };
    // SAFETY: `wanted` says its size.
    let error =
        unsafe { libc::syscall(libc::SYS_sched_setattr, 0 as c_long, &raw const wanted, 0 as c_long) };
    (false, error == 0)
}

/// Puts back what a function may have changed in libc and in the processor. Called as soon as it has ended, since what
/// comes next must not be cancelled.
#[inline]
pub(crate) fn restore_libc_state() {
    if cfg!(model) {
        return;
    }
    // SAFETY: each changes the calling thread's own state.
    unsafe {
        pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, ptr::null_mut());
        pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, ptr::null_mut());
        libc::uselocale(GLOBAL_LOCALE);
    }
    restore_floating_point();
}

/// As each function finds it, whatever the library has called before.
#[inline(always)]
pub(crate) fn clear_errno() {
    // SAFETY: the calling thread's own.
    unsafe { *libc::__errno_location() = 0 };
}

#[cfg(target_arch = "x86_64")]
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
        // SAFETY: the value with which each program begins.
        unsafe {
            core::arch::asm!("ldmxcsr [{}]", in(reg) &default, options(nostack, readonly, preserves_flags))
        };
    }
    if control != X87 || status & EXCEPTIONS != 0 {
        // SAFETY: no value is in the x87 registers between two calls.
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
    // SAFETY: the values with which each program begins.
    unsafe { core::arch::asm!("msr fpcr, xzr", "msr fpsr, xzr", options(nomem, nostack)) };
}

#[cfg(any(target_arch = "riscv64", target_arch = "riscv32"))]
#[inline(always)]
fn restore_floating_point() {
    // SAFETY: the value with which each program begins.
    unsafe { core::arch::asm!("csrw fcsr, zero", options(nomem, nostack)) };
}

/// The default environment of others is known to libm alone, without which programs may be linked.
#[cfg(not(any(
    target_arch = "x86_64",
    target_arch = "aarch64",
    target_arch = "riscv64",
    target_arch = "riscv32"
)))]
#[inline(always)]
fn restore_floating_point() {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocked_signals_are_read_from_a_status_file() {
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
            // SAFETY: changes this thread's state alone.
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
            // SAFETY: asks only.
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
