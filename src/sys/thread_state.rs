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
//!   check has passed since then, according to a clock that is read after every fourth call. A function is trusted
//!   after [`CHECKS_UNTIL_TRUSTED`] checks that found no change. If it changes the state after that, the next check
//!   finds the change, and the function is never trusted again.
//!
//! So what a function changes never reaches another function. It can reach later calls of the same function, until the
//! next check, if it is the first change after many calls that changed nothing.
//!
//! [`baseline`](crate::sys::baseline) records the state of the main thread, and [`libc_state`](crate::sys::libc_state)
//! resets the last four.

use core::ffi::CStr;
use core::mem::MaybeUninit;
use core::ptr;

use crate::sys::atomic::{AtomicU32, Ordering};
use crate::sys::baseline::{baseline, restore_cpus, restore_scheduling};
use crate::sys::libc_state::restore_libc_state;

/// The name of the timer threads.
pub(crate) const NAME: &CStr = c"threading-timer";

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
const CHECKS_UNTIL_TRUSTED: u32 = 64;
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

    /// Called after a trusted function. Returns when an earlier one has returned, if the clock need not be read again.
    #[inline]
    pub(crate) fn reuse_last_end(&self) -> Option<StopTime> {
        const CALLS_PER_READING: u32 = 4;
        (self.unchecked % CALLS_PER_READING != 0).then_some(StopTime { cycles: self.last_end })
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
    crate::sys::pthread::set_name(None, NAME);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::baseline::{CpuSet, current_mask, record_baseline};

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
