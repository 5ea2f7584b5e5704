/* The processor time of a process that only waits. */
#include "../bench.h"

#include <time.h>

struct waiters {
    const struct peer *peer;
    void *event;
    void *lock;
    void *condition;
    bool woken; /* guarded by the lock */
};

/* Half of them wait for the event, half on the condition. */
static void wait_for_end(void *context, int index)
{
    struct waiters *waiters = context;
    const struct peer *peer = waiters->peer;
    if (index % 2 == 0) {
        peer->event.wait(waiters->event);
        return;
    }
    peer->lock.acquire(waiters->lock);
    while (!waiters->woken)
        peer->condition.wait(waiters->condition, waiters->lock);
    peer->lock.release(waiters->lock);
}

static double processor_time(void)
{
    struct timespec t;
    check(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t) == 0);
    return (double)t.tv_sec * 1e6 + (double)t.tv_nsec / 1e3;
}

static double measure_idle(const struct peer *peer, const struct bench_case *bench_case)
{
    enum { TIMERS = 100 };
    void *timers[TIMERS];
    struct waiters waiters = {.peer = peer};
    struct crew *crew = NULL;
    if (peer->timer.arm != NULL) {
        for (int i = 0; i < TIMERS; i++)
            timers[i] = peer->timer.arm(1000 + i, NULL);
    }
    if (peer->event.wait != NULL) {
        waiters.event = peer->event.new();
        waiters.lock = peer->lock.new();
        waiters.condition = peer->condition.new(waiters.lock);
        crew = crew_start((int)bench_case->n, wait_for_end, &waiters);
    }
    sleep_for(100e6);
    double before = processor_time();
    sleep_for(2e9);
    double used = processor_time() - before;
    if (crew != NULL) {
        peer->event.set(waiters.event);
        peer->lock.acquire(waiters.lock);
        waiters.woken = true;
        peer->condition.notify_all(waiters.condition);
        peer->lock.release(waiters.lock);
        crew_join(crew);
    }
    for (int i = 0; peer->timer.arm != NULL && i < TIMERS; i++)
        peer->timer.cancel(timers[i]);
    return used;
}

static bool can_idle(const struct peer *peer)
{
    return !peer->baseline && (peer->timer.arm != NULL || peer->condition.wait != NULL);
}

const struct bench_case idle_cases[] = {
    {.name = "idle",
     .unit = "us",
     .what = "processor time in 2 s with 100 timers pending and 20 threads waiting",
     .n = 20,
     .alone = true,
     .max_rounds = 3,
     .can = can_idle,
     .measure = measure_idle},
    {0},
};
