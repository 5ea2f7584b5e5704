//! What a thread knows about the contended locks that it uses: whether the last one had waiters, and how fast the
//! thread releases them. All of it is in the thread's block, and a hint.
//!
//! The clock is read once per *fairness check period*, in case that the fairness deadline of the lock has passed: 61
//! releases of a thread, or 509 if it releases so many Locks within about a tick. After such a long period the lock is
//! *hot*: it changes hands in less time than its cache line takes to the other CPU, and one CPU is faster than two. Its
//! releases then prefer to wake waiters that have parked on the CPU of the releasing thread
//! (`LockQueue::next_to_wake`). They usually run when that thread parks, after a hand-off.

use crate::sys::tls;

/// One in this many contended releases of a thread reads the clock, in case the fairness deadline has passed. Prime, so
/// that a thread that uses several locks in turn does not read it for the same one each time.
const FAIRNESS_CHECK_PERIOD: u32 = if cfg!(model) { 2 } else { 61 };
/// The same for a Lock while the thread releases so many in about a tick. To read the clock more often would cost
/// several percent of such short critical sections.
const LONG_FAIRNESS_CHECK_PERIOD: u32 = if cfg!(model) { 2 } else { 509 };
/// The values of `PerThread::release_pace`, from which it selects the period: `SLOW_PACE` is the short one.
const SLOW_PACE: u8 = 0;
/// The thread has lately done a long period's releases in about a tick, less than a quarter of a microsecond each.
const HOT_PACE: u8 = 2;

/// Records whether a Lock, whose word the calling thread has just read, has waiters.
#[inline(always)]
pub(super) fn set_expects_waiters(has_waiters: bool) {
    tls::with(|block| block.expects_waiters.set(has_waiters));
}

/// Whether the last contended Lock of the calling thread had waiters.
#[inline(always)]
pub(super) fn expects_waiters() -> bool {
    tls::with(|block| block.expects_waiters.get())
}

/// Counts a release of a contended lock. Returns the number of such releases by the calling thread, of all locks.
pub(super) fn count_release() -> u32 {
    tls::with(|block| {
        block.contended_releases.set(block.contended_releases.get().wrapping_add(1));
        block.contended_releases.get()
    })
}

/// Counts a release of an RLock that has a designated waker. Returns whether it is the last one of its fairness check
/// period.
#[inline(always)]
pub(super) fn ends_short_check_period() -> bool {
    count_release() % FAIRNESS_CHECK_PERIOD == 0
}

/// As `ends_short_check_period`, for a Lock.
#[inline(always)]
pub(super) fn ends_check_period() -> bool {
    let count = count_release();
    if tls::with(|block| block.release_pace.get()) == SLOW_PACE {
        count % FAIRNESS_CHECK_PERIOD == 0
    } else {
        count % LONG_FAIRNESS_CHECK_PERIOD == 0
    }
}

/// Called when a fairness check period may have ended, at the time `now` in ticks: measures how fast the thread
/// releases. Returns whether it does so at `HOT_PACE`.
pub(super) fn measure_pace(now: u32) -> bool {
    tls::with(|block| {
        let (count, pace) = (block.contended_releases.get(), block.release_pace.get());
        let is_long = pace != SLOW_PACE;
        if count % if is_long { LONG_FAIRNESS_CHECK_PERIOD } else { FAIRNESS_CHECK_PERIOD } == 0 {
            // The same period must not be measured again.
            block.contended_releases.set(count.wrapping_add(1));
            let now = now as u16;
            let elapsed = now.wrapping_sub(block.pace_measured.replace(now));
            let is_fast = elapsed <= u16::from(is_long);
            block.release_pace.set(if is_fast { HOT_PACE.min(pace + 1) } else { SLOW_PACE });
        }
        block.release_pace.get() == HOT_PACE
    })
}

#[cfg(all(test, not(model)))]
mod tests {
    use super::*;

    /// Counts releases until a check period ends, at the time `now`, and returns their number and whether the pace is
    /// hot.
    fn run_period(now: u32) -> (u32, bool) {
        let mut releases = 1;
        while !ends_check_period() {
            releases += 1;
        }
        (releases, measure_pace(now))
    }

    #[test]
    fn fast_releases_lengthen_the_period_and_then_make_the_lock_hot_and_a_slow_one_ends_both() {
        run_period(100);
        run_period(200);
        assert!(!run_period(200).1);
        // The count goes on, so that the first period of another length is shorter or longer.
        assert!(run_period(201).1);
        assert_eq!(run_period(202), (LONG_FAIRNESS_CHECK_PERIOD - 1, true));
        assert!(!run_period(204).1);
        run_period(300);
        assert_eq!(run_period(400), (FAIRNESS_CHECK_PERIOD - 1, false));
    }
}
