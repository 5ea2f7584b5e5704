//! Reports of hangs: deadlocks, and a process exit that does not end.
//!
//! The threads that hang check for themselves (`sync::hang_watch`). A deadlock is reported by the thread whose wait
//! began last, and thus once, when it has lasted for the period.

use core::ffi::{c_char, c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering, fence};

use crate::barrier::Barrier;
use crate::callbacks::AtomicCallback;
use crate::dump::line::{Lines, Output};
use crate::dump::snapshot::Snapshot;
use crate::dump::threads::{self, Entry};
use crate::dump::{dump, write};
use crate::error::Result;
use crate::handle::Handle;
use crate::lock::condition::Condition;
use crate::sync::fork_lock::ForkLock;
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sync::wait_note::{EXIT_CALLBACKS, PROCESS_EXIT, Wait};
use crate::sync::waiter::Waiter;
use crate::sync::{broadcast_word, hang_watch, waiter_pool};
use crate::sys;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::{calling_thread, memory, pthread, tls};
use crate::thread::object::Thread;
use crate::thread::{exit_callbacks, registry};
use crate::time::Deadline;

/// The hook of the program: the kind of the hang, the report, and the program's argument.
pub(crate) type HangHook = unsafe extern "C-unwind" fn(kind: c_int, report: *const c_char, arg: *mut c_void);

pub(crate) const DEADLOCK: c_int = 1;
pub(crate) const EXIT: c_int = 2;

/// The hook, `None` for reports to stderr, its argument, and whether reports are on. `SEQ` is odd while they change, and
/// readers use the three only if `SEQ` was even, and the same before and after: a hook must not be called with the
/// argument of another one, and a thread that has begun its check must not report to stderr because reports have been
/// turned off.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static HOOK: AtomicCallback<HangHook> = AtomicCallback::none();
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ARG: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static IS_ON: AtomicBool = AtomicBool::new(false);
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static SEQ: AtomicU32 = AtomicU32::new(0);
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static SETTING: InternalMutex<Setting> = InternalMutex::new(Setting);
/// Whether the process aborts after the report of a deadlock.
#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static ABORTS: AtomicBool = AtomicBool::new(false);

/// The permission to change the hook.
struct Setting;

impl ForkReset for Setting {
    fn reset_in_child(&mut self) {}
}

const STDERR: c_int = 2;
/// The size of the buffer for the report that a hook gets. A longer report is cut.
const REPORT_SIZE: usize = 256 * 1024;
/// The same if there is no memory: the buffer is then on the stack.
const SMALL_REPORT_SIZE: usize = 1024;

/// Sets the hook, and the period in nanoseconds after which a hang is reported; 0 turns reports off.
pub(crate) fn set_hook(period_ns: u64, hook: Option<HangHook>, arg: *mut c_void) {
    let setting = SETTING.lock();
    happens_before(&HOOK);
    let seq = SEQ.load(Ordering::Relaxed) & !1;
    SEQ.store(seq + 1, Ordering::Relaxed);
    fence(Ordering::Release);
    ARG.store(arg, Ordering::Relaxed);
    HOOK.store(hook, Ordering::Relaxed);
    IS_ON.store(period_ns != 0, Ordering::Relaxed);
    SEQ.store(seq.wrapping_add(2), Ordering::Release);
    hang_watch::set(period_ns, check_deadlock, report_exit);
    drop(setting);
    if period_ns != 0 {
        wake_until_all_are_parked();
    }
}

/// Returns the mutex, which is locked across a fork: a child in which the hook had been changing would find none.
pub(crate) fn fork_lock() -> &'static impl ForkLock {
    &SETTING
}

/// Returns the hook and its argument; `None` if reports are off, or if a thread that does not run is changing them.
fn hook() -> Option<(Option<HangHook>, *mut c_void)> {
    const MAX_TRIES: u32 = 1000;
    for _ in 0..MAX_TRIES {
        let seq = SEQ.load(Ordering::Acquire);
        let pair = (HOOK.load(Ordering::Relaxed), ARG.load(Ordering::Relaxed));
        let is_on = IS_ON.load(Ordering::Relaxed);
        fence(Ordering::Acquire);
        if seq & 1 == 0 && SEQ.load(Ordering::Relaxed) == seq {
            return is_on.then_some(pair);
        }
        core::hint::spin_loop();
    }
    None
}

/// Wakes the threads whose waits are watched, so that they park again with the period. A thread that has read the
/// former period and is about to park misses the first wake-up. So this is repeated until all of them were parked, but
/// not indefinitely, since a thread may be in a signal handler. It is always done twice, because the first time the
/// caller may not see that such a thread waits. Waiters that park together miss no wake-up, and need only one.
fn wake_until_all_are_parked() {
    const MAX_PAUSES: u32 = 100;
    broadcast_word::wake_spuriously();
    wake_waiters();
    for _ in 0..MAX_PAUSES {
        calling_thread::pause_for_a_millisecond();
        if wake_waiters() {
            break;
        }
    }
}

/// Wakes the threads that are parked in a watched wait. Returns false if one that may be part of a deadlock waits, but
/// was not parked.
fn wake_waiters() -> bool {
    let mut were_parked = true;
    for waiter in waiter_pool::all() {
        let Some(wait) = waiter.read_wait().filter(is_watched) else { continue };
        let was_parked = if wait.object == PROCESS_EXIT {
            registry::wake_shutdowns()
        } else if wait.object == EXIT_CALLBACKS {
            exit_callbacks::wake_waiters()
        } else if let Ok((thread, _)) = Handle::<Thread>::from_bits(wait.object).check() {
            // Main and the timers are joined on the same word as a state is awaited.
            thread.wake_joiners() | thread.wake_state_waiters()
        } else {
            // The waiters of a barrier share a word of it.
            waiter.wake_spuriously()
                || !wait.is_parked_on_record()
                || Handle::<Barrier>::from_bits(wait.object).check().is_ok()
        };
        were_parked &= was_parked;
    }
    were_parked
}

/// Returns whether a wait is watched: it has no deadline, or it is for a condition.
fn is_watched(wait: &Wait) -> bool {
    let is_for_condition = || wait.notified || Handle::<Condition>::from_bits(wait.object).check().is_ok();
    wait.until == Deadline::NEVER || is_for_condition()
}

/// From now on, the process aborts after the report of a deadlock.
pub(crate) fn abort_after_deadlock() {
    ABORTS.store(true, Ordering::Relaxed);
}

/// Reports a deadlock of the calling thread, which has waited for the period. If another thread uses the index of
/// threads, does nothing and returns the number of that use, unless the number is `long_use`. Without the index, the
/// time of a check is quadratic in the number of threads, all of which may check at the same time.
fn check_deadlock(long_use: Option<u32>) -> Option<u32> {
    let search = hang_watch::begin_search();
    let snapshot = match Snapshot::take_indexed() {
        Ok(indexed) => indexed,
        Err(number) if long_use != Some(number) => return Some(number),
        Err(_) => Snapshot::without_index(),
    };
    if snapshot.has_no_deadlock() {
        hang_watch::end_search_without_deadlock(search);
    } else if is_reporter_of_deadlock(snapshot) {
        report(DEADLOCK);
        if ABORTS.load(Ordering::Relaxed) {
            sys::abort();
        }
    }
    None
}

/// Returns whether there is a deadlock that the calling thread must report.
fn is_reporter_of_deadlock(snapshot: Snapshot) -> bool {
    let Some(entry) = snapshot.find(threads::my_ident()) else { return false };
    let cycle = snapshot.deadlock_of(entry).map(|cycle| (entry, cycle));
    let cycle = cycle.or_else(|| snapshot.exit_deadlock_of(entry));
    cycle.is_some_and(|(start, cycle)| is_reporter(&snapshot, entry, start, cycle.length))
}

/// Returns whether the wait of this thread began last of those in its cycle, which is found from `start`. Of waits that
/// began at the same time, that of the thread with the highest identifier counts. `length` is that of the cycle; false
/// if it exists no more.
fn is_reporter(snapshot: &Snapshot, entry: Entry, start: Entry, length: usize) -> bool {
    let began = |entry: Entry| Some((entry.recorded_wait()?.since, entry.ident));
    let mut at = start;
    for _ in 0..length {
        if began(at) > began(entry) {
            return false;
        }
        match snapshot.next_in_cycle(at, start) {
            None => return false,
            Some(next) if next.ident == start.ident => return true,
            Some(next) => at = next,
        }
    }
    false
}

/// Reports that the calling thread has waited for a period in the process exit or a shutdown.
fn report_exit() {
    report(EXIT);
    let snapshot = Snapshot::take();
    let is_deadlocked = snapshot.find(threads::my_ident()).is_some_and(|entry| snapshot.is_deadlocked(entry));
    drop(snapshot);
    if is_deadlocked && ABORTS.load(Ordering::Relaxed) {
        sys::abort();
    }
}

/// Calls the hook, or writes the report to stderr. Does nothing in a wait of the hook itself.
fn report(kind: c_int) {
    if tls::with(|block| block.in_hang_hook.replace(true)) {
        return;
    }
    sys::preserving_errno(|| report_by_hook(kind));
    tls::with(|block| block.in_hang_hook.set(false));
}

fn report_by_hook(kind: c_int) {
    let Some((hook, arg)) = hook() else { return };
    happens_after(&HOOK);
    let Some(hook) = hook else {
        let _: Result<()> = dump(STDERR);
        return;
    };
    match memory::map(0, REPORT_SIZE) {
        Some(buffer) => {
            // SAFETY: mapped above.
            let text = unsafe { core::slice::from_raw_parts_mut(buffer as *mut u8, REPORT_SIZE) };
            call_hook(hook, kind, text, arg);
            // SAFETY: mapped above.
            unsafe { memory::unmap(buffer, REPORT_SIZE) };
        }
        None => call_hook(hook, kind, &mut [0; SMALL_REPORT_SIZE], arg),
    }
}

/// Writes a dump to the buffer, and calls the hook with it.
fn call_hook(hook: HangHook, kind: c_int, text: &mut [u8], arg: *mut c_void) {
    let snapshot = Snapshot::take();
    write(&mut Lines::new(Output::Buffer(text, 0)), &snapshot);
    drop(snapshot);
    // SAFETY: the program promises that the hook may be called with the argument. The text ends with NUL.
    let call = || unsafe { hook(kind, text.as_ptr().cast(), arg) };
    abort_on_unwind(|| Waiter::with_other_record(|| pthread::call_user(call)));
}

/// Runs the hook. If it unwinds, aborts the process, because unwinding must not pass through the wait of the calling
/// thread.
fn abort_on_unwind(f: impl FnOnce()) {
    struct Abort;

    impl Drop for Abort {
        fn drop(&mut self) {
            sys::abort();
        }
    }

    let abort = Abort;
    f();
    core::mem::forget(abort);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sync::hang_watch::HangWatch;
    use crate::sync::wait_note::with_note;
    use crate::sync::waiter::{PARKED, PARKED_TOGETHER, QUEUED};
    use core::cell::Cell;
    use std::sync::mpsc::channel;
    use std::sync::{Mutex, MutexGuard, PoisonError};
    use std::time::Duration;

    const HOUR_NS: u64 = 3_600_000_000_000;

    /// Held by the tests that set the hook.
    static HOOK_IN_USE: Mutex<()> = Mutex::new(());

    fn use_hook() -> MutexGuard<'static, ()> {
        HOOK_IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the hook while a thread that has read the former period is interrupted before it parks. Returns whether
    /// that thread was woken after it had parked.
    fn set_hook_before_a_thread_parks() -> bool {
        const UNKNOWN_OBJECT: usize = 8;
        const INTERRUPTION: Duration = Duration::from_millis(20);
        const LIMIT_NS: u64 = 2_000_000_000;
        set_hook(0, None, ptr::null_mut());
        let (has_read_former_period, former_period_was_read) = channel();
        let thread = std::thread::spawn(move || {
            let waiter = waiter_pool::current().unwrap();
            waiter.set_state(PARKED);
            let was_woken = with_note(UNKNOWN_OBJECT, Deadline::NEVER, || {
                let mut watch = HangWatch::new(Deadline::NEVER);
                let (has_period, was_woken) = (Cell::new(false), Cell::new(false));
                while !has_period.get() {
                    watch.park(Deadline::NEVER, |until| {
                        has_period.set(until != Deadline::NEVER);
                        if has_period.get() {
                            return true;
                        }
                        has_read_former_period.send(()).unwrap();
                        std::thread::sleep(INTERRUPTION);
                        was_woken.set(waiter.park_once(Deadline::now().add_ns(LIMIT_NS)));
                        was_woken.get()
                    });
                }
                was_woken.get()
            });
            waiter.set_state(QUEUED);
            was_woken
        });
        former_period_was_read.recv().unwrap();
        set_hook(HOUR_NS, None, ptr::null_mut());
        let was_woken = thread.join().unwrap();
        set_hook(0, None, ptr::null_mut());
        was_woken
    }

    #[test]
    fn a_thread_that_is_interrupted_before_it_parks_parks_with_the_new_period() {
        let _hook_in_use = use_hook();
        // A busy machine may interrupt the thread for longer than it is woken, but hardly in each of eight attempts.
        assert!((0..8).any(|_| set_hook_before_a_thread_parks()));
    }

    /// Such a thread is woken by its word, and not by its record.
    #[test]
    fn a_thread_that_parks_together_with_others_does_not_defer_the_hook() {
        const UNKNOWN_OBJECT: usize = 8;
        const ATTEMPTS: usize = 5000;
        let _hook_in_use = use_hook();
        let (parks, is_parked) = channel();
        let (ends, is_over) = channel();
        let thread = std::thread::spawn(move || {
            let waiter = waiter_pool::current().unwrap();
            waiter.set_state(PARKED_TOGETHER);
            with_note(UNKNOWN_OBJECT, Deadline::NEVER, || {
                parks.send(()).unwrap();
                is_over.recv().unwrap();
            });
            waiter.set_state(QUEUED);
        });
        is_parked.recv().unwrap();
        // Other tests have threads that are about to park.
        let were_parked = (0..ATTEMPTS).any(|_| {
            calling_thread::pause_for_a_millisecond();
            wake_waiters()
        });
        ends.send(()).unwrap();
        thread.join().unwrap();
        assert!(were_parked);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_child_of_fork_finds_a_hook_that_another_thread_was_changing() {
        const CHANGE: Duration = Duration::from_millis(20);
        let _hook_in_use = use_hook();
        let _lock = Handle::<crate::lock::lock::Lock>::new().unwrap();
        set_hook(HOUR_NS, None, ptr::null_mut());
        let (changes, begun) = channel();
        let thread = std::thread::spawn(move || {
            let setting = SETTING.lock();
            SEQ.fetch_add(1, Ordering::Relaxed);
            changes.send(()).unwrap();
            std::thread::sleep(CHANGE);
            SEQ.fetch_add(1, Ordering::Release);
            drop(setting);
        });
        begun.recv().unwrap();
        // SAFETY: the child only reads the hook.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let is_found = hook().is_some();
            // SAFETY: ends the child.
            unsafe { libc::_exit(i32::from(!is_found)) };
        }
        let mut status = 0;
        // SAFETY: `status` is valid for writes.
        assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
        assert_eq!(status, 0);
        thread.join().unwrap();
        set_hook(0, None, ptr::null_mut());
    }

    #[test]
    fn a_check_is_deferred_until_another_dump_has_used_the_index_unless_that_takes_long() {
        let _hook_in_use = use_hook();
        set_hook(HOUR_NS, None, ptr::null_mut());
        // Other tests make dumps, too.
        let indexed = loop {
            match Snapshot::take_indexed() {
                Ok(indexed) => break indexed,
                Err(_) => std::thread::yield_now(),
            }
        };
        let number = check_deadlock(None);
        assert!(number.is_some());
        assert_eq!(check_deadlock(number.map(|number| number.wrapping_sub(1))), number);
        assert_eq!(check_deadlock(number), None);
        drop(indexed);
        while check_deadlock(None).is_some() {
            std::thread::yield_now();
        }
        set_hook(0, None, ptr::null_mut());
    }

    #[test]
    fn a_check_that_has_begun_finds_no_hook_after_reports_were_turned_off() {
        let _hook_in_use = use_hook();
        set_hook(HOUR_NS, None, ptr::null_mut());
        assert!(matches!(hook(), Some((None, arg)) if arg.is_null()));
        set_hook(0, None, ptr::null_mut());
        assert!(hook().is_none());
    }

    /// Otherwise the thread that reports may be one that has checked before the deadlock was complete.
    #[test]
    fn of_two_waits_the_later_one_has_the_later_time() {
        let _hook_in_use = use_hook();
        set_hook(HOUR_NS, None, ptr::null_mut());
        let mut last = Deadline(0);
        for _ in 0..1000 {
            let begun = begin_a_wait();
            assert!(begun > last);
            last = begun;
            let next = Deadline::now().add_ns(10_000);
            while !next.has_passed() {}
        }
        set_hook(0, None, ptr::null_mut());
    }

    /// Returns when a wait of the calling thread has begun, according to its note.
    fn begin_a_wait() -> Deadline {
        const UNKNOWN_OBJECT: usize = 8;
        let mut since = Deadline(0);
        with_note(UNKNOWN_OBJECT, Deadline::NEVER, || {
            since = waiter_pool::current().unwrap().read_wait().unwrap().since;
        });
        since
    }
}
