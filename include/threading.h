/*
 * threading.h - Python's threading module for C.
 *
 * SPDX-License-Identifier: MIT OR Apache-2.0
 *
 * Generated from src/capi/; do not edit. UPDATE_HEADER=1 cargo test --test header writes it anew.
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
 * Every object is named by a handle: a pointer to an opaque type, owned by whoever got it from a `_new` function. `_ref` takes one more
 * reference and `_free` gives one back; the object lives as long as anybody keeps it, the library included (a running thread keeps itself, a
 * condition its lock, a started timer itself, a list its threads). A handle that is NULL, freed, of another kind or no handle at all gets
 * THREADING_ERR_HANDLE from every function; it never crashes. A function that returns no status answers it with NULL, 0 or false, and sets the
 * last error. Checks come in this order: handle, arguments, state.
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
 * A function that runs after a delay, unless it is cancelled before. Python: `threading.Timer`.
 */
typedef struct threading_timer threading_timer;

/**
 * What a thread or a timer runs, like a start routine of pthread_create: its result is kept for threading_thread_result().
 */
typedef void *(*threading_target)(void *arg);

/**
 * An override of a thread's run(): called instead of the target, with the thread and the target's argument.
 */
typedef void *(*threading_run)(threading_thread *thread, void *arg);

/**
 * Whether what a condition waits for has come: above zero yes, zero no, below zero failed.
 */
typedef int (*threading_predicate)(void *arg);

/**
 * What a barrier's last arriver does before anyone goes on: zero is done, all else failed.
 */
typedef int (*threading_action)(void *arg);

/**
 * Makes a local's value for the thread that calls it.
 */
typedef void *(*threading_local_init)(void *arg);

/**
 * Releases a value that is no longer needed.
 */
typedef void (*threading_destructor)(void *value);

/**
 * Called once, when the process ends.
 */
typedef void (*threading_callback)(void *arg);

/**
 * Told of what a thread could not handle: the thread, what kind of thing it was, and a sentence.
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
 * Functions return a threading_status: 0 is success; above 0 is an outcome that is no error; below 0 is an error, after which, unless it is
 * said otherwise, nothing has changed. The numbers are never reused.
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
 * The time ran out (Python: `False`).
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
 * The caller does not hold it (`RuntimeError`).
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
 * The identifier of a status.
 */
const char *threading_status_name(int32_t status);

/**
 * A sentence that says what a status means.
 */
const char *threading_status_message(int32_t status);

/**
 * The status of the calling thread's latest call that ended in an error.
 */
threading_status threading_last_error(void);

/**
 * What went wrong in the calling thread's latest call that ended in an error.
 */
const char *threading_last_error_message(void);

/**
 * Forgets the calling thread's last error.
 */
void threading_clear_last_error(void);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Library
 *
 * Time is given in seconds, as a double, on the monotonic clock; no signal shortens a wait, and no blocking call is a cancellation point. One rule holds
 * for every timeout: THREADING_FOREVER and positive infinity wait without a limit, other negative numbers and NaN are THREADING_ERR_VALUE, finite
 * numbers above THREADING_TIMEOUT_MAX are THREADING_ERR_OVERFLOW, and 0 tries once. They are checked also when the call need not wait.
 */

/**
 * Waits without a limit.
 */
#define THREADING_FOREVER (-1.0)

/**
 * The longest finite timeout, in seconds.
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
 * Tells the version of the library.
 */
const char *threading_version(void);

/**
 * Tells the version of the library as a number.
 */
uint32_t threading_version_number(void);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * The module's functions
 *
 * Who is there, who calls, how the process leaves. Returning from main, and exit(), wait for all threads that are not daemons, pending timers
 * included; daemon threads are left behind. `_exit` and `quick_exit` do not wait.
 */

/**
 * The thread that calls.
 */
threading_thread *threading_current_thread(void);

/**
 * The first thread of the process; in a child of fork, the one that forked.
 */
threading_thread *threading_main_thread(void);

/**
 * Tells how many threads are alive.
 */
size_t threading_active_count(void);

/**
 * Lists the threads that are alive.
 */
threading_thread_list *threading_enumerate(void);

/**
 * Tells how many threads a list holds.
 */
size_t threading_thread_list_len(threading_thread_list *list);

/**
 * One thread of a list.
 */
threading_thread *threading_thread_list_get(threading_thread_list *list, size_t i);

/**
 * Gives a list back, and with it the list's references to its threads.
 */
threading_status threading_thread_list_free(threading_thread_list *list);

/**
 * The number of whoever calls.
 */
uint64_t threading_get_ident(void);

/**
 * The kernel's number of the thread that calls.
 */
uint64_t threading_get_native_id(void);

/**
 * Tells the size of new threads' stacks.
 */
size_t threading_stack_size(void);

/**
 * Sets the size of new threads' stacks.
 */
threading_status threading_set_stack_size(size_t bytes);

/**
 * Lets the calling thread sleep.
 */
threading_status threading_sleep(double seconds);

/**
 * Has a function called when the process leaves, before its threads are waited for.
 */
threading_status threading_atexit(threading_callback callback, void *arg);

/**
 * Does what exit() does first: calls the callbacks and waits for the threads.
 */
threading_status threading_shutdown(void);

/**
 * As threading_shutdown(), but waits no longer than the given time.
 */
threading_status threading_shutdown_timeout(double seconds);

/**
 * Sets who is told of what threads could not handle.
 */
void threading_set_excepthook(threading_excepthook hook, void *arg);

/**
 * Tells who is told.
 *
 * # Safety
 * `arg` is NULL or can be written to.
 */
threading_excepthook threading_get_excepthook(void **arg);

/**
 * Tells the excepthook of something that the calling thread could not handle.
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
 * A thread calls its target once it is started. It has a name, a number that is never used again, and keeps itself alive while it runs: its handle
 * may be freed at any time. The process does not end before its threads have ended, unless they are daemons.
 */

/**
 * Makes a thread that will call target(arg).
 */
threading_thread *threading_thread_new(threading_target target, void *arg);

/**
 * Takes one more reference.
 */
threading_thread *threading_thread_ref(threading_thread *thread);

/**
 * Gives one reference back. A thread that runs goes on.
 */
threading_status threading_thread_free(threading_thread *thread);

/**
 * Names the thread.
 *
 * # Safety
 * `name` is NULL or a string.
 */
threading_status threading_thread_set_name(threading_thread *thread, const char *name);

/**
 * Tells the thread's name.
 */
const char *threading_thread_name(threading_thread *thread);

/**
 * Makes the thread a daemon, or not.
 */
threading_status threading_thread_set_daemon(threading_thread *thread, int daemon);

/**
 * Tells whether the thread is a daemon.
 */
bool threading_thread_is_daemon(threading_thread *thread);

/**
 * Sets the size of the thread's stack.
 */
threading_status threading_thread_set_stack_size(threading_thread *thread, size_t bytes);

/**
 * Has the thread's argument destroyed once it is not needed any more.
 */
threading_status threading_thread_set_arg_destructor(threading_thread *thread, threading_destructor destroy);

/**
 * Overrides what the thread runs.
 */
threading_status threading_thread_set_run(threading_thread *thread, threading_run run);

/**
 * Calls target(arg), which is what the thread does if it is not overridden.
 */
void *threading_thread_run(threading_thread *thread);

/**
 * Starts the thread.
 */
threading_status threading_thread_start(threading_thread *thread);

/**
 * Waits until the thread has ended.
 */
threading_status threading_thread_join(threading_thread *thread);

/**
 * Waits until the thread has ended, no longer than the given time.
 */
threading_status threading_thread_join_timeout(threading_thread *thread, double seconds);

/**
 * Tells whether the thread has been started and has not ended.
 */
bool threading_thread_is_alive(threading_thread *thread);

/**
 * Tells the thread's number.
 */
uint64_t threading_thread_ident(threading_thread *thread);

/**
 * Tells the kernel's number of the thread.
 */
uint64_t threading_thread_native_id(threading_thread *thread);

/**
 * Tells what the thread's run returned.
 */
void *threading_thread_result(threading_thread *thread);

/**
 * Tells the argument that was given to threading_thread_new().
 */
void *threading_thread_arg(threading_thread *thread);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Timer
 *
 * A timer is a thread whose function runs after a delay, unless it is cancelled before. While it waits it is alive, is enumerated and keeps the process
 * from leaving as any thread does, but it costs no system thread. Functions run on a few system threads that all timers share; one that
 * blocks delays no other.
 */

/**
 * Makes a timer that will call function(arg) after the interval.
 */
threading_timer *threading_timer_new(double interval, threading_target function, void *arg);

/**
 * Takes one more reference.
 */
threading_timer *threading_timer_ref(threading_timer *timer);

/**
 * Gives one reference back. A timer that was started goes on.
 */
threading_status threading_timer_free(threading_timer *timer);

/**
 * The thread that the timer is.
 */
threading_thread *threading_timer_thread(threading_timer *timer);

/**
 * Starts the timer.
 */
threading_status threading_timer_start(threading_timer *timer);

/**
 * Sees to it that the function will never run.
 */
threading_status threading_timer_cancel(threading_timer *timer);

/**
 * Tells the timer's interval in seconds.
 */
double threading_timer_interval(threading_timer *timer);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Lock
 *
 * A lock is taken by one caller at a time. It has no owner: any thread may release it, and a thread that takes it twice waits for itself.
 * Locks are fast, and fair enough: a newcomer may take a free lock before a thread that is just waking up, but not for longer than about half a
 * millisecond.
 */

/**
 * Makes an unlocked lock.
 */
threading_lock *threading_lock_new(void);

/**
 * Takes one more reference.
 */
threading_lock *threading_lock_ref(threading_lock *lock);

/**
 * Gives one reference back; the last one ends the lock's life, held or not.
 */
threading_status threading_lock_free(threading_lock *lock);

/**
 * Takes the lock, and waits as long as somebody holds it.
 */
threading_status threading_lock_acquire(threading_lock *lock);

/**
 * Takes the lock if nobody holds it.
 */
threading_status threading_lock_try_acquire(threading_lock *lock);

/**
 * Takes the lock, and waits for it no longer than the given time.
 */
threading_status threading_lock_acquire_timeout(threading_lock *lock, double seconds);

/**
 * Gives the lock back.
 */
threading_status threading_lock_release(threading_lock *lock);

/**
 * Tells whether somebody holds the lock.
 */
bool threading_lock_locked(threading_lock *lock);

/**
 * Makes the lock as new: unlocked.
 */
threading_status threading_lock_at_fork_reinit(threading_lock *lock);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * RLock
 *
 * A re-entrant lock: the thread that holds it may take it again at once, and has to release it as often. Only its owner may release it. When its
 * owner ends without releasing it, it stays locked and belongs to nobody. A timer's function owns for its timer, not for the thread that runs it.
 */

/**
 * Makes an unlocked re-entrant lock.
 */
threading_rlock *threading_rlock_new(void);

/**
 * Takes one more reference.
 */
threading_rlock *threading_rlock_ref(threading_rlock *rlock);

/**
 * Gives one reference back; the last one ends the lock's life, held or not.
 */
threading_status threading_rlock_free(threading_rlock *rlock);

/**
 * Takes the lock once more if the caller owns it; otherwise waits as long as somebody holds it.
 */
threading_status threading_rlock_acquire(threading_rlock *rlock);

/**
 * Takes the lock if the caller owns it already or nobody holds it.
 */
threading_status threading_rlock_try_acquire(threading_rlock *rlock);

/**
 * Takes the lock, and waits for it no longer than the given time.
 */
threading_status threading_rlock_acquire_timeout(threading_rlock *rlock, double seconds);

/**
 * Undoes one acquire of the caller's; the last one frees the lock.
 */
threading_status threading_rlock_release(threading_rlock *rlock);

/**
 * Tells whether somebody holds the lock.
 */
bool threading_rlock_locked(threading_rlock *rlock);

/**
 * Tells whether the caller holds the lock.
 */
bool threading_rlock_is_owned(threading_rlock *rlock);

/**
 * Tells how often the caller holds the lock.
 */
size_t threading_rlock_recursion_count(threading_rlock *rlock);

/**
 * Makes the lock as new: unlocked.
 */
threading_status threading_rlock_at_fork_reinit(threading_rlock *rlock);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Condition
 *
 * A condition is a lock, and a line of threads that wait until another one notifies them. wait gives the lock up on all its levels, and has it
 * back when it returns. Waiters are notified in the order in which they came; no notify is lost, and no wait returns without one.
 * Over a plain Lock, "held" means held by anybody.
 */

/**
 * Makes a condition over a re-entrant lock of its own.
 */
threading_condition *threading_condition_new(void);

/**
 * Makes a condition over a lock of the caller's, which it keeps alive.
 */
threading_condition *threading_condition_new_with_lock(threading_lock *lock);

/**
 * Makes a condition over a re-entrant lock of the caller's, which it keeps alive.
 */
threading_condition *threading_condition_new_with_rlock(threading_rlock *rlock);

/**
 * Takes one more reference.
 */
threading_condition *threading_condition_ref(threading_condition *condition);

/**
 * Gives one reference back; the last one ends the condition's life.
 */
threading_status threading_condition_free(threading_condition *condition);

/**
 * Acquires the condition's lock.
 */
threading_status threading_condition_acquire(threading_condition *condition);

/**
 * Acquires the condition's lock if that is possible at once.
 */
threading_status threading_condition_try_acquire(threading_condition *condition);

/**
 * Acquires the condition's lock, and waits for it no longer than the given time.
 */
threading_status threading_condition_acquire_timeout(threading_condition *condition, double seconds);

/**
 * Releases the condition's lock.
 */
threading_status threading_condition_release(threading_condition *condition);

/**
 * Tells whether somebody holds the condition's lock.
 */
bool threading_condition_locked(threading_condition *condition);

/**
 * Tells whether the caller may wait and notify: whether it holds the lock, or, over a plain Lock, whether anybody does.
 */
bool threading_condition_is_owned(threading_condition *condition);

/**
 * Gives the lock up, waits for a notify, and takes the lock again.
 */
threading_status threading_condition_wait(threading_condition *condition);

/**
 * Gives the lock up, waits for a notify no longer than the given time, and takes the lock again.
 */
threading_status threading_condition_wait_timeout(threading_condition *condition, double seconds);

/**
 * Waits until the predicate says yes. It is called with the lock held, first of all and after each notify.
 */
threading_status threading_condition_wait_for(threading_condition *condition,
                                              threading_predicate predicate,
                                              void *arg);

/**
 * Waits until the predicate says yes, no longer than the given time.
 */
threading_status threading_condition_wait_for_timeout(threading_condition *condition,
                                                      threading_predicate predicate,
                                                      void *arg,
                                                      double seconds);

/**
 * Notifies up to n waiters, the longest waiting first.
 */
threading_status threading_condition_notify(threading_condition *condition, int64_t n);

/**
 * Notifies all waiters.
 */
threading_status threading_condition_notify_all(threading_condition *condition);

/**
 * Makes the condition's lock as new: unlocked.
 */
threading_status threading_condition_at_fork_reinit(threading_condition *condition);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Semaphore
 *
 * A semaphore is a counter that is never below zero: acquire takes one and waits as long as there is none, release gives some back. A bounded
 * semaphore refuses to be released above the value with which it was made.
 */

/**
 * The highest value of a semaphore.
 */
#define THREADING_SEMAPHORE_MAX 2147483647

/**
 * Makes a semaphore with this value.
 */
threading_semaphore *threading_semaphore_new(int64_t value);

/**
 * Makes a semaphore with this value, which it will never exceed.
 */
threading_semaphore *threading_semaphore_new_bounded(int64_t value);

/**
 * Takes one more reference.
 */
threading_semaphore *threading_semaphore_ref(threading_semaphore *semaphore);

/**
 * Gives one reference back; the last one ends the semaphore's life.
 */
threading_status threading_semaphore_free(threading_semaphore *semaphore);

/**
 * Takes one, and waits as long as there is none.
 */
threading_status threading_semaphore_acquire(threading_semaphore *semaphore);

/**
 * Takes one if there is one.
 */
threading_status threading_semaphore_try_acquire(threading_semaphore *semaphore);

/**
 * Takes one, and waits for it no longer than the given time.
 */
threading_status threading_semaphore_acquire_timeout(threading_semaphore *semaphore, double seconds);

/**
 * Gives one back.
 */
threading_status threading_semaphore_release(threading_semaphore *semaphore);

/**
 * Gives n back.
 */
threading_status threading_semaphore_release_n(threading_semaphore *semaphore, int64_t n);

/**
 * Tells how many could be taken.
 */
int64_t threading_semaphore_value(threading_semaphore *semaphore);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Event
 *
 * An event is a flag to wait for. Setting it lets everybody go on who waits at that moment, even if it is cleared again at once, and
 * everybody who comes later until it is cleared.
 */

/**
 * Makes an event that is not set.
 */
threading_event *threading_event_new(void);

/**
 * Takes one more reference.
 */
threading_event *threading_event_ref(threading_event *event);

/**
 * Gives one reference back; the last one ends the event's life.
 */
threading_status threading_event_free(threading_event *event);

/**
 * Tells whether the event is set.
 */
bool threading_event_is_set(threading_event *event);

/**
 * Sets the event, and lets all go on that wait for it.
 */
threading_status threading_event_set(threading_event *event);

/**
 * Clears the event: from now on it is waited for again.
 */
threading_status threading_event_clear(threading_event *event);

/**
 * Waits until the event is set.
 */
threading_status threading_event_wait(threading_event *event);

/**
 * Waits until the event is set, no longer than the given time.
 */
threading_status threading_event_wait_timeout(threading_event *event, double seconds);

/**
 * Makes the event as new: not set.
 */
threading_status threading_event_at_fork_reinit(threading_event *event);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Barrier
 *
 * A barrier is a place where a fixed number of threads wait for each other: the last to arrive lets all go on, again and again. A wait whose time
 * runs out breaks the barrier for everybody, until it is reset.
 */

/**
 * Makes a barrier for so many parties.
 */
threading_barrier *threading_barrier_new(size_t parties, threading_action action, void *arg);

/**
 * Takes one more reference.
 */
threading_barrier *threading_barrier_ref(threading_barrier *barrier);

/**
 * Gives one reference back; the last one ends the barrier's life.
 */
threading_status threading_barrier_free(threading_barrier *barrier);

/**
 * Sets the timeout of threading_barrier_wait().
 */
threading_status threading_barrier_set_timeout(threading_barrier *barrier, double seconds);

/**
 * Waits until all parties have arrived, no longer than the barrier's default timeout.
 *
 * # Safety
 * `index` is NULL or can be written to.
 */
threading_status threading_barrier_wait(threading_barrier *barrier, size_t *index);

/**
 * Waits until all parties have arrived, no longer than the given time.
 *
 * # Safety
 * `index` is NULL or can be written to.
 */
threading_status threading_barrier_wait_timeout(threading_barrier *barrier, double seconds, size_t *index);

/**
 * Empties the barrier, and mends it if it is broken.
 */
threading_status threading_barrier_reset(threading_barrier *barrier);

/**
 * Breaks the barrier.
 */
threading_status threading_barrier_abort(threading_barrier *barrier);

/**
 * Tells how many parties have to arrive.
 */
size_t threading_barrier_parties(threading_barrier *barrier);

/**
 * Tells how many threads wait.
 */
size_t threading_barrier_n_waiting(threading_barrier *barrier);

/**
 * Tells whether the barrier is broken.
 */
bool threading_barrier_broken(threading_barrier *barrier);

/*
 * ----------------------------------------------------------------------------------------------------
 *
 * Local
 *
 * Data of which each thread has its own: one value, which is fast, and any number of named attributes. A value that is replaced or deleted is destroyed
 * at once by the caller; at a thread's end its values are destroyed in that thread, before a join returns.
 */

/**
 * Makes a local in which no thread has a value.
 */
threading_local *threading_local_new(threading_destructor destroy);

/**
 * Makes a local whose value init(arg) makes in each thread.
 */
threading_local *threading_local_new_with_init(threading_local_init init,
                                               void *arg,
                                               threading_destructor destroy);

/**
 * Takes one more reference.
 */
threading_local *threading_local_ref(threading_local *local);

/**
 * Gives one reference back; the last one destroys the values of all threads.
 */
threading_status threading_local_free(threading_local *local);

/**
 * Sets the calling thread's value.
 */
threading_status threading_local_set(threading_local *local, void *value);

/**
 * The calling thread's value.
 */
void *threading_local_get(threading_local *local);

/**
 * Tells the calling thread's value, and whether it has one.
 *
 * # Safety
 * `value` is NULL or can be written to.
 */
threading_status threading_local_lookup(threading_local *local, void **value);

/**
 * Deletes the calling thread's value.
 */
threading_status threading_local_del(threading_local *local);

/**
 * Sets an attribute of the calling thread's.
 *
 * # Safety
 * `name` is NULL or a string.
 */
threading_status threading_local_set_attr(threading_local *local, const char *name, void *value);

/**
 * Tells an attribute of the calling thread's, and whether it has it.
 *
 * # Safety
 * `name` is NULL or a string, `value` NULL or can be written to.
 */
threading_status threading_local_get_attr(threading_local *local, const char *name, void **value);

/**
 * Deletes an attribute of the calling thread's.
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
 * THREADING_WITH(x) { ... } acquires a lock, rlock, condition or semaphore, runs the block, and releases it
 * however the block is left: at its end, by return, by goto, and by break and continue, which leave the block and
 * not a loop around it. It may be nested. If the acquire fails, the block is skipped, and
 * threading_last_error() says why. Python: `with x:`.
 *
 *     THREADING_WITH(lock) {
 *         if (queue_is_empty())
 *             return NULL;
 *         item = queue_take();
 *     }
 *
 * It needs C11 and the cleanup attribute of GCC and Clang. In C++, std::lock_guard does this.
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

#define THREADING_WITH(x) THREADING_WITH_NAMED_(x, __COUNTER__)
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
