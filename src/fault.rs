//! Faults that tests/rust/panics.rs and tests/rust/stopped.rs plant in the library: panics at the fault points, and
//! threads that stop with a mutex held. Compiled only with `--cfg fault`.

pub use crate::panic_boundary::FaultPoint;
use core::cell::Cell;
use core::panic::Location;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Mutex;

thread_local! {
    static ARMED: Cell<Option<FaultPoint>> = const { Cell::new(None) };
    /// How often the thread has to reach `Locked` until it stops there, 0 if it does not stop.
    static STOP_COUNT: Cell<u32> = const { Cell::new(0) };
    /// The type of the data of the mutex that the thread has locked last.
    static LOCKED_TYPE: Cell<&str> = const { Cell::new("") };
}
static STOPPED: AtomicBool = AtomicBool::new(false);
/// In which mutex the thread has stopped: the type of its data, and the source file that locks it.
static STOPPED_IN: Mutex<(&str, &str)> = Mutex::new(("", ""));
/// The process in which a thread is to stop. A child of fork does not.
static STOP_PID: AtomicU32 = AtomicU32::new(0);
static ARMED_ANY_THREAD: AtomicU32 = AtomicU32::new(0);
static FIRED_COUNT: AtomicU32 = AtomicU32::new(0);

/// Arms a fault point: the calling thread panics when it next reaches it.
pub fn arm(point: FaultPoint) {
    ARMED.set(Some(point));
}

/// Arms a fault point for all threads: the first one that reaches it panics.
pub fn arm_any_thread(point: FaultPoint) {
    ARMED_ANY_THREAD.store(point as u32, Ordering::SeqCst);
}

/// Lets the calling thread stop, with an `InternalMutex` held, when it next locks one; if `count` is not 1, when it
/// locks one for the `count`-th time. It goes on after `go_on`.
pub fn stop_when_locked(count: u32) {
    STOP_PID.store(std::process::id(), Ordering::SeqCst);
    STOP_COUNT.set(count);
}

/// Returns whether a thread has stopped.
pub fn has_stopped() -> bool {
    STOPPED.load(Ordering::SeqCst)
}

/// Returns in which mutex the thread has stopped: the type of its data, and the source file that locks it.
pub fn stopped_in() -> (&'static str, &'static str) {
    *STOPPED_IN.lock().unwrap()
}

pub(crate) fn set_locked_type(name: &'static str) {
    LOCKED_TYPE.set(name);
}

/// Returns how many mutexes the calling thread locks in `f`.
pub fn locks_in(f: impl FnOnce()) -> u32 {
    let before = STOP_COUNT.replace(u32::MAX);
    f();
    u32::MAX - STOP_COUNT.replace(before)
}

/// Lets the thread that has stopped go on.
pub fn go_on() {
    STOPPED.store(false, Ordering::SeqCst);
}

#[track_caller]
fn stop_if_due() {
    let count = STOP_COUNT.get();
    STOP_COUNT.set(count.saturating_sub(1));
    if count == 1 && STOP_PID.load(Ordering::SeqCst) == std::process::id() {
        *STOPPED_IN.lock().unwrap() = (LOCKED_TYPE.get(), Location::caller().file());
        STOPPED.store(true, Ordering::SeqCst);
        while STOPPED.load(Ordering::SeqCst) {
            std::thread::sleep(core::time::Duration::from_micros(200));
        }
    }
}

/// Returns the number of injected panics, and resets it to 0.
pub fn take_fired_count() -> u32 {
    FIRED_COUNT.swap(0, Ordering::SeqCst)
}

/// Returns whether the calling thread's next call is to panic: it then must not take a fast path, which has no
/// panic boundary.
pub(crate) fn is_armed() -> bool {
    ARMED.get() == Some(FaultPoint::Call)
}

#[track_caller]
pub(crate) fn inject(point: FaultPoint) {
    if point == FaultPoint::Locked {
        stop_if_due();
    }
    let mine = ARMED.get() == Some(point);
    let any_thread =
        || ARMED_ANY_THREAD.compare_exchange(point as u32, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok();
    if mine || any_thread() {
        ARMED.set(None);
        FIRED_COUNT.fetch_add(1, Ordering::SeqCst);
        panic!("injected fault: {point:?}");
    }
}
