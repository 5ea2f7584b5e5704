//! Defects of ours: a panic of the library's own code ends where it is caught. It becomes an error of the call in which
//! it came; in a thread of the library's, or in a call of libc's, it is reported, and what comes next goes on.
//!
//! The panic's message, with its place in the source, is printed by Rust's panic hook; the line that says whose defect
//! it is follows it.
//!
//! Functions without a guard cannot panic: they look into a table of constants, or at the calling thread's last error.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Does something of the library's own; `None` if that panics. No callback may leave through it, by `pthread_exit` or
/// otherwise.
#[inline(always)]
pub(crate) fn catch_panic<R>(step: impl FnOnce() -> R) -> Option<R> {
    if cfg!(model) {
        // A panic is how the checkers fail.
        return Some(step());
    }
    match catch_unwind(AssertUnwindSafe(step)) {
        Ok(result) => Some(result),
        Err(_) => {
            report();
            None
        }
    }
}

#[cold]
fn report() {
    const LINE: &[u8] = b"libthreading: this was a defect of the library, caught at its boundary\n";
    // SAFETY: so many bytes, which are only read. Where stderr is closed, nobody wants to know.
    unsafe { crate::sys::write(libc::STDERR_FILENO, LINE.as_ptr().cast(), LINE.len()) };
}

/// Where a test can have the library panic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum FaultPoint {
    /// At the beginning of a call.
    Call = 1,
    /// With one of the small locks held.
    Locked,
    /// Where a thread begins.
    ThreadStart,
    /// In the timers' thread, between two functions.
    TimerWorker,
    /// In each part of a thread's end.
    ThreadExit,
    /// In the handlers of a fork.
    Fork,
    /// In the handler of the process's exit.
    ProcessExit,
}

/// Panics, if a test wants it.
#[cfg(not(fault))]
#[inline(always)]
pub(crate) fn inject(_: FaultPoint) {}

#[cfg(fault)]
pub(crate) use fault::inject;

/// The faults of tests/rust/panics.rs: compiled with `--cfg fault` only.
#[cfg(fault)]
pub mod fault {
    pub use crate::panic_boundary::FaultPoint;
    use core::cell::Cell;
    use core::sync::atomic::{AtomicU32, Ordering};

    thread_local! {
        static ARMED: Cell<Option<FaultPoint>> = const { Cell::new(None) };
    }
    static ANYWHERE: AtomicU32 = AtomicU32::new(0);
    static FIRED: AtomicU32 = AtomicU32::new(0);

    /// Has the calling thread panic at its next time at this place.
    pub fn arm(point: FaultPoint) {
        ARMED.set(Some(point));
    }

    /// Has whichever thread comes to this place first panic there.
    pub fn arm_any_thread(point: FaultPoint) {
        ANYWHERE.store(point as u32, Ordering::SeqCst);
    }

    /// How often a panic has come since this was last asked.
    pub fn take_fired_count() -> u32 {
        FIRED.swap(0, Ordering::SeqCst)
    }

    /// Whether the calling thread's next call is to panic: it takes no short way past the guard.
    pub(crate) fn is_armed() -> bool {
        ARMED.get() == Some(FaultPoint::Call)
    }

    #[track_caller]
    pub(crate) fn inject(point: FaultPoint) {
        let mine = ARMED.get() == Some(point);
        let any_thread =
            || ANYWHERE.compare_exchange(point as u32, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if mine || any_thread() {
            ARMED.set(None);
            FIRED.fetch_add(1, Ordering::SeqCst);
            panic!("a fault at {point:?}, for the test");
        }
    }
}
