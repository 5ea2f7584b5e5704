/* The last reference given back right beside those who come to wait, or are about to leave. */
#ifndef STRESS_FREES_H
#define STRESS_FREES_H

#include "stress.h"

enum freed { FREED_LOCK, FREED_RLOCK, FREED_CONDITION, FREED_SEMAPHORE, FREED_EVENT, FREED_BARRIER, FREED_KINDS };

/* In each round a new object, which the scene's thread frees while the workers wait for it or come too late. */
struct frees {
    enum freed kind;
    unsigned workers;
    bool aborts; /* a barrier is broken, not passed */
    threading_lock *lock;
    threading_rlock *rlock;
    threading_condition *condition;
    threading_semaphore *semaphore;
    threading_event *event;
    threading_barrier *barrier;
    bool was_busy; /* somebody was in line for certain */
    bool was_gone; /* it was freed before it was set or released */
    _Atomic uint64_t done, refused;
};

static inline void frees_prepare(struct scene *scene, void *shared)
{
    struct frees *f = shared;
    f->kind = (enum freed)random_below(&scene->random, FREED_KINDS);
    f->aborts = random_one_in(&scene->random, 2);
    f->was_busy = f->was_gone = false;
    f->done = f->refused = 0;
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

static inline void frees_once(struct worker *worker, void *shared)
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
    atomic_fetch_add(&f->refused, 1);
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

/* Lets those go on who wait. Whoever waits for a lock then is let go by another of them. Whether the object has been
 * freed on the way. */
static inline bool frees_let_go(struct frees *f, struct random *random)
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
        if (random_one_in(random, 2) && threading_condition_free(f->condition) == THREADING_OK)
            return true; /* with its lock held */
        TORTURE_STATUS(threading_condition_release(f->condition), THREADING_OK);
        break;
    case FREED_SEMAPHORE:
        TORTURE_STATUS(threading_semaphore_release_n(f->semaphore, f->workers), THREADING_OK);
        break;
    case FREED_EVENT:
        TORTURE_STATUS(threading_event_set(f->event), THREADING_OK);
        if (random_one_in(random, 4)) { /* a newcomer may wait for it again */
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

static inline void frees_drive(struct scene *scene, void *shared)
{
    struct frees *f = shared;
    struct random *random = &scene->random;
    threading_status status = THREADING_ERR_BUSY;
    double end = torture_now() + STRESS_LIMIT;
    spin(random_below(random, 8000));
    if (random_one_in(random, 2)) { /* too early, unless nobody has come */
        status = frees_free(f);
        f->was_gone = status == THREADING_OK;
        f->was_busy = status == THREADING_ERR_BUSY;
        TORTURE_CHECK(f->was_gone || f->was_busy);
    }
    if (f->was_gone || frees_let_go(f, random))
        return;
    status = frees_free(f);
    while (status == THREADING_ERR_BUSY && f->kind <= FREED_CONDITION) { /* others stand in line for the lock */
        TORTURE_CHECK(torture_now() < end);
        sched_yield();
        if (f->kind == FREED_CONDITION && frees_let_go(f, random))
            return;
        status = frees_free(f);
    }
    TORTURE_STATUS(status, THREADING_OK);
}

static inline void frees_settle(struct scene *scene, void *shared)
{
    struct frees *f = shared;
    bool passes_all = f->kind == FREED_BARRIER && !f->aborts;
    (void)scene;
    TORTURE_CHECK(f->done + f->refused == f->workers);
    if (f->was_gone)
        TORTURE_CHECK(f->done == 0);
    else if (passes_all)
        TORTURE_CHECK(f->refused == 0);
    else if (f->was_busy && (f->kind == FREED_SEMAPHORE || f->kind == FREED_EVENT))
        TORTURE_CHECK(f->done > 0);
    TORTURE_STATUS(threading_lock_free(f->lock), f->kind == FREED_LOCK ? THREADING_ERR_HANDLE : THREADING_OK);
    TORTURE_STATUS(threading_rlock_free(f->rlock), f->kind == FREED_RLOCK ? THREADING_ERR_HANDLE : THREADING_OK);
    TORTURE_STATUS(threading_condition_free(f->condition),
                   f->kind == FREED_CONDITION ? THREADING_ERR_HANDLE : THREADING_OK);
    TORTURE_STATUS(threading_semaphore_free(f->semaphore),
                   f->kind == FREED_SEMAPHORE ? THREADING_ERR_HANDLE : THREADING_OK);
    TORTURE_STATUS(threading_event_free(f->event), f->kind == FREED_EVENT ? THREADING_ERR_HANDLE : THREADING_OK);
    TORTURE_STATUS(threading_barrier_free(f->barrier),
                   f->kind == FREED_BARRIER ? THREADING_ERR_HANDLE : THREADING_OK);
}

static inline void scene_frees(struct scene *scene)
{
    unsigned most = scene->threads < 8 ? scene->threads : 8;
    struct frees frees = {.workers = 1 + (unsigned)random_below(&scene->random, most)};
    struct rounds rounds = {
        .shared = &frees, .prepare = frees_prepare, .once = frees_once,
        .drive = frees_drive, .settle = frees_settle};
    rounds_run(scene, frees.workers, &rounds);
}

#endif
