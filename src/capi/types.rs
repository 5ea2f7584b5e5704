//! Handles and callbacks
//!
//! Object handles, reference counting, and the functions that the library calls.
//!
//! An object is referred to by a handle, which is a pointer to an opaque type. The same rules apply to
//! all types.
//!
//! Ownership. A `_new` function returns a handle that the caller owns, or NULL if it fails. A `_ref`
//! function adds a reference and returns the same handle, and a `_free` function releases one. An
//! object exists until all references to it have been released. The library holds references of its
//! own: a running thread and a started timer each hold a reference to themselves, a condition holds one
//! to its lock, and a list holds one to each of its threads. Freeing the handle of a running thread
//! therefore only releases the reference; it neither waits for the thread nor stops it. A handle is
//! valid as long as its object exists, no matter which references keep the object alive. A `_free`
//! without a matching reference fails with THREADING_ERR_HANDLE and does not affect other references.
//! Two handles are equal if and only if they refer to the same object; the handle of an object that no
//! longer exists is never used for another object.
//!
//! Destruction. A lock may be freed while it is held. Releasing the last reference to an object on
//! which threads are blocked fails with THREADING_ERR_BUSY, and nothing is freed. Threads that have
//! already been woken or notified do not count as blocked: it is safe to call threading_event_set()
//! followed by threading_event_free() while other threads wait. An object may be freed inside its own
//! callback.
//!
//! Borrowed handles. Some functions return a handle that the caller does not own. Their documentation
//! calls it "borrowed" and says how long it is valid. To keep the object longer, add a reference with
//! `_ref`, and release that reference with `_free` later.
//!
//! Invalid handles. A handle is invalid if it is NULL, if its object no longer exists (even if the
//! memory has been reused for a newer object), if its object is of another type, or if it is not a
//! handle at all. Every function that is called with an invalid handle fails with THREADING_ERR_HANDLE;
//! it does not crash and does not access another object. A function that does not return a status
//! returns NULL, 0 or false in this case, and threading_last_error() returns THREADING_ERR_HANDLE. The
//! result of a `_new` function can therefore be passed on without a check: if it is NULL, the next call
//! reports the error.
//!
//! Order of checks. A function checks the handle first, then its other arguments, then the state of the
//! object. All arguments are checked in every call: an invalid timeout, for example, is an error even
//! if the call would not block.
//!
//! Callbacks. The library does not hold any of its own locks while it runs a callback, so a callback
//! may call any function. A thread's target and a timer's function may call pthread_exit(), and a
//! thread may be cancelled by pthread_cancel() (deferred cancellation) while it runs its target; the
//! thread still ends properly. No other callback may call pthread_exit() or be cancelled; the library
//! calls it with cancellation disabled. C++ exceptions and exceptions of other languages must not
//! propagate into the library. A callback that is registered with an object may be called until the
//! object is destroyed, and its argument must stay valid until then. A NULL target, timer function,
//! action or destructor means that no function is called; passing a NULL predicate, init function or
//! exit callback fails with THREADING_ERR_VALUE.
//!
//! Two owners of one lock:
//!     struct account { threading_lock *lock; long balance; };
//!     static bool account_init(struct account *account, threading_lock *shared)
//!     {
//!         account->balance = 0;
//!         account->lock = threading_lock_ref(shared); // the account's own reference
//!         return account->lock != NULL;
//!     }
//!     static void account_end(struct account *account)
//!     {
//!         (void)threading_lock_free(account->lock); // other references stay valid
//!     }

use core::ffi::{c_char, c_int, c_void};

use crate::thread::list::ThreadList;
use crate::{Barrier, Condition, Event, Local, Lock, RLock, Semaphore, Thread, Timer};

/// A handle type of C and the type of its object.
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

/// A thread of execution.
///
/// \python `threading.Thread`
/// \since 0.1.0
pub struct threading_thread {
    _opaque: [u8; 0],
}

/// A thread that calls a function after a delay, unless it is cancelled first.
///
/// \python `threading.Timer`
/// \since 0.1.0
pub struct threading_timer {
    _opaque: [u8; 0],
}

/// A mutual exclusion lock, which any thread may release.
///
/// \python `threading.Lock`
/// \since 0.1.0
pub struct threading_lock {
    _opaque: [u8; 0],
}

/// A reentrant lock, which its owner can acquire again.
///
/// \python `threading.RLock`
/// \since 0.1.0
pub struct threading_rlock {
    _opaque: [u8; 0],
}

/// A condition variable together with its lock.
///
/// \python `threading.Condition`
/// \since 0.1.0
pub struct threading_condition {
    _opaque: [u8; 0],
}

/// A counting semaphore, either bounded or unbounded.
///
/// \python `threading.Semaphore`, `threading.BoundedSemaphore`
/// \since 0.1.0
pub struct threading_semaphore {
    _opaque: [u8; 0],
}

/// A flag that threads can wait for.
///
/// \python `threading.Event`
/// \since 0.1.0
pub struct threading_event {
    _opaque: [u8; 0],
}

/// A synchronization point for a fixed number of threads.
///
/// \python `threading.Barrier`
/// \since 0.1.0
pub struct threading_barrier {
    _opaque: [u8; 0],
}

/// Thread-local data: each thread has its own value and its own named attributes.
///
/// \python `threading.local`
/// \since 0.1.0
pub struct threading_local {
    _opaque: [u8; 0],
}

/// A snapshot of the threads that are alive.
///
/// \python the result of `threading.enumerate()`
/// \since 0.1.0
pub struct threading_thread_list {
    _opaque: [u8; 0],
}

/// The function of a thread or a timer, similar to the start routine of pthread_create().
///
/// The new thread calls it once. The function may call pthread_exit(). A thread may be cancelled by
/// pthread_cancel() while it runs its target; a timer's function must not be cancelled, because it runs
/// on a system thread that timers share.
///
/// \param arg the argument that was passed to threading_thread_new() or threading_timer_new()
/// \return the result of the thread, which threading_thread_result() returns
///
/// \since 0.1.0
/// \sa threading_thread_new, threading_timer_new, threading_thread_result
pub type threading_target = Option<unsafe extern "C-unwind" fn(arg: *mut c_void) -> *mut c_void>;

/// A function that overrides the run function of a thread. The thread calls it instead of the target,
/// and it may do the same as a target.
///
/// \param thread the thread itself, borrowed; `threading_thread_run(thread)` calls the target
/// \param arg the argument that was passed to threading_thread_new() or threading_timer_new()
/// \return the result of the thread, which threading_thread_result() returns
///
/// \since 0.1.0
/// \sa threading_thread_set_run, threading_thread_run
pub type threading_run =
    Option<unsafe extern "C-unwind" fn(thread: *mut threading_thread, arg: *mut c_void) -> *mut c_void>;

/// A function that tests whether the state that a thread waits for has been reached. The waiting thread
/// calls it with the condition's lock held.
///
/// \param arg the argument that was passed to the wait function
/// \return a positive number if the predicate is true; 0 if it is false; a negative number if it
///     failed, which ends the wait with THREADING_ERR_CALLBACK
///
/// \since 0.1.0
/// \sa threading_condition_wait_for, threading_condition_wait_for_timeout
pub type threading_predicate = Option<unsafe extern "C-unwind" fn(arg: *mut c_void) -> c_int>;

/// The action of a barrier, which the last thread to arrive runs before any of the threads returns.
///
/// \param arg the argument that was passed to threading_barrier_new()
/// \return 0 on success; any other number on failure, which breaks the barrier
///
/// \since 0.1.0
/// \sa threading_barrier_new
pub type threading_action = Option<unsafe extern "C-unwind" fn(arg: *mut c_void) -> c_int>;

/// A function that returns the initial value of a local for the calling thread. It may itself use the
/// local.
///
/// \param arg the argument that was passed to threading_local_new_with_init()
/// \return the value, which may be NULL
///
/// \since 0.1.0
/// \sa threading_local_new_with_init
pub type threading_local_init = Option<unsafe extern "C-unwind" fn(arg: *mut c_void) -> *mut c_void>;

/// A function that destroys a thread's argument or a local's value when it is no longer needed.
///
/// \param value the argument or the value, never NULL
///
/// \since 0.1.0
/// \sa threading_thread_set_arg_destructor, threading_local_new
pub type threading_destructor = Option<unsafe extern "C-unwind" fn(value: *mut c_void)>;

/// A function that is called once at process exit or in threading_shutdown(), by the thread that runs
/// the shutdown sequence.
///
/// \param arg the argument that was passed to threading_atexit()
///
/// \since 0.1.0
/// \sa threading_atexit
pub type threading_callback = Option<unsafe extern "C-unwind" fn(arg: *mut c_void)>;

/// A hook that threading_report_exception() calls, in the thread that has the unhandled exception.
///
/// \param thread the calling thread, borrowed
/// \param type the name of the exception's type, valid during the call
/// \param message the message of the exception, valid during the call
/// \param arg the argument that was passed to threading_set_excepthook()
///
/// \since 0.1.0
/// \sa threading_set_excepthook, threading_report_exception
pub type threading_excepthook = Option<
    unsafe extern "C-unwind" fn(
        thread: *mut threading_thread,
        r#type: *const c_char,
        message: *const c_char,
        arg: *mut c_void,
    ),
>;
