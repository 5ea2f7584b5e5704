/* Threads and timers with an argument destructor that counts its calls. */
#ifndef TEST_DESTRUCTORS_H
#define TEST_DESTRUCTORS_H

#include "test.h"

static atomic_int destroyed;

static inline void count_destroyed(void *value)
{
    (void)value;
    atomic_fetch_add(&destroyed, 1);
}

static inline threading_thread *counted_thread_new(threading_target target, void *arg)
{
    threading_thread *thread = threading_thread_new(target, arg);
    CHECK(thread != NULL);
    CHECK_STATUS(threading_thread_set_arg_destructor(thread, count_destroyed), THREADING_OK);
    return thread;
}

static inline threading_timer *counted_timer_new(double interval, threading_target function, void *arg)
{
    threading_timer *timer = threading_timer_new(interval, function, arg);
    CHECK(timer != NULL);
    CHECK_STATUS(threading_thread_set_arg_destructor(threading_timer_thread(timer), count_destroyed), THREADING_OK);
    return timer;
}

#endif
