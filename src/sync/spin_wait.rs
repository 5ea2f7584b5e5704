//! A short spin with exponential backoff, before a thread parks.

use core::sync::atomic::{AtomicU64, Ordering};

use crate::sys::atomic::AtomicU32;
use crate::sys::futex;
use crate::time::Deadline;

/// Counts the rounds of one spin. Each round is twice as long as the one before, up to a limit.
pub(crate) struct SpinWait {
    /// The binary logarithm of the length of the next round, if that is at most `longest`.
    round: u32,
    longest: u32,
    end: u32,
}

// Under a model checker, a round would only be one more point at which threads are switched.
const END: u32 = if cfg!(model) { 0 } else { 6 };
/// For a busy mutex. A round of 2^8 takes about four microseconds.
const FIRST_IF_BUSY: u32 = 8;
const LONGEST_OF_BUSY: u32 = 9;
const END_OF_BUSY: u32 = 12;

/// When a thread last waited for a mutex that may be busy, in nanoseconds. A hint.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static LAST_WAIT: AtomicU64 = AtomicU64::new(0);
/// A mutex is busy if two waits for it begin within this time, in nanoseconds.
const BUSY_NS: u64 = 50_000;

impl SpinWait {
    /// All rounds together take about a microsecond.
    pub(crate) fn new() -> Self {
        SpinWait { round: 0, longest: END, end: END }
    }

    /// For a mutex that threads may lock in quick succession, each for a few dozen nanoseconds, and whose data is in
    /// several cache lines. If it is busy, even the first round is long, so that the owner, which usually needs the
    /// mutex again soon, locks it many times while its CPU has these lines; it takes a microsecond to pass them to
    /// another CPU. All rounds together take some 30 microseconds, because a thread that parks costs the owner a system
    /// call.
    pub(crate) fn for_busy_mutex() -> Self {
        if cfg!(model) {
            return Self::new();
        }
        let now = Deadline::now().0;
        let is_busy = now.wrapping_sub(LAST_WAIT.swap(now, Ordering::Relaxed)) < BUSY_NS;
        SpinWait {
            round: if is_busy { FIRST_IF_BUSY } else { 0 },
            longest: LONGEST_OF_BUSY,
            end: END_OF_BUSY,
        }
    }

    /// Spins for one round. Returns false, without spinning, when the caller should park.
    #[inline]
    pub(crate) fn spin(&mut self) -> bool {
        if self.round >= self.end {
            return false;
        }
        for _ in 0..1 << self.round.min(self.longest) {
            crate::sys::atomic::spin_loop();
        }
        self.round += 1;
        true
    }

    /// Spins for one round, or sleeps after the last one. For a thread that polls until another thread, which
    /// does not wake it, has finished a few instructions: the other thread may have a lower priority and need this CPU.
    #[cold]
    pub(crate) fn spin_or_sleep(&mut self) {
        const SLEEP_NS: u64 = 50_000;
        if cfg!(model) {
            crate::sys::atomic::spin_loop();
        } else if !self.spin() {
            futex::wait(&AtomicU32::new(0), 0, Deadline::now().add_ns(SLEEP_NS));
        }
    }
}
