//! Thread
//!
//! A thread calls its target once it is started, and ends when that returns. It has a name, a number
//! that is never used again, and a result. While it runs it keeps itself alive: its handle may be freed
//! at any time.
//!
//! A thread inherits the daemon flag of its creator; if the library did not start that, it is no
//! daemon. The process does not end before all threads but the daemons have ended. What must be set up
//! before the start: daemon flag, stack size, argument destructor and the override of run; afterwards
//! that is THREADING_ERR_ALREADY_STARTED, for main and for dummies always.
//!
//! The argument is passed as it is. It must live until the thread has used it: give it memory of its
//! own and a destructor (threading_thread_set_arg_destructor()), not the address of a loop's variable.
//!
//! A thread that is started and joined; if there is none, start and free get NULL and report it:
//!     static void *greet(void *name)
//!     {
//!         printf("hello %s\n", (char *)name);
//!         return name;
//!     }
//!     static bool greet_in_a_thread(char *name)
//!     {
//!         threading_thread *thread = threading_thread_new(greet, name);
//!         bool done = threading_thread_start(thread) == THREADING_OK
//!                     && threading_thread_join(thread) == THREADING_OK;
//!         return threading_thread_free(thread) == THREADING_OK && done;
//!     }

use core::ffi::{c_char, c_int, c_void};

use crate::capi::status::{THREADING_TIMED_OUT, threading_status};
use crate::capi::threading::text;
use crate::capi::types::{threading_destructor, threading_run, threading_target, threading_thread};
use crate::capi::{guard, handle, object, outcome, status, value};
use crate::handle::Handle;
use crate::time::Timeout;
use crate::{Run, Thread};

/// Makes a thread that will call target(arg). It costs no system thread until it is started.
///
/// Its name is `Thread-N` if nobody names it; the number is taken when the name is first asked for or
/// the thread is started, so that a named one takes none. It is a daemon if its creator is one, but not
/// if the library did not start its creator.
///
/// \param target what to call; NULL calls nothing, and the thread ends at once
/// \param arg its argument, the caller's to keep valid; see threading_thread_set_arg_destructor()
/// \return the thread, owned by the caller; NULL with THREADING_ERR_NO_MEMORY, arg untouched
///
/// Blocks: never. Thread safety: any thread. Python: `threading.Thread(target=target, args=(arg,))`.
/// Since 0.1.0.
///
/// # Safety
/// The callbacks take their arguments.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_thread_new(
    target: threading_target,
    arg: *mut c_void,
) -> *mut threading_thread {
    // SAFETY: the caller's promise.
    handle(|| unsafe { Handle::<Thread>::new(target, arg) })
}

/// Takes one more reference to a thread.
///
/// \param thread the thread
/// \return the same handle, owned once more; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
///         (too many references)
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_ref(thread: *mut threading_thread) -> *mut threading_thread {
    handle(|| object(thread).add_ref())
}

/// Gives one reference to a thread back. One that runs goes on.
///
/// The last reference to a thread that was never started calls the argument's destructor.
///
/// \param thread the thread
/// \return THREADING_OK; THREADING_ERR_HANDLE, also when all owned references have been given back
///
/// Blocks: never, but for the destructor. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_free(thread: *mut threading_thread) -> threading_status {
    status(|| object(thread).free())
}

/// Names a thread, at any time.
///
/// The name is copied. The former one is freed, unless threading_thread_name() has returned it. The
/// system's tools show 15 bytes of the name, cut at a character, except for main and for timers, whose
/// system names stay as they are.
///
/// \param thread the thread
/// \param name the name, in UTF-8
/// \return THREADING_OK; THREADING_ERR_HANDLE; THREADING_ERR_VALUE when the name is NULL or not UTF-8;
///         THREADING_ERR_NO_MEMORY
///
/// Blocks: never. Thread safety: any thread. Python: `thread.name = name`. Since 0.1.0.
///
/// # Safety
/// `name` is NULL or a string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_thread_set_name(
    thread: *mut threading_thread,
    name: *const c_char,
) -> threading_status {
    status(|| {
        let thread = object(thread);
        // SAFETY: the caller's promise.
        thread.set_name(thread.argument(unsafe { text(name) })?)
    })
}

/// Tells a thread's name: the one that it was given, or else `Thread-N`, `Dummy-N` or `MainThread`.
///
/// \param thread the thread
/// \return the name, valid as long as the thread's handle, even if it is renamed; NULL with
///         THREADING_ERR_HANDLE, THREADING_ERR_NO_MEMORY
///
/// Blocks: never. Thread safety: any thread. Python: `thread.name`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_name(thread: *mut threading_thread) -> *const c_char {
    value(|| object(thread).name_pointer())
}

/// Makes a thread a daemon, or not. Before start only.
///
/// \param thread the thread
/// \param daemon 0: the process's exit waits for it; all else: it does not
/// \return THREADING_OK; THREADING_ERR_HANDLE, THREADING_ERR_ALREADY_STARTED
///
/// Blocks: never. Thread safety: any thread. Python: `thread.daemon = daemon`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_set_daemon(
    thread: *mut threading_thread,
    daemon: c_int,
) -> threading_status {
    status(|| object(thread).set_daemon(daemon != 0))
}

/// Tells whether a thread is a daemon. A dummy is one, main is not.
///
/// \param thread the thread
/// \return true if it is one; false if not, or with THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: `thread.daemon`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_is_daemon(thread: *mut threading_thread) -> bool {
    value(|| object(thread).is_daemon())
}

/// Sets the size of a thread's stack. Before start only.
///
/// A timer's thread accepts it too, but its function runs on a stack that timers share.
///
/// \param thread the thread
/// \param bytes the size in bytes, at least 32768 or what the system needs, if that is more; 0 is that
///         of threading_set_stack_size(). Where the program has much static thread-local storage, which
///         lies on each stack, the stack is larger by that
/// \return THREADING_OK; THREADING_ERR_HANDLE; THREADING_ERR_VALUE when it is too small;
///         THREADING_ERR_ALREADY_STARTED
///
/// Blocks: never. Thread safety: any thread. Python: none (`threading.stack_size(bytes)` is for all
/// threads). Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_set_stack_size(
    thread: *mut threading_thread,
    bytes: usize,
) -> threading_status {
    status(|| object(thread).set_stack_size(bytes))
}

/// Has a thread's argument destroyed once it is not needed any more. Before start only.
///
/// The destructor is called with the argument, unless that is NULL, exactly once: in the thread after
/// its run, before a join returns; or by the call that makes sure that it will never run, which is the
/// last `_free` of an unstarted thread, or a timer's cancel. A start that fails calls nothing. Where a
/// cancel has destroyed the argument of an unstarted timer, a destructor that is set afterwards is never
/// called; one that is set after a cancel that had none to call, is called at the start or the last
/// `_free`.
///
/// \param thread the thread
/// \param destroy what to call; NULL calls nothing
/// \return THREADING_OK; THREADING_ERR_HANDLE, THREADING_ERR_ALREADY_STARTED
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
///
/// # Safety
/// It takes the thread's argument.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_thread_set_arg_destructor(
    thread: *mut threading_thread,
    destroy: threading_destructor,
) -> threading_status {
    // SAFETY: the caller's promise.
    status(|| unsafe { object(thread).set_arg_destructor(destroy) })
}

/// Overrides what a thread runs. Before start only.
///
/// \param thread the thread
/// \param run called instead of the target, with the thread and the target's argument; NULL is no
///         override
/// \return THREADING_OK; THREADING_ERR_HANDLE, THREADING_ERR_ALREADY_STARTED
///
/// Blocks: never. Thread safety: any thread. Python: a subclass with its own `run()`. Since 0.1.0.
///
/// # Safety
/// It takes the thread's argument.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn threading_thread_set_run(
    thread: *mut threading_thread,
    run: threading_run,
) -> threading_status {
    // SAFETY: both are functions of the same arguments, but for how they call the thread's pointer.
    let run = unsafe { core::mem::transmute::<threading_run, Option<Run>>(run) };
    // SAFETY: the caller's promise.
    status(|| unsafe { object(thread).set_run(run) })
}

/// Calls target(arg), which is what a thread does if its run is not overridden.
///
/// For use inside an override. Elsewhere it just calls the target, in the calling thread; it starts
/// nothing.
///
/// \param thread the thread
/// \return what the target returned; NULL if there is no target, or with THREADING_ERR_HANDLE
///
/// Blocks: as long as the target. Thread safety: any thread, as far as the target goes. Python:
/// `threading.Thread.run(thread)`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C-unwind" fn threading_thread_run(thread: *mut threading_thread) -> *mut c_void {
    // The target may leave by pthread_exit, which no guard lets through: it is called outside of it.
    match guard(|| object(thread).task()) {
        // SAFETY: whoever made the thread promised that target and argument go together.
        Ok(task) => unsafe { task.run() },
        Err(error) => value(|| Err(error)),
    }
}

/// Starts a thread, once.
///
/// When it returns, the thread is alive and enumerated, and has its name and its ident; it need not
/// have begun to run yet. Until its end it keeps itself alive.
///
/// \param thread the thread
/// \return THREADING_OK; THREADING_ERR_HANDLE; THREADING_ERR_ALREADY_STARTED, also when it has ended,
///         and for main and dummies; THREADING_ERR_SHUTDOWN after threading_shutdown();
///         THREADING_ERR_SYSTEM when the system refuses a thread, THREADING_ERR_NO_MEMORY: then nothing
///         has changed, and it may be tried again
///
/// Blocks: never. Thread safety: any thread. Python: `thread.start()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_start(thread: *mut threading_thread) -> threading_status {
    status(|| object(thread).start())
}

/// Waits until a thread has ended.
///
/// It may be called any number of times, and by any number of threads. It waits for the end of the
/// system's thread: the destructors of pthread keys and of C++'s thread_local have run. The system's
/// thread is detached: pthread_join() and pthread_detach() refuse it with EINVAL. Of a timer it
/// waits for the end of its function, or its cancel; of main, for the shutdown that the process's exit
/// begins with.
///
/// \param thread the thread
/// \return THREADING_OK when it has ended; THREADING_ERR_HANDLE; THREADING_ERR_NOT_JOINABLE for a
///         dummy; THREADING_ERR_NOT_STARTED; THREADING_ERR_DEADLOCK when it is the caller itself
///
/// Blocks: until the thread has ended. Thread safety: any thread but this one. Python: `thread.join()`.
/// Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_join(thread: *mut threading_thread) -> threading_status {
    status(|| object(thread).join(Timeout::FOREVER).map(drop))
}

/// Waits until a thread has ended, no longer than the given time. Otherwise as threading_thread_join().
///
/// \param thread the thread
/// \param seconds how long to wait at most, in seconds; THREADING_FOREVER waits without a limit, 0
///         looks once
/// \return THREADING_OK when it has ended; THREADING_TIMED_OUT; THREADING_ERR_HANDLE,
///         THREADING_ERR_VALUE, THREADING_ERR_OVERFLOW; THREADING_ERR_NOT_JOINABLE for a dummy;
///         THREADING_ERR_NOT_STARTED; THREADING_ERR_DEADLOCK when it is the caller itself
///
/// Blocks: until the thread has ended, or the time runs out. Thread safety: any thread but this one.
/// Python: `thread.join(seconds)`, then `thread.is_alive()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_join_timeout(
    thread: *mut threading_thread,
    seconds: f64,
) -> threading_status {
    outcome(THREADING_TIMED_OUT, || {
        let thread = object(thread);
        thread.join(thread.argument(Timeout::new(seconds))?)
    })
}

/// Tells whether a thread has been started and has not ended. A pending timer is alive.
///
/// \param thread the thread
/// \return true if so; false if not, or with THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: `thread.is_alive()`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_is_alive(thread: *mut threading_thread) -> bool {
    value(|| object(thread).is_alive())
}

/// Tells a thread's number, which no other thread of the process ever gets.
///
/// \param thread the thread
/// \return the number, also after its end; 0 before start, or with THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: `thread.ident`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_ident(thread: *mut threading_thread) -> u64 {
    value(|| object(thread).ident())
}

/// Tells the kernel's number of a thread; of a timer, that of the system thread that runs its function.
///
/// \param thread the thread
/// \return the number, also after its end; 0 before start, for a timer before its function runs, or
///         with THREADING_ERR_HANDLE
///
/// Blocks: right after start, until the thread has begun to run. Thread safety: any thread. Python:
/// `thread.native_id`. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_native_id(thread: *mut threading_thread) -> u64 {
    value(|| object(thread).native_id())
}

/// Tells what a thread's run returned, once the thread has ended.
///
/// After pthread_exit() it is the value given to that, or NULL for a timer; after pthread_cancel() it
/// is PTHREAD_CANCELED.
///
/// \param thread the thread
/// \return the result; NULL before the end, or with THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_result(thread: *mut threading_thread) -> *mut c_void {
    value(|| object(thread).result())
}

/// Tells the argument that was given to threading_thread_new() or threading_timer_new().
///
/// \param thread the thread
/// \return the argument, also when its destructor has been called; NULL with THREADING_ERR_HANDLE
///
/// Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
#[unsafe(no_mangle)]
pub extern "C" fn threading_thread_arg(thread: *mut threading_thread) -> *mut c_void {
    value(|| object(thread).arg())
}
