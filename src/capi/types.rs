//! Handles and callbacks
//!
//! How objects are named, and the functions that the library calls.
//!
//! An object is named by a handle: a pointer to an opaque type. The rules are the same for all of them.
//!
//! Ownership. A `_new` function returns a handle that the caller owns, or NULL. `_ref` takes one more
//! reference and returns the same handle, `_free` gives one back. The object lives as long as anybody
//! keeps it, the library included: a running thread keeps itself, a started timer itself, a condition
//! its lock, a list its threads. So `_free` of a running thread only lets go of it; it never waits,
//! kills or joins. As long as the object lives, its handle works, whoever keeps it alive. A `_free` too
//! many is THREADING_ERR_HANDLE and takes nothing from anybody.
//!
//! Giving back. A held lock may be freed. The last reference to something that threads are blocked on
//! is refused: THREADING_ERR_BUSY, and nothing is freed. Threads that have been woken or notified
//! already do not count: threading_event_set() and then threading_event_free() is right and safe on
//! both sides. An object may be freed inside its own callback.
//!
//! Borrowed handles. Some functions return a handle that the caller does not own; they say "borrowed"
//! and how long it is valid. `_ref` it to keep it longer, and do not `_free` it without that.
//!
//! Bad handles. A handle that is NULL, whose object is gone (even if its memory serves a newer one), of
//! another kind, or no handle at all gets THREADING_ERR_HANDLE from every function; it never crashes
//! and never touches another object. A function that returns no status answers it with NULL, 0 or
//! false, and sets the last error. So the result of `_new` may be passed on unchecked: the next call
//! reports that there is none.
//!
//! Checks. They come in this order: the handle, the arguments (also when the call need not wait), the
//! state.
//!
//! Callbacks. They are called while no lock of the library is held, so they may call any function. A
//! target or a timer's function may be left by pthread_exit, and a target may be cancelled by
//! pthread_cancel (deferred); the thread still ends properly. No other callback may be left so, and no
//! C++ or foreign exception may enter the library. What an object keeps a callback and its argument
//! for, it may call until it is freed. A NULL target, timer function, action or destructor means that
//! there is nothing to call; a NULL predicate, init or exit callback is THREADING_ERR_VALUE.
//!
//! Two owners of one lock:
//!     struct account { threading_lock *lock; long balance; };
//!     static bool account_init(struct account *account, threading_lock *shared)
//!     {
//!         account->balance = 0;
//!         account->lock = threading_lock_ref(shared); // a reference of the account's own
//!         return account->lock != NULL;
//!     }
//!     static void account_end(struct account *account)
//!     {
//!         (void)threading_lock_free(account->lock); // whoever else has one goes on
//!     }

use core::ffi::{c_char, c_int, c_void};

use crate::thread::list::ThreadList;
use crate::{Barrier, Condition, Event, Local, Lock, RLock, Semaphore, Thread, Timer};

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

/// A thread whose function runs after a delay, unless it is cancelled. Python: `threading.Timer`.
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

/// What a thread or a timer runs, like a start routine of pthread_create().
///
/// Called once, in the thread. It may be left by pthread_exit(), and a thread's, not a timer's, may be
/// cancelled.
///
/// \param arg what was given to threading_thread_new() or threading_timer_new()
/// \return what threading_thread_result() will tell
pub type threading_target = Option<unsafe extern "C-unwind" fn(arg: *mut c_void) -> *mut c_void>;

/// An override of a thread's run(): called instead of the target, under the same rules.
///
/// \param thread the thread itself, borrowed; threading_thread_run() with it calls the target
/// \param arg what was given to threading_thread_new() or threading_timer_new()
/// \return what threading_thread_result() will tell
pub type threading_run =
    Option<unsafe extern "C-unwind" fn(thread: *mut threading_thread, arg: *mut c_void) -> *mut c_void>;

/// Tells whether what a condition waits for has come. Called with the condition's lock held.
///
/// \param arg what was given to the wait
/// \return above 0: yes; 0: no; below 0: it failed, and the wait ends with THREADING_ERR_CALLBACK
pub type threading_predicate = Option<unsafe extern "C-unwind" fn(arg: *mut c_void) -> c_int>;

/// What a barrier's last arriver does before anyone goes on.
///
/// \param arg what was given to threading_barrier_new()
/// \return 0: done; all else: failed, and the barrier is broken
pub type threading_action = Option<unsafe extern "C-unwind" fn(arg: *mut c_void) -> c_int>;

/// Makes a local's value for the thread that calls it. It may use the local.
///
/// \param arg what was given to threading_local_new_with_init()
/// \return the value; NULL is one too
pub type threading_local_init = Option<unsafe extern "C-unwind" fn(arg: *mut c_void) -> *mut c_void>;

/// Releases an argument or a value that is not needed any more.
///
/// \param value the argument or the value, never NULL
pub type threading_destructor = Option<unsafe extern "C-unwind" fn(value: *mut c_void)>;

/// Called once, by the thread that shuts the process down.
///
/// \param arg what was given to threading_atexit()
pub type threading_callback = Option<unsafe extern "C-unwind" fn(arg: *mut c_void)>;

/// Told of a failure that a thread could not handle.
///
/// \param thread the thread, borrowed
/// \param kind what kind of failure it was, as the name of an exception's type; valid during the call
/// \param message a sentence; valid during the call
/// \param arg what was given to threading_set_excepthook()
pub type threading_excepthook = Option<
    unsafe extern "C-unwind" fn(
        thread: *mut threading_thread,
        kind: *const c_char,
        message: *const c_char,
        arg: *mut c_void,
    ),
>;
