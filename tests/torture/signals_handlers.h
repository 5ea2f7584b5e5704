/* Signal handlers set events and release semaphores, whichever call the signal interrupts: no permit is lost or
 * duplicated, and no set is missed. */
#ifndef SIGNALS_HANDLERS_H
#define SIGNALS_HANDLERS_H

#include "signals.h"

enum { BOUND = 5 };

static struct {
    threading_semaphore *semaphore, *bounded;
    threading_event *event, *toggled;
    _Atomic uint64_t released, acquired;
    _Atomic uint64_t bounded_released, bounded_acquired;
    _Atomic uint64_t sets, seen_sets;
    _Atomic uint64_t over_released, handler_calls;
    atomic_bool pause_requested, stop;
    _Atomic uint64_t paused_callers; /* callers that have paused */
} handlers;

/* A handler must not print; a failure ends the process with a core dump. */
static void use_objects_in_handler(void)
{
    threading_status status;
    uint64_t call = atomic_fetch_add(&handlers.handler_calls, 1);
    int64_t count = 1 + (int64_t)(call % 3);
    status = count == 1 ? threading_semaphore_release(handlers.semaphore)
                        : threading_semaphore_release_n(handlers.semaphore, count);
    if (status != THREADING_OK)
        abort();
    atomic_fetch_add(&handlers.released, (uint64_t)count);
    status = threading_semaphore_release(handlers.bounded);
    if (status == THREADING_OK)
        atomic_fetch_add(&handlers.bounded_released, 1);
    else if (status == THREADING_ERR_OVER_RELEASED)
        atomic_fetch_add(&handlers.over_released, 1);
    else
        abort();
    atomic_fetch_add(&handlers.sets, 1);
    if (threading_event_set(handlers.event) != THREADING_OK)
        abort();
    if (threading_event_set(handlers.toggled) != THREADING_OK ||
        threading_event_clear(handlers.toggled) != THREADING_OK)
        abort();
    (void)threading_event_is_set(handlers.toggled);
}

/* ---------------------------------------------------------------------------- the threads that acquire and wait */

static inline void acquire_permits(struct worker *worker, threading_semaphore *semaphore, _Atomic uint64_t *acquired)
{
    for (;;) {
        TORTURE_STATUS(threading_semaphore_acquire(semaphore), THREADING_OK);
        if (atomic_load(&handlers.stop))
            return;
        atomic_fetch_add(acquired, 1);
        worker_step(worker);
    }
}

static inline void see_sets(struct worker *worker)
{
    while (!atomic_load(&handlers.stop)) {
        TORTURE_STATUS(threading_event_wait(handlers.event), THREADING_OK);
        TORTURE_STATUS(threading_event_clear(handlers.event), THREADING_OK);
        atomic_store(&handlers.seen_sets, atomic_load(&handlers.sets));
        worker_step(worker);
    }
}

/* Calls random functions of the same objects; signals interrupt them at any point. The callers do not clear `event`,
 * which only its one waiter may do. */
static inline void make_random_calls(struct worker *worker)
{
    struct random *random = &worker->random;
    threading_semaphore *semaphore = worker->number % 2 ? handlers.semaphore : handlers.bounded;
    _Atomic uint64_t *acquired = worker->number % 2 ? &handlers.acquired : &handlers.bounded_acquired;
    _Atomic uint64_t *released = worker->number % 2 ? &handlers.released : &handlers.bounded_released;
    threading_status status;
    while (!atomic_load(&handlers.stop)) {
        double seconds = random_timeout(random), began = now();
        switch (random_below(random, 8)) {
        case 0:
            status = threading_semaphore_try_acquire(semaphore);
            TORTURE_CHECK(status == THREADING_OK || status == THREADING_WOULD_BLOCK);
            atomic_fetch_add(acquired, status == THREADING_OK);
            break;
        case 1:
            atomic_fetch_add(acquired,
                             CHECK_TIMED_WAIT(threading_semaphore_acquire_timeout(semaphore, seconds), began, seconds));
            break;
        case 2:
            status = threading_semaphore_release(semaphore);
            TORTURE_CHECK(status == THREADING_OK || status == THREADING_ERR_OVER_RELEASED);
            atomic_fetch_add(released, status == THREADING_OK);
            break;
        case 3:
            TORTURE_CHECK(threading_semaphore_ref(semaphore) == semaphore);
            TORTURE_CHECK(threading_semaphore_value(semaphore) >= 0);
            TORTURE_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
            break;
        case 4:
            CHECK_TIMED_WAIT(threading_event_wait_timeout(handlers.event, seconds), began, seconds);
            TORTURE_STATUS(threading_event_set(handlers.event), THREADING_OK);
            break;
        case 5:
            CHECK_TIMED_WAIT(threading_event_wait_timeout(handlers.toggled, seconds), began, seconds);
            TORTURE_STATUS(threading_event_clear(handlers.toggled), THREADING_OK);
            break;
        case 6:
            TORTURE_STATUS(threading_event_set(handlers.toggled), THREADING_OK);
            threading_event_is_set(handlers.toggled);
            break;
        default: /* a signal to the calling thread, delivered immediately */
            TORTURE_CHECK(atomic_load(&handlers.pause_requested) || raise(SIGUSR1) == 0);
            break;
        }
        worker_step(worker);
        if (atomic_load(&handlers.pause_requested)) {
            atomic_fetch_add(&handlers.paused_callers, 1);
            while (atomic_load(&handlers.pause_requested))
                sleep_for(100e-6);
            atomic_fetch_sub(&handlers.paused_callers, 1);
        }
    }
}

enum { CALLERS = 2, HANDLER_WORKERS = CALLERS + 4 };

static inline void handlers_worker(struct worker *worker)
{
    switch (worker->number) {
    case CALLERS:
    case CALLERS + 1:
        acquire_permits(worker, handlers.semaphore, &handlers.acquired);
        break;
    case CALLERS + 2:
        acquire_permits(worker, handlers.bounded, &handlers.bounded_acquired);
        break;
    case CALLERS + 3:
        see_sets(worker);
        break;
    default:
        make_random_calls(worker);
        break;
    }
}

static inline void handlers_start(void)
{
    handlers.semaphore = threading_semaphore_new(0);
    handlers.bounded = threading_semaphore_new_bounded(BOUND);
    handlers.event = threading_event_new();
    handlers.toggled = threading_event_new();
    handlers.bounded_released = BOUND; /* its initial value */
    TORTURE_CHECK(handlers.semaphore && handlers.bounded && handlers.event && handlers.toggled);
}

/* Pauses the signals and the callers, and checks the totals: all released permits must have been acquired, and all
 * sets been seen. */
static inline void handlers_check_totals(void)
{
    atomic_store(&handlers.pause_requested, true);
    AWAIT_COUNT(&handlers.paused_callers, CALLERS);
    storm_pause();
    AWAIT_COUNT(&handlers.acquired, handlers.released);
    AWAIT_COUNT(&handlers.bounded_acquired, handlers.bounded_released);
    AWAIT_COUNT(&handlers.seen_sets, handlers.sets);
    TORTURE_CHECK(threading_semaphore_value(handlers.semaphore) == 0);
    TORTURE_CHECK(threading_semaphore_value(handlers.bounded) == 0);
    TORTURE_STATUS(threading_event_clear(handlers.toggled), THREADING_OK);
    TORTURE_STATUS(threading_event_wait_timeout(handlers.toggled, 0.001), THREADING_TIMED_OUT);
    TORTURE_STATUS(threading_event_set(handlers.toggled), THREADING_OK);
    TORTURE_STATUS(threading_event_wait(handlers.toggled), THREADING_OK);
    storm_resume();
    atomic_store(&handlers.pause_requested, false);
    while (atomic_load(&handlers.paused_callers) > 0)
        sleep_for(100e-6);
}

/* Ends the threads that acquire and wait. No signals are sent any more. */
static inline void handlers_stop(struct team *team)
{
    atomic_store(&handlers.stop, true);
    TORTURE_STATUS(threading_semaphore_release_n(handlers.semaphore, HANDLER_WORKERS), THREADING_OK);
    for (unsigned i = 0; i < BOUND; i++)
        (void)threading_semaphore_release(handlers.bounded);
    TORTURE_STATUS(threading_event_set(handlers.event), THREADING_OK);
    team_join(team);
    TORTURE_STATUS(threading_semaphore_free(handlers.semaphore), THREADING_OK);
    TORTURE_STATUS(threading_semaphore_free(handlers.bounded), THREADING_OK);
    TORTURE_STATUS(threading_event_free(handlers.event), THREADING_OK);
    TORTURE_STATUS(threading_event_free(handlers.toggled), THREADING_OK);
}

#endif
