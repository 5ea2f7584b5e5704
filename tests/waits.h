/* The kinds of waits, for the tests that neither a signal nor a cancellation ends one: tests/c/signal.c and
 * tests/torture/signals.c.
 *
 * The including file first defines CHECK(condition), CHECK_STATUS(call, status), and WAIT_LIMIT, the time in seconds
 * after which an expected wake-up counts as lost. */
#ifndef TESTS_WAITS_H
#define TESTS_WAITS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include <threading.h>

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
    /* Numbers of waits, the first of which is 1. */
    _Atomic uint64_t requested; /* the wait that may begin; UINT64_MAX after the last */
    _Atomic uint64_t waiting;   /* the wait that has begun */
    _Atomic uint64_t woken;     /* the last wait that was ended */
    _Atomic uint64_t finished;  /* the last wait that has returned */
    unsigned predicate_calls;
};

struct wait_kind {
    const char *name;
    threading_status (*timed)(struct pair *, double seconds); /* a wait that no thread ends */
    threading_status timeout_status;
    threading_status (*untimed)(struct pair *);
    void (*prepare)(struct pair *); /* makes the next untimed wait block; NULL if it does anyway */
    void (*end)(struct pair *);
};

/* The thread that ends a wait records this before it does so; the waiter checks the record after the wait. */
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
        CHECK(is_woken(p));                                                                                            \
        CHECK_STATUS(threading_##kind##_release(p->kind), THREADING_OK);                                               \
        return status;                                                                                                 \
    }                                                                                                                  \
    static inline void kind##_prepare(struct pair *p)                                                                  \
    {                                                                                                                  \
        CHECK_STATUS(threading_##kind##_acquire(p->kind), THREADING_OK);                                               \
    }                                                                                                                  \
    static inline void kind##_end(struct pair *p)                                                                      \
    {                                                                                                                  \
        record_wakeup(p);                                                                                              \
        CHECK_STATUS(threading_##kind##_release(p->kind), THREADING_OK);                                               \
    }

DEFINE_LOCK_WAITS(lock)
DEFINE_LOCK_WAITS(rlock)

/* ------------------------------------------------------------------------------------------------- condition */

static inline threading_status condition_timed(struct pair *p, double seconds)
{
    CHECK_STATUS(threading_condition_acquire(p->condition), THREADING_OK);
    threading_status status = threading_condition_wait_timeout(p->condition, seconds);
    CHECK_STATUS(threading_condition_release(p->condition), THREADING_OK);
    return status;
}

static inline threading_status condition_untimed(struct pair *p)
{
    CHECK_STATUS(threading_condition_acquire(p->condition), THREADING_OK);
    atomic_store(&p->waiting, atomic_load(&p->requested)); /* the wait is queued before the lock is released */
    threading_status status = threading_condition_wait(p->condition);
    CHECK(is_woken(p));
    CHECK_STATUS(threading_condition_release(p->condition), THREADING_OK);
    return status;
}

static inline int pair_is_never_woken(void *arg)
{
    (void)arg;
    return 0;
}

static inline int pair_is_woken(void *arg)
{
    struct pair *p = arg;
    p->predicate_calls++;
    atomic_store(&p->waiting, atomic_load(&p->requested));
    return is_woken(p);
}

static inline threading_status wait_for_timed(struct pair *p, double seconds)
{
    CHECK_STATUS(threading_condition_acquire(p->condition), THREADING_OK);
    threading_status status = threading_condition_wait_for_timeout(p->condition, pair_is_never_woken, NULL, seconds);
    CHECK_STATUS(threading_condition_release(p->condition), THREADING_OK);
    return status;
}

static inline threading_status wait_for_untimed(struct pair *p)
{
    CHECK_STATUS(threading_condition_acquire(p->condition), THREADING_OK);
    p->predicate_calls = 0;
    threading_status status = threading_condition_wait_for(p->condition, pair_is_woken, p);
    CHECK(p->predicate_calls == 2); /* before the wait and after the notify: there are no spurious wakeups */
    CHECK_STATUS(threading_condition_release(p->condition), THREADING_OK);
    return status;
}

static inline void condition_end(struct pair *p)
{
    CHECK_STATUS(threading_condition_acquire(p->condition), THREADING_OK);
    record_wakeup(p);
    CHECK_STATUS(threading_condition_notify(p->condition, 1), THREADING_OK);
    CHECK_STATUS(threading_condition_release(p->condition), THREADING_OK);
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
    CHECK_STATUS(threading_semaphore_release(p->semaphore), THREADING_OK);
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
    CHECK_STATUS(threading_event_clear(p->event), THREADING_OK);
}

static inline void event_end(struct pair *p)
{
    record_wakeup(p);
    CHECK_STATUS(threading_event_set(p->event), THREADING_OK);
}

static inline threading_status barrier_timed(struct pair *p, double seconds)
{
    threading_status status = threading_barrier_wait_timeout(p->barrier, seconds, NULL);
    CHECK_STATUS(threading_barrier_reset(p->barrier), THREADING_OK);
    return status;
}

static inline threading_status barrier_untimed(struct pair *p)
{
    return threading_barrier_wait(p->barrier, NULL);
}

static inline void barrier_end(struct pair *p)
{
    record_wakeup(p);
    CHECK_STATUS(threading_barrier_wait_timeout(p->barrier, WAIT_LIMIT, NULL), THREADING_OK);
}

/* ------------------------------------------------------------------------------ join of threads and of timers */

static inline void *run_until_end(void *arg)
{
    struct pair *p = arg;
    CHECK_STATUS(threading_event_wait(p->end), THREADING_OK);
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
    CHECK(threading_thread_result(p->joined) == p);
    CHECK_STATUS(threading_thread_free(p->joined), THREADING_OK);
    return status;
}

static inline void join_prepare(struct pair *p)
{
    CHECK_STATUS(threading_event_clear(p->end), THREADING_OK);
    p->joined = threading_thread_new(run_until_end, p);
    CHECK_STATUS(threading_thread_start(p->joined), THREADING_OK);
}

static inline void timer_prepare(struct pair *p)
{
    CHECK_STATUS(threading_event_clear(p->end), THREADING_OK);
    threading_timer *timer = threading_timer_new(1e-3, run_until_end, p);
    p->joined = threading_thread_ref(threading_timer_thread(timer));
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
}

static inline void join_end(struct pair *p)
{
    CHECK_STATUS(threading_event_set(p->end), THREADING_OK);
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

/* ---------------------------------------------------------------------------------------------------- objects */

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
    CHECK(p->lock && p->rlock && p->condition && p->semaphore && p->event && p->end && p->barrier);
}

static inline void pair_free(struct pair *p)
{
    CHECK_STATUS(threading_lock_free(p->lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_free(p->rlock), THREADING_OK);
    CHECK_STATUS(threading_condition_free(p->condition), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(p->semaphore), THREADING_OK);
    CHECK_STATUS(threading_event_free(p->event), THREADING_OK);
    CHECK_STATUS(threading_event_free(p->end), THREADING_OK);
    CHECK_STATUS(threading_barrier_free(p->barrier), THREADING_OK);
}

/* Makes all timed waits block until pair_release(), which the same thread must call. */
static inline void pair_hold(struct pair *p)
{
    lock_prepare(p);
    rlock_prepare(p);
    join_prepare(p);
}

static inline void pair_release(struct pair *p)
{
    join_end(p);
    CHECK_STATUS(join_untimed(p), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(p->rlock), THREADING_OK);
    CHECK_STATUS(threading_lock_release(p->lock), THREADING_OK);
}

#endif
