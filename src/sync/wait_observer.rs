//! An observer of waits: functions that are called when a thread parks, and when its wait has ended. Contention
//! statistics and traces use it. While there is no observer, it costs a load before a thread parks.

use core::ptr;
use core::sync::atomic::{AtomicPtr, Ordering};

use crate::time::Deadline;

pub(crate) struct Observer {
    /// Called before a thread parks, with the object for which it waits. The result is passed to `end`.
    pub(crate) begin: fn(object: usize) -> u64,
    /// Called when the wait has ended.
    pub(crate) end: fn(wait: ObservedWait),
}

/// A wait of the calling thread, which has been observed from its beginning.
#[derive(Clone, Copy)]
pub(crate) struct ObservedWait {
    /// The object, as in `wait_note`; 0 if the wait is not observed.
    pub(crate) object: usize,
    pub(crate) began: Deadline,
    /// What `Observer::begin` returned.
    pub(crate) at_begin: u64,
}

impl ObservedWait {
    const NONE: ObservedWait = ObservedWait { object: 0, began: Deadline(0), at_begin: 0 };
}

static OBSERVER: AtomicPtr<Observer> = AtomicPtr::new(ptr::null_mut());

/// Sets the observer, or removes it.
pub(crate) fn set(observer: Option<&'static Observer>) {
    OBSERVER.store(
        observer.map_or(ptr::null_mut(), |observer| ptr::from_ref(observer).cast_mut()),
        Ordering::Release,
    );
}

#[inline]
pub(super) fn begin(object: usize) -> ObservedWait {
    if OBSERVER.load(Ordering::Relaxed).is_null() { ObservedWait::NONE } else { begin_observed(object) }
}

#[cold]
fn begin_observed(object: usize) -> ObservedWait {
    match observer() {
        Some(observer) => ObservedWait { object, began: Deadline::now(), at_begin: (observer.begin)(object) },
        None => ObservedWait::NONE,
    }
}

#[inline]
pub(super) fn end(wait: ObservedWait) {
    if wait.object != 0 {
        end_observed(wait);
    }
}

#[cold]
fn end_observed(wait: ObservedWait) {
    if let Some(observer) = observer() {
        (observer.end)(wait);
    }
}

fn observer() -> Option<&'static Observer> {
    // SAFETY: NULL, or a reference that is valid for the whole process.
    unsafe { OBSERVER.load(Ordering::Acquire).as_ref() }
}
