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

#[cfg(fault)]
#[path = "fault.rs"]
pub mod fault;
