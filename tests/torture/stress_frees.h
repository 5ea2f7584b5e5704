/* The last reference is released while other threads start to wait for the object, or return from a wait. */
#ifndef STRESS_FREES_H
#define STRESS_FREES_H

#include "stress.h"

enum freed { FREED_LOCK, FREED_RLOCK, FREED_CONDITION, FREED_SEMAPHORE, FREED_EVENT, FREED_BARRIER, FREED_KINDS };

/* Each round creates a new object, which the scenario's thread frees while the workers wait for it or come too late. */
struct frees {
    enum freed kind;
    unsigned workers;
    bool aborts; /* the barrier is aborted, not passed */
    threading_lock *lock;
    threading_rlock *rlock;
    threading_condition *condition;
    threading_semaphore *semaphore;
    threading_event *event;
    threading_barrier *barrier;
    bool free_was_busy; /* a free failed with BUSY, so at least one thread was blocked */
    bool freed_early;   /* the object was freed before the waiters were woken */
    _Atomic uint64_t done, failed;
};

static inline void frees_prepare(struct scenario *scenario, void *shared)
{
    struct frees *f = shared;
    f->kind = (enum freed)random_below(&scenario->random, FREED_KINDS);
    f->aborts = random_one_in(&scenario->random, 2);
    f->free_was_busy = f->freed_early = false;
    f->done = f->failed = 0;
    f->lock = threading_lock_new();
    f->rlock = threading_rlock_new();
    f->condition = threading_condition_new();
    f->semaphore = threading_semaphore_new(0);
    f->event = threading_event_new();
    f->barrier = threading_barrier_new(f->workers + 1, NULL, NULL);
    TORTURE_STATUS(threading_lock_acquire(f->lock), THREADING_OK);
    TORTURE_STATUS(threading_rlock_acquire(f->rlock), THREADING_OK);
}

static inline threading_status frees_wait_for_notify(threading_condition *condition)
{
    threading_status status = threading_condition_acquire(condition);
    if (status == THREADING_OK)
        status = threading_condition_wait(condition);
    threading_status released = threading_condition_release(condition);
    TORTURE_CHECK(released == THREADING_OK || released == THREADING_ERR_HANDLE);
    return status;
}

static inline threading_status frees_wait(struct frees *f)
{
    threading_status status, released = THREADING_OK;
    switch (f->kind) {
    case FREED_LOCK:
        status = threading_lock_acquire(f->lock);
        if (status == THREADING_OK)
            released = threading_lock_release(f->lock);
        break;
    case FREED_RLOCK:
        status = threading_rlock_acquire(f->rlock);
        if (status == THREADING_OK)
            released = threading_rlock_release(f->rlock);
        break;
    case FREED_CONDITION:
        status = frees_wait_for_notify(f->condition);
        break;
    case FREED_SEMAPHORE:
        status = threading_semaphore_acquire(f->semaphore);
        break;
    case FREED_EVENT:
        status = threading_event_wait(f->event);
        break;
    default:
        status = threading_barrier_wait(f->barrier, NULL);
        break;
    }
    TORTURE_CHECK(released == THREADING_OK || released == THREADING_ERR_HANDLE);
    return status;
}

static inline void frees_work(struct worker *worker, void *shared)
{
    struct frees *f = shared;
    spin(random_below(&worker->random, 4000));
    threading_status status = frees_wait(f);
    if (status == THREADING_OK) {
        atomic_fetch_add(&f->done, 1);
        return;
    }
    if (f->kind != FREED_BARRIER || !f->aborts || status != THREADING_ERR_BROKEN_BARRIER)
        TORTURE_STATUS(status, THREADING_ERR_HANDLE);
    atomic_fetch_add(&f->failed, 1);
}

static inline threading_status frees_free(struct frees *f)
{
    switch (f->kind) {
    case FREED_LOCK:
        return threading_lock_free(f->lock);
    case FREED_RLOCK:
        return threading_rlock_free(f->rlock);
    case FREED_CONDITION:
        return threading_condition_free(f->condition);
    case FREED_SEMAPHORE:
        return threading_semaphore_free(f->semaphore);
    case FREED_EVENT:
        return threading_event_free(f->event);
    default:
        return threading_barrier_free(f->barrier);
    }
}

/* Wakes the waiters. A waiter for a lock is woken by the release of the previous owner. Returns true if this has
 * freed the object. */
static inline bool frees_wake(struct frees *f, struct random *random)
{
    switch (f->kind) {
    case FREED_LOCK:
        TORTURE_STATUS(threading_lock_release(f->lock), THREADING_OK);
        break;
    case FREED_RLOCK:
        TORTURE_STATUS(threading_rlock_release(f->rlock), THREADING_OK);
        break;
    case FREED_CONDITION:
        TORTURE_STATUS(threading_condition_acquire(f->condition), THREADING_OK);
        TORTURE_STATUS(threading_condition_notify_all(f->condition), THREADING_OK);
        /* while its lock is held */
        if (random_one_in(random, 2) && threading_condition_free(f->condition) == THREADING_OK)
            return true;
        TORTURE_STATUS(threading_condition_release(f->condition), THREADING_OK);
        break;
    case FREED_SEMAPHORE:
        TORTURE_STATUS(threading_semaphore_release_n(f->semaphore, f->workers), THREADING_OK);
        break;
    case FREED_EVENT:
        TORTURE_STATUS(threading_event_set(f->event), THREADING_OK);
        if (random_one_in(random, 4)) { /* another thread may begin to wait after the clear */
            TORTURE_STATUS(threading_event_clear(f->event), THREADING_OK);
            spin(random_below(random, 50));
            TORTURE_STATUS(threading_event_set(f->event), THREADING_OK);
        }
        break;
    default:
        if (f->aborts)
            TORTURE_STATUS(threading_barrier_abort(f->barrier), THREADING_OK);
        else
            TORTURE_STATUS(threading_barrier_wait(f->barrier, NULL), THREADING_OK);
        break;
    }
    return false;
}

static inline void frees_drive(struct scenario *scenario, void *shared)
{
    struct frees *f = shared;
    struct random *random = &scenario->random;
    threading_status status = THREADING_ERR_BUSY;
    double end = now() + STRESS_LIMIT;
    spin(random_below(random, 8000));
    if (random_one_in(random, 2)) { /* BUSY if a worker is blocked already */
        status = frees_free(f);
        f->freed_early = status == THREADING_OK;
        f->free_was_busy = status == THREADING_ERR_BUSY;
        TORTURE_CHECK(f->freed_early || f->free_was_busy);
    }
    if (f->freed_early || frees_wake(f, random))
        return;
    status = frees_free(f);
    while (status == THREADING_ERR_BUSY && f->kind <= FREED_CONDITION) { /* other threads are blocked on the lock */
        TORTURE_CHECK(now() < end);
        sched_yield();
        if (f->kind == FREED_CONDITION && frees_wake(f, random))
            return;
        status = frees_free(f);
    }
    TORTURE_STATUS(status, THREADING_OK);
}

static inline void frees_finish(struct scenario *scenario, void *shared)
{
    struct frees *f = shared;
    bool all_pass = f->kind == FREED_BARRIER && !f->aborts;
    (void)scenario;
    TORTURE_CHECK(f->done + f->failed == f->workers);
    if (f->freed_early)
        TORTURE_CHECK(f->done == 0);
    else if (all_pass)
        TORTURE_CHECK(f->failed == 0);
    else if (f->free_was_busy && (f->kind == FREED_SEMAPHORE || f->kind == FREED_EVENT))
        TORTURE_CHECK(f->done > 0);
    TORTURE_STATUS(threading_lock_free(f->lock), f->kind == FREED_LOCK ? THREADING_ERR_HANDLE : THREADING_OK);
    TORTURE_STATUS(threading_rlock_free(f->rlock), f->kind == FREED_RLOCK ? THREADING_ERR_HANDLE : THREADING_OK);
    TORTURE_STATUS(threading_condition_free(f->condition),
                   f->kind == FREED_CONDITION ? THREADING_ERR_HANDLE : THREADING_OK);
    TORTURE_STATUS(threading_semaphore_free(f->semaphore),
                   f->kind == FREED_SEMAPHORE ? THREADING_ERR_HANDLE : THREADING_OK);
    TORTURE_STATUS(threading_event_free(f->event), f->kind == FREED_EVENT ? THREADING_ERR_HANDLE : THREADING_OK);
    TORTURE_STATUS(threading_barrier_free(f->barrier), f->kind == FREED_BARRIER ? THREADING_ERR_HANDLE : THREADING_OK);
}

static inline void scenario_frees(struct scenario *scenario)
{
    unsigned max_workers = scenario->threads < 8 ? scenario->threads : 8;
    struct frees frees = {.workers = 1 + (unsigned)random_below(&scenario->random, max_workers)};
    struct rounds rounds = {
        .shared = &frees, .prepare = frees_prepare, .work = frees_work, .drive = frees_drive, .finish = frees_finish};
    rounds_run(scenario, frees.workers, &rounds);
}

#endif
