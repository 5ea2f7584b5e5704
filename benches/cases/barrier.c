/* The barrier: the duration of a round. */
#include "../bench.h"

#include <limits.h>

struct rounds {
    const struct peer *peer;
    void *barrier;
    /* The number of the last round, stored before it begins: see pingpong.c. */
    atomic_long last;
    struct batches batches;
};

static long pass(struct rounds *rounds, long passed, long n)
{
    for (long i = 0; i < n; i++)
        rounds->peer->barrier.wait(rounds->barrier);
    return passed + n;
}

/* The other parties only wait; the main thread measures. */
static void other_party(void *context, int index)
{
    (void)index;
    struct rounds *rounds = context;
    long passed = 0;
    do {
        rounds->peer->barrier.wait(rounds->barrier);
    } while (++passed != atomic_load_explicit(&rounds->last, memory_order_relaxed));
}

static double measure_barrier(const struct peer *peer, const struct bench_case *bench_case)
{
    const double batch_ns = 2e6;
    enum { WARM = 20, BATCHES = 40 };
    struct rounds rounds = {
        .peer = peer, .barrier = peer->barrier.new((unsigned)bench_case->n), .last = LONG_MAX};
    struct crew *crew = crew_start((int)bench_case->n - 1, other_party, &rounds);
    long passed = pass(&rounds, 0, WARM);
    double before = now();
    passed = pass(&rounds, passed, WARM);
    long n = (long)(batch_ns * WARM / (now() - before)) + 1;
    for (int i = 0; i < BATCHES; i++) {
        before = now();
        passed = pass(&rounds, passed, n);
        batches_add(&rounds.batches, (now() - before) / (double)n / 1e3);
    }
    atomic_store_explicit(&rounds.last, passed + 1, memory_order_relaxed);
    pass(&rounds, passed, 1);
    crew_join(crew);
    peer->barrier.free(rounds.barrier);
    return lower_quintile(&rounds.batches);
}

static bool can_wait(const struct peer *peer)
{
    return peer->barrier.wait != NULL;
}

#define BARRIER(parties)                                                                                     \
    {.name = "barrier." #parties,                                                                            \
     .unit = "us",                                                                                           \
     .n = parties,                                                                                           \
     .what = "a round of " #parties " threads",                                                              \
     .can = can_wait,                                                                                        \
     .measure = measure_barrier}

const struct bench_case barrier_cases[] = {BARRIER(2), BARRIER(8), BARRIER(32), {0}};
