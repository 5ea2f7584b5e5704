//! Lets waiting threads check whether they hang. There is no thread that watches the others: each thread that waits
//! without a timeout wakes up once, after a period, and checks for itself. So does a thread that waits for a condition
//! with a timeout, since it waits for the lock without one when it has been notified.
//!
//! A deadlock begins when its last thread parks. So it is enough that each thread checks once in each wait, a period
//! after it has parked. `dump::hang` decides which of the threads reports. There is one exception, which is not
//! reported: a thread that does not own the Lock of a condition notifies a waiter, and this closes the cycle after its
//! threads have checked.
//!
//! # One search for many threads
//!
//! A search for the cycle of one thread follows its edges, of which there may be thousands, and thousands of threads may
//! check at about the same time. So the first one searches the edges of all threads. If it finds no cycle, the others
//! need not check: a deadlock that exists later contains a thread that has parked since the search began, and that
//! thread checks. `SEARCHES` is the number of searches that have begun. A thread reads it when it parks, after what
//! shows that it waits. By Dekker's pattern, either the search sees the wait, or the thread reads the number of that
//! search or of a later one, and checks.
//!
//! While the watch is off, a thread executes two more loads before it parks.

use core::mem;
use core::ptr;
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

use crate::sys::blocked_thread;
use crate::sys::tls;
use crate::time::Deadline;

/// The period in nanoseconds, 0 if the watch is off.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static PERIOD_NS: AtomicU64 = AtomicU64::new(0);
/// The number of calls of `set`, plus one. After each call, the threads that wait check once more. Incremented after
/// the period is stored, and read before it, so that no thread takes a former period for that of this call.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static SETTINGS: AtomicU32 = AtomicU32::new(1);
/// The number of searches for deadlocks of all threads that have begun, and that of the last one that has found none.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static SEARCHES: AtomicU64 = AtomicU64::new(0);
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static LAST_WITHOUT_DEADLOCK: AtomicU64 = AtomicU64::new(0);
/// The functions that check, set before the first period: a [`Check`], and a `fn()`.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ON_WAIT: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ON_EXIT: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
/// The function that looks for threads that are blocked by the process exit itself. Set when the library is loaded.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ON_LONG_EXIT: AtomicPtr<()> = AtomicPtr::new(ptr::null_mut());
/// The per-thread block of the last thread that has begun the process exit, 0 if none has.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static EXITING: AtomicUsize = AtomicUsize::new(0);

/// Of the threads of a deadlock whose waits seem to have begun at the same time, one reports (`dump::hang`), and must
/// not check before the last one has parked. So no period is shorter than a time for which a thread is rarely
/// interrupted.
const MIN_PERIOD_NS: u64 = 20_000_000;

/// The first and the longest time, in nanoseconds, after which a thread tries again to check, if another check prevents
/// it. The time is doubled each time.
const MIN_RETRY_NS: u64 = 1_000_000;
const MAX_RETRY_NS: u64 = 1_000_000_000;

/// A function that checks whether the calling thread hangs. If another check prevents it, it returns the number of that
/// check. It is not prevented by the check with the number that is its argument.
pub(crate) type Check = fn(long_check: Option<u32>) -> Option<u32>;

/// Sets the period, 0 for none, and the functions that check: `on_wait` for a thread that waits, `on_exit` for one that
/// waits in the process exit or a shutdown.
pub(crate) fn set(period_ns: u64, on_wait: Check, on_exit: fn()) {
    ON_WAIT.store(on_wait as *mut (), Ordering::Relaxed);
    ON_EXIT.store(on_exit as *mut (), Ordering::Relaxed);
    PERIOD_NS.store(if period_ns == 0 { 0 } else { period_ns.max(MIN_PERIOD_NS) }, Ordering::Release);
    SETTINGS.fetch_add(1, Ordering::Release);
}

/// A search of all threads begins. Returns its number.
pub(crate) fn begin_search() -> u64 {
    let number = SEARCHES.fetch_add(1, Ordering::SeqCst) + 1;
    fence(Ordering::SeqCst);
    number
}

/// The search with this number has found no deadlock.
pub(crate) fn end_search_without_deadlock(number: u64) {
    LAST_WITHOUT_DEADLOCK.fetch_max(number, Ordering::Release);
}

/// The first and the longest interval, in nanoseconds, after which a thread in the process exit looks for threads that
/// are blocked by it.
const MIN_LOOK_INTERVAL_NS: u64 = 10_000_000;
const MAX_LOOK_INTERVAL_NS: u64 = 1_000_000_000;
/// Looks take at most 1 / `LOOK_TIME_DIVISOR` of the time.
const LOOK_TIME_DIVISOR: u64 = 64;

/// Sets the function that a thread in the process exit calls at increasing intervals while it waits.
pub(crate) fn set_on_long_exit(look: fn()) {
    ON_LONG_EXIT.store(look as *mut (), Ordering::Relaxed);
}

/// The calling thread begins the process exit.
pub(crate) fn begin_process_exit() {
    EXITING.store(current_block(), Ordering::Relaxed);
}

fn current_block() -> usize {
    tls::with(|block| ptr::from_ref(block) as usize)
}

/// The watch of one wait, in which a thread may park several times: it checks once, a period after the thread has first
/// parked. Signals and spurious wake-ups neither defer nor repeat the check.
pub(crate) struct HangWatch {
    /// Whether the wait may become a part of a deadlock.
    is_watched: bool,
    /// The value of `SETTINGS` for which `check_at` was computed, 0 if it was not.
    settings: u32,
    /// When the watch checks; `NEVER` after it has checked.
    check_at: Deadline,
    /// The value of `SEARCHES` when the thread last parked.
    searches: u64,
    /// When a check was prevented: by which other one, and after how many nanoseconds the thread tries again.
    prevented_by: Option<u32>,
    retry_ns: u64,
}

impl HangWatch {
    /// The watch of a wait for a lock or for the end of a thread, with this deadline.
    #[inline]
    pub(crate) fn new(deadline: Deadline) -> HangWatch {
        HangWatch {
            is_watched: deadline == Deadline::NEVER,
            settings: 0,
            check_at: Deadline::NEVER,
            searches: 0,
            prevented_by: None,
            retry_ns: MIN_RETRY_NS,
        }
    }

    /// The watch of a wait for a condition, whatever its deadline.
    #[inline]
    pub(crate) fn of_condition() -> HangWatch {
        HangWatch::new(Deadline::NEVER)
    }

    /// Parks the calling thread by `park`, which returns false if the deadline that is passed to it passes first. Like
    /// `park`, this function may return true early, also after a check. A part of a wait without a deadline may have
    /// one, if the thread polls.
    #[inline(always)]
    pub(crate) fn park(&mut self, until: Deadline, park: impl Fn(Deadline) -> bool) -> bool {
        let is_on = PERIOD_NS.load(Ordering::Acquire) != 0;
        if is_on && self.is_watched { self.park_and_check(until, park) } else { park(until) }
    }

    #[cold]
    fn park_and_check(&mut self, until: Deadline, park: impl Fn(Deadline) -> bool) -> bool {
        let check_at = self.next_check();
        fence(Ordering::SeqCst);
        self.searches = SEARCHES.load(Ordering::SeqCst);
        if park(until.min(check_at)) {
            return true;
        }
        // If it has checked before, `check_at` is `NEVER`.
        let is_due = check_at <= until;
        if is_due {
            self.check();
        }
        is_due
    }

    #[cold]
    fn next_check(&mut self) -> Deadline {
        let settings = SETTINGS.load(Ordering::Acquire);
        if self.settings != settings {
            let period = PERIOD_NS.load(Ordering::Acquire);
            (self.settings, self.check_at) = (settings, Deadline::now().add_ns(period));
            self.retry_ns = MIN_RETRY_NS;
        }
        self.check_at
    }

    #[cold]
    fn check(&mut self) {
        // The watch may have been turned off or set again while the thread was parked.
        if !is_current(self.settings) {
            return;
        }
        if LAST_WITHOUT_DEADLOCK.load(Ordering::Acquire) > self.searches {
            self.check_at = Deadline::NEVER;
            return;
        }
        let has_waited_long = self.retry_ns == MAX_RETRY_NS;
        self.prevented_by = check_wait(self.prevented_by.filter(|_| has_waited_long));
        self.check_at = match self.prevented_by {
            Some(_) => Deadline::now().add_ns(self.retry_ns),
            None => Deadline::NEVER,
        };
        self.retry_ns = (2 * self.retry_ns).min(MAX_RETRY_NS);
    }
}

/// The watch of one process exit or shutdown: it checks after the period, and again whenever the time has doubled. It
/// also looks for threads that are blocked by it, if it is an exit: after a shutdown, what blocks them may end.
pub(crate) struct ExitWatch {
    is_watched: bool,
    next: u64,
    since: Deadline,
    /// When the thread looks next, and the interval after that.
    look_at: Deadline,
    look_interval: u64,
}

impl ExitWatch {
    pub(crate) fn new(deadline: Deadline) -> ExitWatch {
        let since = Deadline::now();
        let looks = blocked_thread::MAY_BE_KNOWN && EXITING.load(Ordering::Relaxed) == current_block();
        ExitWatch {
            is_watched: deadline == Deadline::NEVER,
            next: 0,
            since,
            look_at: if looks { since.add_ns(MIN_LOOK_INTERVAL_NS) } else { Deadline::NEVER },
            look_interval: MIN_LOOK_INTERVAL_NS,
        }
    }

    /// As `HangWatch::park`.
    #[inline]
    pub(crate) fn park(&mut self, until: Deadline, park: impl Fn(Deadline) -> bool) -> bool {
        let look_at = self.look_at;
        if self.park_and_check(until.min(look_at), park) {
            return true;
        }
        let is_due = look_at <= until;
        if is_due {
            self.look();
        }
        is_due
    }

    #[inline]
    fn park_and_check(&mut self, until: Deadline, park: impl Fn(Deadline) -> bool) -> bool {
        let settings = SETTINGS.load(Ordering::Acquire);
        let period = PERIOD_NS.load(Ordering::Acquire);
        if period == 0 || !self.is_watched {
            return park(until);
        }
        let check_at = self.since.add_ns(self.next.max(period));
        if park(until.min(check_at)) {
            return true;
        }
        let is_due = check_at <= until;
        if is_due && is_current(settings) {
            self.next = self.next.max(period).saturating_mul(2);
            call(&ON_EXIT);
        }
        is_due
    }

    #[cold]
    fn look(&mut self) {
        let before = Deadline::now();
        call(&ON_LONG_EXIT);
        let after = Deadline::now();
        self.look_interval = (2 * self.look_interval).min(MAX_LOOK_INTERVAL_NS);
        let duration = after.0.saturating_sub(before.0);
        self.look_at = after.add_ns(self.look_interval.max(duration.saturating_mul(LOOK_TIME_DIVISOR)));
    }
}

/// Returns whether threads that wait check. While they do, their notes need precise times.
#[inline]
pub(super) fn is_on() -> bool {
    PERIOD_NS.load(Ordering::Relaxed) != 0
}

fn is_current(settings: u32) -> bool {
    PERIOD_NS.load(Ordering::Acquire) != 0 && SETTINGS.load(Ordering::Relaxed) == settings
}

#[cold]
fn check_wait(long_check: Option<u32>) -> Option<u32> {
    let check = ON_WAIT.load(Ordering::Relaxed);
    if check.is_null() {
        return None;
    }
    // SAFETY: `set` has stored a function of this type.
    let check = unsafe { mem::transmute::<*mut (), Check>(check) };
    check(long_check)
}

#[cold]
fn call(check: &AtomicPtr<()>) {
    let check = check.load(Ordering::Relaxed);
    if !check.is_null() {
        // SAFETY: `set` or `set_on_long_exit` has stored a function of this type.
        let check = unsafe { mem::transmute::<*mut (), fn()>(check) };
        check();
    }
}
