/* A thread per timer, which waits on a condition with a timeout: Python's implementation of Timer, in C. */
#include "../bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#define PEER peer_thread_each
#define PEER_NAME "thread each"

static const char *version(void)
{
    return "pthread_cond_timedwait";
}

#define HAS_TIMER
#define MAX_TIMERS 10000
typedef struct {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct timespec deadline;
    bool cancelled;
    void *arg;
} timer;

static void *wait_and_run(void *arg)
{
    timer *t = arg;
    int result = 0;
    check(pthread_mutex_lock(&t->lock) == 0);
    while (!t->cancelled && result == 0)
        result = pthread_cond_timedwait(&t->changed, &t->lock, &t->deadline);
    bool cancelled = t->cancelled;
    check(pthread_mutex_unlock(&t->lock) == 0);
    if (!cancelled) {
        check(result == ETIMEDOUT);
        timer_due(t->arg);
    }
    return NULL;
}

static timer *timer_arm(double seconds, void *arg)
{
    timer *t = calloc(1, sizeof *t);
    check(t != NULL);
    pthread_condattr_t attributes;
    check(pthread_condattr_init(&attributes) == 0);
    check(pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0);
    check(pthread_mutex_init(&t->lock, NULL) == 0 && pthread_cond_init(&t->changed, &attributes) == 0);
    check(pthread_condattr_destroy(&attributes) == 0);
    check(clock_gettime(CLOCK_MONOTONIC, &t->deadline) == 0);
    t->deadline.tv_sec += (time_t)seconds;
    t->deadline.tv_nsec += (long)((seconds - (double)(time_t)seconds) * 1e9);
    t->deadline.tv_sec += t->deadline.tv_nsec / 1000000000;
    t->deadline.tv_nsec %= 1000000000;
    t->arg = arg;
    check(pthread_create(&t->thread, NULL, wait_and_run, t) == 0);
    return t;
}

static void timer_drop(timer *t)
{
    check(pthread_join(t->thread, NULL) == 0);
    check(pthread_cond_destroy(&t->changed) == 0 && pthread_mutex_destroy(&t->lock) == 0);
    free(t);
}

static void timer_cancel(timer *t)
{
    check(pthread_mutex_lock(&t->lock) == 0);
    t->cancelled = true;
    check(pthread_cond_signal(&t->changed) == 0);
    check(pthread_mutex_unlock(&t->lock) == 0);
    timer_drop(t);
}

static void timer_serve(atomic_long *left)
{
    await_zero(left);
}

#include "loops.h"
