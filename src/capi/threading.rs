//! Module functions
//!
//! Thread enumeration, the calling thread, process exit, fork and signals.
//!
//! Foreign threads. A foreign thread is a thread that this library did not start, other than the main
//! thread. It may call any function. Its first call to threading_current_thread() or
//! threading_report_exception() registers it as a dummy thread, which is a daemon thread with the name
//! `Dummy-N`; other calls, such as acquiring a lock or creating a thread, do not register it. A dummy
//! thread is listed by threading_enumerate() until it ends, and cannot be joined. The first thread of
//! the process is the main thread, `MainThread`, no matter which thread loaded the library.
//!
//! Exit. Returning from `main` and calling exit() wait for all non-daemon threads, including pending
//! non-daemon timers; daemon threads are abandoned. First, the functions registered with
//! threading_atexit() are called, the last registered one first. Then the main thread is marked as
//! ended, so that joins of it return. Then all non-daemon threads that this library started are joined,
//! including those that are started during the shutdown, but neither the calling thread nor threads
//! that are themselves in exit() or threading_shutdown(). A worker thread that calls exit() therefore
//! does not wait for itself. With glibc 2.41 and newer, exit() blocks while another thread is in it; a
//! thread that is blocked there is not waited for, and the status of its call has no effect. _exit()
//! and quick_exit() do not wait at all. pthread_exit() in `main` waits in the same way, and the process
//! then ends with status 0, even if daemon threads are still running. However, pthread_exit() in `main`
//! ends only the main thread if the exit handler (see below) is not registered yet, or if another thread
//! has loaded the library and `main` has never called it. In these cases, daemon threads keep the
//! process running, as do the library's own threads once a timer has been started.
//!
//! Exit handler. The library runs this sequence in an atexit() handler. It registers the handler when
//! it is first needed: at the first start of a thread or timer, at the first threading_atexit(), or
//! when the main thread first uses a local. Handlers that are registered later run before the joins,
//! and handlers that were registered earlier run after them. The main thread's values of locals are
//! destroyed after the joins, if the main thread itself returns from `main` or calls exit() or
//! pthread_exit().
//!
//! Fork. The child process has one thread, the thread that called fork(), with the same handle, name,
//! daemon flag and ident, and with a new native ID. It is the main thread of the child, and the only
//! thread that threading_enumerate() lists; a foreign thread becomes the thread `MainThread`. Other
//! started threads and pending timers have ended in the child: joining them returns immediately,
//! starting them fails with THREADING_ERR_ALREADY_STARTED, and cancelling a pending timer returns
//! THREADING_OK. Their argument destructors are not called, and the values of their locals are not
//! destroyed. Threads and timers that were not started can be started, new ones can be created, the
//! numbering of names continues, and functions registered with threading_atexit() are inherited. Locks
//! and all other objects keep the state that they had at the fork, and an RLock that the forking thread
//! owned still belongs to it. Threads that were blocked on an object in the parent do not exist in the
//! child: they are neither notified nor counted as waiters, and do not cause THREADING_ERR_BUSY. The
//! `_at_fork_reinit` functions reinitialize a lock, the lock of a condition, or an event. The cost of
//! fork() in the child does not depend on the number of threads and timers in the parent.
//!
//! Fork handlers. Any function may be called in the handlers of pthread_atfork(), whether they were
//! registered before the library was loaded or after it; a child handler finds the state described
//! above in both cases. While a prepare or parent handler that was registered before the library was
//! loaded is running, other threads block when they start or end, create or free objects, or query
//! other threads. They block until the handler calls a function of this library, but for at most 0.1 s,
//! so that a handler that waits for such a thread does not deadlock. Functions that run before main(),
//! such as those with the constructor attribute, may use the library and call fork().
//!
//! Children without handlers. The functions vfork(), posix_spawn(), _Fork() and clone() do not call
//! fork handlers, so the library does not notice the child process. The child may call the exec
//! functions and _exit(), and of this library only threading_version(), threading_version_number(),
//! threading_status_name() and threading_status_message(). A child of _Fork() or clone() that has its
//! own copy of the memory may call any function if the process had one thread and had never started a
//! timer; the native ID of its main thread is then that of the parent.
//!
//! Signals. Signals neither shorten nor extend a wait. threading_event_set(), threading_event_clear(),
//! threading_event_is_set(), threading_semaphore_release() and threading_semaphore_release_n() may be
//! called in a signal handler on systems where threads block on futexes (Linux, unless the library was
//! built with its portable backend, by the CMake option `-DTHREADING_PARK=portable`). threading_dump()
//! may always be called in one. The other functions of this library are not async-signal-safe.
//!
//! Forks in signal handlers. A signal handler may call fork() while its thread waits in a call of this
//! library, and so may a hang hook. When it returns, the wait goes on in the child, too. There, a join of
//! a thread that the child does not have returns, and no other thread has arrived at a barrier. A signal
//! handler must not call fork() if it may have interrupted another call of this library, or a thread that
//! is about to wait for a lock, a condition or a barrier.
//!
//! Listing the threads that are alive:
//!     static void print_threads(void)
//!     {
//!         threading_thread_list *threads = threading_enumerate();
//!         for (size_t i = 0; i < threading_thread_list_len(threads); i++) {
//!             threading_thread *thread = threading_thread_list_get(threads, i); // borrowed
//!             printf("%s%s\n", threading_thread_name(thread),
//!                    thread == threading_current_thread() ? " (the calling thread)" : "");
//!         }
//!         (void)threading_thread_list_free(threads);
//!     }

// The file exceeds 400 lines because it contains the documentation of a whole section of the header.

use core::ffi::{c_char, c_void};

use crate::capi::status::{THREADING_TIMED_OUT, threading_status};
use crate::capi::types::{threading_callback, threading_excepthook, threading_thread, threading_thread_list};
use crate::capi::utils::{cstr_arg, write_out};
use crate::capi::{
    ffi_panic_boundary, from_ptr, handle_or_null, set_last_error, status, status_or, value_or_default,
};
use crate::error::Error;
use crate::runtime::process_exit;
use crate::thread::{excepthook, ident, list, registry};
use crate::time::Timeout;
use crate::{ExceptHook, thread};

/// Returns the calling thread.
///
/// The handle is borrowed, and valid while the calling thread runs, including during the destruction of
/// its thread-local data. Inside a timer's function, the result is the timer's thread. The first call
/// in a foreign thread registers it as a dummy thread.
///
/// \return the thread, borrowed; NULL with THREADING_ERR_NO_MEMORY if there is not enough memory; NULL
///     with THREADING_ERR_SYSTEM if the thread is a foreign thread and the system cannot notify the
///     library of its end; NULL with THREADING_ERR_SHUTDOWN if the thread is a foreign thread that
///     makes its first call in its last round of pthread key destructors
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.current_thread()`
/// \since 0.1.0
/// \sa threading_main_thread, threading_get_ident, threading_enumerate
#[unsafe(no_mangle)]
pub extern "C" fn threading_current_thread() -> *mut threading_thread {
    handle_or_null(thread::current)
}

/// Returns the main thread: the first thread of the process or, in a child process, the thread that
/// called fork().
///
/// \return the thread, borrowed, and valid until the process ends; NULL with THREADING_ERR_NO_MEMORY if
///     there is not enough memory
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.main_thread()`
/// \since 0.1.0
/// \sa threading_current_thread, threading_enumerate
#[unsafe(no_mangle)]
pub extern "C" fn threading_main_thread() -> *mut threading_thread {
    handle_or_null(registry::main_thread)
}

/// Returns the number of threads that are alive, which is the length of the list that
/// threading_enumerate() creates.
///
/// \return the number of threads; 0 with THREADING_ERR_NO_MEMORY if there is not enough memory
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.active_count()`
/// \since 0.1.0
/// \sa threading_enumerate
#[unsafe(no_mangle)]
pub extern "C" fn threading_active_count() -> usize {
    value_or_default(list::active_count)
}

/// Creates a list of the threads that are alive: the main thread, then the others in the order of their
/// start.
///
/// The list also contains daemon threads, pending timers and dummy threads; a dummy thread counts as
/// started when it is registered. The list does not contain threads that have not been started or have
/// ended, except for the main thread, which stays in the list when a shutdown has marked it as ended. It
/// is a snapshot, and holds a reference to each of its threads until it is freed.
///
/// \return the list, owned by the caller, to be freed with threading_thread_list_free(); NULL with
///     THREADING_ERR_NO_MEMORY if there is not enough memory
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.enumerate()`
/// \since 0.1.0
/// \sa threading_thread_list_len, threading_thread_list_get, threading_thread_list_free,
///     threading_active_count
#[unsafe(no_mangle)]
pub extern "C" fn threading_enumerate() -> *mut threading_thread_list {
    handle_or_null(list::enumerate)
}

/// Returns the number of threads in a list.
///
/// \param list the list
/// \return the number of threads; 0 with THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python `len(threads)`
/// \since 0.1.0
/// \sa threading_enumerate, threading_thread_list_get, threading_thread_list_free
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_list_len(list: *mut threading_thread_list) -> usize {
    value_or_default(|| from_ptr(list).len())
}

/// Returns the thread at an index of a list.
///
/// \param list the list
/// \param i the index of the thread, from 0 to `threading_thread_list_len(list) - 1`
/// \return the thread, borrowed, and valid as long as the list; NULL with THREADING_ERR_HANDLE if the
///     handle is invalid; NULL with THREADING_ERR_VALUE if `i` is out of range
///
/// \blocks never
/// \threadsafety any thread
/// \python `threads[i]`
/// \since 0.1.0
/// \sa threading_enumerate, threading_thread_list_len, threading_thread_ref
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_list_get(
    list: *mut threading_thread_list,
    i: usize,
) -> *mut threading_thread {
    handle_or_null(|| from_ptr(list).get(i))
}

/// Frees a list and releases its references to the threads.
///
/// \param list the list
/// \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid
///
/// \blocks never
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_enumerate
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_list_free(list: *mut threading_thread_list) -> threading_status {
    status(|| from_ptr(list).free())
}

/// Returns the identifier (ident) of the calling thread or, inside a timer's function, of the timer's
/// thread.
///
/// The ident is never 0. Unlike Python's, it is not the pthread ID, and is never reused in the process.
/// The call does not register a foreign thread.
///
/// \return the ident, which threading_thread_ident() also returns for this thread
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.get_ident()`
/// \since 0.1.0
/// \sa threading_thread_ident, threading_get_native_id, threading_current_thread
#[unsafe(no_mangle)]
pub extern "C" fn threading_get_ident() -> u64 {
    value_or_default(|| Ok(ident::ident()))
}

/// Returns the ID that the kernel has assigned to the calling system thread.
///
/// \return the native ID; inside a timer's function, that of the system thread that runs it
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.get_native_id()`
/// \since 0.1.0
/// \sa threading_thread_native_id, threading_get_ident
#[unsafe(no_mangle)]
pub extern "C" fn threading_get_native_id() -> u64 {
    value_or_default(|| Ok(ident::native_id()))
}

/// Returns the default stack size, which is that of threads that are started from now on.
///
/// Unlike Python's function, the call does not reset the size to the system's default.
///
/// \return the size in bytes; 0 if it is the system's default
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.stack_size()`
/// \since 0.1.0
/// \sa threading_set_stack_size, threading_thread_set_stack_size
#[unsafe(no_mangle)]
pub extern "C" fn threading_stack_size() -> usize {
    value_or_default(|| Ok(thread::stack_size()))
}

/// Sets the stack size of threads that are started from now on, including those that run the functions
/// of timers.
///
/// A size that is set with threading_thread_set_stack_size() takes precedence. If the program has a
/// large amount of static thread-local storage, which is placed on each stack, its size is added.
///
/// \param bytes the size in bytes, at least 32768, or the system's minimum if that is larger; 0 selects
///     the system's default
/// \return THREADING_OK; THREADING_ERR_VALUE if the size is too small
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.stack_size(bytes)`
/// \since 0.1.0
/// \sa threading_stack_size, threading_thread_set_stack_size
#[unsafe(no_mangle)]
pub extern "C" fn threading_set_stack_size(bytes: usize) -> threading_status {
    status(|| thread::set_stack_size(bytes))
}

/// Suspends the calling thread for the given time. Signals do not shorten this time.
///
/// \param seconds the time in seconds; with THREADING_FOREVER, the call never returns; with 0, it
///     returns immediately
/// \return THREADING_OK; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if `seconds` is out of range
///
/// \blocks for the given time
/// \threadsafety any thread
/// \python `time.sleep(seconds)`
/// \since 0.1.0
/// \sa threading_event_wait_timeout, threading_timer_new
#[unsafe(no_mangle)]
pub extern "C" fn threading_sleep(seconds: f64) -> threading_status {
    status(|| Timeout::new(seconds).map(thread::sleep))
}

/// Registers a function to be called at process exit, before non-daemon threads are joined.
///
/// The functions are called in reverse order of their registration, and each is called once, even if
/// the shutdown is repeated. If a function calls exit(), that call does not return, and the shutdown
/// continues with the next function. A child process inherits the functions.
///
/// \param callback the function to call
/// \param arg the argument of the function
/// \return THREADING_OK; THREADING_ERR_VALUE if `callback` is NULL; THREADING_ERR_SHUTDOWN if the
///     shutdown has begun; THREADING_ERR_NO_MEMORY if there is not enough memory
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading._register_atexit(callback, arg)`
/// \since 0.1.0
/// \sa threading_shutdown
///
/// # Safety
/// `callback` accepts `arg`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_atexit(
    callback: threading_callback,
    arg: *mut c_void,
) -> threading_status {
    status(|| process_exit::register_callback(callback.ok_or(Error::NoCallback)?, arg))
}

/// Runs the shutdown sequence of exit(): calls the functions registered with threading_atexit(), marks
/// the main thread as ended, and joins all non-daemon threads that this library started.
///
/// The calling thread and threads that are themselves in exit() or threading_shutdown() are not joined.
/// After the call has returned, starting a thread or a timer and registering a function with
/// threading_atexit() fail with THREADING_ERR_SHUTDOWN; objects can still be created and used. The
/// function may be called again, and exit() then has nothing left to wait for.
///
/// \return THREADING_OK
///
/// \blocks until all non-daemon threads have ended, and while the registered functions run
/// \threadsafety any thread
/// \python `threading._shutdown()`
/// \since 0.1.0
/// \sa threading_shutdown_timeout, threading_atexit
#[unsafe(no_mangle)]
pub extern "C-unwind" fn threading_shutdown() -> threading_status {
    status(|| process_exit::shutdown(Timeout::FOREVER).map(drop))
}

/// Runs the shutdown sequence like threading_shutdown(), but waits for the threads for at most the
/// given time.
///
/// The time limit does not end a registered function that is running. If the call returns
/// THREADING_TIMED_OUT, threads can still be started, and the shutdown may be repeated; registered
/// functions that have been called are not called again.
///
/// \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely, 0 does not wait
/// \return THREADING_OK if all non-daemon threads have ended; THREADING_TIMED_OUT if the timeout
///     expired; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if `seconds` is out of range, in which
///     case the shutdown has not begun
///
/// \blocks until all non-daemon threads have ended or the timeout expires, and while the registered
///     functions run
/// \threadsafety any thread
/// \python none
/// \since 0.1.0
/// \sa threading_shutdown, threading_atexit
#[unsafe(no_mangle)]
pub extern "C-unwind" fn threading_shutdown_timeout(seconds: f64) -> threading_status {
    status_or(THREADING_TIMED_OUT, || process_exit::shutdown(Timeout::new(seconds)?))
}

/// Sets the hook that is called for unhandled exceptions of threads.
///
/// Other threads may still be running the previous hook when the call returns.
///
/// \param hook the function that threading_report_exception() calls; NULL selects the default, which
///     prints the line `Exception in thread NAME: TYPE: MESSAGE` to stderr
/// \param arg the last argument of the hook
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.excepthook = hook`
/// \since 0.1.0
/// \sa threading_get_excepthook, threading_report_exception, threading_excepthook
///
/// # Safety
/// `hook` accepts `arg`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_set_excepthook(hook: threading_excepthook, arg: *mut c_void) {
    status(|| {
        // SAFETY: both function types take the same arguments; only the name of the thread's pointer type differs.
        let hook = unsafe { core::mem::transmute::<threading_excepthook, Option<ExceptHook>>(hook) };
        excepthook::set(hook, arg);
        Ok(())
    });
}

/// Returns the hook that is called for unhandled exceptions of threads.
///
/// \param arg where to store the argument of the hook; NULL if it is not needed
/// \return the hook; NULL if it is the default
///
/// \blocks never
/// \threadsafety any thread
/// \python `threading.excepthook`
/// \since 0.1.0
/// \sa threading_set_excepthook, threading_report_exception
///
/// # Safety
/// `arg` is NULL or valid for a write.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_get_excepthook(arg: *mut *mut c_void) -> threading_excepthook {
    let hook = ffi_panic_boundary(|| {
        let (hook, hook_arg) = excepthook::get();
        // SAFETY: guaranteed by the caller.
        unsafe { write_out(arg, hook_arg) };
        Ok(hook)
    });
    // SAFETY: as in `threading_set_excepthook`.
    unsafe {
        core::mem::transmute::<Option<ExceptHook>, threading_excepthook>(hook.unwrap_or_else(|error| {
            set_last_error(error);
            None
        }))
    }
}

/// Calls the hook for an unhandled exception of the calling thread.
///
/// It is meant for targets that cannot handle a failure, and for bindings to languages that have
/// exceptions. The call returns, and the thread continues; as in Python, neither its result nor the
/// exit status of the process changes.
///
/// \param type the name of the exception's type, for example `MyError`
/// \param message the message of the exception
/// \return THREADING_OK if the hook was called; THREADING_ERR_VALUE if a string is NULL;
///     THREADING_ERR_NO_MEMORY, THREADING_ERR_SYSTEM or THREADING_ERR_SHUTDOWN as in
///     threading_current_thread()
///
/// \blocks while the hook runs
/// \threadsafety any thread
/// \python `threading.excepthook(args)`, which Python calls by itself
/// \since 0.1.0
/// \sa threading_set_excepthook, threading_current_thread
///
/// # Safety
/// `type` and `message` are each NULL or a NUL-terminated string.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn threading_report_exception(
    r#type: *const c_char,
    message: *const c_char,
) -> threading_status {
    // SAFETY: guaranteed by the caller.
    status(|| unsafe { excepthook::report(thread::current()?, cstr_arg(r#type)?, cstr_arg(message)?) })
}
