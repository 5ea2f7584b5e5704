//! Handles and callbacks
//!
//! Every object is named by a handle: a pointer to an opaque type, owned by whoever got it from a `_new` function. `_ref` takes one more
//! reference and `_free` gives one back; the object lives as long as anybody keeps it, the library included (a running thread keeps itself, a
//! condition its lock, a started timer itself, a list its threads). A handle that is NULL, freed, of another kind or no handle at all gets
//! THREADING_ERR_HANDLE from every function; it never crashes. A function that returns no status answers it with NULL, 0 or false, and sets the
//! last error. Checks come in this order: handle, arguments, state.

use core::ffi::{c_char, c_int, c_void};

use crate::{Barrier, Condition, Event, Local, Lock, RLock, Semaphore, Thread, ThreadList, Timer};

/// A handle type and what lies behind it.
pub(super) trait Opaque {
    type Object;
}

macro_rules! opaque {
    ($($(#[$doc:meta])* $name:ident => $object:ty;)*) => {
        $(impl Opaque for $name { type Object = $object; })*
    };
}

opaque! {
    threading_thread => Thread;
    threading_thread_list => ThreadList;
    threading_timer => Timer;
    threading_lock => Lock;
    threading_rlock => RLock;
    threading_condition => Condition;
    threading_semaphore => Semaphore;
    threading_event => Event;
    threading_barrier => Barrier;
    threading_local => Local;
}

/// A thread of control. Python: `threading.Thread`.
pub struct threading_thread {
    _opaque: [u8; 0],
}

/// A function that runs after a delay, unless it is cancelled before. Python: `threading.Timer`.
pub struct threading_timer {
    _opaque: [u8; 0],
}

/// A lock that one caller holds at a time, and that any thread may release. Python: `threading.Lock`.
pub struct threading_lock {
    _opaque: [u8; 0],
}

/// A lock that its owner may take again. Python: `threading.RLock`.
pub struct threading_rlock {
    _opaque: [u8; 0],
}

/// A lock together with a line of threads that wait to be notified. Python: `threading.Condition`.
pub struct threading_condition {
    _opaque: [u8; 0],
}

/// A counter that is never below zero. Python: `threading.Semaphore`, `threading.BoundedSemaphore`.
pub struct threading_semaphore {
    _opaque: [u8; 0],
}

/// A flag to wait for. Python: `threading.Event`.
pub struct threading_event {
    _opaque: [u8; 0],
}

/// A place where a number of threads wait for each other. Python: `threading.Barrier`.
pub struct threading_barrier {
    _opaque: [u8; 0],
}

/// Data of which each thread has its own. Python: `threading.local`.
pub struct threading_local {
    _opaque: [u8; 0],
}

/// The threads that were alive at one moment. Python: what `threading.enumerate()` returns.
pub struct threading_thread_list {
    _opaque: [u8; 0],
}

/// What a thread or a timer runs, like a start routine of pthread_create: its result is kept for threading_thread_result().
pub type threading_target = Option<unsafe extern "C-unwind" fn(arg: *mut c_void) -> *mut c_void>;

/// An override of a thread's run(): called instead of the target, with the thread and the target's argument.
pub type threading_run =
    Option<unsafe extern "C-unwind" fn(thread: *mut threading_thread, arg: *mut c_void) -> *mut c_void>;

/// Whether what a condition waits for has come: above zero yes, zero no, below zero failed.
pub type threading_predicate = Option<unsafe extern "C-unwind" fn(arg: *mut c_void) -> c_int>;

/// What a barrier's last arriver does before anyone goes on: zero is done, all else failed.
pub type threading_action = Option<unsafe extern "C-unwind" fn(arg: *mut c_void) -> c_int>;

/// Makes a local's value for the thread that calls it.
pub type threading_local_init = Option<unsafe extern "C-unwind" fn(arg: *mut c_void) -> *mut c_void>;

/// Releases a value that is no longer needed.
pub type threading_destructor = Option<unsafe extern "C-unwind" fn(value: *mut c_void)>;

/// Called once, when the process ends.
pub type threading_callback = Option<unsafe extern "C-unwind" fn(arg: *mut c_void)>;

/// Told of what a thread could not handle: the thread, what kind of thing it was, and a sentence.
pub type threading_excepthook = Option<
    unsafe extern "C-unwind" fn(
        thread: *mut threading_thread,
        kind: *const c_char,
        message: *const c_char,
        arg: *mut c_void,
    ),
>;
