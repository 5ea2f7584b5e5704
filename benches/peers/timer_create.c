/* POSIX timers that call a function in a thread: the C library creates a thread for each expired timer. */
#include "../bench.h"

#include <signal.h>
#include <time.h>

#define PEER peer_timer_create
#define PEER_NAME "timer_create"

static const char *version(void)
{
    return "SIGEV_THREAD";
}

/* Each timer counts towards the system's limit of queued signals. */
#define HAS_TIMER
#define MAX_TIMERS 10000
typedef void timer; /* a timer_t */

static void due(union sigval value)
{
    timer_due(value.sival_ptr);
}

static timer *timer_arm(double seconds, void *arg)
{
    struct sigevent event = {
        .sigev_notify = SIGEV_THREAD, .sigev_value.sival_ptr = arg, .sigev_notify_function = due};
    timer_t id;
    check(timer_create(CLOCK_MONOTONIC, &event, &id) == 0);
    struct itimerspec when = {
        .it_value = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9) | 1}};
    check(timer_settime(id, 0, &when, NULL) == 0);
    return id;
}

static void timer_cancel(timer *t)
{
    check(timer_delete(t) == 0);
}

static void timer_drop(timer *t)
{
    timer_cancel(t);
}

static void timer_serve(atomic_long *left)
{
    await_zero(left);
}

#include "loops.h"
