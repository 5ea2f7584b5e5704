/* Events that signal handlers set and semaphores that they release, whichever call the signal interrupts: no unit is
 * lost and none is made, no set is missed. */
#ifndef SIGNALS_HANDLERS_H
#define SIGNALS_HANDLERS_H

#include "signals.h"

enum { BOUND = 5 };

static struct {
    threading_semaphore *semaphore, *bounded;
    threading_event *event, *toggled;
    _Atomic uint64_t released, taken;
    _Atomic uint64_t bounded_released, bounded_taken;
    _Atomic uint64_t posted, seen;
    _Atomic uint64_t refused, toggles;
    atomic_bool pauses, over;
    _Atomic uint64_t paused; /* those who meddle: they stand still in the calm */
} handlers;

/* A failure in a handler may not print: it ends the process, with a core to look at. */
static void act_in_handler(void)
{
    threading_status status;
    uint64_t turn = atomic_fetch_add(&handlers.toggles, 1);
    int64_t count = 1 + (int64_t)(turn % 3);
    status = count == 1 ? threading_semaphore_release(handlers.semaphore)
                        : threading_semaphore_release_n(handlers.semaphore, count);
    if (status != THREADING_OK)
        abort();
    atomic_fetch_add(&handlers.released, (uint64_t)count);
    status = threading_semaphore_release(handlers.bounded);
    if (status == THREADING_OK)
        atomic_fetch_add(&handlers.bounded_released, 1);
    else if (status == THREADING_ERR_OVER_RELEASED)
        atomic_fetch_add(&handlers.refused, 1);
    else
        abort();
    atomic_fetch_add(&handlers.posted, 1);
    if (threading_event_set(handlers.event) != THREADING_OK)
        abort();
    if (threading_event_set(handlers.toggled) != THREADING_OK ||
        threading_event_clear(handlers.toggled) != THREADING_OK)
        abort();
    (void)threading_event_is_set(handlers.toggled);
}

/* ------------------------------------------------------------------------------------- who takes what was given */

static inline void take_units(struct worker *worker, threading_semaphore *semaphore, _Atomic uint64_t *taken)
{
    for (;;) {
        TORTURE_STATUS(threading_semaphore_acquire(semaphore), THREADING_OK);
        if (atomic_load(&handlers.over))
            return;
        atomic_fetch_add(taken, 1);
        worker_step(worker);
    }
}

static inline void see_posts(struct worker *worker)
{
    while (!atomic_load(&handlers.over)) {
        TORTURE_STATUS(threading_event_wait(handlers.event), THREADING_OK);
        TORTURE_STATUS(threading_event_clear(handlers.event), THREADING_OK);
        atomic_store(&handlers.seen, atomic_load(&handlers.posted));
        worker_step(worker);
    }
}

/* Any call on these very objects, again and again, to be interrupted in its midst. What is set is not cleared: only
 * the one that looks may. */
static inline void meddle(struct worker *worker)
{
    struct random *random = &worker->random;
    threading_semaphore *semaphore = worker->number % 2 ? handlers.semaphore : handlers.bounded;
    _Atomic uint64_t *taken = worker->number % 2 ? &handlers.taken : &handlers.bounded_taken;
    _Atomic uint64_t *released = worker->number % 2 ? &handlers.released : &handlers.bounded_released;
    threading_status status;
    while (!atomic_load(&handlers.over)) {
        double seconds = random_timeout(random), began = torture_now();
        switch (random_below(random, 8)) {
        case 0:
            status = threading_semaphore_try_acquire(semaphore);
            TORTURE_CHECK(status == THREADING_OK || status == THREADING_WOULD_BLOCK);
            atomic_fetch_add(taken, status == THREADING_OK);
            break;
        case 1:
            atomic_fetch_add(taken, RAN(threading_semaphore_acquire_timeout(semaphore, seconds), began, seconds));
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
            RAN(threading_event_wait_timeout(handlers.event, seconds), began, seconds);
            TORTURE_STATUS(threading_event_set(handlers.event), THREADING_OK);
            break;
        case 5:
            RAN(threading_event_wait_timeout(handlers.toggled, seconds), began, seconds);
            TORTURE_STATUS(threading_event_clear(handlers.toggled), THREADING_OK);
            break;
        case 6:
            TORTURE_STATUS(threading_event_set(handlers.toggled), THREADING_OK);
            threading_event_is_set(handlers.toggled);
            break;
        default: /* a signal of one's own making, which comes at once */
            TORTURE_CHECK(atomic_load(&handlers.pauses) || raise(SIGUSR1) == 0);
            break;
        }
        worker_step(worker);
        if (atomic_load(&handlers.pauses)) {
            atomic_fetch_add(&handlers.paused, 1);
            while (atomic_load(&handlers.pauses))
                nap(100e-6);
            atomic_fetch_sub(&handlers.paused, 1);
        }
    }
}

enum { MEDDLERS = 2, HANDLER_WORKERS = MEDDLERS + 4 };

static inline void handlers_worker(struct worker *worker)
{
    switch (worker->number) {
    case MEDDLERS:
    case MEDDLERS + 1:
        take_units(worker, handlers.semaphore, &handlers.taken);
        break;
    case MEDDLERS + 2:
        take_units(worker, handlers.bounded, &handlers.bounded_taken);
        break;
    case MEDDLERS + 3:
        see_posts(worker);
        break;
    default:
        meddle(worker);
        break;
    }
}

static inline void handlers_begin(void)
{
    handlers.semaphore = threading_semaphore_new(0);
    handlers.bounded = threading_semaphore_new_bounded(BOUND);
    handlers.event = threading_event_new();
    handlers.toggled = threading_event_new();
    handlers.bounded_released = BOUND; /* its initial value */
    TORTURE_CHECK(handlers.semaphore && handlers.bounded && handlers.event && handlers.toggled);
}

/* In the calm, the accounts must balance: those who take without a limit have taken all there was. */
static inline void handlers_balance(void)
{
    atomic_store(&handlers.pauses, true);
    AWAIT(&handlers.paused, MEDDLERS);
    storm_calm();
    AWAIT(&handlers.taken, handlers.released);
    AWAIT(&handlers.bounded_taken, handlers.bounded_released);
    AWAIT(&handlers.seen, handlers.posted);
    TORTURE_CHECK(threading_semaphore_value(handlers.semaphore) == 0);
    TORTURE_CHECK(threading_semaphore_value(handlers.bounded) == 0);
    TORTURE_STATUS(threading_event_clear(handlers.toggled), THREADING_OK);
    TORTURE_STATUS(threading_event_wait_timeout(handlers.toggled, 0.001), THREADING_TIMED_OUT);
    TORTURE_STATUS(threading_event_set(handlers.toggled), THREADING_OK);
    TORTURE_STATUS(threading_event_wait(handlers.toggled), THREADING_OK);
    storm_again();
    atomic_store(&handlers.pauses, false);
    while (atomic_load(&handlers.paused) > 0)
        nap(100e-6);
}

/* Lets those go on who take, in the calm at the end. */
static inline void handlers_end(struct crew *crew)
{
    atomic_store(&handlers.over, true);
    TORTURE_STATUS(threading_semaphore_release_n(handlers.semaphore, HANDLER_WORKERS), THREADING_OK);
    for (unsigned i = 0; i < BOUND; i++)
        (void)threading_semaphore_release(handlers.bounded);
    TORTURE_STATUS(threading_event_set(handlers.event), THREADING_OK);
    crew_join(crew);
    TORTURE_STATUS(threading_semaphore_free(handlers.semaphore), THREADING_OK);
    TORTURE_STATUS(threading_semaphore_free(handlers.bounded), THREADING_OK);
    TORTURE_STATUS(threading_event_free(handlers.event), THREADING_OK);
    TORTURE_STATUS(threading_event_free(handlers.toggled), THREADING_OK);
}

#endif
