/* Functions of timers. */
#ifndef TEST_TIMER_H
#define TEST_TIMER_H

#include "test.h"

static inline threading_thread *thread_of(threading_timer *timer)
{
    threading_thread *thread = threading_timer_thread(timer);
    CHECK(thread != NULL);
    return thread;
}

static inline void *count(void *arg)
{
    atomic_fetch_add((atomic_int *)arg, 1);
    return arg;
}

static inline void *store_time(void *arg)
{
    *(double *)arg = now();
    return arg;
}

struct busy {
    atomic_int begun;
    threading_event *event;
};

static inline void *begin_and_wait(void *arg)
{
    struct busy *busy = arg;
    atomic_store(&busy->begun, 1);
    return wait_for_event(busy->event);
}

#endif
