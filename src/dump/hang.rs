//! Reports of hangs: deadlocks, and a process exit that does not end.
//!
//! The threads that hang make the checks (`sync::hang_watch`). Of a deadlock, the thread whose wait began last reports,
//! so that it is reported once, when it has lasted for the period.

use core::ffi::{c_char, c_int, c_void};
use core::sync::atomic::{AtomicBool, Ordering};

use crate::dump::line::{Lines, Output};
use crate::dump::snapshot::{Entry, Snapshot};
use crate::dump::{dump, write};
use crate::error::Result;
use crate::handle::Handle;
use crate::sync::mutex::{ForkReset, InternalMutex};
use crate::sync::waiter::Waiter;
use crate::sync::{hang_watch, waiter};
use crate::sys;
use crate::sys::annotate::{happens_after, happens_before};
use crate::sys::{memory, pthread, tls};
use crate::thread::ident::OWNER_SHIFT;
use crate::thread::object::Thread;
use crate::thread::registry;
use crate::time::Deadline;

/// The hook of the program: the kind of the hang, the report, and the program's argument.
pub(crate) type HangHook = unsafe extern "C-unwind" fn(kind: c_int, report: *const c_char, arg: *mut c_void);

pub(crate) const DEADLOCK: c_int = 1;
pub(crate) const EXIT: c_int = 2;

/// The hook, `None` for reports to stderr, and its argument.
#[derive(Clone, Copy)]
struct Hook {
    hook: Option<HangHook>,
    arg: usize,
}

#[cfg_attr(target_os = "linux", unsafe(link_section = "threading_untracked"))]
static HOOK: InternalMutex<Hook> = InternalMutex::new(Hook { hook: None, arg: 0 });

impl ForkReset for Hook {
    fn reset_in_child(&mut self) {}

    fn reset_interrupted_change(&mut self) {
        // The hook and the argument may not belong together.
        *self = Hook { hook: None, arg: 0 };
    }
}

/// Whether the process is to be aborted after the report of a deadlock.
static ABORTS: AtomicBool = AtomicBool::new(false);

const STDERR: c_int = 2;
/// The size of the largest report that a hook gets.
const REPORT_SIZE: usize = 256 * 1024;

/// Sets the hook, and after how many nanoseconds a hang is reported; 0 turns reports off.
pub(crate) fn set_hook(period_ns: u64, hook: Option<HangHook>, arg: *mut c_void) {
    happens_before(&HOOK);
    *HOOK.lock() = Hook { hook, arg: arg as usize };
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
    if !is_in_hook() {
        report_deadlock();
    }
}

fn report_deadlock() {
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
    if !is_in_hook() {
        report(EXIT);
    }
}

/// Returns whether the calling thread runs the hook. What waits in the hook is not checked.
fn is_in_hook() -> bool {
    tls::with(|block| block.in_hang_hook.get())
}

fn report(kind: c_int) {
    let Hook { hook, arg } = *HOOK.lock();
    happens_after(&HOOK);
    let Some((hook, buffer)) = hook.and_then(|hook| Some((hook, memory::map(0, REPORT_SIZE)?))) else {
        let _: Result<()> = dump(STDERR);
        return;
    };
    // SAFETY: mapped above.
    let text = unsafe { core::slice::from_raw_parts_mut(buffer as *mut u8, REPORT_SIZE) };
    let snapshot = Snapshot::take();
    write(&mut Lines::new(Output::Buffer(text, 0)), &snapshot);
    drop(snapshot);
    // SAFETY: the program promises that the hook may be called with the argument. The text ends with NUL.
    let call = || unsafe { hook(kind, buffer as *const c_char, arg as *mut c_void) };
    abort_on_unwind(|| in_wait(|| pthread::call_user(call)));
    // SAFETY: mapped above; the text is valid until the hook has returned.
    unsafe { memory::unmap(buffer, REPORT_SIZE) };
}

/// Runs the hook, which may wait, in a wait of the calling thread. The thread's waiter may be in a queue, so that waits
/// in the hook use another one.
fn in_wait(hook: impl FnOnce()) {
    let waiter = tls::with(|block| {
        block.in_hang_hook.set(true);
        block.waiter.take()
    });
    hook();
    Waiter::release_current();
    tls::with(|block| {
        block.waiter.set(waiter);
        block.in_hang_hook.set(false);
    });
}

/// Runs the hook. The calling thread is in a wait, which cannot be ended by unwinding.
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
