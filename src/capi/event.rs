//! Event
//!
//! An event is a flag to wait for. Setting it lets everybody go on who waits at that moment, even if it
//! is cleared again at once, and everybody who comes later until it is cleared.
//!
//! Asking, setting and clearing may be done in a signal handler, on systems where threads sleep by
//! futex (Linux, unless the library was built with its portable backend). Whoever sets an event that it
//! alone owns may free it right away.
//!
//! Something to do once a second until it is set, which ends the wait at once:
//!     static void *tick(void *arg)
//!     {
//!         threading_event *stop = arg;
//!         while (threading_event_wait_timeout(stop, 1.0) == THREADING_TIMED_OUT)
//!             puts("tick");
//!         return NULL;
//!     }

use crate::capi::status::{THREADING_OK, THREADING_TIMED_OUT, threading_status};
use crate::capi::types::threading_event;
use crate::capi::{handle, object, outcome, shortcut, status, value};
use crate::event::Event;
use crate::handle::Handle;
use crate::time::Timeout;

/// Makes an event that is not set.
///
/// \return the event, owned by the caller; NULL with THREADING_ERR_NO_MEMORY
///
/// Blocks: never. Thread safety: any thread. Python: `threading.Event()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_new() -> *mut threading_event {
    handle(Handle::<Event>::new)
}

/// Takes one more reference to an event.
///
/// \param event the event
/// \return the same handle, owned once more; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
///         (too many references)
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_ref(event: *mut threading_event) -> *mut threading_event {
    handle(|| object(event).add_ref())
}

/// Gives one reference to an event back. The last one ends its life.
///
/// Waiters that a set has let go do not keep it from that; they return as they should.
///
/// \param event the event
/// \return THREADING_OK; THREADING_ERR_BUSY when it is the last one and threads are blocked on the
///         event; THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_free(event: *mut threading_event) -> threading_status {
    status(|| object(event).free())
}

/// Tells whether the event is set, at this moment.
///
/// What was done before the set is visible after this has told true.
///
/// \param event the event
/// \return true if so; false if not, or with THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread, and signal handlers. Python: `event.is_set()`. Since
/// 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_is_set(event: *mut threading_event) -> bool {
    let event = object(event);
    shortcut(event.is_set_at_once(), move || value(|| event.is_set()))
}

/// Sets the event, and lets all go on that wait for it. One that is set already stays so.
///
/// \param event the event
/// \return THREADING_OK; THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread, and signal handlers. Python: `event.set()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_set(event: *mut threading_event) -> threading_status {
    let event = object(event);
    shortcut(event.set_at_once().then_some(THREADING_OK), move || status(|| event.set()))
}

/// Clears the event: from now on it is waited for again. Whoever waited when it was set goes on all the
/// same.
///
/// \param event the event
/// \return THREADING_OK; THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread, and signal handlers. Python: `event.clear()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_clear(event: *mut threading_event) -> threading_status {
    status(|| object(event).clear())
}

/// Waits until the event is set.
///
/// \param event the event
/// \return THREADING_OK when it is set, or a set came meanwhile, even if a clear followed;
///         THREADING_ERR_HANDLE
///
/// Blocks: until the event is set. Thread safety: any thread. Python: `event.wait()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_wait(event: *mut threading_event) -> threading_status {
    let event = object(event);
    shortcut((event.is_set_at_once() == Some(true)).then_some(THREADING_OK), move || {
        status(|| event.wait(Timeout::FOREVER).map(drop))
    })
}

/// Waits until the event is set, no longer than the given time.
///
/// \param event the event
/// \param seconds how long to wait at most, in seconds; THREADING_FOREVER waits without a limit, 0
///         looks once
/// \return THREADING_OK when it is set, or a set came meanwhile, even if a clear followed;
///         THREADING_TIMED_OUT when the time ran out before that; THREADING_ERR_HANDLE,
///         THREADING_ERR_VALUE, THREADING_ERR_OVERFLOW
///
/// Blocks: until the event is set, or the time runs out. Thread safety: any thread. Python:
/// `event.wait(seconds)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_wait_timeout(
    event: *mut threading_event,
    seconds: f64,
) -> threading_status {
    let event = object(event);
    let short = Timeout::is_common(seconds) && event.is_set_at_once() == Some(true);
    shortcut(short.then_some(THREADING_OK), move || {
        outcome(THREADING_TIMED_OUT, || event.wait(event.argument(Timeout::new(seconds))?))
    })
}

/// Makes the event as new: not set. For a child process.
///
/// \param event the event
/// \return THREADING_OK; THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread; meant for the only one of a child of fork. Python:
/// `event._at_fork_reinit()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_at_fork_reinit(event: *mut threading_event) -> threading_status {
    status(|| object(event).at_fork_reinit())
}
