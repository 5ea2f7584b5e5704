//! The portable backend: `parking_lot_core`, for systems without futexes.
//!
//! Its limitations: it cannot wake from a signal handler, since locks protect its table of queues; it may wake a thread
//! that is in one in place of another thread, since its queues contain such threads, too; it aborts if it cannot
//! allocate memory; and a child of fork may hang or crash, since a thread that does not exist in the child may hold one
//! of these locks, and the queues contain records in the thread-local storage of the parent's threads.

use crate::sys::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot_core::{DEFAULT_PARK_TOKEN, DEFAULT_UNPARK_TOKEN, FilterOp, ParkResult};

use crate::sys;
use crate::time::Deadline;

pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> bool {
    // The thread may be preempted between the two readings of the clock. In this order, the wait is then longer than
    // necessary, and not shorter.
    let limit = (deadline != Deadline::NEVER).then(|| {
        let remaining = Duration::from_nanos(deadline.0.saturating_sub(Deadline::now().0));
        Instant::now().checked_add(remaining)
    });
    // SAFETY: the key is the address of the word, on which only this library parks; the callbacks neither panic nor
    // call `parking_lot_core`.
    let result = sys::preserving_errno(|| unsafe {
        parking_lot_core::park(
            word.as_ptr().addr(),
            || word.load(Ordering::SeqCst) == expected,
            || {},
            |_, _| {},
            DEFAULT_PARK_TOKEN,
            limit.flatten(),
        )
    });
    !matches!(result, ParkResult::TimedOut)
}

pub(crate) fn wake(word: &AtomicU32, count: u32) -> bool {
    let mut remaining = count;
    // SAFETY: as above.
    let woken = sys::preserving_errno(|| unsafe {
        parking_lot_core::unpark_filter(
            word.as_ptr().addr(),
            |_| match remaining.checked_sub(1) {
                Some(rest) => {
                    remaining = rest;
                    FilterOp::Unpark
                }
                None => FilterOp::Stop,
            },
            |_| DEFAULT_UNPARK_TOKEN,
        )
    });
    woken.unparked_threads != 0
}
