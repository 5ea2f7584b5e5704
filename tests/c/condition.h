/* Conditions, and threads that wait for a notify. */
#ifndef TEST_CONDITION_H
#define TEST_CONDITION_H

#include "test.h"

#include "../broadcasts.h"

static bool parks_together; /* whether the waiters of new conditions park together, as after several broadcasts */

static inline threading_condition *prepared(threading_condition *condition)
{
    CHECK(condition != NULL);
    if (parks_together)
        expect_broadcasts(condition);
    return condition;
}

static inline threading_condition *new_condition(void)
{
    return prepared(threading_condition_new());
}

static inline void free_condition(threading_condition *condition)
{
    CHECK_STATUS(threading_condition_free(condition), THREADING_OK);
}

static inline void acquire(threading_condition *condition)
{
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
}

static inline void release(threading_condition *condition)
{
    CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
}

static inline void notify(threading_condition *condition, int64_t n)
{
    acquire(condition);
    CHECK_STATUS_KEEPS_ERROR(threading_condition_notify(condition, n), THREADING_OK);
    release(condition);
}

/* A thread that waits on the condition, and what its wait returned. */
struct waiter {
    threading_condition *condition;
    double seconds, start;
    atomic_int waiting, done;
    threading_status status;
    threading_thread *thread;
};

static inline void *wait_once(void *arg)
{
    struct waiter *w = arg;
    acquire(w->condition);
    w->start = now();
    atomic_store(&w->waiting, 1);
    w->status = threading_condition_wait_timeout(w->condition, w->seconds);
    CHECK(threading_condition_is_owned(w->condition));
    atomic_store(&w->done, 1);
    release(w->condition);
    return NULL;
}

/* Returns when the thread waits: it sets `waiting` with the lock held, and releases the lock only in its wait. */
static inline void start_waiter(struct waiter *w, threading_condition *condition, double seconds)
{
    *w = (struct waiter){.condition = condition, .seconds = seconds};
    w->thread = spawn(wait_once, w);
    wait_until(is_nonzero, &w->waiting);
    acquire(condition);
    release(condition);
}

static inline void finish_waiter(struct waiter *w, threading_status status)
{
    join(w->thread);
    CHECK_RESULT(w->status, status);
}

static inline threading_status acquire_and_release(void *condition)
{
    acquire(condition);
    release(condition);
    return THREADING_OK;
}

/* Two threads that alternate, or of which one waits when `played` is 1. */
struct alternation {
    threading_condition *condition;
    int turns, played;
    double seconds;
};

#endif
