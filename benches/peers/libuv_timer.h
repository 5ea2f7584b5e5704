/* libuv's timers, for two peers. They differ in how many timers are closed per iteration of the loop:
 * CLOSED_PER_TURN. */
#include <math.h>
#include <stdlib.h>
#include <uv.h>

#define HAS_TIMER
#define MAX_TIMERS 1000000
#define TIMERS_IN_ANY_THREAD false
typedef uv_timer_t timer;

static uv_loop_t loop;

#define HAS_BEGIN
static void begin(void)
{
    check(uv_loop_init(&loop) == 0);
}

static void due(uv_timer_t *t)
{
    timer_due(t->data);
}

static void free_timer(uv_handle_t *handle)
{
    free(handle);
}

static timer *timer_arm(double seconds, void *arg)
{
    timer *t = malloc(sizeof *t);
    check(t != NULL && uv_timer_init(&loop, t) == 0);
    t->data = arg;
    check(uv_timer_start(t, due, (uint64_t)ceil(seconds * 1e3), 0) == 0);
    return t;
}

static void timer_cancel(timer *t)
{
    static unsigned closed;
    uv_close((uv_handle_t *)t, free_timer);
    if (++closed % CLOSED_PER_TURN == 0)
        uv_run(&loop, UV_RUN_NOWAIT);
}

static void timer_drop(timer *t)
{
    timer_cancel(t);
}

static void timer_serve(atomic_long *left)
{
    while (atomic_load(left) > 0)
        check(uv_run(&loop, UV_RUN_ONCE) != 0 || atomic_load(left) == 0);
}
