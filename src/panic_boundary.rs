//! The panic boundary: a panic in the library's own code is a defect of the library, and does not unwind into the
//! program.
//!
//! In a call, a caught panic becomes an error of that call. In a thread of the library, or in a function that libc
//! calls, it is reported, and execution continues with the next step. Rust's panic hook prints the message with its
//! source location; a line that names the library follows.
//!
//! Exported functions without a boundary cannot panic: they only read constants, or read or clear the calling thread's
//! last error.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a step of the library's own code, and returns `None` if it panics. No callback may unwind through it, by
/// `pthread_exit` or otherwise.
#[inline(always)]
pub(crate) fn catch_panic<R>(step: impl FnOnce() -> R) -> Option<R> {
    if cfg!(model) {
        // Model checkers report failures by panics.
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
    const LINE: &[u8] = b"libthreading: internal error: the library has caught a panic in its own code\n";
    // SAFETY: `LINE` is valid for reads of its length. An error, for example of a closed stderr, is ignored.
    unsafe { crate::sys::write(libc::STDERR_FILENO, LINE.as_ptr().cast(), LINE.len()) };
}

/// A place at which a test can make the library panic.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum FaultPoint {
    /// At the beginning of a call.
    Call = 1,
    /// With an `InternalMutex` held.
    Locked,
    /// At the start of a thread.
    ThreadStart,
    /// In a timer thread, between two functions.
    TimerWorker,
    /// In each step of a thread's exit.
    ThreadExit,
    /// In the fork handlers.
    Fork,
    /// In the atexit handler.
    ProcessExit,
}

/// Panics if a test has armed this fault point.
#[cfg(not(fault))]
#[inline(always)]
pub(crate) fn inject(_: FaultPoint) {}

#[cfg(fault)]
pub(crate) use fault::inject;

/// Fault injection for tests/rust/panics.rs, compiled only with `--cfg fault`.
#[cfg(fault)]
pub mod fault {
    pub use crate::panic_boundary::FaultPoint;
    use core::cell::Cell;
    use core::sync::atomic::{AtomicU32, Ordering};

    thread_local! {
        static ARMED: Cell<Option<FaultPoint>> = const { Cell::new(None) };
    }
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
        let mine = ARMED.get() == Some(point);
        let any_thread =
            || ARMED_ANY_THREAD.compare_exchange(point as u32, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if mine || any_thread() {
            ARMED.set(None);
            FIRED_COUNT.fetch_add(1, Ordering::SeqCst);
            panic!("injected fault: {point:?}");
        }
    }
}
