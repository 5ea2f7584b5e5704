//! Event
//!
//! An event is a flag that threads can wait for. Setting it wakes all threads that wait at that time;
//! their waits succeed even if the event is cleared immediately afterwards. Later waits do not block
//! until the event is cleared.
//!
//! An event may be queried, set and cleared in a signal handler on systems where threads block on
//! futexes (Linux, unless the library was built with its portable backend). A thread that holds the
//! only reference to an event may free it immediately after setting it.
//!
//! A task that runs once per second until the event is set:
//!     static void *tick(void *arg)
//!     {
//!         threading_event *stop = arg;
//!         while (threading_event_wait_timeout(stop, 1.0) == THREADING_TIMED_OUT)
//!             puts("tick");
//!         return NULL;
//!     }

use core::ffi::c_char;

use crate::capi::status::{THREADING_OK, THREADING_TIMED_OUT, threading_status};
use crate::capi::types::threading_event;
use crate::capi::utils::optional_cstr_arg;
use crate::capi::{
    fast_path_or, from_ptr, handle_or_null, signal_safe, status, status_of, status_or, value_of,
};
use crate::event::Event;
use crate::handle::Handle;
use crate::time::Timeout;

/// Creates an event that is not set.
///
/// \return the new event, owned by the caller; NULL with THREADING_ERR_NO_MEMORY if there is not enough
///     memory
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.Event()`
/// \since 0.1.0
/// \sa threading_event_free, threading_event_set, threading_event_wait
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_new() -> *mut threading_event {
    handle_or_null(Handle::<Event>::new)
}

/// Adds a reference to an event.
///
/// \param event the event
/// \return the same handle, with one more reference owned by the caller; NULL with THREADING_ERR_HANDLE
///     if the handle is invalid; NULL with THREADING_ERR_OVERFLOW if the object has too many references
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_event_free
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_ref(event: *mut threading_event) -> *mut threading_event {
    handle_or_null(|| from_ptr(event).add_ref())
}

/// Releases a reference to an event. Releasing the last one destroys the event.
///
/// Waiters that threading_event_set() has woken do not prevent this; their waits succeed.
///
/// \param event the event
/// \return THREADING_OK; THREADING_ERR_BUSY if it is the last reference and threads are blocked on the
///     event; THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_event_new, threading_event_ref
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_free(event: *mut threading_event) -> threading_status {
    status(|| from_ptr(event).free())
}

/// Returns whether an event is currently set.
///
/// If it returns true, everything that was written before the event was set is visible to the calling
/// thread.
///
/// \param event the event
/// \return true if the event is set, false if it is not; false with THREADING_ERR_HANDLE if the handle
///     is invalid
///
/// \blocks never
/// \threadsafety any thread; async-signal-safe, unless the library was built with its portable backend
/// \python `event.is_set()`
/// \since 0.1.0
/// \sa threading_event_set, threading_event_clear, threading_event_wait
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_is_set(event: *mut threading_event) -> bool {
    let event = from_ptr(event);
    fast_path_or(event.is_set_fast(), move || value_of(signal_safe(|| event.is_set())))
}

/// Sets an event and wakes all threads that wait for it.
///
/// Their waits succeed even if the event is cleared immediately afterwards. If the event is already
/// set, it stays set.
///
/// \param event the event
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread; async-signal-safe, unless the library was built with its portable backend
/// \python `event.set()`
/// \since 0.1.0
/// \sa threading_event_clear, threading_event_is_set, threading_event_wait
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_set(event: *mut threading_event) -> threading_status {
    let event = from_ptr(event);
    fast_path_or(event.set_fast().then_some(THREADING_OK), move || status_of(signal_safe(|| event.set())))
}

/// Clears an event, so that later waits block. Waits that were in progress when the event was set still
/// succeed.
///
/// \param event the event
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread; async-signal-safe, unless the library was built with its portable backend
/// \python `event.clear()`
/// \since 0.1.0
/// \sa threading_event_set, threading_event_is_set, threading_event_wait
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_clear(event: *mut threading_event) -> threading_status {
    status_of(signal_safe(|| from_ptr(event).clear()))
}

/// Waits until an event is set.
///
/// \param event the event
/// \return THREADING_OK if the event is set or was set during the wait, even if it was cleared again;
///     THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks until the event is set
/// \threadsafety any thread
/// \python `event.wait()`
/// \since 0.1.0
/// \sa threading_event_wait_timeout, threading_event_set, threading_event_clear
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_wait(event: *mut threading_event) -> threading_status {
    let event = from_ptr(event);
    fast_path_or((event.is_set_fast() == Some(true)).then_some(THREADING_OK), move || {
        status(|| event.wait(Timeout::FOREVER).map(drop))
    })
}

/// Waits until an event is set or the timeout expires.
///
/// \param event the event
/// \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely, 0 does not wait
/// \return THREADING_OK if the event is set or was set during the wait, even if it was cleared again;
///     THREADING_TIMED_OUT if the timeout expired first; THREADING_ERR_HANDLE if the handle is invalid;
///     THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if `seconds` is out of range
///
/// \blocks until the event is set or the timeout expires
/// \threadsafety any thread
/// \python `event.wait(seconds)`
/// \since 0.1.0
/// \sa threading_event_wait, threading_event_set, threading_event_clear
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_wait_timeout(
    event: *mut threading_event,
    seconds: f64,
) -> threading_status {
    let event = from_ptr(event);
    let fast = Timeout::is_plain_finite(seconds) && event.is_set_fast() == Some(true);
    fast_path_or(fast.then_some(THREADING_OK), move || {
        status_or(THREADING_TIMED_OUT, || event.wait(event.or_handle_error(Timeout::new(seconds))?))
    })
}

/// Reinitializes an event to the cleared state.
///
/// It is meant for the child process after fork().
///
/// \param event the event
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread; meant for the only thread of a child process
/// \python `event._at_fork_reinit()`
/// \since 0.1.0
/// \sa threading_event_new, threading_event_clear
#[unsafe(no_mangle)]
pub extern "C" fn threading_event_at_fork_reinit(event: *mut threading_event) -> threading_status {
    status(|| from_ptr(event).at_fork_reinit())
}

/// Sets the name of an event, which dumps show.
///
/// The first 47 bytes of the name are kept, up to the end of a character. Several objects may have the
/// same name. An object without a name is shown by its handle.
///
/// \param event the event
/// \param name the name in UTF-8; NULL removes it
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE if the name
///     is not valid UTF-8; THREADING_ERR_NO_MEMORY if there is not enough memory
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_dump
///
/// # Safety
/// `name` is NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_event_set_name(
    event: *mut threading_event,
    name: *const c_char,
) -> threading_status {
    // SAFETY: guaranteed by the caller.
    status(|| from_ptr(event).set_name(unsafe { optional_cstr_arg(name) }))
}
