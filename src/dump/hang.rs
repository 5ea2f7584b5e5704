//! Reports of hangs: deadlocks, and a process exit that does not end.
//!
//! The threads that hang make the checks (`sync::hang_watch`). Of a deadlock, the thread whose wait began last reports,
//! so that it is reported once, when it has lasted for the period.

use core::ffi::{c_char, c_int, c_void};
use core::ptr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

use crate::dump::line::{Lines, Output};
use crate::dump::snapshot::{Entry, Snapshot};
use crate::dump::{dump, write};
use crate::error::Result;
use crate::handle::Handle;
use crate::sync::{hang_watch, waiter};
use crate::sys;
use crate::sys::{memory, tls};
use crate::thread::ident::OWNER_SHIFT;
use crate::thread::object::Thread;
use crate::thread::registry;
use crate::time::Deadline;

/// The hook of the program: the kind of the hang, the report, and the program's argument.
pub(crate) type HangHook = unsafe extern "C" fn(kind: c_int, report: *const c_char, arg: *mut c_void);

pub(crate) const DEADLOCK: c_int = 1;
pub(crate) const EXIT: c_int = 2;

/// The hook, NULL for reports to stderr. Its argument is stored before it, and read after it.
static HOOK: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
static ARG: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
/// Whether the process is to be aborted after the report of a deadlock.
static ABORTS: AtomicBool = AtomicBool::new(false);

const STDERR: c_int = 2;
/// The size of the largest report that a hook gets.
const REPORT_SIZE: usize = 256 * 1024;

/// Sets the hook, and after how many nanoseconds a hang is reported; 0 turns reports off.
pub(crate) fn set_hook(period_ns: u64, hook: Option<HangHook>, arg: *mut c_void) {
    ARG.store(arg, Ordering::Release);
    HOOK.store(hook.map_or(ptr::null_mut(), |hook| hook as *mut c_void), Ordering::Release);
    hang_watch::set(period_ns, check_deadlock, report_exit);
    if period_ns != 0 {
        wake_waiters();
    }
}

/// Wakes the threads that are parked without a timeout, so that they park again with the period.
fn wake_waiters() {
    for waiter in waiter::all() {
        let Some(wait) = waiter.read_wait().filter(|wait| wait.until == Deadline::NEVER) else { continue };
        if let Ok((thread, _)) = Handle::<Thread>::from_bits(wait.object).check() {
            thread.wake_joiners();
        }
        waiter.wake_spuriously();
    }
    registry::wake_shutdowns();
}

/// Lets the process abort after the report of a deadlock.
pub(crate) fn abort_after_deadlock() {
    ABORTS.store(true, Ordering::Relaxed);
}

/// The calling thread has waited for the period.
fn check_deadlock() {
    let snapshot = Snapshot::take();
    let me = tls::with(|block| block.owner_tag.get()) >> OWNER_SHIFT;
    let Some(entry) = snapshot.find(me) else { return };
    if snapshot.deadlock_of(entry).is_none() || !is_reporter(&snapshot, entry) {
        return;
    }
    drop(snapshot);
    report(DEADLOCK);
    if ABORTS.load(Ordering::Relaxed) {
        sys::abort();
    }
}

/// Returns whether the wait of this thread began last of those in its cycle. Of waits that began in the same clock tick,
/// that of the thread with the highest identifier counts.
fn is_reporter(snapshot: &Snapshot, start: Entry) -> bool {
    let began = |entry: Entry| Some((entry.waiter?.read_wait()?.since, entry.ident));
    let mut at = start;
    loop {
        match snapshot.next_in_cycle(at, start) {
            None => return false,
            Some(next) if next.ident == start.ident => return true,
            Some(next) if began(next) > began(start) => return false,
            Some(next) => at = next,
        }
    }
}

fn report_exit() {
    report(EXIT);
}

fn report(kind: c_int) {
    let hook = HOOK.load(Ordering::Acquire);
    let buffer = if hook.is_null() { None } else { memory::map(0, REPORT_SIZE) };
    let Some(buffer) = buffer else {
        let _: Result<()> = dump(STDERR);
        return;
    };
    // SAFETY: mapped above.
    let text = unsafe { core::slice::from_raw_parts_mut(buffer as *mut u8, REPORT_SIZE) };
    let snapshot = Snapshot::take();
    write(&mut Lines::new(Output::Buffer(text, 0)), &snapshot);
    drop(snapshot);
    // SAFETY: `set_hook` stored a hook, and the program promises that it may be called with the argument. The text ends
    // with NUL.
    unsafe {
        let hook = core::mem::transmute::<*mut c_void, HangHook>(hook);
        hook(kind, buffer as *const c_char, ARG.load(Ordering::Acquire));
        memory::unmap(buffer, REPORT_SIZE);
    }
}
