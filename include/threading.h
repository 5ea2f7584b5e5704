/*
 * threading.h - Python's threading module for C.
 *
 * Threads with names, daemon threads, timers that can be cancelled, locks, reentrant locks, condition variables,
 * semaphores, events, barriers and thread-local data. Every call reports its result, misuse is reported as an
 * error instead of being undefined behavior, and every wait can have a timeout.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Generated from src/capi/; do not edit. To update it, run UPDATE_HEADER=1 cargo test --test header.
 *
 * Binary interface. A program that was linked with version 0.1.x of the library runs with every later version
 * 0.1.y. Such a version may add functions and constants, but does not change or remove a function, the type of an
 * argument, or the number of a status or another constant. All objects are accessed through handles, so their
 * layout is not part of the interface. Each function has the version of the interface as its symbol version
 * (threading_lock_new@@THREADING_0.1 in the ELF file). While the major version is 0, version 0.2 may have a
 * different interface. It then has a different symbol version, and the dynamic linker does not start a program
 * with it that was linked with version 0.1.
 */
#ifndef THREADING_H
#define THREADING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The version of this header. */
#define THREADING_VERSION "0.1.0"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Handles and callbacks
 *
 * Object handles, reference counting, and the functions that the library calls.
 *
 * An object is referred to by a handle, which is a pointer to an opaque type. The same rules apply to
 * all types.
 *
 * Ownership. A `_new` function returns a handle that the caller owns, or NULL if it fails. A `_ref`
 * function adds a reference and returns the same handle, and a `_free` function releases one. An
 * object exists until all references to it have been released. The library holds references of its
 * own: a running thread and a started timer each hold a reference to themselves, a condition holds one
 * to its lock, and a list holds one to each of its threads. Freeing the handle of a running thread
 * therefore only releases the reference; it neither waits for the thread nor stops it. A handle is
 * valid as long as its object exists, no matter which references keep the object alive. A `_free`
 * without a matching reference fails with THREADING_ERR_HANDLE and does not affect other references.
 * Two handles are equal if and only if they refer to the same object; the handle of an object that no
 * longer exists is never used for another object.
 *
 * Destruction. A lock may be freed while it is held. Releasing the last reference to an object on
 * which threads are blocked fails with THREADING_ERR_BUSY, and nothing is freed. Threads that have
 * already been woken or notified do not count as blocked: it is safe to call threading_event_set()
 * followed by threading_event_free() while other threads wait. An object may be freed inside its own
 * callback.
 *
 * Borrowed handles. Some functions return a handle that the caller does not own. Their documentation
 * calls it "borrowed" and says how long it is valid. To keep the object longer, add a reference with
 * `_ref`, and release that reference with `_free` later.
 *
 * Invalid handles. A handle is invalid if it is NULL, if its object no longer exists (even if the
 * memory has been reused for a newer object), if its object is of another type, or if it is not a
 * handle at all. Every function that is called with an invalid handle fails with THREADING_ERR_HANDLE;
 * it does not crash and does not access another object. A function that does not return a status
 * returns NULL, 0 or false in this case, and threading_last_error() returns THREADING_ERR_HANDLE. The
 * result of a `_new` function can therefore be passed on without a check: if it is NULL, the next call
 * reports the error.
 *
 * Order of checks. A function checks the handle first, then its other arguments, then the state of the
 * object. All arguments are checked in every call: an invalid timeout, for example, is an error even
 * if the call would not block.
 *
 * Callbacks. The library does not hold any of its own locks while it runs a callback, so a callback
 * may call any function. A thread's target and a timer's function may call pthread_exit(), and a
 * thread may be cancelled by pthread_cancel() (deferred cancellation) while it runs its target; the
 * thread still ends properly. No other callback may call pthread_exit() or be cancelled; the library
 * calls it with cancellation disabled. C++ exceptions and exceptions of other languages must not
 * propagate into the library. A callback that is registered with an object may be called until the
 * object is destroyed, and its argument must stay valid until then. A NULL target, timer function,
 * action or destructor means that no function is called; passing a NULL predicate, init function or
 * exit callback fails with THREADING_ERR_VALUE.
 *
 * Two owners of one lock:
 *     struct account { threading_lock *lock; long balance; };
 *     static bool account_init(struct account *account, threading_lock *shared)
 *     {
 *         account->balance = 0;
 *         account->lock = threading_lock_ref(shared); // the account's own reference
 *         return account->lock != NULL;
 *     }
 *     static void account_end(struct account *account)
 *     {
 *         (void)threading_lock_free(account->lock); // other references stay valid
 *     }
 */

/**
 * A synchronization point for a fixed number of threads.
 *
 * \python `threading.Barrier`
 * \since 0.1.0
 */
typedef struct threading_barrier threading_barrier;

/**
 * A condition variable together with its lock.
 *
 * \python `threading.Condition`
 * \since 0.1.0
 */
typedef struct threading_condition threading_condition;

/**
 * A flag that threads can wait for.
 *
 * \python `threading.Event`
 * \since 0.1.0
 */
typedef struct threading_event threading_event;

/**
 * Thread-local data: each thread has its own value and its own named attributes.
 *
 * \python `threading.local`
 * \since 0.1.0
 */
typedef struct threading_local threading_local;

/**
 * A mutual exclusion lock, which any thread may release.
 *
 * \python `threading.Lock`
 * \since 0.1.0
 */
typedef struct threading_lock threading_lock;

/**
 * A reentrant lock, which its owner can acquire again.
 *
 * \python `threading.RLock`
 * \since 0.1.0
 */
typedef struct threading_rlock threading_rlock;

/**
 * A counting semaphore, either bounded or unbounded.
 *
 * \python `threading.Semaphore`, `threading.BoundedSemaphore`
 * \since 0.1.0
 */
typedef struct threading_semaphore threading_semaphore;

/**
 * A thread of execution.
 *
 * \python `threading.Thread`
 * \since 0.1.0
 */
typedef struct threading_thread threading_thread;

/**
 * A snapshot of the threads that are alive.
 *
 * \python the result of `threading.enumerate()`
 * \since 0.1.0
 */
typedef struct threading_thread_list threading_thread_list;

/**
 * A thread that calls a function after a delay, unless it is cancelled first.
 *
 * \python `threading.Timer`
 * \since 0.1.0
 */
typedef struct threading_timer threading_timer;

/**
 * The function of a thread or a timer, similar to the start routine of pthread_create().
 *
 * The new thread calls it once. The function may call pthread_exit(). A thread may be cancelled by
 * pthread_cancel() while it runs its target; a timer's function must not be cancelled, because it runs
 * on a system thread that timers share.
 *
 * \param arg the argument that was passed to threading_thread_new() or threading_timer_new()
 * \return the result of the thread, which threading_thread_result() returns
 *
 * \since 0.1.0
 * \sa threading_thread_new, threading_timer_new, threading_thread_result
 */
typedef void *(*threading_target)(void *arg);

/**
 * A function that overrides the run function of a thread. The thread calls it instead of the target,
 * and it may do the same as a target.
 *
 * \param thread the thread itself, borrowed; `threading_thread_run(thread)` calls the target
 * \param arg the argument that was passed to threading_thread_new() or threading_timer_new()
 * \return the result of the thread, which threading_thread_result() returns
 *
 * \since 0.1.0
 * \sa threading_thread_set_run, threading_thread_run
 */
typedef void *(*threading_run)(threading_thread *thread, void *arg);

/**
 * A function that tests whether the state that a thread waits for has been reached. The waiting thread
 * calls it with the condition's lock held.
 *
 * \param arg the argument that was passed to the wait function
 * \return a positive number if the predicate is true; 0 if it is false; a negative number if it
 *     failed, which ends the wait with THREADING_ERR_CALLBACK
 *
 * \since 0.1.0
 * \sa threading_condition_wait_for, threading_condition_wait_for_timeout
 */
typedef int (*threading_predicate)(void *arg);

/**
 * The action of a barrier, which the last thread to arrive runs before any of the threads returns.
 *
 * \param arg the argument that was passed to threading_barrier_new()
 * \return 0 on success; any other number on failure, which breaks the barrier
 *
 * \since 0.1.0
 * \sa threading_barrier_new
 */
typedef int (*threading_action)(void *arg);

/**
 * A function that returns the initial value of a local for the calling thread. It may itself use the
 * local.
 *
 * \param arg the argument that was passed to threading_local_new_with_init()
 * \return the value, which may be NULL
 *
 * \since 0.1.0
 * \sa threading_local_new_with_init
 */
typedef void *(*threading_local_init)(void *arg);

/**
 * A function that destroys a thread's argument or a local's value when it is no longer needed.
 *
 * \param value the argument or the value, never NULL
 *
 * \since 0.1.0
 * \sa threading_thread_set_arg_destructor, threading_local_new
 */
typedef void (*threading_destructor)(void *value);

/**
 * A function that is called once at process exit or in threading_shutdown(), by the thread that runs
 * the shutdown sequence.
 *
 * \param arg the argument that was passed to threading_atexit()
 *
 * \since 0.1.0
 * \sa threading_atexit
 */
typedef void (*threading_callback)(void *arg);

/**
 * A hook that threading_report_exception() calls, in the thread that has the unhandled exception.
 *
 * \param thread the calling thread, borrowed
 * \param type the name of the exception's type, valid during the call
 * \param message the message of the exception, valid during the call
 * \param arg the argument that was passed to threading_set_excepthook()
 *
 * \since 0.1.0
 * \sa threading_set_excepthook, threading_report_exception
 */
typedef void (*threading_excepthook)(threading_thread *thread,
                                     const char *type,
                                     const char *message,
                                     void *arg);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Status and errors
 *
 * Status codes and error messages.
 *
 * A function that has no other result returns a threading_status: 0 is success, a positive number is
 * an outcome that is not an error, and a negative number is an error. A call that fails changes
 * nothing, unless its documentation says otherwise. Status numbers are never reused. The list of
 * statuses gives Python's result or exception for the same case in parentheses.
 *
 * Last error. Each thread has a last error, similar to errno. It describes the thread's most recent
 * call that failed, whether the failure was reported by a negative status or by an error value such as
 * NULL. Calls that do not fail, including those that return a positive status, leave it unchanged. In
 * this documentation, "NULL with THREADING_ERR_X" means that the function returns NULL and sets the
 * last error to THREADING_ERR_X; the same applies to "0 with" and "false with". Where NULL, 0 or false
 * can also be a valid result, call threading_clear_last_error() before the function to distinguish the
 * two.
 *
 * Use of errno. The library does not report errors in errno. No function changes errno, whether it
 * succeeds, times out or fails. A value that a callback stores in errno of the calling thread is
 * preserved.
 *
 * Internal errors. The documentation of each function lists the statuses that it returns. In addition,
 * every function may fail with THREADING_ERR_INTERNAL, which indicates a bug in this library.
 *
 * Distinguishing a timeout from an error:
 *     static int use(threading_lock *lock)
 *     {
 *         threading_status status = threading_lock_acquire_timeout(lock, 0.5);
 *         if (status == THREADING_TIMED_OUT)
 *             return 0;
 *         if (status != THREADING_OK) {
 *             const char *message = threading_last_error_message();
 *             fprintf(stderr, "%s: %s\n", threading_status_name(status), message);
 *             return -1;
 *         }
 *         return threading_lock_release(lock) == THREADING_OK ? 1 : -1;
 *     }
 */

/**
 * A status: 0 for success, positive for an outcome that is not an error, negative for an error.
 *
 * \since 0.1.0
 * \sa threading_status_name, threading_status_message
 */
typedef int32_t threading_status;

/**
 * Success.
 */
#define THREADING_OK 0

/**
 * The timeout expired (`False`).
 */
#define THREADING_TIMED_OUT 1

/**
 * The operation would block; only `try_` functions return this status (`False`).
 */
#define THREADING_WOULD_BLOCK 2

/**
 * The calling thread has no such value in the local (`AttributeError`).
 */
#define THREADING_NO_VALUE 3

/**
 * The timer can no longer be cancelled, because its function has already begun.
 */
#define THREADING_TOO_LATE 4

/**
 * The handle is NULL, freed, of another type, or not a handle.
 */
#define THREADING_ERR_HANDLE (-1)

/**
 * An argument is out of range (`ValueError`).
 */
#define THREADING_ERR_VALUE (-2)

/**
 * A timeout is above THREADING_TIMEOUT_MAX, or a count would exceed its maximum (`OverflowError`).
 */
#define THREADING_ERR_OVERFLOW (-3)

/**
 * The lock to be released is not locked (`RuntimeError`).
 */
#define THREADING_ERR_NOT_ACQUIRED (-4)

/**
 * The calling thread does not hold the lock (`RuntimeError`).
 */
#define THREADING_ERR_NOT_OWNER (-5)

/**
 * The release would exceed the initial value of a bounded semaphore (`ValueError`).
 */
#define THREADING_ERR_OVER_RELEASED (-6)

/**
 * The thread has already been started, or is the main thread or a dummy thread (`RuntimeError`).
 */
#define THREADING_ERR_ALREADY_STARTED (-7)

/**
 * The thread to be joined has not been started (`RuntimeError`).
 */
#define THREADING_ERR_NOT_STARTED (-8)

/**
 * The call would never return (`RuntimeError`).
 */
#define THREADING_ERR_DEADLOCK (-9)

/**
 * The thread is a dummy thread, which cannot be joined (`RuntimeError`).
 */
#define THREADING_ERR_NOT_JOINABLE (-10)

/**
 * The barrier is broken (`BrokenBarrierError`).
 */
#define THREADING_ERR_BROKEN_BARRIER (-11)

/**
 * The predicate or the action reported a failure.
 */
#define THREADING_ERR_CALLBACK (-12)

/**
 * Threads are blocked on the object.
 */
#define THREADING_ERR_BUSY (-13)

/**
 * There is not enough memory (`MemoryError`).
 */
#define THREADING_ERR_NO_MEMORY (-14)

/**
 * The system did not provide a resource, such as a new thread (`RuntimeError`).
 */
#define THREADING_ERR_SYSTEM (-15)

/**
 * The shutdown of the process or the end of the calling thread is too far advanced for the call.
 */
#define THREADING_ERR_SHUTDOWN (-16)

/**
 * An internal error of this library occurred and was contained.
 */
#define THREADING_ERR_INTERNAL (-17)

/**
 * Returns the name of a status, such as "THREADING_TIMED_OUT".
 *
 * \param status the status; any number is allowed
 * \return a static string, which is "unknown status" if the number is not a status
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_status_message
 */
const char *threading_status_name(int32_t status);

/**
 * Returns a message that describes a status.
 *
 * \param status the status; any number is allowed
 * \return a static string without a final period, which is "unknown status" if the number is not a
 *     status
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_status_name, threading_last_error_message
 */
const char *threading_status_message(int32_t status);

/**
 * Returns the status of the calling thread's most recent call that failed.
 *
 * \return a negative status; THREADING_OK if no call of the thread has failed since its start or since
 *     threading_clear_last_error()
 *
 * \blocks never
 * \threadsafety any thread; each thread has its own last error
 * \python none
 * \since 0.1.0
 * \sa threading_last_error_message, threading_clear_last_error
 */
threading_status threading_last_error(void);

/**
 * Returns a message that describes the calling thread's most recent call that failed.
 *
 * The message can be more specific than that of threading_status_message(); for example, it says which
 * argument was invalid.
 *
 * \return a static string, which is empty if threading_last_error() returns THREADING_OK
 *
 * \blocks never
 * \threadsafety any thread; each thread has its own last error
 * \python the message of the exception
 * \since 0.1.0
 * \sa threading_last_error, threading_clear_last_error, threading_status_message
 */
const char *threading_last_error_message(void);

/**
 * Resets the calling thread's last error to THREADING_OK and its message to an empty string.
 *
 * \blocks never
 * \threadsafety any thread; each thread has its own last error
 * \python none
 * \since 0.1.0
 * \sa threading_last_error, threading_last_error_message
 */
void threading_clear_last_error(void);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Time, memory order, version
 *
 * Timeouts, memory ordering, and the version of the library.
 *
 * Timeouts. A timeout is a number of seconds of type double, measured by the monotonic clock. The same
 * rule applies to all timeouts: THREADING_FOREVER (-1.0) and positive infinity wait indefinitely; 0
 * does not wait; other negative numbers and NaN fail with THREADING_ERR_VALUE; finite numbers above
 * THREADING_TIMEOUT_MAX fail with THREADING_ERR_OVERFLOW. Only the interval of a timer has different
 * rules; see threading_timer_new().
 *
 * Floating point. Timeouts are rounded up to nanoseconds. They are compared and converted by their bit
 * representation: no call raises a floating-point exception or sets an exception flag, not even for a
 * signaling NaN or a subnormal number, and no call depends on the rounding mode.
 *
 * Waits. Waits are not interrupted by signals and have no spurious wakeups. The time that a wait needs
 * to reacquire its lock does not count towards the timeout. Blocking calls are not cancellation points
 * of pthread_cancel(). Blocking functions come in families: `x` blocks, and `x_timeout` blocks for at
 * most the given time. Where Python has `blocking=False`, there is also `try_x`, which never blocks.
 *
 * Memory order. In each of the following pairs, everything that was written before the first event is
 * visible after the second: the start of a thread and the beginning of its run; the end of a thread's
 * run and the return of a join; the release of a lock or a semaphore and the next acquire; the setting
 * of an event and the return of a wait that succeeds because of it; a notification and the return of
 * the wait that it ends; each arrival at a barrier and the return of every wait of that round.
 *
 * Waiting with or without a timeout:
 *     static bool wait_for(threading_event *event, bool forever)
 *     {
 *         double seconds = forever ? THREADING_FOREVER : 0.25;
 *         return threading_event_wait_timeout(event, seconds) == THREADING_OK;
 *     }
 */

/**
 * The timeout of a wait that has no time limit.
 */
#define THREADING_FOREVER (-1.0)

/**
 * The longest finite timeout, in seconds (`threading.TIMEOUT_MAX`).
 */
#define THREADING_TIMEOUT_MAX 9223372036.0

/**
 * The major version of this header.
 */
#define THREADING_VERSION_MAJOR 0

/**
 * The minor version of this header.
 */
#define THREADING_VERSION_MINOR 1

/**
 * The patch version of this header.
 */
#define THREADING_VERSION_PATCH 0

/**
 * Returns the version of the library that is loaded, which may be newer than the header.
 *
 * \return a static string, such as "0.1.0"; the version of the header is THREADING_VERSION
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_version_number
 */
const char *threading_version(void);

/**
 * Returns the version of the library that is loaded, as a number.
 *
 * \return `major << 16 | minor << 8 | patch`, which is 0x000100 for version 0.1.0
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_version
 */
uint32_t threading_version_number(void);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Module functions
 *
 * Thread enumeration, the calling thread, process exit, fork and signals.
 *
 * Foreign threads. A foreign thread is a thread that this library did not start, other than the main
 * thread. It may call any function. Its first call to threading_current_thread() or
 * threading_report_exception() registers it as a dummy thread, which is a daemon thread with the name
 * `Dummy-N`; other calls, such as acquiring a lock or creating a thread, do not register it. A dummy
 * thread is listed by threading_enumerate() until it ends, and cannot be joined. The first thread of
 * the process is the main thread, `MainThread`, no matter which thread loaded the library.
 *
 * Exit. Returning from `main` and calling exit() wait for all non-daemon threads, including pending
 * non-daemon timers; daemon threads are abandoned. First, the functions registered with
 * threading_atexit() are called, the last registered one first. Then the main thread is marked as
 * ended, so that joins of it return. Then all non-daemon threads that this library started are joined,
 * including those that are started during the shutdown, but neither the calling thread nor threads
 * that are themselves in exit() or threading_shutdown(). A worker thread that calls exit() therefore
 * does not wait for itself. With glibc 2.41 and newer, exit() blocks while another thread is in it; a
 * thread that is blocked there is not waited for, and the status of its call has no effect. _exit()
 * and quick_exit() do not wait at all. pthread_exit() in `main` waits in the same way, and the process
 * then ends with status 0, even if daemon threads are still running. However, pthread_exit() in `main`
 * ends only the main thread if the exit handler (see below) is not registered yet, or if another thread
 * has loaded the library and `main` has never called it. In these cases, daemon threads keep the
 * process running, as do the library's own threads once a timer has been started.
 *
 * Exit handler. The library runs this sequence in an atexit() handler. It registers the handler when
 * it is first needed: at the first start of a thread or timer, at the first threading_atexit(), or
 * when the main thread first uses a local. Handlers that are registered later run before the joins,
 * and handlers that were registered earlier run after them. The main thread's values of locals are
 * destroyed after the joins, if the main thread itself returns from `main` or calls exit() or
 * pthread_exit().
 *
 * Fork. The child process has one thread, the thread that called fork(), with the same handle, name,
 * daemon flag and ident, and with a new native ID. It is the main thread of the child, and the only
 * thread that threading_enumerate() lists; a foreign thread becomes the thread `MainThread`. Other
 * started threads and pending timers have ended in the child: joining them returns immediately,
 * starting them fails with THREADING_ERR_ALREADY_STARTED, and cancelling a pending timer returns
 * THREADING_OK. Their argument destructors are not called, and the values of their locals are not
 * destroyed. Threads and timers that were not started can be started, new ones can be created, the
 * numbering of names continues, and functions registered with threading_atexit() are inherited. Locks
 * and all other objects keep the state that they had at the fork, and an RLock that the forking thread
 * owned still belongs to it. Threads that were blocked on an object in the parent do not exist in the
 * child: they are neither notified nor counted as waiters, and do not cause THREADING_ERR_BUSY. The
 * `_at_fork_reinit` functions reinitialize a lock, the lock of a condition, or an event. The cost of
 * fork() in the child does not depend on the number of threads and timers in the parent.
 *
 * Fork handlers. Any function may be called in the handlers of pthread_atfork(), whether they were
 * registered before the library was loaded or after it; a child handler finds the state described
 * above in both cases. While a prepare or parent handler that was registered before the library was
 * loaded is running, other threads block when they start or end, create or free objects, or query
 * other threads. They block until the handler calls a function of this library, but for at most 0.1 s,
 * so that a handler that waits for such a thread does not deadlock. Functions that run before main(),
 * such as those with the constructor attribute, may use the library and call fork().
 *
 * Children without handlers. The functions vfork(), posix_spawn(), _Fork() and clone() do not call
 * fork handlers, so the library does not notice the child process. The child may call the exec
 * functions and _exit(), and of this library only threading_version(), threading_version_number(),
 * threading_status_name() and threading_status_message(). A child of _Fork() or clone() that has its
 * own copy of the memory may call any function if the process had one thread and had never started a
 * timer; the native ID of its main thread is then that of the parent.
 *
 * Signals. Signals neither shorten nor extend a wait. threading_event_set(), threading_event_clear(),
 * threading_event_is_set(), threading_semaphore_release() and threading_semaphore_release_n() may be
 * called in a signal handler on systems where threads block on futexes (Linux, unless the library was
 * built with its portable backend, by the CMake option `-DTHREADING_PARK=portable`). threading_dump()
 * may always be called in one. The other functions of this library are not async-signal-safe.
 *
 * Forks in signal handlers. A signal handler may call fork() while its thread waits in a call of this
 * library, and so may a hang hook. When it returns, the wait goes on in the child, too. There, a join of
 * a thread that the child does not have returns, and no other thread has arrived at a barrier. A signal
 * handler must not call fork() if it may have interrupted another call of this library, or a thread that
 * is about to wait for a lock, a condition or a barrier.
 *
 * Listing the threads that are alive:
 *     static void print_threads(void)
 *     {
 *         threading_thread_list *threads = threading_enumerate();
 *         for (size_t i = 0; i < threading_thread_list_len(threads); i++) {
 *             threading_thread *thread = threading_thread_list_get(threads, i); // borrowed
 *             printf("%s%s\n", threading_thread_name(thread),
 *                    thread == threading_current_thread() ? " (the calling thread)" : "");
 *         }
 *         (void)threading_thread_list_free(threads);
 *     }
 */

/**
 * Returns the calling thread.
 *
 * The handle is borrowed, and valid while the calling thread runs, including during the destruction of
 * its thread-local data. Inside a timer's function, the result is the timer's thread. The first call
 * in a foreign thread registers it as a dummy thread.
 *
 * \return the thread, borrowed; NULL with THREADING_ERR_NO_MEMORY if there is not enough memory; NULL
 *     with THREADING_ERR_SYSTEM if the thread is a foreign thread and the system cannot notify the
 *     library of its end; NULL with THREADING_ERR_SHUTDOWN if the thread is a foreign thread that
 *     makes its first call in its last round of pthread key destructors
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.current_thread()`
 * \since 0.1.0
 * \sa threading_main_thread, threading_get_ident, threading_enumerate
 */
threading_thread *threading_current_thread(void);

/**
 * Returns the main thread: the first thread of the process or, in a child process, the thread that
 * called fork().
 *
 * \return the thread, borrowed, and valid until the process ends; NULL with THREADING_ERR_NO_MEMORY if
 *     there is not enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.main_thread()`
 * \since 0.1.0
 * \sa threading_current_thread, threading_enumerate
 */
threading_thread *threading_main_thread(void);

/**
 * Returns the number of threads that are alive, which is the length of the list that
 * threading_enumerate() creates.
 *
 * \return the number of threads; 0 with THREADING_ERR_NO_MEMORY if there is not enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.active_count()`
 * \since 0.1.0
 * \sa threading_enumerate
 */
size_t threading_active_count(void);

/**
 * Creates a list of the threads that are alive: the main thread, then the others in the order of their
 * start.
 *
 * The list also contains daemon threads, pending timers and dummy threads; a dummy thread counts as
 * started when it is registered. The list does not contain threads that have not been started or have
 * ended, except for the main thread, which stays in the list when a shutdown has marked it as ended. It
 * is a snapshot, and holds a reference to each of its threads until it is freed.
 *
 * \return the list, owned by the caller, to be freed with threading_thread_list_free(); NULL with
 *     THREADING_ERR_NO_MEMORY if there is not enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.enumerate()`
 * \since 0.1.0
 * \sa threading_thread_list_len, threading_thread_list_get, threading_thread_list_free,
 *     threading_active_count
 */
threading_thread_list *threading_enumerate(void);

/**
 * Returns the number of threads in a list.
 *
 * \param list the list
 * \return the number of threads; 0 with THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python `len(threads)`
 * \since 0.1.0
 * \sa threading_enumerate, threading_thread_list_get, threading_thread_list_free
 */
size_t threading_thread_list_len(threading_thread_list *list);

/**
 * Returns the thread at an index of a list.
 *
 * \param list the list
 * \param i the index of the thread, from 0 to `threading_thread_list_len(list) - 1`
 * \return the thread, borrowed, and valid as long as the list; NULL with THREADING_ERR_HANDLE if the
 *     handle is invalid; NULL with THREADING_ERR_VALUE if `i` is out of range
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threads[i]`
 * \since 0.1.0
 * \sa threading_enumerate, threading_thread_list_len, threading_thread_ref
 */
threading_thread *threading_thread_list_get(threading_thread_list *list, size_t i);

/**
 * Frees a list and releases its references to the threads.
 *
 * \param list the list
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_enumerate
 */
threading_status threading_thread_list_free(threading_thread_list *list);

/**
 * Returns the identifier (ident) of the calling thread or, inside a timer's function, of the timer's
 * thread.
 *
 * The ident is never 0. Unlike Python's, it is not the pthread ID, and is never reused in the process.
 * The call does not register a foreign thread.
 *
 * \return the ident, which threading_thread_ident() also returns for this thread
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.get_ident()`
 * \since 0.1.0
 * \sa threading_thread_ident, threading_get_native_id, threading_current_thread
 */
uint64_t threading_get_ident(void);

/**
 * Returns the ID that the kernel has assigned to the calling system thread.
 *
 * \return the native ID; inside a timer's function, that of the system thread that runs it
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.get_native_id()`
 * \since 0.1.0
 * \sa threading_thread_native_id, threading_get_ident
 */
uint64_t threading_get_native_id(void);

/**
 * Returns the default stack size, which is that of threads that are started from now on.
 *
 * Unlike Python's function, the call does not reset the size to the system's default.
 *
 * \return the size in bytes; 0 if it is the system's default
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.stack_size()`
 * \since 0.1.0
 * \sa threading_set_stack_size, threading_thread_set_stack_size
 */
size_t threading_stack_size(void);

/**
 * Sets the stack size of threads that are started from now on, including those that run the functions
 * of timers.
 *
 * A size that is set with threading_thread_set_stack_size() takes precedence. If the program has a
 * large amount of static thread-local storage, which is placed on each stack, its size is added.
 *
 * \param bytes the size in bytes, at least 32768, or the system's minimum if that is larger; 0 selects
 *     the system's default
 * \return THREADING_OK; THREADING_ERR_VALUE if the size is too small
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.stack_size(bytes)`
 * \since 0.1.0
 * \sa threading_stack_size, threading_thread_set_stack_size
 */
threading_status threading_set_stack_size(size_t bytes);

/**
 * Suspends the calling thread for the given time. Signals do not shorten this time.
 *
 * \param seconds the time in seconds; with THREADING_FOREVER, the call never returns; with 0, it
 *     returns immediately
 * \return THREADING_OK; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if `seconds` is out of range
 *
 * \blocks for the given time
 * \threadsafety any thread
 * \python `time.sleep(seconds)`
 * \since 0.1.0
 * \sa threading_event_wait_timeout, threading_timer_new
 */
threading_status threading_sleep(double seconds);

/**
 * Registers a function to be called at process exit, before non-daemon threads are joined.
 *
 * The functions are called in reverse order of their registration, and each is called once, even if
 * the shutdown is repeated. If a function calls exit(), that call does not return, and the shutdown
 * continues with the next function. A child process inherits the functions.
 *
 * \param callback the function to call
 * \param arg the argument of the function
 * \return THREADING_OK; THREADING_ERR_VALUE if `callback` is NULL; THREADING_ERR_SHUTDOWN if the
 *     shutdown has begun; THREADING_ERR_NO_MEMORY if there is not enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading._register_atexit(callback, arg)`
 * \since 0.1.0
 * \sa threading_shutdown
 */
threading_status threading_atexit(threading_callback callback, void *arg);

/**
 * Runs the shutdown sequence of exit(): calls the functions registered with threading_atexit(), marks
 * the main thread as ended, and joins all non-daemon threads that this library started.
 *
 * The calling thread and threads that are themselves in exit() or threading_shutdown() are not joined.
 * After the call has returned, starting a thread or a timer and registering a function with
 * threading_atexit() fail with THREADING_ERR_SHUTDOWN; objects can still be created and used. The
 * function may be called again, and exit() then has nothing left to wait for.
 *
 * \return THREADING_OK
 *
 * \blocks until all non-daemon threads have ended, and while the registered functions run
 * \threadsafety any thread
 * \python `threading._shutdown()`
 * \since 0.1.0
 * \sa threading_shutdown_timeout, threading_atexit
 */
threading_status threading_shutdown(void);

/**
 * Runs the shutdown sequence like threading_shutdown(), but waits for the threads for at most the
 * given time.
 *
 * The time limit does not end a registered function that is running. If the call returns
 * THREADING_TIMED_OUT, threads can still be started, and the shutdown may be repeated; registered
 * functions that have been called are not called again.
 *
 * \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely, 0 does not wait
 * \return THREADING_OK if all non-daemon threads have ended; THREADING_TIMED_OUT if the timeout
 *     expired; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if `seconds` is out of range, in which
 *     case the shutdown has not begun
 *
 * \blocks until all non-daemon threads have ended or the timeout expires, and while the registered
 *     functions run
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_shutdown, threading_atexit
 */
threading_status threading_shutdown_timeout(double seconds);

/**
 * Sets the hook that is called for unhandled exceptions of threads.
 *
 * Other threads may still be running the previous hook when the call returns.
 *
 * \param hook the function that threading_report_exception() calls; NULL selects the default, which
 *     prints the line `Exception in thread NAME: TYPE: MESSAGE` to stderr
 * \param arg the last argument of the hook
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.excepthook = hook`
 * \since 0.1.0
 * \sa threading_get_excepthook, threading_report_exception, threading_excepthook
 */
void threading_set_excepthook(threading_excepthook hook, void *arg);

/**
 * Returns the hook that is called for unhandled exceptions of threads.
 *
 * \param arg where to store the argument of the hook; NULL if it is not needed
 * \return the hook; NULL if it is the default
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.excepthook`
 * \since 0.1.0
 * \sa threading_set_excepthook, threading_report_exception
 */
threading_excepthook threading_get_excepthook(void **arg);

/**
 * Calls the hook for an unhandled exception of the calling thread.
 *
 * It is meant for targets that cannot handle a failure, and for bindings to languages that have
 * exceptions. The call returns, and the thread continues; as in Python, neither its result nor the
 * exit status of the process changes.
 *
 * \param type the name of the exception's type, for example `MyError`
 * \param message the message of the exception
 * \return THREADING_OK if the hook was called; THREADING_ERR_VALUE if a string is NULL;
 *     THREADING_ERR_NO_MEMORY, THREADING_ERR_SYSTEM or THREADING_ERR_SHUTDOWN as in
 *     threading_current_thread()
 *
 * \blocks while the hook runs
 * \threadsafety any thread
 * \python `threading.excepthook(args)`, which Python calls by itself
 * \since 0.1.0
 * \sa threading_set_excepthook, threading_current_thread
 */
threading_status threading_report_exception(const char *type, const char *message);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Thread
 *
 * A thread calls its target when it is started, and ends when the target returns. It has a name, an
 * identifier (its ident), which is never reused, and a result, which is the value that the target
 * returned. A running thread holds a reference to itself, so its handle may be freed at any time.
 *
 * The process does not exit before all non-daemon threads have ended, but it does not wait for daemon
 * threads. A new thread is a daemon thread if the thread that creates it is one; a thread that is
 * created by a foreign thread is not. The daemon flag, the stack size, the argument destructor and the
 * override of run must be set before the start. Setting them later fails with
 * THREADING_ERR_ALREADY_STARTED; for the main thread and for dummy threads, setting them always fails
 * in this way.
 *
 * The argument is passed to the target unchanged, and must stay valid as long as the thread uses it.
 * If nothing else keeps the argument valid, allocate it and set a destructor with
 * threading_thread_set_arg_destructor(). Do not pass the address of a loop variable.
 *
 * Starting and joining a thread; if threading_thread_new() returns NULL, the next call reports it:
 *     static void *greet(void *name)
 *     {
 *         printf("hello %s\n", (char *)name);
 *         return name;
 *     }
 *     static bool greet_in_a_thread(char *name)
 *     {
 *         threading_thread *thread = threading_thread_new(greet, name);
 *         bool done = threading_thread_start(thread) == THREADING_OK
 *                     && threading_thread_join(thread) == THREADING_OK;
 *         return threading_thread_free(thread) == THREADING_OK && done;
 *     }
 */

/**
 * Creates a thread that will call `target(arg)`. It does not use a system thread until it is started.
 *
 * Its name is `Thread-N` unless another name is set. The number N is assigned when the name is first
 * queried or the thread is started, whichever is first; a thread that has been given a name before
 * then does not use a number. The thread is a daemon thread if the calling thread is one, but not if
 * the calling thread is a foreign thread.
 *
 * \param target the function to call; if it is NULL, the thread ends immediately
 * \param arg the argument of the target, which the caller must keep valid; see
 *     threading_thread_set_arg_destructor()
 * \return the new thread, owned by the caller; NULL with THREADING_ERR_NO_MEMORY if there is not
 *     enough memory, in which case `arg` is not used
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.Thread(target=target, args=(arg,))`
 * \since 0.1.0
 * \sa threading_thread_start, threading_thread_join, threading_thread_free,
 *     threading_thread_set_arg_destructor, threading_thread_set_name, threading_thread_set_daemon
 */
threading_thread *threading_thread_new(threading_target target, void *arg);

/**
 * Adds a reference to a thread.
 *
 * \param thread the thread
 * \return the same handle, with one more reference owned by the caller; NULL with THREADING_ERR_HANDLE
 *     if the handle is invalid; NULL with THREADING_ERR_OVERFLOW if the object has too many references
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_thread_free
 */
threading_thread *threading_thread_ref(threading_thread *thread);

/**
 * Releases a reference to a thread. A running thread continues.
 *
 * Releasing the last reference to a thread that was never started calls the destructor of its
 * argument.
 *
 * \param thread the thread
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid, or if all references of the
 *     program have been released
 *
 * \blocks only while the destructor runs
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_thread_new, threading_thread_ref, threading_thread_join
 */
threading_status threading_thread_free(threading_thread *thread);

/**
 * Sets the name of a thread. The name may be changed at any time.
 *
 * The name is copied. A previous name that threading_thread_name() has returned is kept until the
 * thread is destroyed; other previous names are freed. System tools such as ps and debuggers show the
 * first 15 bytes of the name, cut at a character boundary. For the main thread and for timers, the
 * name that these tools show does not change.
 *
 * \param thread the thread
 * \param name the name, a string in UTF-8
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE if the name
 *     is NULL or not valid UTF-8; THREADING_ERR_NO_MEMORY if there is not enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `thread.name = name`
 * \since 0.1.0
 * \sa threading_thread_name
 */
threading_status threading_thread_set_name(threading_thread *thread, const char *name);

/**
 * Returns the name of a thread: the name that was set, or else `Thread-N`, `Dummy-N` or `MainThread`.
 *
 * \param thread the thread
 * \return the name, valid as long as the thread's handle, even if the thread is renamed; NULL with
 *     THREADING_ERR_HANDLE if the handle is invalid; NULL with THREADING_ERR_NO_MEMORY if there is not
 *     enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `thread.name`
 * \since 0.1.0
 * \sa threading_thread_set_name
 */
const char *threading_thread_name(threading_thread *thread);

/**
 * Sets or clears the daemon flag of a thread. This is possible only before the start.
 *
 * \param thread the thread
 * \param daemon 0 for a non-daemon thread, for which the process waits at exit; any other number for a
 *     daemon thread
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_ALREADY_STARTED
 *     if the thread has been started, or is the main thread or a dummy thread
 *
 * \blocks never
 * \threadsafety any thread
 * \python `thread.daemon = daemon`
 * \since 0.1.0
 * \sa threading_thread_is_daemon, threading_shutdown
 */
threading_status threading_thread_set_daemon(threading_thread *thread, int daemon);

/**
 * Returns whether a thread is a daemon thread. Dummy threads are daemon threads; the main thread is
 * not.
 *
 * \param thread the thread
 * \return true if the thread is a daemon thread, false if it is not; false with THREADING_ERR_HANDLE
 *     if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python `thread.daemon`
 * \since 0.1.0
 * \sa threading_thread_set_daemon
 */
bool threading_thread_is_daemon(threading_thread *thread);

/**
 * Sets the stack size of a thread. This is possible only before the start.
 *
 * For a timer's thread, the size has no effect, because its function runs on the stack of a system
 * thread that timers share. If the program has a large amount of static thread-local storage, which is
 * placed on each stack, its size is added.
 *
 * \param thread the thread
 * \param bytes the size in bytes, at least 32768, or the system's minimum if that is larger; 0 selects
 *     the size that is set with threading_set_stack_size()
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE if the size
 *     is too small; THREADING_ERR_ALREADY_STARTED if the thread has been started, or is the main
 *     thread or a dummy thread
 *
 * \blocks never
 * \threadsafety any thread
 * \python none (`threading.stack_size(bytes)` applies to all threads)
 * \since 0.1.0
 * \sa threading_set_stack_size, threading_stack_size
 */
threading_status threading_thread_set_stack_size(threading_thread *thread, size_t bytes);

/**
 * Sets the destructor of a thread's argument. This is possible only before the start.
 *
 * Unless the argument is NULL, the destructor is called exactly once: either in the thread, after its
 * run and before a join returns, or by the call after which the thread can never run, which is the
 * last `_free` of a thread that was not started, or the cancellation of a timer. A start that fails
 * does not call the destructor, nor is it called for a daemon thread that is still running when the
 * process exits.
 *
 * A timer that is cancelled before its start can still be configured. If the cancellation has
 * destroyed the argument, a destructor that is set afterwards is never called. If the cancellation had
 * no destructor to call, a destructor that is set afterwards is called by the start or by the last
 * `_free`.
 *
 * \param thread the thread
 * \param destroy the destructor; if it is NULL, nothing is called
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_ALREADY_STARTED
 *     if the thread has been started, or is the main thread or a dummy thread
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_thread_new, threading_thread_arg, threading_timer_cancel, threading_destructor
 */
threading_status threading_thread_set_arg_destructor(threading_thread *thread, threading_destructor destroy);

/**
 * Overrides the run function of a thread. This is possible only before the start.
 *
 * \param thread the thread
 * \param run the function that is called instead of the target, with the thread and the target's
 *     argument; NULL removes the override
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_ALREADY_STARTED
 *     if the thread has been started, or is the main thread or a dummy thread
 *
 * \blocks never
 * \threadsafety any thread
 * \python a subclass with its own `run()`
 * \since 0.1.0
 * \sa threading_thread_run, threading_thread_new
 */
threading_status threading_thread_set_run(threading_thread *thread, threading_run run);

/**
 * Calls the target of a thread with its argument, which is what a thread does if its run function is
 * not overridden.
 *
 * It is meant to be called by a function that overrides the run function; see
 * threading_thread_set_run(). Wherever it is called, it calls the target in the calling thread and
 * does not start a thread.
 *
 * \param thread the thread
 * \return the value that the target returned; NULL if there is no target; NULL with
 *     THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks while the target runs
 * \threadsafety any thread, as far as the target allows it
 * \python `threading.Thread.run(thread)`
 * \since 0.1.0
 * \sa threading_thread_set_run
 */
void *threading_thread_run(threading_thread *thread);

/**
 * Starts a thread. A thread can be started only once.
 *
 * When the call returns, the thread is alive, is listed by threading_enumerate(), and has its name and
 * its ident, but it may not have begun to run yet. It holds a reference to itself until it ends.
 *
 * \param thread the thread
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_ALREADY_STARTED
 *     if the thread has been started, even if it has ended, or is the main thread or a dummy thread;
 *     THREADING_ERR_SHUTDOWN if the shutdown sequence of the process is complete; THREADING_ERR_SYSTEM
 *     if the system cannot create a thread or a pthread key, or THREADING_ERR_NO_MEMORY if there is
 *     not enough memory, in which cases nothing has changed and the call may be repeated
 *
 * \blocks never
 * \threadsafety any thread
 * \python `thread.start()`
 * \since 0.1.0
 * \sa threading_thread_new, threading_thread_join, threading_thread_is_alive
 */
threading_status threading_thread_start(threading_thread *thread);

/**
 * Waits until a thread has ended.
 *
 * A thread may be joined any number of times, and by any number of threads. The call waits for the end
 * of the system thread, so that destructors of pthread keys and of C++ thread_local objects have run.
 * Do not join or detach the system thread by other means: pthread_join() and pthread_detach() fail
 * with EINVAL. Joining a timer's thread waits for the end of its function or for its cancellation.
 * Joining the main thread waits until process exit or threading_shutdown() has called the functions
 * that were registered with threading_atexit(). If two threads join each other without a timeout, at
 * least one of the joins fails with THREADING_ERR_DEADLOCK. Longer cycles do not fail, but dumps show
 * them, and a hang hook reports them.
 *
 * \param thread the thread
 * \return THREADING_OK if the thread has ended; THREADING_ERR_HANDLE if the handle is invalid;
 *     THREADING_ERR_NOT_JOINABLE if it is a dummy thread; THREADING_ERR_NOT_STARTED if it has not been
 *     started; THREADING_ERR_DEADLOCK if it is the calling thread, if it joins the calling thread, or
 *     if it is the thread of a timer whose argument the calling thread is destroying
 *
 * \blocks until the thread has ended
 * \threadsafety any thread, except the thread to be joined
 * \python `thread.join()`
 * \since 0.1.0
 * \sa threading_thread_join_timeout, threading_thread_is_alive, threading_thread_result,
 *     threading_set_hang_hook
 */
threading_status threading_thread_join(threading_thread *thread);

/**
 * Waits until a thread has ended or the timeout expires. In all other respects, the function is like
 * threading_thread_join().
 *
 * \param thread the thread
 * \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely, 0 does not wait
 * \return THREADING_OK if the thread has ended; THREADING_TIMED_OUT if the timeout expired;
 *     THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if
 *     `seconds` is out of range; THREADING_ERR_NOT_JOINABLE if it is a dummy thread;
 *     THREADING_ERR_NOT_STARTED if it has not been started; THREADING_ERR_DEADLOCK as in
 *     threading_thread_join()
 *
 * \blocks until the thread has ended or the timeout expires
 * \threadsafety any thread, except the thread to be joined
 * \python `thread.join(seconds)`, then `not thread.is_alive()`
 * \since 0.1.0
 * \sa threading_thread_join, threading_thread_is_alive, threading_thread_result
 */
threading_status threading_thread_join_timeout(threading_thread *thread, double seconds);

/**
 * Returns whether a thread has been started and has not ended. A pending timer is alive.
 *
 * \param thread the thread
 * \return true if the thread is alive, false if it is not; false with THREADING_ERR_HANDLE if the
 *     handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python `thread.is_alive()`
 * \since 0.1.0
 * \sa threading_thread_start, threading_thread_join, threading_enumerate
 */
bool threading_thread_is_alive(threading_thread *thread);

/**
 * Returns the identifier (ident) of a thread, a number that is never reused in the process.
 *
 * \param thread the thread
 * \return the ident, even after the end of the thread; 0 before its start; 0 with THREADING_ERR_HANDLE
 *     if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python `thread.ident`
 * \since 0.1.0
 * \sa threading_get_ident, threading_thread_native_id
 */
uint64_t threading_thread_ident(threading_thread *thread);

/**
 * Returns the ID that the kernel has assigned to a thread. For a timer's thread, it is the ID of the
 * system thread that runs the timer's function.
 *
 * \param thread the thread
 * \return the native ID, even after the end of the thread; 0 before its start, and for a timer's
 *     thread before the function runs; 0 with THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks until the thread has begun to run, if it has just been started
 * \threadsafety any thread
 * \python `thread.native_id`
 * \since 0.1.0
 * \sa threading_get_native_id, threading_thread_ident
 */
uint64_t threading_thread_native_id(threading_thread *thread);

/**
 * Returns the result of a thread, which is the value that its target, or the function that overrides
 * its run function, returned.
 *
 * If the thread called pthread_exit(), the result is the value that was passed to pthread_exit() or,
 * for a timer, NULL. If the thread was cancelled by pthread_cancel(), the result is PTHREAD_CANCELED.
 * When the first thread ends in one of these ways, the library finds out where libc keeps such
 * values, by a thread that it starts. As long as the system does not permit that, the result is NULL.
 *
 * \param thread the thread
 * \return the result; NULL before the end of the thread; NULL with THREADING_ERR_HANDLE if the handle
 *     is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_thread_join, threading_thread_run
 */
void *threading_thread_result(threading_thread *thread);

/**
 * Returns the argument of a thread, which was passed to threading_thread_new() or
 * threading_timer_new().
 *
 * \param thread the thread
 * \return the argument, even after its destructor has been called; NULL for the main thread and dummy
 *     threads; NULL with THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_thread_new, threading_thread_set_arg_destructor
 */
void *threading_thread_arg(threading_thread *thread);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Timer
 *
 * A timer is a thread whose function runs after a delay, unless the timer is cancelled first. A timer
 * is pending from its start until its function begins or the timer is cancelled. As in Python, a
 * pending timer is alive, is listed by threading_enumerate() and keeps the process from exiting,
 * unless its thread is a daemon thread. A pending timer does not use a system thread: the functions
 * run on a few system threads that all timers share and that are never listed. A function that blocks
 * does not delay other timers.
 *
 * threading_timer_thread() returns the timer's thread, on which all functions for threads work: name,
 * daemon flag, join, result and the others. Inside the function, threading_current_thread() returns
 * the timer's thread, an RLock that the function acquires belongs to the timer, and locals have
 * separate values for the timer, which are destroyed when the function has returned. `__thread`
 * variables and the values of pthread keys, in contrast, belong to the system thread and outlive the
 * timer. A timer runs once and cannot be restarted.
 *
 * The functions of all timers begin in the same state, no matter which thread created or started the
 * timer. The signal mask, CPU affinity, scheduling policy, priority and nice value are those that the
 * main thread had when the library was loaded. There is no alternate signal stack. The name of the
 * system thread is threading-timer. The floating-point environment is the default one, with no
 * exception flag set and no exception trapped. The thread's locale is the global one. Cancellation is
 * enabled, deferred and not requested. errno is 0. In Python, by contrast, a timer's thread inherits
 * its state from the thread that starts it.
 *
 * If a function, or a destructor that is called after it, changes this state, the library undoes the
 * change before the next function begins. There is one exception: a function that has never changed
 * the signal mask, affinity, scheduling, signal stack or name in at least 64 runs is checked less
 * often. If it then changes one of them while other timers are due, their functions may begin with the
 * changed state for about 20 microseconds. If the system does not allow a thread to undo a change,
 * such as a change of the nice value by an unprivileged user, the next function runs on another system
 * thread. All other state that the system keeps for a thread, such as its capabilities and its timer
 * slack, is shared with later functions.
 *
 * A function begins only while another system thread is available to take over if the function blocks.
 * If that thread cannot be created, functions are delayed by up to one second, during which the
 * library retries. After that they run without it, and a function that blocks delays the others until
 * a thread can be created.
 *
 * Calling a function after a delay:
 *     static void *remind(void *text)
 *     {
 *         return puts(text) < 0 ? NULL : text;
 *     }
 *     static bool remind_me(char *text, double seconds)
 *     {
 *         threading_timer *timer = threading_timer_new(seconds, remind, text);
 *         bool started = threading_timer_start(timer) == THREADING_OK;
 *         return threading_timer_free(timer) == THREADING_OK && started; // the timer continues
 *     }
 */

/**
 * Creates a timer that will call `function(arg)` when the interval has passed after its start.
 *
 * Its name and its daemon flag are set as by threading_thread_new(). The interval is not a timeout and
 * has different rules: with zero and negative numbers, including THREADING_FOREVER, the function is
 * called immediately after the start; with positive infinity, it is never called, and the timer stays
 * pending until it is cancelled.
 *
 * \param interval the interval in seconds
 * \param function the function to call; if it is NULL, nothing is called
 * \param arg the argument of the function, which the caller must keep valid; see
 *     threading_thread_set_arg_destructor()
 * \return the new timer, owned by the caller; NULL with THREADING_ERR_VALUE if the interval is NaN;
 *     NULL with THREADING_ERR_OVERFLOW if it is finite and above THREADING_TIMEOUT_MAX; NULL with
 *     THREADING_ERR_NO_MEMORY if there is not enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.Timer(interval, function, args=(arg,))`
 * \since 0.1.0
 * \sa threading_timer_start, threading_timer_cancel, threading_timer_thread, threading_timer_free
 */
threading_timer *threading_timer_new(double interval, threading_target function, void *arg);

/**
 * Adds a reference to a timer.
 *
 * \param timer the timer
 * \return the same handle, with one more reference owned by the caller; NULL with THREADING_ERR_HANDLE
 *     if the handle is invalid; NULL with THREADING_ERR_OVERFLOW if the object has too many references
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_timer_free
 */
threading_timer *threading_timer_ref(threading_timer *timer);

/**
 * Releases a reference to a timer. A timer that has been started continues.
 *
 * If the timer was never started, releasing the last reference to it calls the destructor of its
 * argument, unless a reference to its thread still exists.
 *
 * \param timer the timer
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid, or if all references of the
 *     program have been released
 *
 * \blocks only while the destructor runs
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_timer_new, threading_timer_ref, threading_timer_cancel
 */
threading_status threading_timer_free(threading_timer *timer);

/**
 * Returns the thread of a timer, on which all functions for threads work.
 *
 * \param timer the timer
 * \return the thread, borrowed, and valid as long as the timer's handle; NULL with
 *     THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python none (a `Timer` is a `Thread`)
 * \since 0.1.0
 * \sa threading_timer_new, threading_thread_join, threading_thread_set_daemon,
 *     threading_thread_set_arg_destructor
 */
threading_thread *threading_timer_thread(threading_timer *timer);

/**
 * Starts a timer and its interval. A timer can be started only once.
 *
 * threading_thread_start() on the timer's thread does the same. A timer that has been cancelled before
 * can still be started; it then ends immediately, without calling its function. The state in which the
 * function begins does not depend on the thread that starts the timer.
 *
 * \param timer the timer
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_ALREADY_STARTED
 *     if the timer has been started; THREADING_ERR_SHUTDOWN if the shutdown sequence of the process is
 *     complete; THREADING_ERR_SYSTEM if the system cannot create a thread or a pthread key for the
 *     library, or THREADING_ERR_NO_MEMORY if there is not enough memory, in which cases nothing has
 *     changed and the call may be repeated
 *
 * \blocks only while the destructor of the argument runs, if the timer was cancelled before its start
 * \threadsafety any thread
 * \python `timer.start()`
 * \since 0.1.0
 * \sa threading_timer_new, threading_timer_cancel
 */
threading_status threading_timer_start(threading_timer *timer);

/**
 * Cancels a timer, so that its function will never run. A pending timer ends.
 *
 * If a destructor has been set for the argument, the calling thread calls it, and the timer ends when
 * the destructor has returned. Inside the destructor, joining the timer's thread fails with
 * THREADING_ERR_DEADLOCK, and exit() and threading_shutdown() do not wait for the timer. The call does
 * not wait for a function that has begun; join the timer's thread for that.
 *
 * \param timer the timer
 * \return THREADING_OK if the function will never run, because of this or an earlier cancellation;
 *     THREADING_TOO_LATE if it has begun or has run; THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks only while the destructor runs
 * \threadsafety any thread, including the timer's own function
 * \python `timer.cancel()`
 * \since 0.1.0
 * \sa threading_timer_start, threading_timer_thread, threading_thread_join
 */
threading_status threading_timer_cancel(threading_timer *timer);

/**
 * Returns the interval of a timer.
 *
 * \param timer the timer
 * \return the interval in seconds, as it was passed to threading_timer_new(); 0 with
 *     THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python `timer.interval`
 * \since 0.1.0
 * \sa threading_timer_new
 */
double threading_timer_interval(threading_timer *timer);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Lock
 *
 * A lock is held by at most one thread at a time; other threads that acquire it wait. Any thread may
 * release it, not only the one that has acquired it. A thread that acquires it again while holding it
 * deadlocks. The order in which waiting threads acquire the lock is not specified, but no thread is
 * starved: a running thread may acquire a free lock before a thread that is being woken up, but a few
 * times per millisecond the lock is handed off to the thread that has waited longest.
 *
 * Threads that share a sum (see THREADING_WITH() for blocks that release a lock automatically):
 *     static bool add(threading_lock *lock, long *sum, long amount)
 *     {
 *         if (threading_lock_acquire(lock) != THREADING_OK)
 *             return false;
 *         *sum += amount;
 *         return threading_lock_release(lock) == THREADING_OK;
 *     }
 */

/**
 * Creates an unlocked lock.
 *
 * \return the new lock, owned by the caller; NULL with THREADING_ERR_NO_MEMORY if there is not enough
 *     memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.Lock()`
 * \since 0.1.0
 * \sa threading_lock_free, threading_lock_acquire, threading_rlock_new
 */
threading_lock *threading_lock_new(void);

/**
 * Adds a reference to a lock.
 *
 * \param lock the lock
 * \return the same handle, with one more reference owned by the caller; NULL with THREADING_ERR_HANDLE
 *     if the handle is invalid; NULL with THREADING_ERR_OVERFLOW if the object has too many references
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_lock_free
 */
threading_lock *threading_lock_ref(threading_lock *lock);

/**
 * Releases a reference to a lock. Releasing the last one destroys the lock, even if it is held.
 *
 * \param lock the lock
 * \return THREADING_OK; THREADING_ERR_BUSY if it is the last reference and threads are blocked on the
 *     lock; THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_lock_new, threading_lock_ref
 */
threading_status threading_lock_free(threading_lock *lock);

/**
 * Acquires a lock, blocking until it is available. A thread that already holds the lock deadlocks.
 *
 * \param lock the lock
 * \return THREADING_OK if the lock has been acquired; THREADING_ERR_HANDLE if the handle is invalid;
 *     THREADING_ERR_NO_MEMORY if the calling thread's wait record, which its first blocking call
 *     allocates, cannot be allocated
 *
 * \blocks until the lock is available
 * \threadsafety any thread
 * \python `lock.acquire()`
 * \since 0.1.0
 * \sa threading_lock_try_acquire, threading_lock_acquire_timeout, threading_lock_release,
 *     THREADING_WITH
 */
threading_status threading_lock_acquire(threading_lock *lock);

/**
 * Acquires a lock if it is available, without blocking.
 *
 * \param lock the lock
 * \return THREADING_OK if the lock has been acquired; THREADING_WOULD_BLOCK if a thread holds it, even
 *     if that is the calling thread; THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python `lock.acquire(blocking=False)`
 * \since 0.1.0
 * \sa threading_lock_acquire, threading_lock_acquire_timeout, threading_lock_release
 */
threading_status threading_lock_try_acquire(threading_lock *lock);

/**
 * Acquires a lock, blocking until it is available or the timeout expires.
 *
 * \param lock the lock
 * \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely, 0 does not wait
 * \return THREADING_OK if the lock has been acquired; THREADING_TIMED_OUT if the timeout expired;
 *     THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if
 *     `seconds` is out of range; THREADING_ERR_NO_MEMORY if the calling thread's wait record, which
 *     its first blocking call allocates, cannot be allocated
 *
 * \blocks until the lock is available or the timeout expires
 * \threadsafety any thread
 * \python `lock.acquire(timeout=seconds)`
 * \since 0.1.0
 * \sa threading_lock_acquire, threading_lock_try_acquire, threading_lock_release
 */
threading_status threading_lock_acquire_timeout(threading_lock *lock, double seconds);

/**
 * Releases a lock. Any thread may release it, not only the one that acquired it.
 *
 * \param lock the lock
 * \return THREADING_OK; THREADING_ERR_NOT_ACQUIRED if the lock is not locked; THREADING_ERR_HANDLE if
 *     the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python `lock.release()`
 * \since 0.1.0
 * \sa threading_lock_acquire, threading_lock_locked
 */
threading_status threading_lock_release(threading_lock *lock);

/**
 * Returns whether a lock is currently locked, by any thread.
 *
 * \param lock the lock
 * \return true if the lock is locked, false if it is not; false with THREADING_ERR_HANDLE if the
 *     handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python `lock.locked()`
 * \since 0.1.0
 * \sa threading_lock_acquire, threading_lock_release
 */
bool threading_lock_locked(threading_lock *lock);

/**
 * Reinitializes a lock to the unlocked state.
 *
 * It is meant for the child process after fork(), in which the thread that held the lock may not
 * exist.
 *
 * \param lock the lock
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread; meant for the only thread of a child process
 * \python `lock._at_fork_reinit()`
 * \since 0.1.0
 * \sa threading_lock_new, threading_rlock_at_fork_reinit
 */
threading_status threading_lock_at_fork_reinit(threading_lock *lock);

/**
 * Returns the identifier of the thread that has acquired a lock.
 *
 * \param lock the lock
 * \return the identifier of the thread, also after the thread has ended; 0 if the lock is unlocked, or
 *     is being handed off to a waiter; 0 with THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread; the result may be outdated when the call returns
 * \python none
 * \since 0.1.0
 * \sa threading_thread_ident, threading_dump
 */
uint64_t threading_lock_owner(threading_lock *lock);

/**
 * Sets the name of a lock, which dumps show.
 *
 * The first 47 bytes of the name are kept, up to the end of a character. Several objects may have the
 * same name. An object without a name is shown by its handle.
 *
 * \param lock the lock
 * \param name the name in UTF-8; NULL removes it
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE if the name
 *     is not valid UTF-8; THREADING_ERR_NO_MEMORY if there is not enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_dump
 */
threading_status threading_lock_set_name(threading_lock *lock, const char *name);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * RLock
 *
 * A reentrant lock has an owner, which is the thread that holds it. The owner can acquire the lock
 * again without blocking, and must release it as many times as it has acquired it. No other thread can
 * release it. If the owner ends without releasing the lock, the lock stays locked, and no later thread
 * can own it. Inside a timer's function, the timer is the owner, not the system thread that runs the
 * function.
 *
 * A function that calls itself while it holds the lock:
 *     static threading_status descend(threading_rlock *rlock, int depth)
 *     {
 *         threading_status status = threading_rlock_acquire(rlock); // does not block for the owner
 *         if (status != THREADING_OK)
 *             return status;
 *         if (depth > 0)
 *             status = descend(rlock, depth - 1);
 *         threading_status released = threading_rlock_release(rlock);
 *         return status != THREADING_OK ? status : released;
 *     }
 */

/**
 * Creates an unlocked reentrant lock.
 *
 * \return the new lock, owned by the caller; NULL with THREADING_ERR_NO_MEMORY if there is not enough
 *     memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.RLock()`
 * \since 0.1.0
 * \sa threading_rlock_free, threading_rlock_acquire, threading_lock_new
 */
threading_rlock *threading_rlock_new(void);

/**
 * Adds a reference to a reentrant lock. References are independent of the recursion count.
 *
 * \param rlock the lock
 * \return the same handle, with one more reference owned by the caller; NULL with THREADING_ERR_HANDLE
 *     if the handle is invalid; NULL with THREADING_ERR_OVERFLOW if the object has too many references
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_rlock_free
 */
threading_rlock *threading_rlock_ref(threading_rlock *rlock);

/**
 * Releases a reference to a reentrant lock. Releasing the last one destroys the lock, even if it is
 * held.
 *
 * \param rlock the lock
 * \return THREADING_OK; THREADING_ERR_BUSY if it is the last reference and threads are blocked on the
 *     lock; THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_rlock_new, threading_rlock_ref
 */
threading_status threading_rlock_free(threading_rlock *rlock);

/**
 * Acquires a reentrant lock, blocking until it is available. If the calling thread already owns the
 * lock, the call increments the recursion count and does not block.
 *
 * \param rlock the lock
 * \return THREADING_OK if the lock has been acquired; THREADING_ERR_HANDLE if the handle is invalid;
 *     THREADING_ERR_OVERFLOW if the recursion count is already 4294967296; THREADING_ERR_NO_MEMORY if
 *     the calling thread's wait record, which its first blocking call allocates, cannot be allocated,
 *     or if the calling thread acquires the lock again while it holds another RLock more than once and
 *     there is not enough memory for the recursion count
 *
 * \blocks until the lock is available, unless the calling thread owns it
 * \threadsafety any thread
 * \python `rlock.acquire()`
 * \since 0.1.0
 * \sa threading_rlock_try_acquire, threading_rlock_acquire_timeout, threading_rlock_release,
 *     THREADING_WITH
 */
threading_status threading_rlock_acquire(threading_rlock *rlock);

/**
 * Acquires a reentrant lock if it is available or the calling thread owns it, without blocking.
 *
 * \param rlock the lock
 * \return THREADING_OK if the lock has been acquired; THREADING_WOULD_BLOCK if another thread owns it;
 *     THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_OVERFLOW or THREADING_ERR_NO_MEMORY
 *     as in threading_rlock_acquire()
 *
 * \blocks never
 * \threadsafety any thread
 * \python `rlock.acquire(blocking=False)`
 * \since 0.1.0
 * \sa threading_rlock_acquire, threading_rlock_acquire_timeout, threading_rlock_release
 */
threading_status threading_rlock_try_acquire(threading_rlock *rlock);

/**
 * Acquires a reentrant lock like threading_rlock_acquire(), blocking until it is available or the
 * timeout expires.
 *
 * \param rlock the lock
 * \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely, 0 does not wait
 * \return THREADING_OK if the lock has been acquired; THREADING_TIMED_OUT if the timeout expired;
 *     THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if
 *     `seconds` is out of range; THREADING_ERR_OVERFLOW or THREADING_ERR_NO_MEMORY as in
 *     threading_rlock_acquire()
 *
 * \blocks until the lock is available or the timeout expires, unless the calling thread owns it
 * \threadsafety any thread
 * \python `rlock.acquire(timeout=seconds)`
 * \since 0.1.0
 * \sa threading_rlock_acquire, threading_rlock_try_acquire, threading_rlock_release
 */
threading_status threading_rlock_acquire_timeout(threading_rlock *rlock, double seconds);

/**
 * Releases a reentrant lock once, which decrements the recursion count. When the count becomes 0, the
 * lock is unlocked.
 *
 * \param rlock the lock
 * \return THREADING_OK; THREADING_ERR_NOT_OWNER if the calling thread does not own the lock, or the
 *     lock is not locked; THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety the owner of the lock
 * \python `rlock.release()`
 * \since 0.1.0
 * \sa threading_rlock_acquire, threading_rlock_is_owned
 */
threading_status threading_rlock_release(threading_rlock *rlock);

/**
 * Returns whether a reentrant lock is currently locked, by any thread.
 *
 * \param rlock the lock
 * \return true if the lock is locked, false if it is not; false with THREADING_ERR_HANDLE if the
 *     handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python `rlock.locked()` (3.14)
 * \since 0.1.0
 * \sa threading_rlock_is_owned, threading_rlock_acquire
 */
bool threading_rlock_locked(threading_rlock *rlock);

/**
 * Returns whether the calling thread owns a reentrant lock.
 *
 * \param rlock the lock
 * \return true if the calling thread owns the lock, false if it does not; false with
 *     THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python `rlock._is_owned()`
 * \since 0.1.0
 * \sa threading_rlock_recursion_count, threading_rlock_locked
 */
bool threading_rlock_is_owned(threading_rlock *rlock);

/**
 * Returns the recursion count of a reentrant lock: the number of times that the calling thread must
 * release it to unlock it.
 *
 * \param rlock the lock
 * \return the recursion count; 0 if the calling thread does not own the lock; 0 with
 *     THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python `rlock._recursion_count()`
 * \since 0.1.0
 * \sa threading_rlock_is_owned, threading_rlock_release
 */
size_t threading_rlock_recursion_count(threading_rlock *rlock);

/**
 * Reinitializes a reentrant lock to the unlocked state.
 *
 * It is meant for the child process after fork(), in which the owner of the lock may not exist.
 *
 * \param rlock the lock
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread; meant for the only thread of a child process
 * \python `rlock._at_fork_reinit()`
 * \since 0.1.0
 * \sa threading_rlock_new, threading_lock_at_fork_reinit
 */
threading_status threading_rlock_at_fork_reinit(threading_rlock *rlock);

/**
 * Returns the identifier of the thread that owns a reentrant lock.
 *
 * \param rlock the lock
 * \return the identifier of the thread, also after the thread has ended; 0 if the lock is unlocked, or
 *     is being handed off to a waiter; 0 with THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread; the result may be outdated when the call returns
 * \python the owner in `repr(rlock)`
 * \since 0.1.0
 * \sa threading_thread_ident, threading_dump
 */
uint64_t threading_rlock_owner(threading_rlock *rlock);

/**
 * Sets the name of a reentrant lock, which dumps show.
 *
 * The first 47 bytes of the name are kept, up to the end of a character. Several objects may have the
 * same name. An object without a name is shown by its handle.
 *
 * \param rlock the lock
 * \param name the name in UTF-8; NULL removes it
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE if the name
 *     is not valid UTF-8; THREADING_ERR_NO_MEMORY if there is not enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_dump
 */
threading_status threading_rlock_set_name(threading_rlock *rlock, const char *name);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Condition
 *
 * A condition variable combines a lock with a set of threads that wait for a notification. A thread
 * must hold the lock to wait or to notify. If the lock is an RLock, the calling thread must own it; if
 * it is a plain Lock, it is sufficient that any thread holds it, as in Python. A wait releases the
 * lock and reacquires it before it returns, whatever its result. If the lock is an RLock, the wait
 * releases all recursion levels and restores them afterwards.
 *
 * Waiters are notified in the order of their arrival. A waiter that has been notified returns
 * THREADING_OK even if its timeout expires before it has reacquired the lock, so that no notification
 * is lost. There are no spurious wakeups: without a notification, a wait does not return before its
 * timeout expires. A notification has no effect if no thread waits, and is not stored for later waits.
 * It does not release the lock; when the lock is released, the notified waiters acquire it one at a
 * time, in an order that is not specified.
 *
 * Taking an item that another thread adds under the same lock before it calls threading_condition_notify():
 *     static int is_positive(void *count)
 *     {
 *         return *(int *)count > 0;
 *     }
 *     static bool take_one(threading_condition *condition, int *count)
 *     {
 *         if (threading_condition_acquire(condition) != THREADING_OK)
 *             return false;
 *         bool taken = threading_condition_wait_for(condition, is_positive, count) == THREADING_OK;
 *         *count -= taken;
 *         return threading_condition_release(condition) == THREADING_OK && taken;
 *     }
 */

/**
 * Creates a condition with a reentrant lock of its own.
 *
 * \return the new condition, owned by the caller; NULL with THREADING_ERR_NO_MEMORY if there is not
 *     enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.Condition()`
 * \since 0.1.0
 * \sa threading_condition_new_with_lock, threading_condition_new_with_rlock, threading_condition_free
 */
threading_condition *threading_condition_new(void);

/**
 * Creates a condition that uses the given lock. Several conditions may share a lock.
 *
 * \param lock the lock, to which the condition holds a reference of its own
 * \return the new condition, owned by the caller; NULL with THREADING_ERR_HANDLE if the handle is
 *     invalid; NULL with THREADING_ERR_OVERFLOW if the lock has too many references; NULL with
 *     THREADING_ERR_NO_MEMORY if there is not enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.Condition(lock)`
 * \since 0.1.0
 * \sa threading_condition_new, threading_condition_new_with_rlock, threading_lock_new
 */
threading_condition *threading_condition_new_with_lock(threading_lock *lock);

/**
 * Creates a condition that uses the given reentrant lock. Several conditions may share a lock.
 *
 * \param rlock the lock, to which the condition holds a reference of its own
 * \return the new condition, owned by the caller; NULL with THREADING_ERR_HANDLE if the handle is
 *     invalid; NULL with THREADING_ERR_OVERFLOW if the lock has too many references; NULL with
 *     THREADING_ERR_NO_MEMORY if there is not enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.Condition(rlock)`
 * \since 0.1.0
 * \sa threading_condition_new, threading_condition_new_with_lock, threading_rlock_new
 */
threading_condition *threading_condition_new_with_rlock(threading_rlock *rlock);

/**
 * Adds a reference to a condition.
 *
 * \param condition the condition
 * \return the same handle, with one more reference owned by the caller; NULL with THREADING_ERR_HANDLE
 *     if the handle is invalid; NULL with THREADING_ERR_OVERFLOW if the object has too many references
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_condition_free
 */
threading_condition *threading_condition_ref(threading_condition *condition);

/**
 * Releases a reference to a condition. Releasing the last one destroys the condition and releases its
 * reference to the lock, even if the lock is held.
 *
 * Waiters that have been notified do not prevent this; their waits succeed.
 *
 * \param condition the condition
 * \return THREADING_OK; THREADING_ERR_BUSY if it is the last reference and there are waiters that have
 *     not been notified, or if threads are blocked on the lock and the condition holds the last
 *     reference to the lock; THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_condition_new, threading_condition_ref
 */
threading_status threading_condition_free(threading_condition *condition);

/**
 * Acquires the lock of a condition, like threading_lock_acquire() or threading_rlock_acquire().
 *
 * \param condition the condition
 * \return THREADING_OK if the lock has been acquired; THREADING_ERR_HANDLE if the handle is invalid;
 *     THREADING_ERR_OVERFLOW or THREADING_ERR_NO_MEMORY as in threading_rlock_acquire()
 *
 * \blocks until the lock is available, unless it is an RLock that the calling thread owns
 * \threadsafety any thread
 * \python `condition.acquire()`
 * \since 0.1.0
 * \sa threading_condition_try_acquire, threading_condition_acquire_timeout,
 *     threading_condition_release, THREADING_WITH
 */
threading_status threading_condition_acquire(threading_condition *condition);

/**
 * Acquires the lock of a condition if it is available, without blocking.
 *
 * \param condition the condition
 * \return THREADING_OK if the lock has been acquired; THREADING_WOULD_BLOCK if the lock is not
 *     available; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_OVERFLOW or
 *     THREADING_ERR_NO_MEMORY as in threading_rlock_acquire()
 *
 * \blocks never
 * \threadsafety any thread
 * \python `condition.acquire(blocking=False)`
 * \since 0.1.0
 * \sa threading_condition_acquire, threading_condition_acquire_timeout, threading_condition_release
 */
threading_status threading_condition_try_acquire(threading_condition *condition);

/**
 * Acquires the lock of a condition, blocking until it is available or the timeout expires.
 *
 * \param condition the condition
 * \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely, 0 does not wait
 * \return THREADING_OK if the lock has been acquired; THREADING_TIMED_OUT if the timeout expired;
 *     THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if
 *     `seconds` is out of range; THREADING_ERR_OVERFLOW or THREADING_ERR_NO_MEMORY as in
 *     threading_rlock_acquire()
 *
 * \blocks until the lock is available or the timeout expires, unless it is an RLock that the calling
 *     thread owns
 * \threadsafety any thread
 * \python `condition.acquire(timeout=seconds)`
 * \since 0.1.0
 * \sa threading_condition_acquire, threading_condition_try_acquire, threading_condition_release
 */
threading_status threading_condition_acquire_timeout(threading_condition *condition, double seconds);

/**
 * Releases the lock of a condition. If it is an RLock, it is released once.
 *
 * \param condition the condition
 * \return THREADING_OK; THREADING_ERR_NOT_ACQUIRED if the lock is a Lock that is not locked;
 *     THREADING_ERR_NOT_OWNER if it is an RLock that the calling thread does not own;
 *     THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread; for an RLock, its owner
 * \python `condition.release()`
 * \since 0.1.0
 * \sa threading_condition_acquire, threading_condition_is_owned
 */
threading_status threading_condition_release(threading_condition *condition);

/**
 * Returns whether the lock of a condition is currently locked, by any thread.
 *
 * \param condition the condition
 * \return true if the lock is locked, false if it is not; false with THREADING_ERR_HANDLE if the
 *     handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python `condition.locked()` (3.14)
 * \since 0.1.0
 * \sa threading_condition_is_owned, threading_condition_acquire
 */
bool threading_condition_locked(threading_condition *condition);

/**
 * Returns whether the calling thread may wait and notify: if the lock is an RLock, whether the calling
 * thread owns it; if it is a plain Lock, whether any thread holds it.
 *
 * \param condition the condition
 * \return true if the calling thread may wait and notify, false if it may not; false with
 *     THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python `condition._is_owned()`
 * \since 0.1.0
 * \sa threading_condition_wait, threading_condition_notify, threading_condition_locked
 */
bool threading_condition_is_owned(threading_condition *condition);

/**
 * Atomically releases the lock of a condition and waits for a notification, then reacquires the lock.
 *
 * Check after the call whether the state that the thread waits for has been reached, because another
 * thread may have changed it again; or use threading_condition_wait_for().
 *
 * \param condition the condition, whose lock is held
 * \return THREADING_OK if the calling thread has been notified; THREADING_ERR_NOT_OWNER if the lock is
 *     not held; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_NO_MEMORY if the calling
 *     thread's wait record, which its first blocking call allocates, cannot be allocated, in which
 *     case the lock has not been released
 *
 * \blocks until the calling thread is notified, and then until the lock is available
 * \threadsafety any thread that holds the lock
 * \python `condition.wait()`
 * \since 0.1.0
 * \sa threading_condition_wait_timeout, threading_condition_wait_for, threading_condition_notify
 */
threading_status threading_condition_wait(threading_condition *condition);

/**
 * Atomically releases the lock of a condition and waits for a notification or until the timeout
 * expires, then reacquires the lock.
 *
 * The time that is needed to reacquire the lock does not count towards the timeout.
 *
 * \param condition the condition, whose lock is held
 * \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely; 0 does not wait, but
 *     releases and reacquires the lock, so that other threads can acquire it
 * \return THREADING_OK if the calling thread has been notified; THREADING_TIMED_OUT if the timeout
 *     expired first; THREADING_ERR_NOT_OWNER if the lock is not held; THREADING_ERR_HANDLE if the
 *     handle is invalid; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if `seconds` is out of range;
 *     THREADING_ERR_NO_MEMORY as in threading_condition_wait()
 *
 * \blocks until the calling thread is notified or the timeout expires, and then until the lock is
 *     available
 * \threadsafety any thread that holds the lock
 * \python `condition.wait(seconds)`
 * \since 0.1.0
 * \sa threading_condition_wait, threading_condition_wait_for_timeout, threading_condition_notify
 */
threading_status threading_condition_wait_timeout(threading_condition *condition, double seconds);

/**
 * Waits until a predicate is true. The predicate is evaluated before waiting and after every
 * notification.
 *
 * \param condition the condition, whose lock is held
 * \param predicate the predicate, which the calling thread evaluates with the lock held
 * \param arg the argument of the predicate, not used after the call
 * \return THREADING_OK if the predicate is true; THREADING_ERR_CALLBACK if the predicate failed, in
 *     which case the lock is held; THREADING_ERR_NOT_OWNER if the lock is not held, in which case the
 *     predicate has not been called; THREADING_ERR_HANDLE if the handle is invalid;
 *     THREADING_ERR_VALUE if the predicate is NULL; THREADING_ERR_NO_MEMORY as in
 *     threading_condition_wait()
 *
 * \blocks until the predicate is true, and after each notification until the lock is available
 * \threadsafety any thread that holds the lock
 * \python `condition.wait_for(predicate)`
 * \since 0.1.0
 * \sa threading_condition_wait_for_timeout, threading_condition_wait, threading_condition_notify
 */
threading_status threading_condition_wait_for(threading_condition *condition,
                                              threading_predicate predicate,
                                              void *arg);

/**
 * Waits until a predicate is true or the timeout expires.
 *
 * The predicate is evaluated before waiting, after every notification, and once more when the timeout
 * has expired. The time that is needed to reacquire the lock does not count towards the timeout.
 *
 * \param condition the condition, whose lock is held
 * \param predicate the predicate, which the calling thread evaluates with the lock held
 * \param arg the argument of the predicate, not used after the call
 * \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely; 0 does not wait, but
 *     releases and reacquires the lock once if the predicate is false
 * \return THREADING_OK if the predicate is true; THREADING_TIMED_OUT if it is still false when the
 *     timeout has expired; THREADING_ERR_CALLBACK if the predicate failed, in which case the lock is
 *     held; THREADING_ERR_NOT_OWNER if the lock is not held, in which case the predicate has not been
 *     called; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE if the predicate is
 *     NULL; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if `seconds` is out of range;
 *     THREADING_ERR_NO_MEMORY as in threading_condition_wait()
 *
 * \blocks until the predicate is true or the timeout expires, and then, as after each notification,
 *     until the lock is available
 * \threadsafety any thread that holds the lock
 * \python `condition.wait_for(predicate, seconds)`
 * \since 0.1.0
 * \sa threading_condition_wait_for, threading_condition_wait_timeout, threading_condition_notify
 */
threading_status threading_condition_wait_for_timeout(threading_condition *condition,
                                                      threading_predicate predicate,
                                                      void *arg,
                                                      double seconds);

/**
 * Notifies up to `n` waiters, in the order of their arrival.
 *
 * \param condition the condition, whose lock is held
 * \param n the maximum number of waiters to notify; with zero and negative numbers, no waiter is
 *     notified
 * \return THREADING_OK, even if no thread waits; THREADING_ERR_NOT_OWNER if the lock is not held;
 *     THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread that holds the lock
 * \python `condition.notify(n)`
 * \since 0.1.0
 * \sa threading_condition_notify_all, threading_condition_wait
 */
threading_status threading_condition_notify(threading_condition *condition, int64_t n);

/**
 * Notifies all threads that are waiting.
 *
 * \param condition the condition, whose lock is held
 * \return THREADING_OK, even if no thread waits; THREADING_ERR_NOT_OWNER if the lock is not held;
 *     THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread that holds the lock
 * \python `condition.notify_all()`
 * \since 0.1.0
 * \sa threading_condition_notify, threading_condition_wait
 */
threading_status threading_condition_notify_all(threading_condition *condition);

/**
 * Reinitializes the lock of a condition to the unlocked state.
 *
 * It is meant for the child process after fork(), in which the thread that held the lock may not
 * exist.
 *
 * \param condition the condition
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread; meant for the only thread of a child process
 * \python `condition._at_fork_reinit()`
 * \since 0.1.0
 * \sa threading_condition_new, threading_lock_at_fork_reinit, threading_rlock_at_fork_reinit
 */
threading_status threading_condition_at_fork_reinit(threading_condition *condition);

/**
 * Sets the name of a condition, which dumps show.
 *
 * The first 47 bytes of the name are kept, up to the end of a character. Several objects may have the
 * same name. An object without a name is shown by its handle.
 *
 * \param condition the condition
 * \param name the name in UTF-8; NULL removes it
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE if the name
 *     is not valid UTF-8; THREADING_ERR_NO_MEMORY if there is not enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_dump
 */
threading_status threading_condition_set_name(threading_condition *condition, const char *name);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Semaphore
 *
 * A semaphore is a counter that is never negative. Acquiring it decrements its value, and blocks while
 * the value is zero; releasing it increments the value. Any thread may release a semaphore. The value
 * of a bounded semaphore cannot be raised above its initial value. The order in which waiting threads
 * acquire the semaphore is not specified: a running thread may acquire it before a thread that is
 * being woken up, and the latter then continues to wait.
 *
 * A semaphore may be released in a signal handler on systems where threads block on futexes (Linux,
 * unless the library was built with its portable backend).
 *
 * Limiting the number of connections that are in use at the same time:
 *     static bool with_connection(threading_semaphore *connections, void (*use)(void))
 *     {
 *         if (threading_semaphore_acquire_timeout(connections, 5.0) != THREADING_OK)
 *             return false;
 *         use();
 *         return threading_semaphore_release(connections) == THREADING_OK;
 *     }
 */

/**
 * The maximum value of a semaphore.
 */
#define THREADING_SEMAPHORE_MAX 2147483647

/**
 * Creates a semaphore with an initial value.
 *
 * \param value the initial value, from 0 to THREADING_SEMAPHORE_MAX
 * \return the new semaphore, owned by the caller; NULL with THREADING_ERR_VALUE if the value is
 *     negative; NULL with THREADING_ERR_OVERFLOW if it is above the maximum; NULL with
 *     THREADING_ERR_NO_MEMORY if there is not enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.Semaphore(value)`
 * \since 0.1.0
 * \sa threading_semaphore_new_bounded, threading_semaphore_acquire, threading_semaphore_free
 */
threading_semaphore *threading_semaphore_new(int64_t value);

/**
 * Creates a bounded semaphore, whose value cannot exceed its initial value.
 *
 * \param value the initial value, from 0 to THREADING_SEMAPHORE_MAX
 * \return the new semaphore, owned by the caller; NULL with THREADING_ERR_VALUE if the value is
 *     negative; NULL with THREADING_ERR_OVERFLOW if it is above the maximum; NULL with
 *     THREADING_ERR_NO_MEMORY if there is not enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.BoundedSemaphore(value)`
 * \since 0.1.0
 * \sa threading_semaphore_new, threading_semaphore_acquire, threading_semaphore_free
 */
threading_semaphore *threading_semaphore_new_bounded(int64_t value);

/**
 * Adds a reference to a semaphore.
 *
 * \param semaphore the semaphore
 * \return the same handle, with one more reference owned by the caller; NULL with THREADING_ERR_HANDLE
 *     if the handle is invalid; NULL with THREADING_ERR_OVERFLOW if the object has too many references
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_semaphore_free
 */
threading_semaphore *threading_semaphore_ref(threading_semaphore *semaphore);

/**
 * Releases a reference to a semaphore. Releasing the last one destroys the semaphore.
 *
 * Waiters whose waits succeed because the semaphore has been released do not prevent this.
 *
 * \param semaphore the semaphore
 * \return THREADING_OK; THREADING_ERR_BUSY if it is the last reference and threads are blocked on the
 *     semaphore; THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_semaphore_new, threading_semaphore_ref
 */
threading_status threading_semaphore_free(threading_semaphore *semaphore);

/**
 * Decrements a semaphore, blocking while its value is zero.
 *
 * \param semaphore the semaphore
 * \return THREADING_OK if the value has been decremented; THREADING_ERR_HANDLE if the handle is
 *     invalid; THREADING_ERR_OVERFLOW if 33554431 threads are already waiting
 *
 * \blocks until the value is positive
 * \threadsafety any thread
 * \python `semaphore.acquire()`
 * \since 0.1.0
 * \sa threading_semaphore_try_acquire, threading_semaphore_acquire_timeout,
 *     threading_semaphore_release, THREADING_WITH
 */
threading_status threading_semaphore_acquire(threading_semaphore *semaphore);

/**
 * Decrements a semaphore if its value is positive, without blocking.
 *
 * \param semaphore the semaphore
 * \return THREADING_OK if the value has been decremented; THREADING_WOULD_BLOCK if it is zero;
 *     THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python `semaphore.acquire(blocking=False)`
 * \since 0.1.0
 * \sa threading_semaphore_acquire, threading_semaphore_acquire_timeout, threading_semaphore_release
 */
threading_status threading_semaphore_try_acquire(threading_semaphore *semaphore);

/**
 * Decrements a semaphore, blocking until its value is positive or the timeout expires.
 *
 * \param semaphore the semaphore
 * \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely, 0 does not wait
 * \return THREADING_OK if the value has been decremented; THREADING_TIMED_OUT if the timeout expired;
 *     THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if
 *     `seconds` is out of range; THREADING_ERR_OVERFLOW if 33554431 threads are already waiting
 *
 * \blocks until the value is positive or the timeout expires
 * \threadsafety any thread
 * \python `semaphore.acquire(timeout=seconds)`
 * \since 0.1.0
 * \sa threading_semaphore_acquire, threading_semaphore_try_acquire, threading_semaphore_release
 */
threading_status threading_semaphore_acquire_timeout(threading_semaphore *semaphore, double seconds);

/**
 * Increments a semaphore and wakes one waiting thread, if there is one.
 *
 * \param semaphore the semaphore
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_OVER_RELEASED if
 *     the value of a bounded semaphore would exceed its initial value; THREADING_ERR_OVERFLOW if the
 *     value would exceed THREADING_SEMAPHORE_MAX
 *
 * \blocks never
 * \threadsafety any thread; async-signal-safe, unless the library was built with its portable backend
 * \python `semaphore.release()`
 * \since 0.1.0
 * \sa threading_semaphore_release_n, threading_semaphore_acquire, threading_semaphore_value
 */
threading_status threading_semaphore_release(threading_semaphore *semaphore);

/**
 * Increments a semaphore by `n` and wakes up to `n` waiting threads. If the call fails, the value is
 * unchanged.
 *
 * \param semaphore the semaphore
 * \param n the number to add, at least 1
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE if `n` is
 *     less than 1; THREADING_ERR_OVER_RELEASED if the value of a bounded semaphore would exceed its
 *     initial value; THREADING_ERR_OVERFLOW if the value would exceed THREADING_SEMAPHORE_MAX
 *
 * \blocks never
 * \threadsafety any thread; async-signal-safe, unless the library was built with its portable backend
 * \python `semaphore.release(n)`
 * \since 0.1.0
 * \sa threading_semaphore_release, threading_semaphore_acquire, threading_semaphore_value
 */
threading_status threading_semaphore_release_n(threading_semaphore *semaphore, int64_t n);

/**
 * Returns the current value of a semaphore.
 *
 * \param semaphore the semaphore
 * \return the value; 0 with THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python `semaphore._value`
 * \since 0.1.0
 * \sa threading_semaphore_acquire, threading_semaphore_release
 */
int64_t threading_semaphore_value(threading_semaphore *semaphore);

/**
 * Sets the name of a semaphore, which dumps show.
 *
 * The first 47 bytes of the name are kept, up to the end of a character. Several objects may have the
 * same name. An object without a name is shown by its handle.
 *
 * \param semaphore the semaphore
 * \param name the name in UTF-8; NULL removes it
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE if the name
 *     is not valid UTF-8; THREADING_ERR_NO_MEMORY if there is not enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_dump
 */
threading_status threading_semaphore_set_name(threading_semaphore *semaphore, const char *name);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Event
 *
 * An event is a flag that threads can wait for. Setting it wakes all threads that wait at that time;
 * their waits succeed even if the event is cleared immediately afterwards. Later waits do not block
 * until the event is cleared.
 *
 * An event may be queried, set and cleared in a signal handler on systems where threads block on
 * futexes (Linux, unless the library was built with its portable backend). A thread that holds the
 * only reference to an event may free it immediately after setting it.
 *
 * A task that runs once per second until the event is set:
 *     static void *tick(void *arg)
 *     {
 *         threading_event *stop = arg;
 *         while (threading_event_wait_timeout(stop, 1.0) == THREADING_TIMED_OUT)
 *             puts("tick");
 *         return NULL;
 *     }
 */

/**
 * Creates an event that is not set.
 *
 * \return the new event, owned by the caller; NULL with THREADING_ERR_NO_MEMORY if there is not enough
 *     memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.Event()`
 * \since 0.1.0
 * \sa threading_event_free, threading_event_set, threading_event_wait
 */
threading_event *threading_event_new(void);

/**
 * Adds a reference to an event.
 *
 * \param event the event
 * \return the same handle, with one more reference owned by the caller; NULL with THREADING_ERR_HANDLE
 *     if the handle is invalid; NULL with THREADING_ERR_OVERFLOW if the object has too many references
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_event_free
 */
threading_event *threading_event_ref(threading_event *event);

/**
 * Releases a reference to an event. Releasing the last one destroys the event.
 *
 * Waiters that threading_event_set() has woken do not prevent this; their waits succeed.
 *
 * \param event the event
 * \return THREADING_OK; THREADING_ERR_BUSY if it is the last reference and threads are blocked on the
 *     event; THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_event_new, threading_event_ref
 */
threading_status threading_event_free(threading_event *event);

/**
 * Returns whether an event is currently set.
 *
 * If it returns true, everything that was written before the event was set is visible to the calling
 * thread.
 *
 * \param event the event
 * \return true if the event is set, false if it is not; false with THREADING_ERR_HANDLE if the handle
 *     is invalid
 *
 * \blocks never
 * \threadsafety any thread; async-signal-safe, unless the library was built with its portable backend
 * \python `event.is_set()`
 * \since 0.1.0
 * \sa threading_event_set, threading_event_clear, threading_event_wait
 */
bool threading_event_is_set(threading_event *event);

/**
 * Sets an event and wakes all threads that wait for it.
 *
 * Their waits succeed even if the event is cleared immediately afterwards. If the event is already
 * set, it stays set.
 *
 * \param event the event
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread; async-signal-safe, unless the library was built with its portable backend
 * \python `event.set()`
 * \since 0.1.0
 * \sa threading_event_clear, threading_event_is_set, threading_event_wait
 */
threading_status threading_event_set(threading_event *event);

/**
 * Clears an event, so that later waits block. Waits that were in progress when the event was set still
 * succeed.
 *
 * \param event the event
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread; async-signal-safe, unless the library was built with its portable backend
 * \python `event.clear()`
 * \since 0.1.0
 * \sa threading_event_set, threading_event_is_set, threading_event_wait
 */
threading_status threading_event_clear(threading_event *event);

/**
 * Waits until an event is set.
 *
 * \param event the event
 * \return THREADING_OK if the event is set or was set during the wait, even if it was cleared again;
 *     THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks until the event is set
 * \threadsafety any thread
 * \python `event.wait()`
 * \since 0.1.0
 * \sa threading_event_wait_timeout, threading_event_set, threading_event_clear
 */
threading_status threading_event_wait(threading_event *event);

/**
 * Waits until an event is set or the timeout expires.
 *
 * \param event the event
 * \param seconds the timeout in seconds; THREADING_FOREVER waits indefinitely, 0 does not wait
 * \return THREADING_OK if the event is set or was set during the wait, even if it was cleared again;
 *     THREADING_TIMED_OUT if the timeout expired first; THREADING_ERR_HANDLE if the handle is invalid;
 *     THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if `seconds` is out of range
 *
 * \blocks until the event is set or the timeout expires
 * \threadsafety any thread
 * \python `event.wait(seconds)`
 * \since 0.1.0
 * \sa threading_event_wait, threading_event_set, threading_event_clear
 */
threading_status threading_event_wait_timeout(threading_event *event, double seconds);

/**
 * Reinitializes an event to the cleared state.
 *
 * It is meant for the child process after fork().
 *
 * \param event the event
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread; meant for the only thread of a child process
 * \python `event._at_fork_reinit()`
 * \since 0.1.0
 * \sa threading_event_new, threading_event_clear
 */
threading_status threading_event_at_fork_reinit(threading_event *event);

/**
 * Sets the name of an event, which dumps show.
 *
 * The first 47 bytes of the name are kept, up to the end of a character. Several objects may have the
 * same name. An object without a name is shown by its handle.
 *
 * \param event the event
 * \param name the name in UTF-8; NULL removes it
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE if the name
 *     is not valid UTF-8; THREADING_ERR_NO_MEMORY if there is not enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_dump
 */
threading_status threading_event_set_name(threading_event *event, const char *name);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Barrier
 *
 * A barrier is a synchronization point at which a fixed number of threads, its parties, wait for each
 * other. When the last of them arrives, all of them continue, and the next round begins. If the
 * barrier has an action, the last thread to arrive runs it before any of the threads returns.
 *
 * A barrier breaks when the timeout of a wait expires, when its action fails, or when it is aborted.
 * All waits of that round and all later waits then fail with THREADING_ERR_BROKEN_BARRIER until the
 * barrier is reset. However, a wait whose timeout expires while the action runs still succeeds, and a
 * thread that arrives while the action runs waits until the action is done, and then arrives in the
 * next round. The action may itself abort or reset the barrier: all waits of the round, including that
 * of the thread that runs the action, then fail with THREADING_ERR_BROKEN_BARRIER. A wait inside the
 * action fails with THREADING_ERR_DEADLOCK.
 *
 * Working in steps with other threads, one of which prints each step:
 *     static void *walk(void *arg)
 *     {
 *         threading_barrier *barrier = arg;
 *         for (int step = 0; step < 3; step++) {
 *             size_t index;
 *             if (threading_barrier_wait(barrier, &index) != THREADING_OK)
 *                 return NULL; // the barrier is broken
 *             if (index == 0)
 *                 printf("step %d\n", step);
 *         }
 *         return barrier;
 *     }
 */

/**
 * Creates a barrier for a number of parties.
 *
 * \param parties the number of threads that have to arrive, at least 1
 * \param action the function that the last thread to arrive runs before any of the threads returns;
 *     NULL if there is none
 * \param arg the argument of the action, which must stay valid as long as the barrier exists
 * \return the new barrier, owned by the caller; NULL with THREADING_ERR_VALUE if `parties` is 0; NULL
 *     with THREADING_ERR_NO_MEMORY if there is not enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.Barrier(parties, action)`
 * \since 0.1.0
 * \sa threading_barrier_wait, threading_barrier_set_timeout, threading_barrier_free
 */
threading_barrier *threading_barrier_new(size_t parties, threading_action action, void *arg);

/**
 * Adds a reference to a barrier.
 *
 * \param barrier the barrier
 * \return the same handle, with one more reference owned by the caller; NULL with THREADING_ERR_HANDLE
 *     if the handle is invalid; NULL with THREADING_ERR_OVERFLOW if the object has too many references
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_barrier_free
 */
threading_barrier *threading_barrier_ref(threading_barrier *barrier);

/**
 * Releases a reference to a barrier. Releasing the last one destroys the barrier.
 *
 * Waiters that have been woken do not prevent this; their waits return the result of the round.
 *
 * \param barrier the barrier
 * \return THREADING_OK; THREADING_ERR_BUSY if it is the last reference and threads are blocked on the
 *     barrier; THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_barrier_new, threading_barrier_ref
 */
threading_status threading_barrier_free(threading_barrier *barrier);

/**
 * Sets the default timeout of a barrier, which threading_barrier_wait() uses. Initially, the default
 * timeout is THREADING_FOREVER.
 *
 * The call does not affect waits that have already begun.
 *
 * \param barrier the barrier
 * \param seconds the default timeout in seconds; with THREADING_FOREVER, threading_barrier_wait()
 *     waits indefinitely
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE or
 *     THREADING_ERR_OVERFLOW if `seconds` is out of range
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.Barrier(parties, action, timeout=seconds)`
 * \since 0.1.0
 * \sa threading_barrier_wait, threading_barrier_new
 */
threading_status threading_barrier_set_timeout(threading_barrier *barrier, double seconds);

/**
 * Waits until all parties have arrived or the default timeout of the barrier expires.
 *
 * \param barrier the barrier
 * \param index where to store the arrival index of the calling thread, from 0 for the first to arrive
 *     to `parties - 1` for the last; NULL if it is not needed; nothing is stored if the call fails
 * \return THREADING_OK if all parties have arrived and the action is done;
 *     THREADING_ERR_BROKEN_BARRIER if the barrier is already broken, or if it is reset or breaks
 *     during the wait, for example because the default timeout expires; THREADING_ERR_CALLBACK if the
 *     calling thread ran the action and the action failed; THREADING_ERR_DEADLOCK if the calling
 *     thread is inside the action; THREADING_ERR_HANDLE if the handle is invalid;
 *     THREADING_ERR_NO_MEMORY if the calling thread's wait record, which its first blocking call
 *     allocates, cannot be allocated
 *
 * \blocks until all parties have arrived and the action is done, the barrier breaks or is reset, or
 *     the default timeout expires
 * \threadsafety any thread
 * \python `barrier.wait()`
 * \since 0.1.0
 * \sa threading_barrier_wait_timeout, threading_barrier_set_timeout, threading_barrier_abort,
 *     threading_barrier_reset
 */
threading_status threading_barrier_wait(threading_barrier *barrier, size_t *index);

/**
 * Waits until all parties have arrived or the timeout expires.
 *
 * If the timeout expires, the barrier breaks, and the waits of all threads fail. Time that is spent
 * waiting for the previous round's action does not count towards the timeout.
 *
 * \param barrier the barrier
 * \param seconds the timeout in seconds, used instead of the default timeout; THREADING_FOREVER waits
 *     indefinitely, 0 breaks the barrier unless the calling thread is the last to arrive
 * \param index where to store the arrival index of the calling thread, from 0 for the first to arrive
 *     to `parties - 1` for the last; NULL if it is not needed; nothing is stored if the call fails
 * \return THREADING_OK, THREADING_ERR_CALLBACK, THREADING_ERR_DEADLOCK or THREADING_ERR_NO_MEMORY as
 *     in threading_barrier_wait(); THREADING_ERR_BROKEN_BARRIER as in threading_barrier_wait(), where
 *     `seconds` is the timeout; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE or
 *     THREADING_ERR_OVERFLOW if `seconds` is out of range
 *
 * \blocks until all parties have arrived and the action is done, the barrier breaks or is reset, or
 *     the timeout expires
 * \threadsafety any thread
 * \python `barrier.wait(seconds)`
 * \since 0.1.0
 * \sa threading_barrier_wait, threading_barrier_abort, threading_barrier_reset
 */
threading_status threading_barrier_wait_timeout(threading_barrier *barrier, double seconds, size_t *index);

/**
 * Resets a barrier to its initial, unbroken state. Waits in progress fail with
 * THREADING_ERR_BROKEN_BARRIER.
 *
 * \param barrier the barrier
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks never
 * \threadsafety any thread, including inside the action
 * \python `barrier.reset()`
 * \since 0.1.0
 * \sa threading_barrier_abort, threading_barrier_broken, threading_barrier_wait
 */
threading_status threading_barrier_reset(threading_barrier *barrier);

/**
 * Breaks a barrier until it is reset. Waits in progress fail with THREADING_ERR_BROKEN_BARRIER.
 *
 * \param barrier the barrier
 * \return THREADING_OK, even if the barrier is already broken; THREADING_ERR_HANDLE if the handle is
 *     invalid
 *
 * \blocks never
 * \threadsafety any thread, including inside the action
 * \python `barrier.abort()`
 * \since 0.1.0
 * \sa threading_barrier_reset, threading_barrier_broken, threading_barrier_wait
 */
threading_status threading_barrier_abort(threading_barrier *barrier);

/**
 * Returns the number of threads that have to arrive.
 *
 * \param barrier the barrier
 * \return the number that was passed to threading_barrier_new(); 0 with THREADING_ERR_HANDLE if the
 *     handle is invalid
 *
 * \blocks never
 * \threadsafety any thread
 * \python `barrier.parties`
 * \since 0.1.0
 * \sa threading_barrier_n_waiting, threading_barrier_new
 */
size_t threading_barrier_parties(threading_barrier *barrier);

/**
 * Returns the number of threads that have arrived in the current round. While the action runs, it is
 * the number of parties.
 *
 * \param barrier the barrier
 * \return the number of threads; 0 if the barrier is broken; 0 with THREADING_ERR_HANDLE if the handle
 *     is invalid
 *
 * \blocks never
 * \threadsafety any thread, including inside the action
 * \python `barrier.n_waiting`
 * \since 0.1.0
 * \sa threading_barrier_parties, threading_barrier_broken
 */
size_t threading_barrier_n_waiting(threading_barrier *barrier);

/**
 * Returns whether a barrier is currently broken.
 *
 * \param barrier the barrier
 * \return true if the barrier is broken, false if it is not; false with THREADING_ERR_HANDLE if the
 *     handle is invalid
 *
 * \blocks never
 * \threadsafety any thread, including inside the action
 * \python `barrier.broken`
 * \since 0.1.0
 * \sa threading_barrier_abort, threading_barrier_reset
 */
bool threading_barrier_broken(threading_barrier *barrier);

/**
 * Sets the name of a barrier, which dumps show.
 *
 * The first 47 bytes of the name are kept, up to the end of a character. Several objects may have the
 * same name. An object without a name is shown by its handle.
 *
 * \param barrier the barrier
 * \param name the name in UTF-8; NULL removes it
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_VALUE if the name
 *     is not valid UTF-8; THREADING_ERR_NO_MEMORY if there is not enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_dump
 */
threading_status threading_barrier_set_name(threading_barrier *barrier, const char *name);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Local
 *
 * A local holds separate data for each thread: one value, which is fast to access, and any number of
 * named attributes, each of which has a value as well. Values are pointers, and NULL is a valid value.
 * Every thread can have values, including foreign threads, and each timer has separate values while
 * its function runs.
 *
 * A value that is no longer needed is passed to the local's destructor, unless it is NULL. The thread
 * that replaces or deletes a value destroys the previous one immediately; setting the value that is
 * already set destroys nothing. When a thread ends, its values are destroyed in that thread, before a
 * join returns; those of the main thread are destroyed at process exit, after the non-daemon threads
 * have been joined, if it returns from `main` or calls exit() or pthread_exit(). Values of other
 * threads that are still running when the process exits are not destroyed. Releasing the last
 * reference to a local destroys the values of all threads that are alive, in the thread that releases
 * it. In a destructor that is called at the end of a thread, threading_current_thread() still returns
 * that thread, and values that the destructor sets are destroyed too, in up to four rounds.
 *
 * Cost. Each call on a local takes constant time on average, regardless of the number of locals and
 * attributes of a thread. The end of a thread takes time proportional to the number of its values and
 * attributes. Releasing the last reference takes time proportional to the number of values that it
 * destroys and, if other threads have used the local, to the number of threads that have used any
 * local.
 *
 * A buffer for each thread that needs one, in a local created with `threading_local_new(free)`:
 *     static char *buffer_of_thread(threading_local *local)
 *     {
 *         char *buffer = threading_local_get(local);
 *         if (buffer != NULL || (buffer = malloc(4096)) == NULL)
 *             return buffer;
 *         if (threading_local_set(local, buffer) == THREADING_OK)
 *             return buffer;
 *         free(buffer);
 *         return NULL;
 *     }
 */

/**
 * Creates a local in which no thread has a value.
 *
 * \param destroy the destructor of values and attributes; if it is NULL, they are not destroyed
 * \return the new local, owned by the caller; NULL with THREADING_ERR_NO_MEMORY if there is not enough
 *     memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python `threading.local()`
 * \since 0.1.0
 * \sa threading_local_new_with_init, threading_local_set, threading_local_set_attr,
 *     threading_local_free, threading_destructor
 */
threading_local *threading_local_new(threading_destructor destroy);

/**
 * Creates a local whose initial value in each thread is the result of `init(arg)`.
 *
 * The init function is called once in each thread, by the thread's first call to any function of the
 * local that accesses values. It may use the local: a value that it sets is replaced by its result,
 * and attributes that it sets are kept.
 *
 * \param init the function that returns the initial value, which may be NULL
 * \param arg the argument of the init function, which must stay valid as long as the local exists
 * \param destroy the destructor of values and attributes; if it is NULL, they are not destroyed
 * \return the new local, owned by the caller; NULL with THREADING_ERR_VALUE if `init` is NULL; NULL
 *     with THREADING_ERR_NO_MEMORY if there is not enough memory
 *
 * \blocks never
 * \threadsafety any thread
 * \python a subclass of `threading.local` with its own `__init__()`
 * \since 0.1.0
 * \sa threading_local_new, threading_local_get, threading_local_free
 */
threading_local *threading_local_new_with_init(threading_local_init init,
                                               void *arg,
                                               threading_destructor destroy);

/**
 * Adds a reference to a local.
 *
 * \param local the local
 * \return the same handle, with one more reference owned by the caller; NULL with THREADING_ERR_HANDLE
 *     if the handle is invalid; NULL with THREADING_ERR_OVERFLOW if the object has too many references
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_local_free
 */
threading_local *threading_local_ref(threading_local *local);

/**
 * Releases a reference to a local. Releasing the last one destroys the values of all threads that are
 * alive, in the calling thread.
 *
 * \param local the local
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid
 *
 * \blocks only while destructors run
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_local_new, threading_local_ref
 */
threading_status threading_local_free(threading_local *local);

/**
 * Sets the calling thread's value. If there was a different value before, it is destroyed.
 *
 * \param local the local
 * \param value the value, which the local owns from now on; if the call fails, the caller still owns
 *     it
 * \return THREADING_OK; THREADING_ERR_HANDLE if the handle is invalid; THREADING_ERR_NO_MEMORY if
 *     there is not enough memory; THREADING_ERR_SYSTEM if the system cannot notify the library of the
 *     end of the calling thread; THREADING_ERR_SHUTDOWN if the calling thread is in its last round of
 *     pthread key destructors
 *
 * \blocks only while the init function and the destructor run
 * \threadsafety any thread; each thread has its own value
 * \python `data.value = value`
 * \since 0.1.0
 * \sa threading_local_get, threading_local_lookup, threading_local_del, threading_local_set_attr
 */
threading_status threading_local_set(threading_local *local, void *value);

/**
 * Returns the calling thread's value. This is the fastest access to a local.
 *
 * \param local the local
 * \return the value, which the local still owns and which is valid until it is replaced or deleted;
 *     NULL if there is none; NULL with any error of threading_local_set()
 *
 * \blocks only while the init function runs
 * \threadsafety any thread; each thread has its own value
 * \python `getattr(data, "value", None)`
 * \since 0.1.0
 * \sa threading_local_lookup, threading_local_set
 */
void *threading_local_get(threading_local *local);

/**
 * Looks up the calling thread's value. Unlike threading_local_get(), it distinguishes a NULL value
 * from no value.
 *
 * \param local the local
 * \param value where to store the value, if there is one; NULL to check only whether there is one
 * \return THREADING_OK if there is a value; THREADING_NO_VALUE if there is none, in which case nothing
 *     is stored; any error of threading_local_set()
 *
 * \blocks only while the init function runs
 * \threadsafety any thread; each thread has its own value
 * \python `data.value`
 * \since 0.1.0
 * \sa threading_local_get, threading_local_set, threading_local_get_attr
 */
threading_status threading_local_lookup(threading_local *local, void **value);

/**
 * Deletes the calling thread's value, and destroys it with the local's destructor.
 *
 * \param local the local
 * \return THREADING_OK if there was a value; THREADING_NO_VALUE if there was none; any error of
 *     threading_local_set()
 *
 * \blocks only while the init function and the destructor run
 * \threadsafety any thread; each thread has its own value
 * \python `del data.value`
 * \since 0.1.0
 * \sa threading_local_set, threading_local_del_attr
 */
threading_status threading_local_del(threading_local *local);

/**
 * Sets the calling thread's value of an attribute. If the attribute had a different value before, that
 * value is destroyed.
 *
 * \param local the local
 * \param name the name of the attribute, any string, which is copied
 * \param value the value, which the local owns from now on; if the call fails, the caller still owns
 *     it
 * \return THREADING_OK; THREADING_ERR_VALUE if the name is NULL; any error of threading_local_set()
 *
 * \blocks only while the init function and the destructor run
 * \threadsafety any thread; each thread has its own attributes
 * \python `data.name = value`
 * \since 0.1.0
 * \sa threading_local_get_attr, threading_local_del_attr, threading_local_set
 */
threading_status threading_local_set_attr(threading_local *local, const char *name, void *value);

/**
 * Looks up the calling thread's value of an attribute.
 *
 * \param local the local
 * \param name the name of the attribute
 * \param value where to store the value, if there is one; NULL to check only whether there is one
 * \return THREADING_OK if the attribute exists; THREADING_NO_VALUE if it does not, in which case
 *     nothing is stored; THREADING_ERR_VALUE if the name is NULL; any error of threading_local_set()
 *
 * \blocks only while the init function runs
 * \threadsafety any thread; each thread has its own attributes
 * \python `data.name`
 * \since 0.1.0
 * \sa threading_local_set_attr, threading_local_del_attr, threading_local_lookup
 */
threading_status threading_local_get_attr(threading_local *local, const char *name, void **value);

/**
 * Deletes an attribute of the calling thread, and destroys its value with the local's destructor.
 *
 * \param local the local
 * \param name the name of the attribute
 * \return THREADING_OK if the attribute existed; THREADING_NO_VALUE if it did not; THREADING_ERR_VALUE
 *     if the name is NULL; any error of threading_local_set()
 *
 * \blocks only while the init function and the destructor run
 * \threadsafety any thread; each thread has its own attributes
 * \python `del data.name`
 * \since 0.1.0
 * \sa threading_local_set_attr, threading_local_get_attr, threading_local_del
 */
threading_status threading_local_del_attr(threading_local *local, const char *name);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Dumps
 *
 * A program that hangs can say why: a dump shows each thread, what it waits for and since when, which
 * thread owns that, and what it owns itself. Deadlocks come first.
 *
 * The program `threading-dump` makes the same dump of another process, or of a core file.
 *
 * A dump waits for no lock longer than a few milliseconds, and for no dump of another thread longer than a
 * second. It calls no malloc(). It may be made in a signal handler, whatever the thread was doing, in a
 * child of fork, and during process exit.
 *
 * The environment variable `THREADING_DEBUG` turns on reports without a change of the program. It is read
 * when the library is loaded, and consists of words that are separated by commas. Dumps and reports go to
 * standard error: with `signal=QUIT` (or another signal), a dump on this signal; with `hang=5`, reports of
 * hangs that have lasted 5 seconds. `contention` adds statistics of the waits for locks and semaphores to
 * each dump, and `abort` aborts the process after the report of a deadlock.
 *
 * A program that is slow can say why, too: a trace shows in ui.perfetto.dev when each thread has waited,
 * for what, and which thread has ended the wait. `trace=FILE` in `THREADING_DEBUG` writes one
 * to a file, which is created or emptied; `%p` in its name stands for the process ID.
 *
 * Name a lock, make a dump on a signal, and report hangs:
 *     static bool prepare_for_hangs(threading_lock *journal)
 *     {
 *         return threading_lock_set_name(journal, "journal") == THREADING_OK &&
 *                threading_dump_on_signal(SIGQUIT, STDERR_FILENO) == THREADING_OK &&
 *                threading_set_hang_hook(60, NULL, NULL) == THREADING_OK;
 *     }
 */

/**
 * The kind of a hang: threads that wait for each other, so that none of their waits can end.
 */
#define THREADING_HANG_DEADLOCK 1

/**
 * The kind of a hang: a process exit or a shutdown that waits for threads.
 */
#define THREADING_HANG_EXIT 2

/**
 * A function that is called when threads hang.
 *
 * One of the threads that hang calls it, in the call in which that thread waits. It may call all
 * functions, but must not wait for the threads that hang, as exit() does; _exit() and abort() end the
 * process immediately. If it is left by pthread_exit() or by an exception, the process is aborted.
 *
 * \param kind THREADING_HANG_DEADLOCK or THREADING_HANG_EXIT
 * \param report a dump, of at most 256 KiB, or of at most 1 KiB if memory is exhausted; valid during the
 *     call
 * \param arg the argument that was passed to threading_set_hang_hook()
 *
 * \since 0.1.0
 * \sa threading_set_hang_hook
 */
typedef void (*threading_hang_hook)(int kind, const char *report, void *arg);

/**
 * Writes what each thread waits for, and what it owns, to a file descriptor.
 *
 * A dump changes nothing: no wait ends, and no object is created. The threads run on while it is made, so
 * that its lines may show different moments. A deadlock is reported only if it has been proved that all
 * its waits exist at the same time.
 *
 * \param fd the file descriptor to which the text is written
 * \return THREADING_OK if the dump has been written; THREADING_ERR_VALUE if `fd` is negative;
 *     THREADING_ERR_SYSTEM if the text could not be written, without SIGPIPE or SIGXFSZ
 *
 * \blocks only while a write to the file descriptor blocks
 * \threadsafety any thread, and any signal handler
 * \python `faulthandler.dump_traceback(file)`
 * \since 0.1.0
 * \sa threading_dump_on_signal, threading_set_contention, threading_lock_owner, threading_rlock_owner
 */
threading_status threading_dump(int fd);

/**
 * Installs a signal handler that makes a dump, as Java has for SIGQUIT.
 *
 * The thread that receives the signal makes the dump, and then calls the handler that the program had
 * installed before, if there is one; the default action is not taken, except after a fault, such as an
 * access to memory that is not mapped. The process goes on, and no wait ends, except for system calls of
 * the program if its handler was installed without SA_RESTART. If that was installed with SA_RESETHAND,
 * the first signal removes both handlers. If the program has installed another handler since, the next
 * call replaces that one.
 *
 * \param signum the signal, for example SIGQUIT
 * \param fd the file descriptor to which dumps are written, which must stay open; -1 restores the former
 *     handler, unless the program has installed another one since
 * \return THREADING_OK; THREADING_ERR_VALUE if the signal does not exist or cannot be caught, or if `fd` is
 *     negative and not -1
 *
 * \blocks never
 * \threadsafety any thread
 * \python `faulthandler.register(signum, file, chain=True)`
 * \since 0.1.0
 * \sa threading_dump
 */
threading_status threading_dump_on_signal(int signum, int fd);

/**
 * Sets a function that is called when threads hang: once for each deadlock that has lasted for `seconds`,
 * and for a process exit or a shutdown that has lasted as long, again whenever that time has doubled. A
 * deadlock whose last wait is that of an exit or a shutdown is reported as THREADING_HANG_EXIT only.
 *
 * The threads that wait check for themselves; there is no thread that watches them. Only waits without a
 * timeout for locks and for the ends of threads can be part of a deadlock. A thread that has begun to
 * report may call the former hook after this call has returned: its argument must stay valid.
 *
 * \param seconds how long a hang has to last before it is reported; THREADING_FOREVER turns reports off,
 *     which is the default
 * \param hook the function; NULL writes reports to standard error
 * \param arg its last argument
 * \return THREADING_OK; THREADING_ERR_VALUE or THREADING_ERR_OVERFLOW if `seconds` is out of range
 *
 * \blocks for some milliseconds, until all threads that wait check with the new period; for about 0.1
 *     seconds if such a thread runs a signal handler
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_dump
 */
threading_status threading_set_hang_hook(double seconds, threading_hang_hook hook, void *arg);

/**
 * Turns statistics of contention on or off. Each dump then lists the ten locks and semaphores for which
 * threads have waited longest, with the number of waits, their total time, the longest wait, and the
 * owner of the lock when that wait began.
 *
 * Only waits in which a thread has parked are counted; the calls that do not wait become no slower. If the
 * statistics were off, they begin again from zero.
 *
 * \param on whether waits are counted from now on
 * \return THREADING_OK
 *
 * \blocks never
 * \threadsafety any thread
 * \python none
 * \since 0.1.0
 * \sa threading_dump
 */
threading_status threading_set_contention(bool on);

/**
 * Starts a trace of each wait of 10 microseconds and more: the object, the owner of the lock when the
 * thread parked, and an arrow from the thread that has ended the wait. Perfetto (ui.perfetto.dev) shows
 * it, with a track for each thread.
 *
 * The text is a JSON array, in the format of Chrome's trace viewer. The start of a trace ends the former
 * one. The end of a trace, also by the process exit, closes the array, but not the file. A write that
 * fails ends the trace, and the process goes on: it gets no SIGPIPE or SIGXFSZ.
 *
 * Only waits that begin and end during the trace are written. Calls that do not wait become no slower. A
 * child of fork has no trace until it starts one.
 *
 * \param fd the file descriptor to which the trace is written, which must stay open until the trace ends;
 *     -1 ends the trace
 * \return THREADING_OK; THREADING_ERR_VALUE if `fd` is negative and not -1; THREADING_ERR_SYSTEM if the
 *     beginning could not be written, after the former trace has ended
 *
 * \blocks while a write to the file descriptor of either trace blocks
 * \threadsafety any thread, but no signal handler
 * \python none
 * \since 0.1.0
 * \sa threading_dump
 */
threading_status threading_trace(int fd);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * With
 *
 * A block that holds a lock and releases it when the block is left.
 *
 * The lock is released at the end of the block and when the block is left by return, goto, break or continue.
 * The statements break and continue leave the block, not a loop around it. longjmp() does not release the lock,
 * and pthread_exit() and thread cancellation release it only in code that is compiled with -fexceptions. Blocks
 * may be nested. They require C11 and the cleanup attribute of GCC and Clang; use std::lock_guard in C++.
 *
 * Taking an item; the result is NULL if there is none or the lock cannot be acquired:
 *     static void *take(threading_lock *lock, void **items, size_t *count)
 *     {
 *         THREADING_WITH(lock) {
 *             if (*count > 0)
 *                 return items[--*count];
 *         }
 *         return NULL;
 *     }
 */

#if !defined(__cplusplus) && defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L && defined(__GNUC__)

/** The object that a THREADING_WITH block holds, or NULL, and the function that releases it. Not for direct use. */
struct threading_with_guard {
    void *held;
    threading_status (*release)(void *held);
    bool enter;
};

static inline threading_status threading_with_release_lock(void *held)
{
    return threading_lock_release((threading_lock *)held);
}

static inline struct threading_with_guard threading_with_lock(threading_lock *lock)
{
    bool acquired = threading_lock_acquire(lock) == THREADING_OK;
    struct threading_with_guard guard = {acquired ? lock : NULL, threading_with_release_lock, acquired};
    return guard;
}

static inline threading_status threading_with_release_rlock(void *held)
{
    return threading_rlock_release((threading_rlock *)held);
}

static inline struct threading_with_guard threading_with_rlock(threading_rlock *rlock)
{
    bool acquired = threading_rlock_acquire(rlock) == THREADING_OK;
    struct threading_with_guard guard = {acquired ? rlock : NULL, threading_with_release_rlock, acquired};
    return guard;
}

static inline threading_status threading_with_release_condition(void *held)
{
    return threading_condition_release((threading_condition *)held);
}

static inline struct threading_with_guard threading_with_condition(threading_condition *condition)
{
    bool acquired = threading_condition_acquire(condition) == THREADING_OK;
    struct threading_with_guard guard = {acquired ? condition : NULL, threading_with_release_condition, acquired};
    return guard;
}

static inline threading_status threading_with_release_semaphore(void *held)
{
    return threading_semaphore_release((threading_semaphore *)held);
}

static inline struct threading_with_guard threading_with_semaphore(threading_semaphore *semaphore)
{
    bool acquired = threading_semaphore_acquire(semaphore) == THREADING_OK;
    struct threading_with_guard guard = {acquired ? semaphore : NULL, threading_with_release_semaphore, acquired};
    return guard;
}

static inline void threading_with_leave(struct threading_with_guard *guard)
{
    if (guard->held != NULL)
        (void)guard->release(guard->held);
}

/* Each guard has a unique name, since -Wshadow warns if nested guards have the same name. Compilers that implement C2y
   warn with -Wpedantic that __COUNTER__ is an extension of older C. A pragma disables the warning in Clang; in GCC, a
   pragma is not allowed where a statement is required, so the line number makes the name unique. */
#define THREADING_WITH_BEGIN_
#define THREADING_WITH_END_
#define THREADING_WITH_NUMBER_ __COUNTER__
#if defined(__clang__)
#if __has_warning("-Wc2y-extensions")
#undef THREADING_WITH_BEGIN_
#undef THREADING_WITH_END_
#define THREADING_WITH_BEGIN_                                                                                \
    _Pragma("clang diagnostic push") _Pragma("clang diagnostic ignored \"-Wc2y-extensions\"")
#define THREADING_WITH_END_ _Pragma("clang diagnostic pop")
#endif
#elif __GNUC__ >= 16
#undef THREADING_WITH_NUMBER_
#define THREADING_WITH_NUMBER_ __LINE__
#endif

/**
 * Acquires x, runs the block that follows, and releases x when the block is left.
 *
 * The expression x is evaluated once. If the object cannot be acquired, the block is skipped, and
 * threading_last_error() returns the reason.
 *
 * \param x a handle of type threading_lock, threading_rlock, threading_condition or threading_semaphore
 *
 * \blocks until x is acquired
 * \threadsafety any thread
 * \python `with x:`
 * \since 0.1.0
 * \sa threading_lock_acquire, threading_rlock_acquire, threading_condition_acquire, threading_semaphore_acquire
 */
#define THREADING_WITH(x) THREADING_WITH_BEGIN_ THREADING_WITH_NAMED_(x, THREADING_WITH_NUMBER_) THREADING_WITH_END_
#define THREADING_WITH_NAMED_(x, number) THREADING_WITH_GUARDED_(x, number)
#define THREADING_WITH_GUARDED_(x, number)                                                                   \
    for (struct threading_with_guard threading_with_guard_##number                                           \
             __attribute__((cleanup(threading_with_leave))) = _Generic((x),                                  \
                 threading_lock *: threading_with_lock,                                                      \
                 threading_rlock *: threading_with_rlock,                                                    \
                 threading_condition *: threading_with_condition,                                            \
                 threading_semaphore *: threading_with_semaphore)(x);                                        \
         threading_with_guard_##number.enter; threading_with_guard_##number.enter = false)

#endif

#ifdef __cplusplus
}
#endif

#endif /* THREADING_H */
