/*
 * threading.h - Python's threading module for C.
 *
 * Threads with names, daemon threads, timers that can be cancelled, locks, re-entrant locks, conditions,
 * semaphores, events, barriers and thread-local data. Every call says what happened, misuse is answered
 * with an error and does not crash, and every wait can have a limit.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Generated from src/capi/; do not edit. UPDATE_HEADER=1 cargo test --test header writes it anew.
 *
 * The binary interface. A program that was linked with version 0.1.x of the library runs with every later
 * 0.1.x. In these, functions and numbers are added, and nothing that is here changes or goes: no function, no type
 * of an argument, no number of a status or of another constant. All objects are behind handles, so that
 * what they are made of is not part of it. Each function carries the version of the interface (in the ELF
 * file threading_lock_new@@THREADING_0.1); a library of another interface, as 0.2 may be while the major
 * version is 0, has another one, and the system refuses to start the program with it.
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
 * How objects are named, and the functions that the library calls.
 *
 * An object is named by a handle: a pointer to an opaque type. The rules are the same for all of them.
 *
 * Ownership. A `_new` function returns a handle that the caller owns, or NULL. `_ref` takes one more
 * reference and returns the same handle, `_free` gives one back. The object lives as long as anybody
 * keeps it, the library included: a running thread keeps itself, a started timer itself, a condition
 * its lock, a list its threads. So `_free` of a running thread only lets go of it; it never waits,
 * kills or joins. As long as the object lives, its handle works, whoever keeps it alive. A `_free` too
 * many is THREADING_ERR_HANDLE and takes nothing from anybody.
 *
 * Giving back. A held lock may be freed. The last reference to something that threads are blocked on
 * is refused: THREADING_ERR_BUSY, and nothing is freed. Threads that have been woken or notified
 * already do not count: threading_event_set() and then threading_event_free() is right and safe on
 * both sides. An object may be freed inside its own callback.
 *
 * Borrowed handles. Some functions return a handle that the caller does not own; they say "borrowed"
 * and how long it is valid. `_ref` it to keep it longer, and do not `_free` it without that.
 *
 * Bad handles. A handle that is NULL, whose object is gone (even if its memory serves a newer one), of
 * another kind, or no handle at all gets THREADING_ERR_HANDLE from every function; it never crashes
 * and never touches another object. A function that returns no status answers it with NULL, 0 or
 * false, and sets the last error. So the result of `_new` may be passed on unchecked: the next call
 * reports that there is none.
 *
 * Checks. They come in this order: the handle, the arguments (also when the call need not wait), the
 * state.
 *
 * Callbacks. They are called while no lock of the library is held, so they may call any function. A
 * target or a timer's function may be left by pthread_exit, and a target may be cancelled by
 * pthread_cancel (deferred); the thread still ends properly. No other callback may be left so, and no
 * C++ or foreign exception may enter the library. What an object keeps a callback and its argument
 * for, it may call until it is freed. A NULL target, timer function, action or destructor means that
 * there is nothing to call; a NULL predicate, init or exit callback is THREADING_ERR_VALUE.
 *
 * Two owners of one lock:
 *     struct account { threading_lock *lock; long balance; };
 *     static bool account_init(struct account *account, threading_lock *shared)
 *     {
 *         account->balance = 0;
 *         account->lock = threading_lock_ref(shared); // a reference of the account's own
 *         return account->lock != NULL;
 *     }
 *     static void account_end(struct account *account)
 *     {
 *         (void)threading_lock_free(account->lock); // whoever else has one goes on
 *     }
 */

/**
 * A place where a number of threads wait for each other. Python: `threading.Barrier`.
 */
typedef struct threading_barrier threading_barrier;

/**
 * A lock together with a line of threads that wait to be notified. Python: `threading.Condition`.
 */
typedef struct threading_condition threading_condition;

/**
 * A flag to wait for. Python: `threading.Event`.
 */
typedef struct threading_event threading_event;

/**
 * Data of which each thread has its own. Python: `threading.local`.
 */
typedef struct threading_local threading_local;

/**
 * A lock that one caller holds at a time, and that any thread may release. Python: `threading.Lock`.
 */
typedef struct threading_lock threading_lock;

/**
 * A lock that its owner may take again. Python: `threading.RLock`.
 */
typedef struct threading_rlock threading_rlock;

/**
 * A counter that is never below zero. Python: `threading.Semaphore`, `threading.BoundedSemaphore`.
 */
typedef struct threading_semaphore threading_semaphore;

/**
 * A thread of control. Python: `threading.Thread`.
 */
typedef struct threading_thread threading_thread;

/**
 * The threads that were alive at one moment. Python: what `threading.enumerate()` returns.
 */
typedef struct threading_thread_list threading_thread_list;

/**
 * A thread whose function runs after a delay, unless it is cancelled. Python: `threading.Timer`.
 */
typedef struct threading_timer threading_timer;

/**
 * What a thread or a timer runs, like a start routine of pthread_create().
 *
 * Called once, in the thread. It may be left by pthread_exit(), and a thread's, not a timer's, may be
 * cancelled.
 *
 * \param arg what was given to threading_thread_new() or threading_timer_new()
 * \return what threading_thread_result() will tell
 */
typedef void *(*threading_target)(void *arg);

/**
 * An override of a thread's run(): called instead of the target, under the same rules.
 *
 * \param thread the thread itself, borrowed; threading_thread_run() with it calls the target
 * \param arg what was given to threading_thread_new() or threading_timer_new()
 * \return what threading_thread_result() will tell
 */
typedef void *(*threading_run)(threading_thread *thread, void *arg);

/**
 * Tells whether what a condition waits for has come. Called with the condition's lock held.
 *
 * \param arg what was given to the wait
 * \return above 0: yes; 0: no; below 0: it failed, and the wait ends with THREADING_ERR_CALLBACK
 */
typedef int (*threading_predicate)(void *arg);

/**
 * What a barrier's last arriver does before anyone goes on.
 *
 * \param arg what was given to threading_barrier_new()
 * \return 0: done; all else: failed, and the barrier is broken
 */
typedef int (*threading_action)(void *arg);

/**
 * Makes a local's value for the thread that calls it. It may use the local.
 *
 * \param arg what was given to threading_local_new_with_init()
 * \return the value; NULL is one too
 */
typedef void *(*threading_local_init)(void *arg);

/**
 * Releases an argument or a value that is not needed any more.
 *
 * \param value the argument or the value, never NULL
 */
typedef void (*threading_destructor)(void *value);

/**
 * Called once, by the thread that shuts the process down.
 *
 * \param arg what was given to threading_atexit()
 */
typedef void (*threading_callback)(void *arg);

/**
 * Told of a failure that a thread could not handle.
 *
 * \param thread the thread, borrowed
 * \param kind what kind of failure it was, as the name of an exception's type; valid during the call
 * \param message a sentence; valid during the call
 * \param arg what was given to threading_set_excepthook()
 */
typedef void (*threading_excepthook)(threading_thread *thread,
                                     const char *kind,
                                     const char *message,
                                     void *arg);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Status and errors
 *
 * What a call answers, and what went wrong.
 *
 * A function that has no other result returns a threading_status: 0 is success; above 0 is an outcome
 * that is no error; below 0 is an error, after which, unless it is said otherwise, nothing has
 * changed. The numbers are never reused.
 *
 * The last error. Each thread has one, as with errno: it describes the thread's latest call that ended
 * in an error, be that a negative status or the bad answer of a function without status. Outcomes and
 * successes leave it alone. "NULL with THREADING_ERR_X" means that the function returns NULL, and that
 * the last error is X.
 *
 * errno is not used. No function changes it, whether it succeeds, times out or fails. A value that a
 * callback stores in errno of the calling thread stays there.
 *
 * Each function names the statuses that it gives. Besides those, any may give THREADING_ERR_INTERNAL,
 * a defect of this library.
 *
 * An outcome and an error:
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
 * What a function answers.
 */
typedef int32_t threading_status;

/**
 * Done.
 */
#define THREADING_OK 0

/**
 * The time ran out (`False`).
 */
#define THREADING_TIMED_OUT 1

/**
 * A try_ call found it taken (`False`).
 */
#define THREADING_WOULD_BLOCK 2

/**
 * This thread has no such value (`AttributeError`).
 */
#define THREADING_NO_VALUE 3

/**
 * The timer's function has already begun.
 */
#define THREADING_TOO_LATE 4

/**
 * The handle is NULL, freed, of another kind, or no handle.
 */
#define THREADING_ERR_HANDLE (-1)

/**
 * An argument is out of its range (`ValueError`).
 */
#define THREADING_ERR_VALUE (-2)

/**
 * A timeout over THREADING_TIMEOUT_MAX, a count past its maximum (`OverflowError`).
 */
#define THREADING_ERR_OVERFLOW (-3)

/**
 * Release of an unlocked lock (`RuntimeError`).
 */
#define THREADING_ERR_NOT_ACQUIRED (-4)

/**
 * The caller does not hold it, or nobody does (`RuntimeError`).
 */
#define THREADING_ERR_NOT_OWNER (-5)

/**
 * A bounded semaphore was released too many times (`ValueError`).
 */
#define THREADING_ERR_OVER_RELEASED (-6)

/**
 * A thread can only be started once, and set up before that (`RuntimeError`).
 */
#define THREADING_ERR_ALREADY_STARTED (-7)

/**
 * A thread cannot be joined before it is started (`RuntimeError`).
 */
#define THREADING_ERR_NOT_STARTED (-8)

/**
 * The call could never return (`RuntimeError`).
 */
#define THREADING_ERR_DEADLOCK (-9)

/**
 * A dummy thread cannot be joined (`RuntimeError`).
 */
#define THREADING_ERR_NOT_JOINABLE (-10)

/**
 * The barrier is broken (`BrokenBarrierError`).
 */
#define THREADING_ERR_BROKEN_BARRIER (-11)

/**
 * The caller's own callback reported failure.
 */
#define THREADING_ERR_CALLBACK (-12)

/**
 * Threads are blocked on it.
 */
#define THREADING_ERR_BUSY (-13)

/**
 * Out of memory (`MemoryError`).
 */
#define THREADING_ERR_NO_MEMORY (-14)

/**
 * The system refused (`RuntimeError: can't start new thread`).
 */
#define THREADING_ERR_SYSTEM (-15)

/**
 * The process is past threading_shutdown().
 */
#define THREADING_ERR_SHUTDOWN (-16)

/**
 * A defect of this library, caught at its boundary.
 */
#define THREADING_ERR_INTERNAL (-17)

/**
 * Tells the identifier of a status, such as "THREADING_TIMED_OUT".
 *
 * \param status any number
 * \return a static string, "unknown status" for a number that is none
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
const char *threading_status_name(int32_t status);

/**
 * Tells what a status means, in a sentence without its full stop.
 *
 * \param status any number
 * \return a static string, "a number that is no status" for one that is none
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
const char *threading_status_message(int32_t status);

/**
 * Tells the status of the calling thread's latest call that ended in an error.
 *
 * \return a negative status; THREADING_OK if there was none, or none since
 *         threading_clear_last_error()
 *
 * Blocks: never. Thread safety: any thread; each has its own. Python: none. Since 0.1.0.
 */
threading_status threading_last_error(void);

/**
 * Tells what went wrong in the calling thread's latest call that ended in an error.
 *
 * It may be more exact than the status's own sentence: which argument was wrong, and why.
 *
 * \return a static string; "" where threading_last_error() tells THREADING_OK
 *
 * Blocks: never. Thread safety: any thread; each has its own. Python: the text of the exception. Since
 * 0.1.0.
 */
const char *threading_last_error_message(void);

/**
 * Forgets the calling thread's last error: sets it to THREADING_OK and "".
 *
 * Blocks: never. Thread safety: any thread; each has its own. Python: none. Since 0.1.0.
 */
void threading_clear_last_error(void);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Time, memory order, version
 *
 * How long a wait is, what a thread sees of what others did, and which library is loaded.
 *
 * Time. It is given in seconds, as a double, on the monotonic clock. One rule holds for every timeout,
 * and is checked also when the call need not wait:
 *
 * THREADING_FOREVER (-1.0) and positive infinity wait without a limit; 0 tries once; other negative
 * numbers and NaN are THREADING_ERR_VALUE; finite numbers above THREADING_TIMEOUT_MAX are
 * THREADING_ERR_OVERFLOW. Only a timer's interval has a rule of its own.
 *
 * Seconds are compared and converted by their bits, and rounded up to nanoseconds. So no call raises a
 * floating-point exception or sets an exception flag, also for a signalling NaN or a subnormal number,
 * and none depends on the rounding mode.
 *
 * No signal shortens a wait, and no wait ends without a reason. The time that a wait needs to get its
 * lock back does not count. No blocking call is a cancellation point of pthread_cancel(). Where
 * waiting is possible there is a family: `x` blocks, `x_timeout` waits so long at most, and `try_x`,
 * where Python has `blocking=False`, never blocks.
 *
 * Memory order. What a thread wrote before one of these, another sees after its counterpart: start of
 * a thread before its run; the end of its run before a join returns; a release before the next
 * acquire; a set before the wait that it ends; a notify before the wait that it ends; each arrival at
 * a barrier before any of that round's waits returns.
 *
 * A limit, or none:
 *     static bool came(threading_event *event, bool patient)
 *     {
 *         double seconds = patient ? THREADING_FOREVER : 0.25;
 *         return threading_event_wait_timeout(event, seconds) == THREADING_OK;
 *     }
 */

/**
 * The timeout that waits without a limit.
 */
#define THREADING_FOREVER (-1.0)

/**
 * The longest finite timeout, in seconds. Python: `threading.TIMEOUT_MAX`.
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
 * Tells the version of the library that is loaded, which may be newer than the header.
 *
 * \return a static string, "0.1.0" for version 0.1.0; THREADING_VERSION is the header's
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
const char *threading_version(void);

/**
 * Tells the version of the library that is loaded, as a number.
 *
 * \return `major << 16 | minor << 8 | patch`: 0x000100 for version 0.1.0
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
uint32_t threading_version_number(void);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * The module's functions
 *
 * Who is there, who calls, how the process leaves.
 *
 * Foreign threads. Those that this library did not start may use everything. One becomes a thread
 * here, a daemon named `Dummy-N`, when it first asks who it is (threading_current_thread()), not by
 * using a lock or creating a thread; it is dropped when it ends. The first thread of the process is
 * the main thread, `MainThread`, whichever thread loaded the library.
 *
 * Exit. Returning from `main`, and exit(), wait for all non-daemon threads, pending non-daemon timers
 * included; daemons are left behind. In this order: the callbacks of threading_atexit(), the last one
 * first; then main counts as ended, so that its joiners go on; then all non-daemon threads that this
 * library started are joined, those started meanwhile included, but for the caller and for threads
 * that are themselves in exit() or shutdown. exit() in a worker does not wait for itself; `_exit` and
 * `quick_exit` do not wait at all. pthread_exit() in `main` waits likewise, and then the process ends
 * with status 0, whatever daemons still run; but where `main` never called this library, nobody sees
 * it leave, and daemons, or a timer that has ever been started, keep the process. All this is done by
 * a handler of atexit(), registered when it is first needed (the first start, threading_atexit(), a
 * local's value in main): handlers registered later run before the joins, earlier ones after them.
 * Main's locals are destroyed after the joins.
 *
 * Fork. The child has one thread: the one that forked, with the same handle, name, daemon flag and
 * ident, and a new native id. It is the child's main thread, and alone in threading_enumerate(); one
 * that this library did not start becomes `MainThread`. Other started threads and pending timers have
 * ended there: join returns at once, start is THREADING_ERR_ALREADY_STARTED, cancel of a pending timer
 * is THREADING_OK; their argument destructors are not called, and the values of their locals are left
 * alone. Unstarted threads and timers can be started, new ones work, the numbers in names count on,
 * and exit callbacks are inherited. Locks and all other objects are as they were at the fork, an RLock
 * of the forking thread is still its own; but threads that were blocked on them are gone, and no
 * notify, count or BUSY concerns them. The `_at_fork_reinit` functions make a lock, a condition's lock
 * or an event as new. What fork() costs in the child does not depend on how many threads and timers the
 * parent has.
 *
 * Fork handlers. Every function may be called in the handlers of pthread_atfork(), whether they were
 * registered before the library was loaded or after it; a child handler finds in each case what is said
 * above. While a prepare or parent handler runs that was registered before, other threads that start or
 * end, create or free objects or ask for other threads wait, until the handler calls a function of this
 * library, but no longer than 0.1 s: so a handler may also wait for such a thread by other means. A
 * constructor may use the library, and fork, before the library's own constructor has run.
 *
 * Children without handlers. vfork(), posix_spawn(), _Fork() and clone() call no handlers, and the
 * library does not learn of the child. It may call exec and _exit there, and of this library only
 * threading_version(), threading_version_number(), threading_status_name() and
 * threading_status_message(). A child of _Fork() or clone() that has its own copy of the memory may call
 * every function if the process had one thread and had never started a timer; the native id of its main
 * thread is then the parent's.
 *
 * Signals. No wait ends early or late by one. threading_event_set(), threading_event_clear(),
 * threading_event_is_set(), threading_semaphore_release() and threading_semaphore_release_n() may be
 * called in a signal handler, on systems where threads sleep by futex (Linux, unless the library was
 * built with its portable backend).
 *
 * Who is alive:
 *     static void print_threads(void)
 *     {
 *         threading_thread_list *threads = threading_enumerate();
 *         for (size_t i = 0; i < threading_thread_list_len(threads); i++) {
 *             threading_thread *thread = threading_thread_list_get(threads, i); // borrowed
 *             printf("%s%s\n", threading_thread_name(thread),
 *                    thread == threading_current_thread() ? ", which prints this" : "");
 *         }
 *         (void)threading_thread_list_free(threads);
 *     }
 */

/**
 * Tells which thread calls.
 *
 * The handle is borrowed, and valid while the caller runs, destructors of thread-local data included.
 * Inside a timer's function it is the timer's thread. A thread that this library did not start becomes
 * a `Dummy-N` by its first call.
 *
 * \return the thread, borrowed; NULL with THREADING_ERR_NO_MEMORY, THREADING_ERR_SYSTEM (the system
 *         cannot announce the end of a thread that this library did not start), THREADING_ERR_SHUTDOWN
 *         (such a thread first asks in the very last of its destructors)
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.current_thread()`. Since 0.1.0.
 */
threading_thread *threading_current_thread(void);

/**
 * Tells the main thread: the first of the process, or in a child of fork the one that forked.
 *
 * \return the thread, borrowed, and valid for ever; NULL with THREADING_ERR_NO_MEMORY
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.main_thread()`. Since 0.1.0.
 */
threading_thread *threading_main_thread(void);

/**
 * Tells how many threads are alive: what threading_enumerate() would list.
 *
 * \return the number; 0 with THREADING_ERR_NO_MEMORY
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.active_count()`. Since 0.1.0.
 */
size_t threading_active_count(void);

/**
 * Lists the threads that are alive: main, then the others in the order of their start.
 *
 * Daemons, pending timers and dummies are listed too; a dummy's start is its first question. Threads
 * that have not been started or have ended are not. The list is a snapshot, and keeps each of its
 * threads' handles valid until it is freed.
 *
 * \return the list, owned by the caller, who gives it back by threading_thread_list_free(); NULL with
 *         THREADING_ERR_NO_MEMORY
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.enumerate()`. Since 0.1.0.
 */
threading_thread_list *threading_enumerate(void);

/**
 * Tells how many threads a list holds.
 *
 * \param list the list
 * \return the number; 0 with THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: `len(threads)`. Since 0.1.0.
 */
size_t threading_thread_list_len(threading_thread_list *list);

/**
 * Tells one thread of a list.
 *
 * \param list the list
 * \param i its place in the list, from 0
 * \return the thread, borrowed from the list, and valid as long as that; NULL with
 *         THREADING_ERR_HANDLE, THREADING_ERR_VALUE (there are not so many)
 *
 * Blocks: never. Thread safety: any thread. Python: `threads[i]`. Since 0.1.0.
 */
threading_thread *threading_thread_list_get(threading_thread_list *list, size_t i);

/**
 * Gives a list back, and with it the list's references to its threads.
 *
 * \param list the list
 * \return THREADING_OK; THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_status threading_thread_list_free(threading_thread_list *list);

/**
 * Tells the number of whoever calls: the thread's, or in a timer's function the timer's.
 *
 * It is never 0, and unlike Python's never used again. It makes no dummy.
 *
 * \return the number, which threading_thread_ident() tells of the same thread
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.get_ident()`. Since 0.1.0.
 */
uint64_t threading_get_ident(void);

/**
 * Tells the kernel's number of the system thread that calls.
 *
 * \return the number
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.get_native_id()`. Since 0.1.0.
 */
uint64_t threading_get_native_id(void);

/**
 * Tells the size of the stacks of threads that are started from now on. Reading it does not reset it.
 *
 * \return the size in bytes; 0 is the system's default
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.stack_size()`. Since 0.1.0.
 */
size_t threading_stack_size(void);

/**
 * Sets the size of the stacks of threads that are started from now on, also of those that run timers' functions.
 *
 * A size of a thread's own, by threading_thread_set_stack_size(), goes before it. Where the program has
 * much static thread-local storage, which lies on each stack, the stacks are larger by that.
 *
 * \param bytes the size in bytes, at least 32768 or what the system needs, if that is more; 0 is the
 *         system's default
 * \return THREADING_OK; THREADING_ERR_VALUE when it is too small
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.stack_size(bytes)`. Since 0.1.0.
 */
threading_status threading_set_stack_size(size_t bytes);

/**
 * Lets the calling thread sleep. No signal shortens it.
 *
 * \param seconds how long, in seconds; THREADING_FOREVER never returns, 0 returns at once
 * \return THREADING_OK; THREADING_ERR_VALUE, THREADING_ERR_OVERFLOW
 *
 * Blocks: for so long. Thread safety: any thread. Python: `time.sleep(seconds)`. Since 0.1.0.
 */
threading_status threading_sleep(double seconds);

/**
 * Has a function called when the process leaves, before its threads are waited for.
 *
 * The last one that was registered is called first. Each is called once, even if the shutdown has to
 * be called again; one that calls exit() ends there, and the process goes on with the next. A child of
 * fork inherits them.
 *
 * \param callback what to call
 * \param arg its argument
 * \return THREADING_OK; THREADING_ERR_VALUE when callback is NULL; THREADING_ERR_SHUTDOWN when the
 *         shutdown has begun; THREADING_ERR_NO_MEMORY
 *
 * Blocks: never. Thread safety: any thread. Python: `threading._register_atexit(callback, arg)`. Since
 * 0.1.0.
 *
 * # Safety
 * The callbacks take their arguments.
 */
threading_status threading_atexit(threading_callback callback, void *arg);

/**
 * Does now what exit() does first: calls the callbacks, counts main as ended, and joins all non-daemon
 * threads that this library started, but for the caller and those that are themselves in exit() or
 * shutdown.
 *
 * When it has returned, nothing can be started any more: THREADING_ERR_SHUTDOWN. It may be called
 * again.
 *
 * \return THREADING_OK
 *
 * Blocks: until the last non-daemon thread has ended, and while callbacks run. Thread safety: any
 * thread. Python: `threading._shutdown()`. Since 0.1.0.
 */
threading_status threading_shutdown(void);

/**
 * Does as threading_shutdown(), and waits for the threads no longer than the given time.
 *
 * After THREADING_TIMED_OUT threads can still be started, and it may be called again; the callbacks
 * have been called, and are not called again.
 *
 * \param seconds how long to wait at most, in seconds; THREADING_FOREVER waits without a limit, 0
 *         looks once
 * \return THREADING_OK when all have ended; THREADING_TIMED_OUT; THREADING_ERR_VALUE,
 *         THREADING_ERR_OVERFLOW, before anything is done
 *
 * Blocks: until the last non-daemon thread has ended, or the time runs out, and while callbacks run.
 * Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_status threading_shutdown_timeout(double seconds);

/**
 * Sets who is told of failures that threads could not handle.
 *
 * The one that is replaced may still be running when this returns.
 *
 * \param hook what threading_report_exception() calls; NULL is the default, which prints one line,
 *         `Exception in thread NAME: TYPE: MESSAGE`, to stderr
 * \param arg the hook's last argument
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.excepthook = hook`. Since 0.1.0.
 *
 * # Safety
 * The callbacks take their arguments.
 */
void threading_set_excepthook(threading_excepthook hook, void *arg);

/**
 * Tells who is told of failures that threads could not handle.
 *
 * \param arg where to write the hook's argument; may be NULL
 * \return the hook; NULL is the default
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.excepthook`. Since 0.1.0.
 *
 * # Safety
 * `arg` is NULL or can be written to.
 */
threading_excepthook threading_get_excepthook(void **arg);

/**
 * Tells the excepthook of something that the calling thread could not handle.
 *
 * For targets, and for bindings of other languages. The thread goes on; as in Python, neither its
 * result nor the process's exit status changes.
 *
 * \param type what kind of failure it is, as the name of an exception's type
 * \param message a sentence
 * \return THREADING_OK when the hook was called; THREADING_ERR_VALUE when a string is NULL;
 *         THREADING_ERR_NO_MEMORY, THREADING_ERR_SYSTEM, THREADING_ERR_SHUTDOWN as
 *         threading_current_thread()
 *
 * Blocks: while the hook runs. Thread safety: any thread. Python: `threading.excepthook(args)`, which
 * Python calls by itself. Since 0.1.0.
 *
 * # Safety
 * `type` and `message` are NULL or strings.
 */
threading_status threading_report_exception(const char *type, const char *message);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Thread
 *
 * A thread calls its target once it is started, and ends when that returns. It has a name, a number
 * that is never used again, and a result. While it runs it keeps itself alive: its handle may be freed
 * at any time.
 *
 * A thread inherits the daemon flag of its creator; if the library did not start that, it is no
 * daemon. The process does not end before all threads but the daemons have ended. What must be set up
 * before the start: daemon flag, stack size, argument destructor and the override of run; afterwards
 * that is THREADING_ERR_ALREADY_STARTED, for main and for dummies always.
 *
 * The argument is passed as it is. It must live until the thread has used it: give it memory of its
 * own and a destructor (threading_thread_set_arg_destructor()), not the address of a loop's variable.
 *
 * A thread that is started and joined; if there is none, start and free get NULL and report it:
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
 * Makes a thread that will call target(arg). It costs no system thread until it is started.
 *
 * Its name is `Thread-N` if nobody names it; the number is taken when the name is first asked for or
 * the thread is started, so that a named one takes none. It is a daemon if its creator is one, but not
 * if the library did not start its creator.
 *
 * \param target what to call; NULL calls nothing, and the thread ends at once
 * \param arg its argument, the caller's to keep valid; see threading_thread_set_arg_destructor()
 * \return the thread, owned by the caller; NULL with THREADING_ERR_NO_MEMORY, arg untouched
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.Thread(target=target, args=(arg,))`.
 * Since 0.1.0.
 *
 * # Safety
 * The callbacks take their arguments.
 */
threading_thread *threading_thread_new(threading_target target, void *arg);

/**
 * Takes one more reference to a thread.
 *
 * \param thread the thread
 * \return the same handle, owned once more; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
 *         (too many references)
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_thread *threading_thread_ref(threading_thread *thread);

/**
 * Gives one reference to a thread back. One that runs goes on.
 *
 * The last reference to a thread that was never started calls the argument's destructor.
 *
 * \param thread the thread
 * \return THREADING_OK; THREADING_ERR_HANDLE, also when all owned references have been given back
 *
 * Blocks: never, but for the destructor. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_status threading_thread_free(threading_thread *thread);

/**
 * Names a thread, at any time.
 *
 * The name is copied. The former one is freed, unless threading_thread_name() has returned it. The
 * system's tools show 15 bytes of the name, cut at a character, except for main and for timers, whose
 * system names stay as they are.
 *
 * \param thread the thread
 * \param name the name, in UTF-8
 * \return THREADING_OK; THREADING_ERR_HANDLE; THREADING_ERR_VALUE when the name is NULL or not UTF-8;
 *         THREADING_ERR_NO_MEMORY
 *
 * Blocks: never. Thread safety: any thread. Python: `thread.name = name`. Since 0.1.0.
 *
 * # Safety
 * `name` is NULL or a string.
 */
threading_status threading_thread_set_name(threading_thread *thread, const char *name);

/**
 * Tells a thread's name: the one that it was given, or else `Thread-N`, `Dummy-N` or `MainThread`.
 *
 * \param thread the thread
 * \return the name, valid as long as the thread's handle, even if it is renamed; NULL with
 *         THREADING_ERR_HANDLE, THREADING_ERR_NO_MEMORY
 *
 * Blocks: never. Thread safety: any thread. Python: `thread.name`. Since 0.1.0.
 */
const char *threading_thread_name(threading_thread *thread);

/**
 * Makes a thread a daemon, or not. Before start only.
 *
 * \param thread the thread
 * \param daemon 0: the process's exit waits for it; all else: it does not
 * \return THREADING_OK; THREADING_ERR_HANDLE, THREADING_ERR_ALREADY_STARTED
 *
 * Blocks: never. Thread safety: any thread. Python: `thread.daemon = daemon`. Since 0.1.0.
 */
threading_status threading_thread_set_daemon(threading_thread *thread, int daemon);

/**
 * Tells whether a thread is a daemon. A dummy is one, main is not.
 *
 * \param thread the thread
 * \return true if it is one; false if not, or with THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: `thread.daemon`. Since 0.1.0.
 */
bool threading_thread_is_daemon(threading_thread *thread);

/**
 * Sets the size of a thread's stack. Before start only.
 *
 * A timer's thread accepts it too, but its function runs on a stack that timers share.
 *
 * \param thread the thread
 * \param bytes the size in bytes, at least 32768 or what the system needs, if that is more; 0 is that
 *         of threading_set_stack_size(). Where the program has much static thread-local storage, which
 *         lies on each stack, the stack is larger by that
 * \return THREADING_OK; THREADING_ERR_HANDLE; THREADING_ERR_VALUE when it is too small;
 *         THREADING_ERR_ALREADY_STARTED
 *
 * Blocks: never. Thread safety: any thread. Python: none (`threading.stack_size(bytes)` is for all
 * threads). Since 0.1.0.
 */
threading_status threading_thread_set_stack_size(threading_thread *thread, size_t bytes);

/**
 * Has a thread's argument destroyed once it is not needed any more. Before start only.
 *
 * The destructor is called with the argument, unless that is NULL, exactly once: in the thread after
 * its run, before a join returns; or by the call that makes sure that it will never run, which is the
 * last `_free` of an unstarted thread, or a timer's cancel. A start that fails calls nothing. Where a
 * cancel has destroyed the argument of an unstarted timer, a destructor that is set afterwards is never
 * called; one that is set after a cancel that had none to call, is called at the start or the last
 * `_free`.
 *
 * \param thread the thread
 * \param destroy what to call; NULL calls nothing
 * \return THREADING_OK; THREADING_ERR_HANDLE, THREADING_ERR_ALREADY_STARTED
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 *
 * # Safety
 * It takes the thread's argument.
 */
threading_status threading_thread_set_arg_destructor(threading_thread *thread, threading_destructor destroy);

/**
 * Overrides what a thread runs. Before start only.
 *
 * \param thread the thread
 * \param run called instead of the target, with the thread and the target's argument; NULL is no
 *         override
 * \return THREADING_OK; THREADING_ERR_HANDLE, THREADING_ERR_ALREADY_STARTED
 *
 * Blocks: never. Thread safety: any thread. Python: a subclass with its own `run()`. Since 0.1.0.
 *
 * # Safety
 * It takes the thread's argument.
 */
threading_status threading_thread_set_run(threading_thread *thread, threading_run run);

/**
 * Calls target(arg), which is what a thread does if its run is not overridden.
 *
 * For use inside an override. Elsewhere it just calls the target, in the calling thread; it starts
 * nothing.
 *
 * \param thread the thread
 * \return what the target returned; NULL if there is no target, or with THREADING_ERR_HANDLE
 *
 * Blocks: as long as the target. Thread safety: any thread, as far as the target goes. Python:
 * `threading.Thread.run(thread)`. Since 0.1.0.
 */
void *threading_thread_run(threading_thread *thread);

/**
 * Starts a thread, once.
 *
 * When it returns, the thread is alive and enumerated, and has its name and its ident; it need not
 * have begun to run yet. Until its end it keeps itself alive.
 *
 * \param thread the thread
 * \return THREADING_OK; THREADING_ERR_HANDLE; THREADING_ERR_ALREADY_STARTED, also when it has ended,
 *         and for main and dummies; THREADING_ERR_SHUTDOWN after threading_shutdown();
 *         THREADING_ERR_SYSTEM when the system refuses a thread, THREADING_ERR_NO_MEMORY: then nothing
 *         has changed, and it may be tried again
 *
 * Blocks: never. Thread safety: any thread. Python: `thread.start()`. Since 0.1.0.
 */
threading_status threading_thread_start(threading_thread *thread);

/**
 * Waits until a thread has ended.
 *
 * It may be called any number of times, and by any number of threads. It waits for the end of the
 * system's thread: the destructors of pthread keys and of C++'s thread_local have run. The system's
 * thread is detached: pthread_join() and pthread_detach() refuse it with EINVAL. Of a timer it
 * waits for the end of its function, or its cancel; of main, for the shutdown that the process's exit
 * begins with.
 *
 * \param thread the thread
 * \return THREADING_OK when it has ended; THREADING_ERR_HANDLE; THREADING_ERR_NOT_JOINABLE for a
 *         dummy; THREADING_ERR_NOT_STARTED; THREADING_ERR_DEADLOCK when it is the caller itself
 *
 * Blocks: until the thread has ended. Thread safety: any thread but this one. Python: `thread.join()`.
 * Since 0.1.0.
 */
threading_status threading_thread_join(threading_thread *thread);

/**
 * Waits until a thread has ended, no longer than the given time. Otherwise as threading_thread_join().
 *
 * \param thread the thread
 * \param seconds how long to wait at most, in seconds; THREADING_FOREVER waits without a limit, 0
 *         looks once
 * \return THREADING_OK when it has ended; THREADING_TIMED_OUT; THREADING_ERR_HANDLE,
 *         THREADING_ERR_VALUE, THREADING_ERR_OVERFLOW; THREADING_ERR_NOT_JOINABLE for a dummy;
 *         THREADING_ERR_NOT_STARTED; THREADING_ERR_DEADLOCK when it is the caller itself
 *
 * Blocks: until the thread has ended, or the time runs out. Thread safety: any thread but this one.
 * Python: `thread.join(seconds)`, then `thread.is_alive()`. Since 0.1.0.
 */
threading_status threading_thread_join_timeout(threading_thread *thread, double seconds);

/**
 * Tells whether a thread has been started and has not ended. A pending timer is alive.
 *
 * \param thread the thread
 * \return true if so; false if not, or with THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: `thread.is_alive()`. Since 0.1.0.
 */
bool threading_thread_is_alive(threading_thread *thread);

/**
 * Tells a thread's number, which no other thread of the process ever gets.
 *
 * \param thread the thread
 * \return the number, also after its end; 0 before start, or with THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: `thread.ident`. Since 0.1.0.
 */
uint64_t threading_thread_ident(threading_thread *thread);

/**
 * Tells the kernel's number of a thread; of a timer, that of the system thread that runs its function.
 *
 * \param thread the thread
 * \return the number, also after its end; 0 before start, for a timer before its function runs, or
 *         with THREADING_ERR_HANDLE
 *
 * Blocks: right after start, until the thread has begun to run. Thread safety: any thread. Python:
 * `thread.native_id`. Since 0.1.0.
 */
uint64_t threading_thread_native_id(threading_thread *thread);

/**
 * Tells what a thread's run returned, once the thread has ended.
 *
 * After pthread_exit() it is the value given to that, or NULL for a timer; after pthread_cancel() it
 * is PTHREAD_CANCELED.
 *
 * \param thread the thread
 * \return the result; NULL before the end, or with THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
void *threading_thread_result(threading_thread *thread);

/**
 * Tells the argument that was given to threading_thread_new() or threading_timer_new().
 *
 * \param thread the thread
 * \return the argument, also when its destructor has been called; NULL with THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
void *threading_thread_arg(threading_thread *thread);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Timer
 *
 * A timer is a thread whose function runs after a delay, unless it is cancelled before. While it waits
 * it is alive, is enumerated and keeps the process from exiting, as Python's does;
 * threading_thread_set_daemon() on its thread lifts that. But it costs no system thread: functions run
 * on a few system threads that all timers share, and that are never enumerated. A function that blocks
 * delays no other timer.
 *
 * threading_timer_thread() is the thread that the timer is: its name, its daemon flag, join, the
 * result and the rest are that thread's. Inside of the function threading_current_thread() is the
 * timer's thread, an RLock is owned by the timer, and its locals are the timer's own, destroyed when
 * the function has returned. But `__thread` variables and the values of pthread keys are the system
 * thread's, and outlive a timer there. A timer runs once; it cannot be started again.
 *
 * Every function begins in the same state, whichever thread created or started the timer. Signal mask, CPU
 * affinity, scheduling policy, priority and nice value: those of the main thread when the library was loaded.
 * Alternate signal stack: none. Name of the system thread: threading-timer. Floating-point environment: the
 * default, with no exception raised or trapped. Locale of the thread: the global one. Cancellation: enabled,
 * deferred and not requested. errno: 0. In Python a timer's thread inherits from the thread that starts it.
 *
 * What a function, and the destructors called for it, change of this state is put back before the next
 * function begins. There is one limit: a function that has run more than a hundred times, has never changed
 * mask, affinity, scheduling, signal stack or name, and then does, is found out about 20 microseconds later,
 * if more timers are due at the same time. Where the system does not let a thread take a change back, as an
 * ordinary user's thread its nice value, another thread runs the next function. All else that the system
 * keeps for a thread, such as its capabilities or its timer slack, is shared with later functions.
 *
 * A function begins only while another system thread can take over if it blocks. If that thread cannot be
 * created, functions are late by up to a second, during which the library retries; after that they run, and one
 * that blocks delays the others until a thread can be created.
 *
 * A call in a while:
 *     static void *remind(void *text)
 *     {
 *         return puts(text) < 0 ? NULL : text;
 *     }
 *     static bool remind_me(char *text, double seconds)
 *     {
 *         threading_timer *timer = threading_timer_new(seconds, remind, text);
 *         bool started = threading_timer_start(timer) == THREADING_OK;
 *         return threading_timer_free(timer) == THREADING_OK && started; // it keeps itself
 *     }
 */

/**
 * Makes a timer that will call function(arg) so many seconds after its start.
 *
 * It gets its name and its daemon flag as a thread of threading_thread_new() does.
 *
 * \param interval in seconds, with a rule of its own: zero and below, THREADING_FOREVER included,
 *         fires at once, positive infinity never
 * \param function what to call; NULL calls nothing
 * \param arg its argument, the caller's to keep valid; see threading_thread_set_arg_destructor()
 * \return the timer, owned by the caller; NULL with THREADING_ERR_VALUE (NaN), THREADING_ERR_OVERFLOW
 *         (a finite interval over THREADING_TIMEOUT_MAX), THREADING_ERR_NO_MEMORY
 *
 * Blocks: never. Thread safety: any thread. Python:
 * `threading.Timer(interval, function, args=(arg,))`. Since 0.1.0.
 *
 * # Safety
 * The callbacks take their arguments.
 */
threading_timer *threading_timer_new(double interval, threading_target function, void *arg);

/**
 * Takes one more reference to a timer.
 *
 * \param timer the timer
 * \return the same handle, owned once more; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
 *         (too many references)
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_timer *threading_timer_ref(threading_timer *timer);

/**
 * Gives one reference to a timer back. One that was started goes on.
 *
 * The last reference to a timer that was never started, and whose thread nobody keeps, calls the
 * argument's destructor.
 *
 * \param timer the timer
 * \return THREADING_OK; THREADING_ERR_HANDLE
 *
 * Blocks: never, but for the destructor. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_status threading_timer_free(threading_timer *timer);

/**
 * Tells the thread that the timer is, on which every function of a thread works.
 *
 * \param timer the timer
 * \return the thread, borrowed, and valid as long as the timer's handle; NULL with
 *         THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: none (a `Timer` is a `Thread`). Since 0.1.0.
 */
threading_thread *threading_timer_thread(threading_timer *timer);

/**
 * Starts a timer, once: from now on its interval runs. threading_thread_start() of its thread does the
 * same.
 *
 * A timer that was cancelled before is started legally, and ends at once.
 *
 * \param timer the timer
 * \return THREADING_OK; THREADING_ERR_HANDLE; THREADING_ERR_ALREADY_STARTED; THREADING_ERR_SHUTDOWN
 *         after threading_shutdown(); THREADING_ERR_SYSTEM when the system refuses the library a
 *         thread, THREADING_ERR_NO_MEMORY: then nothing has changed, and it may be tried again
 *
 * The state in which the function begins does not depend on the thread that starts the timer.
 *
 * Blocks: never. Thread safety: any thread. Python: `timer.start()`. Since 0.1.0.
 */
threading_status threading_timer_start(threading_timer *timer);

/**
 * Sees to it that the function will never run. A pending timer ends by it.
 *
 * The argument's destructor is called here, and the timer ends when that has returned: to join its thread
 * in the destructor is THREADING_ERR_DEADLOCK, and exit() and threading_shutdown() do not wait for the timer
 * there. A cancel does not wait for a function that has begun: join the timer's thread for that.
 *
 * \param timer the timer
 * \return THREADING_OK when the function will never run, by this or an earlier cancel;
 *         THREADING_TOO_LATE when it has begun or has run; THREADING_ERR_HANDLE
 *
 * Blocks: never, but for the destructor. Thread safety: any thread, the timer's own function included.
 * Python: `timer.cancel()`. Since 0.1.0.
 */
threading_status threading_timer_cancel(threading_timer *timer);

/**
 * Tells a timer's interval.
 *
 * \param timer the timer
 * \return the seconds as they were given; 0 with THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: `timer.interval`. Since 0.1.0.
 */
double threading_timer_interval(threading_timer *timer);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Lock
 *
 * A lock is held by one caller at a time; the others wait. It has no owner: any thread may release it,
 * and a thread that takes it a second time waits for itself. Who gets it next is not defined, but
 * nobody waits for ever: a newcomer may take a free lock before a thread that is just waking up,
 * but every millisecond or so the lock goes to the one that has waited longest.
 *
 * A sum that threads share (a block under THREADING_WITH() releases by itself):
 *     static bool add(threading_lock *lock, long *sum, long amount)
 *     {
 *         if (threading_lock_acquire(lock) != THREADING_OK)
 *             return false;
 *         *sum += amount;
 *         return threading_lock_release(lock) == THREADING_OK;
 *     }
 */

/**
 * Makes a lock that nobody holds.
 *
 * \return the lock, owned by the caller; NULL with THREADING_ERR_NO_MEMORY
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.Lock()`. Since 0.1.0.
 */
threading_lock *threading_lock_new(void);

/**
 * Takes one more reference to a lock.
 *
 * \param lock the lock
 * \return the same handle, owned once more; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
 *         (too many references)
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_lock *threading_lock_ref(threading_lock *lock);

/**
 * Gives one reference to a lock back. The last one ends the lock's life, held or not.
 *
 * \param lock the lock
 * \return THREADING_OK; THREADING_ERR_BUSY when it is the last one and threads are blocked on the
 *         lock; THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_status threading_lock_free(threading_lock *lock);

/**
 * Takes the lock, and waits as long as somebody holds it. If that is the caller, it waits for ever.
 *
 * \param lock the lock
 * \return THREADING_OK when the caller holds the lock; THREADING_ERR_HANDLE; THREADING_ERR_NO_MEMORY
 *         when the thread has never waited before and there is no memory for its record
 *
 * Blocks: until the lock is free. Thread safety: any thread. Python: `lock.acquire()`. Since 0.1.0.
 */
threading_status threading_lock_acquire(threading_lock *lock);

/**
 * Takes the lock if nobody holds it.
 *
 * \param lock the lock
 * \return THREADING_OK when the caller holds the lock; THREADING_WOULD_BLOCK when somebody else, or
 *         the caller before, does; THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: `lock.acquire(blocking=False)`. Since 0.1.0.
 */
threading_status threading_lock_try_acquire(threading_lock *lock);

/**
 * Takes the lock, and waits for it no longer than the given time.
 *
 * \param lock the lock
 * \param seconds how long to wait at most, in seconds; THREADING_FOREVER waits without a limit, 0
 *         tries once
 * \return THREADING_OK when the caller holds the lock; THREADING_TIMED_OUT when the time ran out;
 *         THREADING_ERR_HANDLE, THREADING_ERR_VALUE, THREADING_ERR_OVERFLOW; THREADING_ERR_NO_MEMORY
 *         as threading_lock_acquire()
 *
 * Blocks: until the lock is free, or the time runs out. Thread safety: any thread. Python:
 * `lock.acquire(timeout=seconds)`. Since 0.1.0.
 */
threading_status threading_lock_acquire_timeout(threading_lock *lock, double seconds);

/**
 * Gives the lock back, whoever took it.
 *
 * \param lock the lock
 * \return THREADING_OK; THREADING_ERR_NOT_ACQUIRED when nobody holds it; THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: `lock.release()`. Since 0.1.0.
 */
threading_status threading_lock_release(threading_lock *lock);

/**
 * Tells whether somebody holds the lock, at this moment.
 *
 * \param lock the lock
 * \return true if so; false if not, or with THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: `lock.locked()`. Since 0.1.0.
 */
bool threading_lock_locked(threading_lock *lock);

/**
 * Makes the lock as new: nobody holds it. For a child process, where whoever held it may not exist.
 *
 * \param lock the lock
 * \return THREADING_OK; THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread; meant for the only one of a child of fork. Python:
 * `lock._at_fork_reinit()`. Since 0.1.0.
 */
threading_status threading_lock_at_fork_reinit(threading_lock *lock);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * RLock
 *
 * A re-entrant lock: its owner, the thread that holds it, may take it again at once, and has to
 * release it as often. Nobody else may release it. If its owner ends without releasing it, it stays
 * locked and belongs to nobody, never to a later thread. In a timer's function the timer is the owner,
 * not the system thread that runs it.
 *
 * A function that calls itself with the lock held:
 *     static threading_status dive(threading_rlock *rlock, int depth)
 *     {
 *         threading_status status = threading_rlock_acquire(rlock); // at once if it is the caller's
 *         if (status != THREADING_OK)
 *             return status;
 *         if (depth > 0)
 *             status = dive(rlock, depth - 1);
 *         threading_status released = threading_rlock_release(rlock);
 *         return status != THREADING_OK ? status : released;
 *     }
 */

/**
 * Makes a re-entrant lock that nobody holds.
 *
 * \return the lock, owned by the caller; NULL with THREADING_ERR_NO_MEMORY
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.RLock()`. Since 0.1.0.
 */
threading_rlock *threading_rlock_new(void);

/**
 * Takes one more reference to a re-entrant lock. (That has nothing to do with holding it.)
 *
 * \param rlock the lock
 * \return the same handle, owned once more; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
 *         (too many references)
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_rlock *threading_rlock_ref(threading_rlock *rlock);

/**
 * Gives one reference to a re-entrant lock back. The last one ends the lock's life, held or not.
 *
 * \param rlock the lock
 * \return THREADING_OK; THREADING_ERR_BUSY when it is the last one and threads are blocked on the
 *         lock; THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_status threading_rlock_free(threading_rlock *rlock);

/**
 * Takes the lock once more if the caller owns it; otherwise waits as long as somebody holds it.
 *
 * \param rlock the lock
 * \return THREADING_OK when the caller owns the lock; THREADING_ERR_HANDLE; THREADING_ERR_OVERFLOW
 *         when the caller holds it 4294967296 times; THREADING_ERR_NO_MEMORY when the thread has never
 *         waited before and there is no memory for its record, or takes the lock again, holds another
 *         RLock more than once, and there is none for the count
 *
 * Blocks: until the lock is free or the caller's. Thread safety: any thread. Python:
 * `rlock.acquire()`. Since 0.1.0.
 */
threading_status threading_rlock_acquire(threading_rlock *rlock);

/**
 * Takes the lock if the caller owns it already or nobody holds it.
 *
 * \param rlock the lock
 * \return THREADING_OK when the caller owns the lock; THREADING_WOULD_BLOCK when somebody else does;
 *         THREADING_ERR_HANDLE; THREADING_ERR_OVERFLOW, THREADING_ERR_NO_MEMORY as
 *         threading_rlock_acquire()
 *
 * Blocks: never. Thread safety: any thread. Python: `rlock.acquire(blocking=False)`. Since 0.1.0.
 */
threading_status threading_rlock_try_acquire(threading_rlock *rlock);

/**
 * Takes the lock as threading_rlock_acquire(), and waits for it no longer than the given time.
 *
 * \param rlock the lock
 * \param seconds how long to wait at most, in seconds; THREADING_FOREVER waits without a limit, 0
 *         tries once
 * \return THREADING_OK when the caller owns the lock; THREADING_TIMED_OUT when the time ran out;
 *         THREADING_ERR_HANDLE, THREADING_ERR_VALUE, THREADING_ERR_OVERFLOW; THREADING_ERR_NO_MEMORY
 *         as threading_rlock_acquire()
 *
 * Blocks: until the lock is free or the caller's, or the time runs out. Thread safety: any thread.
 * Python: `rlock.acquire(timeout=seconds)`. Since 0.1.0.
 */
threading_status threading_rlock_acquire_timeout(threading_rlock *rlock, double seconds);

/**
 * Undoes one acquire of the caller's. The one that undoes the first lets others take the lock.
 *
 * \param rlock the lock
 * \return THREADING_OK; THREADING_ERR_NOT_OWNER when somebody else holds it, or nobody;
 *         THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: its owner. Python: `rlock.release()`. Since 0.1.0.
 */
threading_status threading_rlock_release(threading_rlock *rlock);

/**
 * Tells whether somebody holds the lock, at this moment.
 *
 * \param rlock the lock
 * \return true if so; false if not, or with THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: `rlock.locked()` (3.14). Since 0.1.0.
 */
bool threading_rlock_locked(threading_rlock *rlock);

/**
 * Tells whether the caller holds the lock.
 *
 * \param rlock the lock
 * \return true if so; false if not, or with THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: `rlock._is_owned()`. Since 0.1.0.
 */
bool threading_rlock_is_owned(threading_rlock *rlock);

/**
 * Tells how many releases the caller owes the lock.
 *
 * \param rlock the lock
 * \return the number; 0 when the caller does not own it, or with THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: `rlock._recursion_count()`. Since 0.1.0.
 */
size_t threading_rlock_recursion_count(threading_rlock *rlock);

/**
 * Makes the lock as new: nobody holds it. For a child process, where whoever held it may not exist.
 *
 * \param rlock the lock
 * \return THREADING_OK; THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread; meant for the only one of a child of fork. Python:
 * `rlock._at_fork_reinit()`. Since 0.1.0.
 */
threading_status threading_rlock_at_fork_reinit(threading_rlock *rlock);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Condition
 *
 * A condition is a lock, and a line of threads that wait until another one notifies them. Whoever
 * waits or notifies holds the lock: an RLock as its owner; over a plain Lock it is enough that anybody
 * holds it, as in Python. A wait gives the lock up, an RLock on all its levels, and has it back as
 * before when it returns, however it ends.
 *
 * Waiters are notified in the order in which they came. A waiter that a notify has chosen returns
 * THREADING_OK even if its time runs out meanwhile, so no notify is lost; no wait returns without a
 * notify before its time; a notify that nobody waits for has no effect. A notify does not give up the
 * lock: waiters go on, one by one and in no defined order, when it is released.
 *
 * Taking what another thread puts there under the same lock, followed by threading_condition_notify():
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
 * Makes a condition over a re-entrant lock of its own.
 *
 * \return the condition, owned by the caller; NULL with THREADING_ERR_NO_MEMORY
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.Condition()`. Since 0.1.0.
 */
threading_condition *threading_condition_new(void);

/**
 * Makes a condition over a lock of the caller's. Several conditions may share one.
 *
 * \param lock the lock, which the condition keeps alive; the caller's reference stays the caller's
 * \return the condition, owned by the caller; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
 *         (too many references to the lock), THREADING_ERR_NO_MEMORY
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.Condition(lock)`. Since 0.1.0.
 */
threading_condition *threading_condition_new_with_lock(threading_lock *lock);

/**
 * Makes a condition over a re-entrant lock of the caller's. Several conditions may share one.
 *
 * \param rlock the lock, which the condition keeps alive; the caller's reference stays the caller's
 * \return the condition, owned by the caller; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
 *         (too many references to the lock), THREADING_ERR_NO_MEMORY
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.Condition(rlock)`. Since 0.1.0.
 */
threading_condition *threading_condition_new_with_rlock(threading_rlock *rlock);

/**
 * Takes one more reference to a condition.
 *
 * \param condition the condition
 * \return the same handle, owned once more; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
 *         (too many references)
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_condition *threading_condition_ref(threading_condition *condition);

/**
 * Gives one reference to a condition back. The last one ends its life, and lets go of its lock, held
 * or not.
 *
 * Waiters that have been notified do not keep it from that; they return as they should.
 *
 * \param condition the condition
 * \return THREADING_OK; THREADING_ERR_BUSY when it is the last one and threads wait that nobody has
 *         notified, or are blocked on the lock and only the condition keeps that; THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_status threading_condition_free(threading_condition *condition);

/**
 * Acquires the condition's lock, as threading_lock_acquire() or threading_rlock_acquire().
 *
 * \param condition the condition
 * \return THREADING_OK when the caller holds the lock; THREADING_ERR_HANDLE; THREADING_ERR_OVERFLOW,
 *         THREADING_ERR_NO_MEMORY as threading_rlock_acquire()
 *
 * Blocks: until the lock is free, or an RLock is the caller's. Thread safety: any thread. Python:
 * `condition.acquire()`. Since 0.1.0.
 */
threading_status threading_condition_acquire(threading_condition *condition);

/**
 * Acquires the condition's lock if that is possible at once.
 *
 * \param condition the condition
 * \return THREADING_OK when the caller holds the lock; THREADING_WOULD_BLOCK when it is taken;
 *         THREADING_ERR_HANDLE; THREADING_ERR_OVERFLOW, THREADING_ERR_NO_MEMORY as
 *         threading_rlock_acquire()
 *
 * Blocks: never. Thread safety: any thread. Python: `condition.acquire(blocking=False)`. Since 0.1.0.
 */
threading_status threading_condition_try_acquire(threading_condition *condition);

/**
 * Acquires the condition's lock, and waits for it no longer than the given time.
 *
 * \param condition the condition
 * \param seconds how long to wait at most, in seconds; THREADING_FOREVER waits without a limit, 0
 *         tries once
 * \return THREADING_OK when the caller holds the lock; THREADING_TIMED_OUT when the time ran out;
 *         THREADING_ERR_HANDLE, THREADING_ERR_VALUE, THREADING_ERR_OVERFLOW; THREADING_ERR_NO_MEMORY
 *         as threading_condition_acquire()
 *
 * Blocks: until the lock is free, or an RLock is the caller's, or the time runs out. Thread safety:
 * any thread. Python: `condition.acquire(timeout=seconds)`. Since 0.1.0.
 */
threading_status threading_condition_acquire_timeout(threading_condition *condition, double seconds);

/**
 * Releases the condition's lock, one level of an RLock.
 *
 * \param condition the condition
 * \return THREADING_OK; THREADING_ERR_NOT_ACQUIRED over a Lock that nobody holds;
 *         THREADING_ERR_NOT_OWNER over an RLock that is not the caller's; THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread; over an RLock, its owner. Python: `condition.release()`.
 * Since 0.1.0.
 */
threading_status threading_condition_release(threading_condition *condition);

/**
 * Tells whether somebody holds the condition's lock, at this moment.
 *
 * \param condition the condition
 * \return true if so; false if not, or with THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: `condition.locked()` (3.14). Since 0.1.0.
 */
bool threading_condition_locked(threading_condition *condition);

/**
 * Tells whether the caller may wait and notify: whether it owns the RLock, or, over a plain Lock,
 * whether anybody holds that.
 *
 * \param condition the condition
 * \return true if so; false if not, or with THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: `condition._is_owned()`. Since 0.1.0.
 */
bool threading_condition_is_owned(threading_condition *condition);

/**
 * Gives the lock up, waits for a notify, and takes the lock again.
 *
 * Whoever waits for a state looks at it again afterwards: another thread may have been faster. Or use
 * threading_condition_wait_for().
 *
 * \param condition the condition, its lock held
 * \return THREADING_OK when it was notified; THREADING_ERR_NOT_OWNER when the lock is not held;
 *         THREADING_ERR_HANDLE; THREADING_ERR_NO_MEMORY when the thread has never waited before and
 *         there is no memory for its record, the lock not given up
 *
 * Blocks: until it is notified, and then until the lock is free. Thread safety: any thread that holds
 * the lock. Python: `condition.wait()`. Since 0.1.0.
 */
threading_status threading_condition_wait(threading_condition *condition);

/**
 * Gives the lock up, waits for a notify no longer than the given time, and takes the lock again.
 *
 * \param condition the condition, its lock held
 * \param seconds how long to wait at most, in seconds, not counting the wait for the lock;
 *         THREADING_FOREVER waits without a limit, 0 only gives others a chance to take the lock
 * \return THREADING_OK when it was notified; THREADING_TIMED_OUT when the time ran out before that;
 *         THREADING_ERR_NOT_OWNER when the lock is not held; THREADING_ERR_HANDLE,
 *         THREADING_ERR_VALUE, THREADING_ERR_OVERFLOW; THREADING_ERR_NO_MEMORY as
 *         threading_condition_wait()
 *
 * Blocks: until it is notified, or the time runs out, and then until the lock is free. Thread safety:
 * any thread that holds the lock. Python: `condition.wait(seconds)`. Since 0.1.0.
 */
threading_status threading_condition_wait_timeout(threading_condition *condition, double seconds);

/**
 * Waits until the predicate says yes. It is asked first of all, and after each notify.
 *
 * \param condition the condition, its lock held
 * \param predicate what to ask; it is called by this thread, with the lock held
 * \param arg its argument, not used after the call
 * \return THREADING_OK when the predicate said yes; THREADING_ERR_CALLBACK when it failed, the lock
 *         held; THREADING_ERR_NOT_OWNER when the lock is not held, the predicate not called;
 *         THREADING_ERR_HANDLE; THREADING_ERR_VALUE when the predicate is NULL;
 *         THREADING_ERR_NO_MEMORY as threading_condition_wait()
 *
 * Blocks: until the predicate says yes, and each time until the lock is free. Thread safety: any
 * thread that holds the lock. Python: `condition.wait_for(predicate)`. Since 0.1.0.
 */
threading_status threading_condition_wait_for(threading_condition *condition,
                                              threading_predicate predicate,
                                              void *arg);

/**
 * Waits until the predicate says yes, no longer than the given time.
 *
 * It is asked first of all, after each notify, and once more when the time has run out.
 *
 * \param condition the condition, its lock held
 * \param predicate what to ask; it is called by this thread, with the lock held
 * \param arg its argument, not used after the call
 * \param seconds how long to wait at most, in seconds, not counting the wait for the lock;
 *         THREADING_FOREVER waits without a limit, 0 gives others one chance to take the lock
 * \return THREADING_OK when the predicate said yes; THREADING_TIMED_OUT when it still says no;
 *         THREADING_ERR_CALLBACK when it failed, the lock held; THREADING_ERR_NOT_OWNER when the lock
 *         is not held, the predicate not called; THREADING_ERR_HANDLE; THREADING_ERR_VALUE, also when
 *         the predicate is NULL; THREADING_ERR_OVERFLOW; THREADING_ERR_NO_MEMORY as
 *         threading_condition_wait()
 *
 * Blocks: until the predicate says yes, or the time runs out, and each time until the lock is free.
 * Thread safety: any thread that holds the lock. Python: `condition.wait_for(predicate, seconds)`.
 * Since 0.1.0.
 */
threading_status threading_condition_wait_for_timeout(threading_condition *condition,
                                                      threading_predicate predicate,
                                                      void *arg,
                                                      double seconds);

/**
 * Notifies up to n waiters, the longest waiting first.
 *
 * \param condition the condition, its lock held
 * \param n how many; zero and below notify nobody
 * \return THREADING_OK, also when nobody waits; THREADING_ERR_NOT_OWNER when the lock is not held;
 *         THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread that holds the lock. Python: `condition.notify(n)`. Since
 * 0.1.0.
 */
threading_status threading_condition_notify(threading_condition *condition, int64_t n);

/**
 * Notifies all who wait at this moment.
 *
 * \param condition the condition, its lock held
 * \return THREADING_OK, also when nobody waits; THREADING_ERR_NOT_OWNER when the lock is not held;
 *         THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread that holds the lock. Python: `condition.notify_all()`.
 * Since 0.1.0.
 */
threading_status threading_condition_notify_all(threading_condition *condition);

/**
 * Makes the condition's lock as new: nobody holds it. For a child process, where whoever held it may
 * not exist.
 *
 * \param condition the condition
 * \return THREADING_OK; THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread; meant for the only one of a child of fork. Python:
 * `condition._at_fork_reinit()`. Since 0.1.0.
 */
threading_status threading_condition_at_fork_reinit(threading_condition *condition);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Semaphore
 *
 * A semaphore is a counter that is never below zero: acquire takes one and waits as long as there is
 * none, release gives some back. Any thread may release it. A bounded semaphore refuses to be released
 * above the value with which it was made. Who gets the next one is not defined: a newcomer may be
 * faster than a thread that is just waking up, which then waits on.
 *
 * Release may be called from a signal handler, on systems where threads sleep by futex (Linux, unless
 * the library was built with its portable backend).
 *
 * No more at a time than the semaphore's value:
 *     static bool with_connection(threading_semaphore *connections, void (*use)(void))
 *     {
 *         if (threading_semaphore_acquire_timeout(connections, 5.0) != THREADING_OK)
 *             return false;
 *         use();
 *         return threading_semaphore_release(connections) == THREADING_OK;
 *     }
 */

/**
 * The highest value of a semaphore.
 */
#define THREADING_SEMAPHORE_MAX 2147483647

/**
 * Makes a semaphore with this value.
 *
 * \param value from 0 to THREADING_SEMAPHORE_MAX
 * \return the semaphore, owned by the caller; NULL with THREADING_ERR_VALUE (below 0),
 *         THREADING_ERR_OVERFLOW (above the maximum), THREADING_ERR_NO_MEMORY
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.Semaphore(value)`. Since 0.1.0.
 */
threading_semaphore *threading_semaphore_new(int64_t value);

/**
 * Makes a semaphore with this value, which it will never exceed.
 *
 * \param value from 0 to THREADING_SEMAPHORE_MAX
 * \return the semaphore, owned by the caller; NULL with THREADING_ERR_VALUE (below 0),
 *         THREADING_ERR_OVERFLOW (above the maximum), THREADING_ERR_NO_MEMORY
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.BoundedSemaphore(value)`. Since 0.1.0.
 */
threading_semaphore *threading_semaphore_new_bounded(int64_t value);

/**
 * Takes one more reference to a semaphore.
 *
 * \param semaphore the semaphore
 * \return the same handle, owned once more; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
 *         (too many references)
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_semaphore *threading_semaphore_ref(threading_semaphore *semaphore);

/**
 * Gives one reference to a semaphore back. The last one ends its life.
 *
 * Waiters for whom something was released do not keep it from that; they return as they should.
 *
 * \param semaphore the semaphore
 * \return THREADING_OK; THREADING_ERR_BUSY when it is the last one and threads are blocked on the
 *         semaphore; THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_status threading_semaphore_free(threading_semaphore *semaphore);

/**
 * Takes one, and waits as long as there is none.
 *
 * \param semaphore the semaphore
 * \return THREADING_OK when the caller has one; THREADING_ERR_HANDLE; THREADING_ERR_OVERFLOW when
 *         33554431 threads wait already
 *
 * Blocks: until there is one. Thread safety: any thread. Python: `semaphore.acquire()`. Since 0.1.0.
 */
threading_status threading_semaphore_acquire(threading_semaphore *semaphore);

/**
 * Takes one if there is one.
 *
 * \param semaphore the semaphore
 * \return THREADING_OK when the caller has one; THREADING_WOULD_BLOCK when there is none;
 *         THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: `semaphore.acquire(blocking=False)`. Since 0.1.0.
 */
threading_status threading_semaphore_try_acquire(threading_semaphore *semaphore);

/**
 * Takes one, and waits for it no longer than the given time.
 *
 * \param semaphore the semaphore
 * \param seconds how long to wait at most, in seconds; THREADING_FOREVER waits without a limit, 0
 *         tries once
 * \return THREADING_OK when the caller has one; THREADING_TIMED_OUT when the time ran out;
 *         THREADING_ERR_HANDLE, THREADING_ERR_VALUE; THREADING_ERR_OVERFLOW, also when 33554431
 *         threads wait already
 *
 * Blocks: until there is one, or the time runs out. Thread safety: any thread. Python:
 * `semaphore.acquire(timeout=seconds)`. Since 0.1.0.
 */
threading_status threading_semaphore_acquire_timeout(threading_semaphore *semaphore, double seconds);

/**
 * Gives one back, and lets a waiter go on.
 *
 * \param semaphore the semaphore
 * \return THREADING_OK; THREADING_ERR_HANDLE; THREADING_ERR_OVER_RELEASED when that would exceed a
 *         bounded one's first value; THREADING_ERR_OVERFLOW when it would exceed
 *         THREADING_SEMAPHORE_MAX
 *
 * Blocks: never. Thread safety: any thread, and signal handlers. Python: `semaphore.release()`. Since
 * 0.1.0.
 */
threading_status threading_semaphore_release(threading_semaphore *semaphore);

/**
 * Gives n back, and lets as many waiters go on: all n, or after an error none.
 *
 * \param semaphore the semaphore
 * \param n how many, at least 1
 * \return THREADING_OK; THREADING_ERR_HANDLE; THREADING_ERR_VALUE when n is below 1;
 *         THREADING_ERR_OVER_RELEASED when that would exceed a bounded one's first value;
 *         THREADING_ERR_OVERFLOW when it would exceed THREADING_SEMAPHORE_MAX
 *
 * Blocks: never. Thread safety: any thread, and signal handlers. Python: `semaphore.release(n)`. Since
 * 0.1.0.
 */
threading_status threading_semaphore_release_n(threading_semaphore *semaphore, int64_t n);

/**
 * Tells how many could be taken, at this moment.
 *
 * \param semaphore the semaphore
 * \return the value; 0 also with THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: `semaphore._value`. Since 0.1.0.
 */
int64_t threading_semaphore_value(threading_semaphore *semaphore);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Event
 *
 * An event is a flag to wait for. Setting it lets everybody go on who waits at that moment, even if it
 * is cleared again at once, and everybody who comes later until it is cleared.
 *
 * Asking, setting and clearing may be done in a signal handler, on systems where threads sleep by
 * futex (Linux, unless the library was built with its portable backend). Whoever sets an event that it
 * alone owns may free it right away.
 *
 * Something to do once a second until it is set, which ends the wait at once:
 *     static void *tick(void *arg)
 *     {
 *         threading_event *stop = arg;
 *         while (threading_event_wait_timeout(stop, 1.0) == THREADING_TIMED_OUT)
 *             puts("tick");
 *         return NULL;
 *     }
 */

/**
 * Makes an event that is not set.
 *
 * \return the event, owned by the caller; NULL with THREADING_ERR_NO_MEMORY
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.Event()`. Since 0.1.0.
 */
threading_event *threading_event_new(void);

/**
 * Takes one more reference to an event.
 *
 * \param event the event
 * \return the same handle, owned once more; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
 *         (too many references)
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_event *threading_event_ref(threading_event *event);

/**
 * Gives one reference to an event back. The last one ends its life.
 *
 * Waiters that a set has let go do not keep it from that; they return as they should.
 *
 * \param event the event
 * \return THREADING_OK; THREADING_ERR_BUSY when it is the last one and threads are blocked on the
 *         event; THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_status threading_event_free(threading_event *event);

/**
 * Tells whether the event is set, at this moment.
 *
 * What was done before the set is visible after this has told true.
 *
 * \param event the event
 * \return true if so; false if not, or with THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread, and signal handlers. Python: `event.is_set()`. Since
 * 0.1.0.
 */
bool threading_event_is_set(threading_event *event);

/**
 * Sets the event, and lets all go on that wait for it. One that is set already stays so.
 *
 * \param event the event
 * \return THREADING_OK; THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread, and signal handlers. Python: `event.set()`. Since 0.1.0.
 */
threading_status threading_event_set(threading_event *event);

/**
 * Clears the event: from now on it is waited for again. Whoever waited when it was set goes on all the
 * same.
 *
 * \param event the event
 * \return THREADING_OK; THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread, and signal handlers. Python: `event.clear()`. Since 0.1.0.
 */
threading_status threading_event_clear(threading_event *event);

/**
 * Waits until the event is set.
 *
 * \param event the event
 * \return THREADING_OK when it is set, or a set came meanwhile, even if a clear followed;
 *         THREADING_ERR_HANDLE
 *
 * Blocks: until the event is set. Thread safety: any thread. Python: `event.wait()`. Since 0.1.0.
 */
threading_status threading_event_wait(threading_event *event);

/**
 * Waits until the event is set, no longer than the given time.
 *
 * \param event the event
 * \param seconds how long to wait at most, in seconds; THREADING_FOREVER waits without a limit, 0
 *         looks once
 * \return THREADING_OK when it is set, or a set came meanwhile, even if a clear followed;
 *         THREADING_TIMED_OUT when the time ran out before that; THREADING_ERR_HANDLE,
 *         THREADING_ERR_VALUE, THREADING_ERR_OVERFLOW
 *
 * Blocks: until the event is set, or the time runs out. Thread safety: any thread. Python:
 * `event.wait(seconds)`. Since 0.1.0.
 */
threading_status threading_event_wait_timeout(threading_event *event, double seconds);

/**
 * Makes the event as new: not set. For a child process.
 *
 * \param event the event
 * \return THREADING_OK; THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread; meant for the only one of a child of fork. Python:
 * `event._at_fork_reinit()`. Since 0.1.0.
 */
threading_status threading_event_at_fork_reinit(threading_event *event);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Barrier
 *
 * A barrier is a place where a fixed number of threads, its parties, wait for each other: the last to
 * arrive lets all go on, and the next round begins. If there is an action, the last one runs it before
 * anyone returns.
 *
 * A barrier breaks when a wait's time runs out, when its action fails, or by abort: everybody in that
 * round, and everybody who comes later, gets THREADING_ERR_BROKEN_BARRIER, until it is reset. But a
 * wait whose time runs out while the action runs still succeeds, and whoever comes meanwhile waits for
 * the next round. Inside of the action, abort and reset do not deadlock: all of the round, the last
 * one included, get THREADING_ERR_BROKEN_BARRIER; a wait there is THREADING_ERR_DEADLOCK.
 *
 * In step with others; one of them, whichever came first, tells it:
 *     static void *walk(void *arg)
 *     {
 *         threading_barrier *barrier = arg;
 *         for (int step = 0; step < 3; step++) {
 *             size_t index;
 *             if (threading_barrier_wait(barrier, &index) != THREADING_OK)
 *                 return NULL; // broken: somebody has given up
 *             if (index == 0)
 *                 printf("step %d\n", step);
 *         }
 *         return barrier;
 *     }
 */

/**
 * Makes a barrier for so many parties.
 *
 * \param parties how many threads have to arrive, at least 1
 * \param action what the last to arrive does before anyone returns; NULL does nothing
 * \param arg the action's argument, to be kept valid as long as the barrier
 * \return the barrier, owned by the caller; NULL with THREADING_ERR_VALUE (no parties),
 *         THREADING_ERR_NO_MEMORY
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.Barrier(parties, action)`. Since 0.1.0.
 *
 * # Safety
 * The callbacks take their arguments.
 */
threading_barrier *threading_barrier_new(size_t parties, threading_action action, void *arg);

/**
 * Takes one more reference to a barrier.
 *
 * \param barrier the barrier
 * \return the same handle, owned once more; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
 *         (too many references)
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_barrier *threading_barrier_ref(threading_barrier *barrier);

/**
 * Gives one reference to a barrier back. The last one ends its life, broken or not.
 *
 * Waiters that have been let go do not keep it from that; they return as they should.
 *
 * \param barrier the barrier
 * \return THREADING_OK; THREADING_ERR_BUSY when it is the last one and threads are blocked on the
 *         barrier; THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_status threading_barrier_free(threading_barrier *barrier);

/**
 * Sets the default timeout: that of threading_barrier_wait(), which begins without a limit. Waits that
 * have begun keep theirs.
 *
 * \param barrier the barrier
 * \param seconds how long those wait at most, in seconds; THREADING_FOREVER waits without a limit
 * \return THREADING_OK; THREADING_ERR_HANDLE, THREADING_ERR_VALUE, THREADING_ERR_OVERFLOW
 *
 * Blocks: never. Thread safety: any thread. Python:
 * `threading.Barrier(parties, action, timeout=seconds)`. Since 0.1.0.
 */
threading_status threading_barrier_set_timeout(threading_barrier *barrier, double seconds);

/**
 * Waits until all parties have arrived, no longer than the barrier's default timeout.
 *
 * \param barrier the barrier
 * \param index where to write the caller's place in the order of arrival, from 0 to parties - 1, if it
 *         succeeds; may be NULL
 * \return THREADING_OK when all have arrived and the action is done; THREADING_ERR_BROKEN_BARRIER when
 *         the barrier is broken, or breaks or is reset meanwhile, by the caller's own time too;
 *         THREADING_ERR_CALLBACK in the thread that ran the action, when that failed;
 *         THREADING_ERR_DEADLOCK inside of the action; THREADING_ERR_HANDLE; THREADING_ERR_NO_MEMORY
 *         when the thread has never waited before and there is no memory for its record
 *
 * Blocks: until all have arrived and the action is done, or the barrier breaks, is reset, or the
 * default timeout runs out. Thread safety: any thread. Python: `barrier.wait()`. Since 0.1.0.
 *
 * # Safety
 * `index` is NULL or can be written to.
 */
threading_status threading_barrier_wait(threading_barrier *barrier, size_t *index);

/**
 * Waits until all parties have arrived, no longer than the given time.
 *
 * When it runs out the barrier is broken, for the caller and for all others. The time in which
 * newcomers stand aside while the action of the round before runs does not count.
 *
 * \param barrier the barrier
 * \param seconds how long to wait at most, in seconds, in place of the default timeout;
 *         THREADING_FOREVER waits without a limit, 0 breaks the barrier unless the caller is the last
 *         to arrive
 * \param index where to write the caller's place in the order of arrival, from 0 to parties - 1, if it
 *         succeeds; may be NULL
 * \return THREADING_OK, THREADING_ERR_BROKEN_BARRIER (also when the time ran out),
 *         THREADING_ERR_CALLBACK, THREADING_ERR_DEADLOCK, THREADING_ERR_NO_MEMORY as
 *         threading_barrier_wait(); THREADING_ERR_HANDLE, THREADING_ERR_VALUE, THREADING_ERR_OVERFLOW
 *
 * Blocks: until all have arrived and the action is done, or the barrier breaks, is reset, or the time
 * runs out. Thread safety: any thread. Python: `barrier.wait(seconds)`. Since 0.1.0.
 *
 * # Safety
 * `index` is NULL or can be written to.
 */
threading_status threading_barrier_wait_timeout(threading_barrier *barrier, double seconds, size_t *index);

/**
 * Empties the barrier, and mends it if it is broken. Threads that wait get
 * THREADING_ERR_BROKEN_BARRIER.
 *
 * \param barrier the barrier
 * \return THREADING_OK; THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread, the action included. Python: `barrier.reset()`. Since
 * 0.1.0.
 */
threading_status threading_barrier_reset(threading_barrier *barrier);

/**
 * Breaks the barrier, until it is reset. Threads that wait get THREADING_ERR_BROKEN_BARRIER.
 *
 * \param barrier the barrier
 * \return THREADING_OK, also when it is broken already; THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread, the action included. Python: `barrier.abort()`. Since
 * 0.1.0.
 */
threading_status threading_barrier_abort(threading_barrier *barrier);

/**
 * Tells how many threads have to arrive.
 *
 * \param barrier the barrier
 * \return the number that was given to threading_barrier_new(); 0 with THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread. Python: `barrier.parties`. Since 0.1.0.
 */
size_t threading_barrier_parties(threading_barrier *barrier);

/**
 * Tells how many threads of the round have arrived, at this moment. Inside of the action it is all of
 * them.
 *
 * \param barrier the barrier
 * \return the number; 0 also when the barrier is broken, or with THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread, the action included. Python: `barrier.n_waiting`. Since
 * 0.1.0.
 */
size_t threading_barrier_n_waiting(threading_barrier *barrier);

/**
 * Tells whether the barrier is broken, at this moment.
 *
 * \param barrier the barrier
 * \return true if so; false if not, or with THREADING_ERR_HANDLE
 *
 * Blocks: never. Thread safety: any thread, the action included. Python: `barrier.broken`. Since
 * 0.1.0.
 */
bool threading_barrier_broken(threading_barrier *barrier);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Local
 *
 * A local is data of which each thread has its own: one value, which is fast, and apart from that any
 * number of named attributes. Values are pointers; NULL is one too. Every thread may have some, those
 * that this library did not start included, and each timer's function has its own.
 *
 * A value that is not needed any more is given to the local's destructor, unless it is NULL. One that
 * is replaced or deleted is destroyed at once, by the caller; setting the value that is there destroys
 * nothing. At a thread's end its values are destroyed in that thread, before a join returns; main's at
 * exit, after the joins. The last `_free` of the local destroys the values of all threads that are
 * alive, in the freeing thread. Inside a destructor threading_current_thread() is still the dying
 * thread, and values that are set there are destroyed too, in up to four rounds.
 *
 * Cost. A call on a local takes constant time on average, however many locals and attributes a thread
 * has. The end of a thread takes time linear in its values and attributes. The last `_free` takes time
 * linear in the values that it destroys and, if other threads have used the local, in the number of
 * threads that have used any local.
 *
 * A buffer for each thread that asks, in a local made by `threading_local_new(free)`:
 *     static char *buffer_of_mine(threading_local *local)
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
 * Makes a local in which no thread has a value.
 *
 * \param destroy what gets values and attributes that are not needed any more; NULL leaves them alone
 * \return the local, owned by the caller; NULL with THREADING_ERR_NO_MEMORY
 *
 * Blocks: never. Thread safety: any thread. Python: `threading.local()`. Since 0.1.0.
 *
 * # Safety
 * The destructor takes whatever is set.
 */
threading_local *threading_local_new(threading_destructor destroy);

/**
 * Makes a local whose value init(arg) makes in each thread.
 *
 * It is called once in each thread, at the first call there on the local, whichever that is. It may
 * use the local: what it sets as the value is replaced by its result, attributes stay.
 *
 * \param init what makes a value; its result, NULL too, is the value
 * \param arg its argument, to be kept valid as long as the local
 * \param destroy what gets values and attributes that are not needed any more; NULL leaves them alone
 * \return the local, owned by the caller; NULL with THREADING_ERR_VALUE (init is NULL),
 *         THREADING_ERR_NO_MEMORY
 *
 * Blocks: never. Thread safety: any thread. Python: a subclass of `threading.local` with its own
 * `__init__()`. Since 0.1.0.
 *
 * # Safety
 * The callbacks take their arguments.
 */
threading_local *threading_local_new_with_init(threading_local_init init,
                                               void *arg,
                                               threading_destructor destroy);

/**
 * Takes one more reference to a local.
 *
 * \param local the local
 * \return the same handle, owned once more; NULL with THREADING_ERR_HANDLE, THREADING_ERR_OVERFLOW
 *         (too many references)
 *
 * Blocks: never. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_local *threading_local_ref(threading_local *local);

/**
 * Gives one reference to a local back. The last one destroys the values of all threads that are alive,
 * here.
 *
 * \param local the local
 * \return THREADING_OK; THREADING_ERR_HANDLE
 *
 * Blocks: never, but for the destructors. Thread safety: any thread. Python: none. Since 0.1.0.
 */
threading_status threading_local_free(threading_local *local);

/**
 * Sets the calling thread's value. The one that was there before is destroyed, unless it is the same.
 *
 * \param local the local
 * \param value the value, from now on the local's to destroy; after an error it stays the caller's
 * \return THREADING_OK; THREADING_ERR_HANDLE; THREADING_ERR_NO_MEMORY; THREADING_ERR_SYSTEM when the
 *         system cannot announce the thread's end; THREADING_ERR_SHUTDOWN when the thread is in the
 *         very last of its destructors
 *
 * Blocks: never, but for init and the destructor. Thread safety: any thread; each has its own. Python:
 * `data.value = value`. Since 0.1.0.
 *
 * # Safety
 * The value is what the destructor takes.
 */
threading_status threading_local_set(threading_local *local, void *value);

/**
 * Tells the calling thread's value: the fast way.
 *
 * \param local the local
 * \return the value, borrowed until it is replaced or deleted; NULL when that is the value or there is
 *         none, or with an error of threading_local_set()
 *
 * Blocks: never, but for init. Thread safety: any thread; each has its own. Python:
 * `getattr(data, "value", None)`. Since 0.1.0.
 */
void *threading_local_get(threading_local *local);

/**
 * Tells the calling thread's value, and whether it has one.
 *
 * \param local the local
 * \param value where to write it, if there is one; NULL only asks
 * \return THREADING_OK when there is one; THREADING_NO_VALUE when there is none; or an error of
 *         threading_local_set()
 *
 * Blocks: never, but for init. Thread safety: any thread; each has its own. Python: `data.value`.
 * Since 0.1.0.
 *
 * # Safety
 * `value` is NULL or can be written to.
 */
threading_status threading_local_lookup(threading_local *local, void **value);

/**
 * Deletes the calling thread's value, and destroys it.
 *
 * \param local the local
 * \return THREADING_OK when there was one; THREADING_NO_VALUE when there was none; or an error of
 *         threading_local_set()
 *
 * Blocks: never, but for init and the destructor. Thread safety: any thread; each has its own. Python:
 * `del data.value`. Since 0.1.0.
 */
threading_status threading_local_del(threading_local *local);

/**
 * Sets an attribute of the calling thread's. The one that was there before is destroyed, unless it is
 * the same.
 *
 * \param local the local
 * \param name its name, which is copied
 * \param value the value, from now on the local's to destroy; after an error it stays the caller's
 * \return THREADING_OK; THREADING_ERR_VALUE when the name is NULL; or an error of
 *         threading_local_set()
 *
 * Blocks: never, but for init and the destructor. Thread safety: any thread; each has its own. Python:
 * `data.name = value`. Since 0.1.0.
 *
 * # Safety
 * `name` is NULL or a string.
 */
threading_status threading_local_set_attr(threading_local *local, const char *name, void *value);

/**
 * Tells an attribute of the calling thread's, and whether it has it.
 *
 * \param local the local
 * \param name its name
 * \param value where to write it, if there is one; NULL only asks
 * \return THREADING_OK when there is one; THREADING_NO_VALUE when there is none; THREADING_ERR_VALUE
 *         when the name is NULL; or an error of threading_local_set()
 *
 * Blocks: never, but for init. Thread safety: any thread; each has its own. Python: `data.name`. Since
 * 0.1.0.
 *
 * # Safety
 * `name` is NULL or a string, `value` NULL or can be written to.
 */
threading_status threading_local_get_attr(threading_local *local, const char *name, void **value);

/**
 * Deletes an attribute of the calling thread's, and destroys it.
 *
 * \param local the local
 * \param name its name
 * \return THREADING_OK when there was one; THREADING_NO_VALUE when there was none; THREADING_ERR_VALUE
 *         when the name is NULL; or an error of threading_local_set()
 *
 * Blocks: never, but for init and the destructor. Thread safety: any thread; each has its own. Python:
 * `del data.name`. Since 0.1.0.
 *
 * # Safety
 * `name` is NULL or a string.
 */
threading_status threading_local_del_attr(threading_local *local, const char *name);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * With
 *
 * A block that holds a lock, and releases it however the block is left.
 *
 * It is left at its end, by return, by goto, and by break and continue, which leave the block and not a
 * loop around it. Blocks may be nested. They need C11 and the cleanup attribute of GCC and Clang; in C++,
 * std::lock_guard does this.
 *
 * An item, or NULL if there is none, or if the lock cannot be had:
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

/** What THREADING_WITH holds, if it got it, and how that is given back. Not for direct use. */
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

/* Each guard has a name of its own, since -Wshadow warns if nested guards have one name. Compilers that implement C2y warn
   with -Wpedantic that __COUNTER__ is an extension of older C. Clang can be told not to; in GCC a pragma cannot stand
   where a statement has to, so the line number makes the name. */
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
 * Acquires x, runs the block that follows, and releases x.
 *
 * If the acquire fails, the block is skipped, and threading_last_error() says why.
 *
 * \param x a threading_lock, threading_rlock, threading_condition or threading_semaphore
 *
 * Blocks: until x is acquired. Thread safety: any thread. Python: `with x:`. Since 0.1.0.
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
