//! Sleeping by `parking_lot_core`, for systems without a futex.
//!
//! What it cannot do: wake from a signal handler (its table of queues is guarded by locks); go on without memory (it
//! aborts); and promise that a child of fork neither hangs nor crashes (the table may be held by a thread that the
//! child does not have, and its queues lead through the storage of threads that slept in the parent).

use crate::sys::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot_core::{DEFAULT_PARK_TOKEN, DEFAULT_UNPARK_TOKEN, FilterOp, ParkResult};

use crate::sys;
use crate::time::Deadline;

pub(crate) fn wait(word: &AtomicU32, expected: u32, deadline: Deadline) -> bool {
    let limit = (deadline != Deadline::NEVER).then(|| {
        Instant::now().checked_add(Duration::from_nanos(deadline.0.saturating_sub(Deadline::now().0)))
    });
    // SAFETY: the key is the word's address, which only this library parks on; the callbacks neither panic
    // nor call back into the parking lot.
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
    let mut left = count;
    // SAFETY: as above.
    let woken = sys::preserving_errno(|| unsafe {
        parking_lot_core::unpark_filter(
            word.as_ptr().addr(),
            |_| match left.checked_sub(1) {
                Some(rest) => {
                    left = rest;
                    FilterOp::Unpark
                }
                None => FilterOp::Stop,
            },
            |_| DEFAULT_UNPARK_TOKEN,
        )
    });
    woken.unparked_threads != 0
}
