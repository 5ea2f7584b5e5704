//! Event
//!
//! An event is a flag to wait for. Setting it lets everybody go on who waits at that moment, even if it is cleared again at once, and
//! everybody who comes later until it is cleared.

use super::status::{THREADING_TIMED_OUT, threading_status};
use super::types::threading_event;
use super::{handle, object, outcome, status, value};
use crate::event::Event;
use crate::handle::Handle;
use crate::time::Timeout;

/// Makes an event that is not set.
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_new() -> *mut threading_event {
    handle(Handle::<Event>::new)
}

/// Takes one more reference.
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_ref(event: *mut threading_event) -> *mut threading_event {
    handle(|| object(event).add_ref())
}

/// Gives one reference back; the last one ends the event's life.
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_free(event: *mut threading_event) -> threading_status {
    status(|| object(event).free())
}

/// Tells whether the event is set.
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_is_set(event: *mut threading_event) -> bool {
    value(|| object(event).is_set())
}

/// Sets the event, and lets all go on that wait for it.
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_set(event: *mut threading_event) -> threading_status {
    status(|| object(event).set())
}

/// Clears the event: from now on it is waited for again.
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_clear(event: *mut threading_event) -> threading_status {
    status(|| object(event).clear())
}

/// Waits until the event is set.
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_wait(event: *mut threading_event) -> threading_status {
    status(|| object(event).wait(Timeout::FOREVER).map(drop))
}

/// Waits until the event is set, no longer than the given time.
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_wait_timeout(
    event: *mut threading_event,
    seconds: f64,
) -> threading_status {
    outcome(THREADING_TIMED_OUT, || {
        let event = object(event);
        event.wait(event.argument(Timeout::new(seconds))?)
    })
}

/// Makes the event as new: not set.
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_at_fork_reinit(event: *mut threading_event) -> threading_status {
    status(|| object(event).at_fork_reinit())
}
