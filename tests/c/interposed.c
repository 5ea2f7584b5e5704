/* Interposed libc functions, as in libfaketime: a clock_gettime that differs from the kernel's clock, and a syscall
 * that reads six arguments whatever the system call is. */
#include "test.h"

#include <dlfcn.h>
#include <errno.h>

enum clock { REAL, AHEAD, BEHIND, STOPPED, DELAYED };

static _Atomic(enum clock) clock_of_process;
static struct timespec stopped_at;
static atomic_int readings_before_delay; /* one reading of the clock that is DELAYED is preceded by a delay */
static const double reading_delay = 0.02;

/* The library calls these two functions instead of libc's, as it would call those of a preloaded library. */
int clock_gettime(clockid_t id, struct timespec *time)
{
    static int (*_Atomic real)(clockid_t, struct timespec *);
    int (*function)(clockid_t, struct timespec *) = atomic_load(&real);
    int result;
    if (function == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "clock_gettime");
        memcpy(&function, &symbol, sizeof function);
        atomic_store(&real, function);
    }
    if (atomic_load(&clock_of_process) == DELAYED && atomic_fetch_sub(&readings_before_delay, 1) == 0)
        sleep_for(reading_delay);
    result = function(id, time);
    if (result == 0 && id == CLOCK_MONOTONIC) {
        enum clock clock = atomic_load(&clock_of_process);
        time->tv_sec += clock == AHEAD ? 172800 : clock == BEHIND ? -172800 : 0;
        if (clock == STOPPED)
            *time = stopped_at;
        if (time->tv_sec < 0)
            time->tv_sec = 0;
    }
    return result;
}

static atomic_int futex_call_count, wrong_call_count;

long syscall(long number, ...)
{
    static long (*_Atomic real)(long, ...);
    long (*function)(long, ...) = atomic_load(&real);
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (int i = 0; i < 6; i++)
        arguments[i] = va_arg(list, long);
    va_end(list);
    if (function == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "syscall");
        memcpy(&function, &symbol, sizeof function);
        atomic_store(&real, function);
    }
    if (number == SYS_futex) {
        /* Those of linux/futex.h, which a compiler for musl may not have. */
        enum { FUTEX_WAIT = 0, FUTEX_WAKE = 1, FUTEX_CMD_MASK = ~(128 | 256) };
        long command = arguments[1] & FUTEX_CMD_MASK;
        atomic_fetch_add(&futex_call_count, 1);
        /* Arguments that the operation does not use must be 0, not a leftover register value. */
        if (command == FUTEX_WAKE && (arguments[3] != 0 || arguments[4] != 0 || (int)arguments[5] != 0))
            atomic_fetch_add(&wrong_call_count, 1);
        if (command == FUTEX_WAIT && (arguments[4] != 0 || (int)arguments[5] != 0))
            atomic_fetch_add(&wrong_call_count, 1);
    }
    return function(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

static void *wait_without_timeout(void *event)
{
    CHECK_STATUS(threading_event_wait(event), THREADING_OK);
    return event;
}

/* Each kind of wait ends when its timeout has passed by the kernel's clock. The time limit of the test run ends a
 * wait that hangs. */
static void waits_with_clock(enum clock clock)
{
    threading_event *event, *fired;
    threading_lock *lock;
    threading_condition *condition;
    threading_semaphore *semaphore;
    threading_barrier *barrier;
    threading_timer *timer;
    threading_thread *waiting;
    if (is_portable_backend())
        SKIP("the portable backend reads the interposed clock");
    clock_gettime(CLOCK_MONOTONIC, &stopped_at);
    atomic_store(&clock_of_process, clock);
    CHECK((event = threading_event_new()) != NULL && (fired = threading_event_new()) != NULL);
    CHECK((lock = threading_lock_new()) != NULL && (condition = threading_condition_new()) != NULL);
    CHECK((semaphore = threading_semaphore_new(0)) != NULL);
    CHECK((barrier = threading_barrier_new(2, NULL, NULL)) != NULL);
    CHECK((timer = threading_timer_new(0.05, set_event, fired)) != NULL);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    waiting = spawn(wait_without_timeout, event);
    CHECK_STATUS(threading_event_wait_timeout(event, 0.02), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_sleep(0.02), THREADING_OK);
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_acquire_timeout(lock, 0.02), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    CHECK_STATUS(threading_condition_wait_timeout(condition, 0.02), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_condition_wait_for_timeout(condition, return_false, NULL, 0.02), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
    CHECK_STATUS(threading_semaphore_acquire_timeout(semaphore, 0.02), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_barrier_wait_timeout(barrier, 0.02, NULL), THREADING_ERR_BROKEN_BARRIER);
    CHECK_STATUS(threading_event_wait_timeout(fired, TEST_LIMIT), THREADING_OK);
    CHECK_STATUS(threading_thread_join_timeout(threading_timer_thread(timer), TEST_LIMIT), THREADING_OK);
    CHECK_STATUS(threading_thread_join_timeout(waiting, 0.02), THREADING_TIMED_OUT);
    atomic_store(&clock_of_process, REAL);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    join(waiting);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    CHECK_STATUS(threading_event_free(fired), THREADING_OK);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_condition_free(condition), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
    CHECK_STATUS(threading_barrier_free(barrier), THREADING_OK);
}

static void clock_ahead(void)
{
    waits_with_clock(AHEAD);
}

static void clock_behind(void)
{
    waits_with_clock(BEHIND);
}

static void clock_stopped(void)
{
    waits_with_clock(STOPPED);
}

/* As if the thread were preempted before one of the readings. */
static void clock_delayed(void)
{
    const double seconds = 1.5 * reading_delay;
    threading_event *event = threading_event_new();
    CHECK(event != NULL);
    for (int readings = 0; readings < 8; readings++) {
        threading_status status;
        double start = now();
        atomic_store(&readings_before_delay, readings);
        atomic_store(&clock_of_process, DELAYED);
        status = threading_event_wait_timeout(event, seconds);
        atomic_store(&clock_of_process, REAL);
        CHECK_RESULT(status, THREADING_TIMED_OUT);
        CHECK_AT_LEAST(now() - start, seconds);
    }
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

static void unused_arguments_are_zero(void)
{
    threading_event *event = threading_event_new();
    threading_thread *thread;
    if (is_portable_backend())
        SKIP("the portable backend does not call futex");
    for (int i = 0; i < 20; i++) {
        CHECK_STATUS(threading_event_clear(event), THREADING_OK);
        thread = spawn(wait_without_timeout, event);
        sleep_for(0.002);
        CHECK_STATUS(threading_event_set(event), THREADING_OK);
        join(thread);
        CHECK_STATUS(threading_event_clear(event), THREADING_OK);
        CHECK_STATUS(threading_event_wait_timeout(event, 0.0005), THREADING_TIMED_OUT);
    }
    CHECK(atomic_load(&futex_call_count) > 0);
    CHECK_INT(atomic_load(&wrong_call_count), 0);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

static const struct test_case cases[] = {
    {"a futex call passes 0 for each argument that it does not use", unused_arguments_are_zero},
    {"waits end on time if clock_gettime is two days ahead", clock_ahead},
    {"waits end on time if clock_gettime is two days behind", clock_behind},
    {"waits end on time if clock_gettime does not advance", clock_stopped},
    {"a wait does not end before its timeout if its thread is preempted while it reads the clock", clock_delayed},
};

TEST_MAIN(cases)
