//! The module's functions
//!
//! Who is there, who calls, how the process leaves.
//!
//! Foreign threads. Those that this library did not start may use everything. One becomes a thread
//! here, a daemon named `Dummy-N`, when it first asks who it is (threading_current_thread()), not by
//! using a lock or creating a thread; it is dropped when it ends. The first thread of the process is
//! the main thread, `MainThread`, whichever thread loaded the library.
//!
//! Exit. Returning from `main`, and exit(), wait for all non-daemon threads, pending non-daemon timers
//! included; daemons are left behind. In this order: the callbacks of threading_atexit(), the last one
//! first; then main counts as ended, so that its joiners go on; then all non-daemon threads that this
//! library started are joined, those started meanwhile included, but for the caller and for threads
//! that are themselves in exit() or shutdown. exit() in a worker does not wait for itself; `_exit` and
//! `quick_exit` do not wait at all. pthread_exit() in `main` waits likewise, and then the process ends
//! with status 0, whatever daemons still run; but where `main` never called this library, nobody sees
//! it leave, and daemons, or a timer that has ever been started, keep the process. All this is done by
//! a handler of atexit(), registered when it is first needed (the first start, threading_atexit(), a
//! local's value in main): handlers registered later run before the joins, earlier ones after them.
//! Main's locals are destroyed after the joins.
//!
//! Fork. The child has one thread: the one that forked, with the same handle, name, daemon flag and
//! ident, and a new native id. It is the child's main thread, and alone in threading_enumerate(); one
//! that this library did not start becomes `MainThread`. Other started threads and pending timers have
//! ended there: join returns at once, start is THREADING_ERR_ALREADY_STARTED, cancel of a pending timer
//! is THREADING_OK; their argument destructors are not called, and the values of their locals are left
//! alone. Unstarted threads and timers can be started, new ones work, the numbers in names count on,
//! and exit callbacks are inherited. Locks and all other objects are as they were at the fork, an RLock
//! of the forking thread is still its own; but threads that were blocked on them are gone, and no
//! notify, count or BUSY concerns them. The `_at_fork_reinit` functions make a lock, a condition's lock
//! or an event as new. What fork() costs in the child does not depend on how many threads and timers the
//! parent has.
//!
//! Fork handlers. Every function may be called in the handlers of pthread_atfork(), whether they were
//! registered before the library was loaded or after it; a child handler finds in each case what is said
//! above. While a prepare or parent handler runs that was registered before, other threads that start or
//! end, create or free objects or ask for other threads wait, until the handler calls a function of this
//! library, but no longer than 0.1 s: so a handler may also wait for such a thread by other means. A
//! constructor may use the library, and fork, before the library's own constructor has run.
//!
//! Children without handlers. vfork(), posix_spawn(), _Fork() and clone() call no handlers, and the
//! library does not learn of the child. It may call exec and _exit there, and of this library only
//! threading_version(), threading_version_number(), threading_status_name() and
//! threading_status_message(). A child of _Fork() or clone() that has its own copy of the memory may call
//! every function if the process had one thread and had never started a timer; the native id of its main
//! thread is then the parent's.
//!
//! Signals. No wait ends early or late by one. threading_event_set(), threading_event_clear(),
//! threading_event_is_set(), threading_semaphore_release() and threading_semaphore_release_n() may be
//! called in a signal handler, on systems where threads sleep by futex (Linux, unless the library was
//! built with its portable backend).
//!
//! Who is alive:
//!     static void print_threads(void)
//!     {
//!         threading_thread_list *threads = threading_enumerate();
//!         for (size_t i = 0; i < threading_thread_list_len(threads); i++) {
//!             threading_thread *thread = threading_thread_list_get(threads, i); // borrowed
//!             printf("%s%s\n", threading_thread_name(thread),
//!                    thread == threading_current_thread() ? ", which prints this" : "");
//!         }
//!         (void)threading_thread_list_free(threads);
//!     }

use core::ffi::{CStr, c_char, c_void};

use crate::capi::status::{THREADING_TIMED_OUT, threading_status};
use crate::capi::types::{threading_callback, threading_excepthook, threading_thread, threading_thread_list};
use crate::capi::{failed, guard, handle, object, outcome, status, value};
use crate::error::{Error, Result};
use crate::runtime::process_exit;
use crate::thread::{excepthook, ident, list, registry};
use crate::time::Timeout;
use crate::{ExceptHook, thread};

/// Tells which thread calls.
///
/// The handle is borrowed, and valid while the caller runs, destructors of thread-local data included.
/// Inside a timer's function it is the timer's thread. A thread that this library did not start becomes
/// a `Dummy-N` by its first call.
///
/// \return the thread, borrowed; NULL with THREADING_ERR_NO_MEMORY, THREADING_ERR_SYSTEM (the system
///         cannot announce the end of a thread that this library did not start), THREADING_ERR_SHUTDOWN
///         (such a thread first asks in the very last of its destructors)
///
/// Blocks: never. Thread safety: any thread. Python: `threading.current_thread()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_current_thread() -> *mut threading_thread {
    handle(thread::current)
}

/// Tells the main thread: the first of the process, or in a child of fork the one that forked.
///
/// \return the thread, borrowed, and valid for ever; NULL with THREADING_ERR_NO_MEMORY
///
/// Blocks: never. Thread safety: any thread. Python: `threading.main_thread()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_main_thread() -> *mut threading_thread {
    handle(registry::main_thread)
}

/// Tells how many threads are alive: what threading_enumerate() would list.
///
/// \return the number; 0 with THREADING_ERR_NO_MEMORY
///
/// Blocks: never. Thread safety: any thread. Python: `threading.active_count()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_active_count() -> usize {
    value(list::count)
}

/// Lists the threads that are alive: main, then the others in the order of their start.
///
/// Daemons, pending timers and dummies are listed too; a dummy's start is its first question. Threads
/// that have not been started or have ended are not. The list is a snapshot, and keeps each of its
/// threads' handles valid until it is freed.
///
/// \return the list, owned by the caller, who gives it back by threading_thread_list_free(); NULL with
///         THREADING_ERR_NO_MEMORY
///
/// Blocks: never. Thread safety: any thread. Python: `threading.enumerate()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_enumerate() -> *mut threading_thread_list {
    handle(list::enumerate)
}

/// Tells how many threads a list holds.
///
/// \param list the list
/// \return the number; 0 with THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: `len(threads)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_list_len(list: *mut threading_thread_list) -> usize {
    value(|| object(list).len())
}

/// Tells one thread of a list.
///
/// \param list the list
/// \param i its place in the list, from 0
/// \return the thread, borrowed from the list, and valid as long as that; NULL with
///         THREADING_ERR_HANDLE, THREADING_ERR_VALUE (there are not so many)
///
/// Blocks: never. Thread safety: any thread. Python: `threads[i]`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_list_get(
    list: *mut threading_thread_list,
    i: usize,
) -> *mut threading_thread {
    handle(|| object(list).get(i))
}

/// Gives a list back, and with it the list's references to its threads.
///
/// \param list the list
/// \return THREADING_OK; THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_list_free(list: *mut threading_thread_list) -> threading_status {
    status(|| object(list).free())
}

/// Tells the number of whoever calls: the thread's, or in a timer's function the timer's.
///
/// It is never 0, and unlike Python's never used again. It makes no dummy.
///
/// \return the number, which threading_thread_ident() tells of the same thread
///
/// Blocks: never. Thread safety: any thread. Python: `threading.get_ident()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_get_ident() -> u64 {
    value(|| Ok(ident::ident()))
}

/// Tells the kernel's number of the system thread that calls.
///
/// \return the number
///
/// Blocks: never. Thread safety: any thread. Python: `threading.get_native_id()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_get_native_id() -> u64 {
    value(|| Ok(ident::native_id()))
}

/// Tells the size of the stacks of threads that are started from now on. Reading it does not reset it.
///
/// \return the size in bytes; 0 is the system's default
///
/// Blocks: never. Thread safety: any thread. Python: `threading.stack_size()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_stack_size() -> usize {
    value(|| Ok(thread::stack_size()))
}

/// Sets the size of the stacks of threads that are started from now on, also of those that run timers' functions.
///
/// A size of a thread's own, by threading_thread_set_stack_size(), goes before it. Where the program has
/// much static thread-local storage, which lies on each stack, the stacks are larger by that.
///
/// \param bytes the size in bytes, at least 32768 or what the system needs, if that is more; 0 is the
///         system's default
/// \return THREADING_OK; THREADING_ERR_VALUE when it is too small
///
/// Blocks: never. Thread safety: any thread. Python: `threading.stack_size(bytes)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_set_stack_size(bytes: usize) -> threading_status {
    status(|| thread::set_stack_size(bytes))
}

/// Lets the calling thread sleep. No signal shortens it.
///
/// \param seconds how long, in seconds; THREADING_FOREVER never returns, 0 returns at once
/// \return THREADING_OK; THREADING_ERR_VALUE, THREADING_ERR_OVERFLOW
///
/// Blocks: for so long. Thread safety: any thread. Python: `time.sleep(seconds)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_sleep(seconds: f64) -> threading_status {
    status(|| Timeout::new(seconds).map(thread::sleep))
}

/// Has a function called when the process leaves, before its threads are waited for.
///
/// The last one that was registered is called first. Each is called once, even if the shutdown has to
/// be called again; one that calls exit() ends there, and the process goes on with the next. A child of
/// fork inherits them.
///
/// \param callback what to call
/// \param arg its argument
/// \return THREADING_OK; THREADING_ERR_VALUE when callback is NULL; THREADING_ERR_SHUTDOWN when the
///         shutdown has begun; THREADING_ERR_NO_MEMORY
///
/// Blocks: never. Thread safety: any thread. Python: `threading._register_atexit(callback, arg)`. Since
/// 0.1.0.
///
/// # Safety
/// The callbacks take their arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_atexit(
    callback: threading_callback,
    arg: *mut c_void,
) -> threading_status {
    status(|| process_exit::at_exit(callback.ok_or(Error::NoCallback)?, arg))
}

/// Does now what exit() does first: calls the callbacks, counts main as ended, and joins all non-daemon
/// threads that this library started, but for the caller and those that are themselves in exit() or
/// shutdown.
///
/// When it has returned, nothing can be started any more: THREADING_ERR_SHUTDOWN. It may be called
/// again.
///
/// \return THREADING_OK
///
/// Blocks: until the last non-daemon thread has ended, and while callbacks run. Thread safety: any
/// thread. Python: `threading._shutdown()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn threading_shutdown() -> threading_status {
    status(|| process_exit::shutdown(Timeout::FOREVER).map(drop))
}

/// Does as threading_shutdown(), and waits for the threads no longer than the given time.
///
/// After THREADING_TIMED_OUT threads can still be started, and it may be called again; the callbacks
/// have been called, and are not called again.
///
/// \param seconds how long to wait at most, in seconds; THREADING_FOREVER waits without a limit, 0
///         looks once
/// \return THREADING_OK when all have ended; THREADING_TIMED_OUT; THREADING_ERR_VALUE,
///         THREADING_ERR_OVERFLOW, before anything is done
///
/// Blocks: until the last non-daemon thread has ended, or the time runs out, and while callbacks run.
/// Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn threading_shutdown_timeout(seconds: f64) -> threading_status {
    outcome(THREADING_TIMED_OUT, || process_exit::shutdown(Timeout::new(seconds)?))
}

/// Sets who is told of failures that threads could not handle.
///
/// The one that is replaced may still be running when this returns.
///
/// \param hook what threading_report_exception() calls; NULL is the default, which prints one line,
///         `Exception in thread NAME: TYPE: MESSAGE`, to stderr
/// \param arg the hook's last argument
///
/// Blocks: never. Thread safety: any thread. Python: `threading.excepthook = hook`. Since 0.1.0.
///
/// # Safety
/// The callbacks take their arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_set_excepthook(hook: threading_excepthook, arg: *mut c_void) {
    status(|| {
        // SAFETY: both are functions of the same arguments, but for how they call the thread's pointer.
        let hook = unsafe { core::mem::transmute::<threading_excepthook, Option<ExceptHook>>(hook) };
        excepthook::set(hook, arg);
        Ok(())
    });
}

/// Tells who is told of failures that threads could not handle.
///
/// \param arg where to write the hook's argument; may be NULL
/// \return the hook; NULL is the default
///
/// Blocks: never. Thread safety: any thread. Python: `threading.excepthook`. Since 0.1.0.
///
/// # Safety
/// `arg` is NULL or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_get_excepthook(arg: *mut *mut c_void) -> threading_excepthook {
    let hook = guard(|| {
        let (hook, its_arg) = excepthook::get();
        if !arg.is_null() {
            // SAFETY: the caller's promise.
            unsafe { arg.write(its_arg) };
        }
        Ok(hook)
    });
    // SAFETY: as in `threading_set_excepthook`.
    unsafe {
        core::mem::transmute::<Option<ExceptHook>, threading_excepthook>(hook.unwrap_or_else(|error| {
            failed(error);
            None
        }))
    }
}

/// Tells the excepthook of something that the calling thread could not handle.
///
/// For targets, and for bindings of other languages. The thread goes on; as in Python, neither its
/// result nor the process's exit status changes.
///
/// \param type what kind of failure it is, as the name of an exception's type
/// \param message a sentence
/// \return THREADING_OK when the hook was called; THREADING_ERR_VALUE when a string is NULL;
///         THREADING_ERR_NO_MEMORY, THREADING_ERR_SYSTEM, THREADING_ERR_SHUTDOWN as
///         threading_current_thread()
///
/// Blocks: while the hook runs. Thread safety: any thread. Python: `threading.excepthook(args)`, which
/// Python calls by itself. Since 0.1.0.
///
/// # Safety
/// `type` and `message` are NULL or strings.
#[unsafe(no_mangle)]
pub unsafe extern "C-unwind" fn threading_report_exception(
    r#type: *const c_char,
    message: *const c_char,
) -> threading_status {
    // SAFETY: the caller's promise.
    status(|| unsafe { excepthook::report(thread::current()?, text(r#type)?, text(message)?) })
}

/// # Safety
/// The pointer is NULL or a string.
pub(super) unsafe fn text<'a>(pointer: *const c_char) -> Result<&'a CStr> {
    if pointer.is_null() {
        return Err(Error::NameEncoding);
    }
    // SAFETY: the caller's promise.
    Ok(unsafe { CStr::from_ptr(pointer) })
}
