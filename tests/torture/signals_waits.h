/* Waits while signals arrive: a timed wait lasts as long as its timeout, an untimed one ends only when it is woken. */
#ifndef SIGNALS_WAITS_H
#define SIGNALS_WAITS_H

#include "signals.h"

/* The objects of a pair of threads, one that waits and one that ends the waits. */
struct pair {
    const struct wait_kind *wait_kind;
    threading_lock *lock;
    threading_rlock *rlock;
    threading_condition *condition;
    threading_semaphore *semaphore;
    threading_event *event, *end;
    threading_barrier *barrier;
    threading_thread *joined;
    _Atomic uint64_t requested, waiting, woken, finished; /* numbers of waits */
};

struct wait_kind {
    const char *name;
    threading_status (*timed)(struct pair *, double seconds); /* a wait that no thread ends */
    threading_status timeout_status;
    threading_status (*untimed)(struct pair *);
    void (*prepare)(struct pair *); /* called by the thread that will end the wait; may be NULL */
    void (*end)(struct pair *);
};

/* The waker records the wake-up before it makes it; the waiter checks the record after the wait. */
static inline void record_wakeup(struct pair *pair)
{
    atomic_store(&pair->woken, atomic_load(&pair->requested));
}

static inline bool is_woken(struct pair *pair)
{
    return atomic_load(&pair->woken) == atomic_load(&pair->requested);
}

/* -------------------------------------------------------------------------------------------- lock and rlock */

#define DEFINE_LOCK_WAITS(kind)                                                                                        \
    static inline threading_status kind##_timed(struct pair *p, double seconds)                                        \
    {                                                                                                                  \
        return threading_##kind##_acquire_timeout(p->kind, seconds);                                                   \
    }                                                                                                                  \
    static inline threading_status kind##_untimed(struct pair *p)                                                      \
    {                                                                                                                  \
        threading_status status = threading_##kind##_acquire(p->kind);                                                 \
        TORTURE_CHECK(is_woken(p));                                                                                    \
        TORTURE_STATUS(threading_##kind##_release(p->kind), THREADING_OK);                                             \
        return status;                                                                                                 \
    }                                                                                                                  \
    static inline void kind##_prepare(struct pair *p)                                                                  \
    {                                                                                                                  \
        TORTURE_STATUS(threading_##kind##_acquire(p->kind), THREADING_OK);                                             \
    }                                                                                                                  \
    static inline void kind##_end(struct pair *p)                                                                      \
    {                                                                                                                  \
        record_wakeup(p);                                                                                              \
        TORTURE_STATUS(threading_##kind##_release(p->kind), THREADING_OK);                                             \
    }

DEFINE_LOCK_WAITS(lock)
DEFINE_LOCK_WAITS(rlock)

/* ------------------------------------------------------------------------------------------------- condition */

static inline threading_status condition_timed(struct pair *p, double seconds)
{
    TORTURE_STATUS(threading_condition_acquire(p->condition), THREADING_OK);
    threading_status status = threading_condition_wait_timeout(p->condition, seconds);
    TORTURE_STATUS(threading_condition_release(p->condition), THREADING_OK);
    return status;
}

static inline threading_status condition_untimed(struct pair *p)
{
    TORTURE_STATUS(threading_condition_acquire(p->condition), THREADING_OK);
    atomic_store(&p->waiting, atomic_load(&p->requested)); /* the wait is queued before the lock is released */
    threading_status status = threading_condition_wait(p->condition);
    TORTURE_CHECK(is_woken(p));
    TORTURE_STATUS(threading_condition_release(p->condition), THREADING_OK);
    return status;
}

static inline int never(void *arg)
{
    (void)arg;
    return 0;
}

static inline int pair_is_woken(void *arg)
{
    struct pair *p = arg;
    atomic_store(&p->waiting, atomic_load(&p->requested));
    return is_woken(p);
}

static inline threading_status wait_for_timed(struct pair *p, double seconds)
{
    TORTURE_STATUS(threading_condition_acquire(p->condition), THREADING_OK);
    threading_status status = threading_condition_wait_for_timeout(p->condition, never, NULL, seconds);
    TORTURE_STATUS(threading_condition_release(p->condition), THREADING_OK);
    return status;
}

static inline threading_status wait_for_untimed(struct pair *p)
{
    TORTURE_STATUS(threading_condition_acquire(p->condition), THREADING_OK);
    threading_status status = threading_condition_wait_for(p->condition, pair_is_woken, p);
    TORTURE_STATUS(threading_condition_release(p->condition), THREADING_OK);
    return status;
}

static inline void condition_end(struct pair *p)
{
    TORTURE_STATUS(threading_condition_acquire(p->condition), THREADING_OK);
    record_wakeup(p);
    TORTURE_STATUS(threading_condition_notify(p->condition, 1), THREADING_OK);
    TORTURE_STATUS(threading_condition_release(p->condition), THREADING_OK);
}

/* --------------------------------------------------------------------------------- semaphore, event, barrier */

static inline threading_status semaphore_timed(struct pair *p, double seconds)
{
    return threading_semaphore_acquire_timeout(p->semaphore, seconds);
}

static inline threading_status semaphore_untimed(struct pair *p)
{
    return threading_semaphore_acquire(p->semaphore);
}

static inline void semaphore_end(struct pair *p)
{
    record_wakeup(p);
    TORTURE_STATUS(threading_semaphore_release(p->semaphore), THREADING_OK);
}

static inline threading_status event_timed(struct pair *p, double seconds)
{
    return threading_event_wait_timeout(p->event, seconds);
}

static inline threading_status event_untimed(struct pair *p)
{
    return threading_event_wait(p->event);
}

static inline void event_prepare(struct pair *p)
{
    TORTURE_STATUS(threading_event_clear(p->event), THREADING_OK);
}

static inline void event_end(struct pair *p)
{
    record_wakeup(p);
    TORTURE_STATUS(threading_event_set(p->event), THREADING_OK);
}

static inline threading_status barrier_timed(struct pair *p, double seconds)
{
    threading_status status = threading_barrier_wait_timeout(p->barrier, seconds, NULL);
    TORTURE_STATUS(threading_barrier_reset(p->barrier), THREADING_OK);
    return status;
}

static inline threading_status barrier_untimed(struct pair *p)
{
    return threading_barrier_wait(p->barrier, NULL);
}

static inline void barrier_end(struct pair *p)
{
    record_wakeup(p);
    TORTURE_STATUS(threading_barrier_wait(p->barrier, NULL), THREADING_OK);
}

/* ------------------------------------------------------------------------------ join of threads and of timers */

static inline void *run_until_end(void *arg)
{
    struct pair *p = arg;
    TORTURE_STATUS(threading_event_wait(p->end), THREADING_OK);
    record_wakeup(p);
    return p;
}

static inline threading_status join_timed(struct pair *p, double seconds)
{
    return threading_thread_join_timeout(p->joined, seconds);
}

static inline threading_status join_untimed(struct pair *p)
{
    threading_status status = threading_thread_join(p->joined);
    TORTURE_CHECK(threading_thread_result(p->joined) == p);
    TORTURE_STATUS(threading_thread_free(p->joined), THREADING_OK);
    return status;
}

static inline void join_prepare(struct pair *p)
{
    TORTURE_STATUS(threading_event_clear(p->end), THREADING_OK);
    p->joined = threading_thread_new(run_until_end, p);
    TORTURE_STATUS(threading_thread_start(p->joined), THREADING_OK);
}

static inline void timer_prepare(struct pair *p)
{
    TORTURE_STATUS(threading_event_clear(p->end), THREADING_OK);
    threading_timer *timer = threading_timer_new(1e-3, run_until_end, p);
    p->joined = threading_thread_ref(threading_timer_thread(timer));
    TORTURE_STATUS(threading_timer_start(timer), THREADING_OK);
    TORTURE_STATUS(threading_timer_free(timer), THREADING_OK);
}

static inline void join_end(struct pair *p)
{
    TORTURE_STATUS(threading_event_set(p->end), THREADING_OK);
}

static inline threading_status sleep_timed(struct pair *p, double seconds)
{
    (void)p;
    return threading_sleep(seconds);
}

static const struct wait_kind wait_kinds[] = {
    {"lock", lock_timed, THREADING_TIMED_OUT, lock_untimed, lock_prepare, lock_end},
    {"rlock", rlock_timed, THREADING_TIMED_OUT, rlock_untimed, rlock_prepare, rlock_end},
    {"condition", condition_timed, THREADING_TIMED_OUT, condition_untimed, NULL, condition_end},
    {"wait_for", wait_for_timed, THREADING_TIMED_OUT, wait_for_untimed, NULL, condition_end},
    {"semaphore", semaphore_timed, THREADING_TIMED_OUT, semaphore_untimed, NULL, semaphore_end},
    {"event", event_timed, THREADING_TIMED_OUT, event_untimed, event_prepare, event_end},
    {"barrier", barrier_timed, THREADING_ERR_BROKEN_BARRIER, barrier_untimed, NULL, barrier_end},
    {"join", join_timed, THREADING_TIMED_OUT, join_untimed, join_prepare, join_end},
    {"join of a timer", join_timed, THREADING_TIMED_OUT, join_untimed, timer_prepare, join_end},
    {"sleep", sleep_timed, THREADING_OK, NULL, NULL, NULL},
};

enum { WAIT_KINDS = sizeof wait_kinds / sizeof wait_kinds[0], UNTIMED_KINDS = WAIT_KINDS - 1 };

/* --------------------------------------------------------------------------------------------------- threads */

static inline void pair_new(struct pair *p, const struct wait_kind *wait_kind)
{
    *p = (struct pair){.wait_kind = wait_kind};
    p->lock = threading_lock_new();
    p->rlock = threading_rlock_new();
    p->condition = threading_condition_new();
    p->semaphore = threading_semaphore_new(0);
    p->event = threading_event_new();
    p->end = threading_event_new();
    p->barrier = threading_barrier_new(2, NULL, NULL);
    TORTURE_CHECK(p->lock && p->rlock && p->condition && p->semaphore && p->event && p->end && p->barrier);
}

static inline void pair_free(struct pair *p)
{
    TORTURE_STATUS(threading_lock_free(p->lock), THREADING_OK);
    TORTURE_STATUS(threading_rlock_free(p->rlock), THREADING_OK);
    TORTURE_STATUS(threading_condition_free(p->condition), THREADING_OK);
    TORTURE_STATUS(threading_semaphore_free(p->semaphore), THREADING_OK);
    TORTURE_STATUS(threading_event_free(p->event), THREADING_OK);
    TORTURE_STATUS(threading_event_free(p->end), THREADING_OK);
    TORTURE_STATUS(threading_barrier_free(p->barrier), THREADING_OK);
}

/* Waits with timeouts; no thread ends these waits. */
static inline void timed_worker(struct worker *worker)
{
    struct pair *p = (struct pair *)worker->shared + worker->number;
    while (scenario_running(worker->scenario)) {
        double seconds = random_one_in(&worker->random, 2) ? random_timeout(&worker->random)
                                                           : (double)random_below(&worker->random, 60000) / 1e6;
        double began = torture_now();
        threading_status status = p->wait_kind->timed(p, seconds);
        double lasted = torture_now() - began;
        if (status != p->wait_kind->timeout_status || lasted < seconds || lasted > seconds + STRESS_LIMIT)
            torture_fail(__FILE__, __LINE__, "%s with a timeout of %.9f s lasted %.9f s and returned %s",
                         p->wait_kind->name, seconds, lasted, threading_status_name(status));
        worker_step(worker);
    }
}

/* Two workers for each pair: the even one waits, the odd one ends the waits. */
static inline void untimed_worker(struct worker *worker)
{
    struct pair *p = (struct pair *)worker->shared + worker->number / 2;
    bool waits = worker->number % 2 == 0;
    for (uint64_t n = 1;; n++) {
        if (waits) {
            while (atomic_load(&p->requested) < n)
                sleep_for(20e-6);
            if (atomic_load(&p->requested) == UINT64_MAX)
                return;
            if (p->wait_kind->untimed != condition_untimed && p->wait_kind->untimed != wait_for_untimed)
                atomic_store(&p->waiting, n);
            threading_status status = p->wait_kind->untimed(p);
            if (status != THREADING_OK || !is_woken(p))
                torture_fail(__FILE__, __LINE__, "%s returned %s %s its wake-up", p->wait_kind->name,
                             threading_status_name(status), is_woken(p) ? "after" : "before");
            atomic_store(&p->finished, n);
            worker_step(worker);
        } else {
            if (!scenario_running(worker->scenario)) {
                atomic_store(&p->requested, UINT64_MAX);
                return;
            }
            if (p->wait_kind->prepare != NULL)
                p->wait_kind->prepare(p);
            atomic_store(&p->requested, n);
            AWAIT_COUNT(&p->waiting, n);
            sleep_for((double)random_below(&worker->random, 5000) / 1e6);
            p->wait_kind->end(p);
            AWAIT_COUNT(&p->finished, n);
        }
    }
}

#endif
