/* The semaphore, and the bounded buffer, its most common use. */
#include "pingpong.h"

static void *new_semaphore(const struct peer *peer)
{
    return peer->semaphore.new(0);
}

static void free_semaphore(const struct peer *peer, void *semaphore)
{
    peer->semaphore.free(semaphore);
}

static bool can_wait(const struct peer *peer)
{
    return peer->semaphore.acquire != NULL && !peer->baseline;
}

static void semaphore_turn(struct pingpong *game, int side)
{
    const struct peer *peer = game->peer;
    if (side == 0)
        peer->semaphore.release(game->objects[1]);
    peer->semaphore.acquire(game->objects[side]);
    if (side == 1)
        peer->semaphore.release(game->objects[0]);
}

static double measure_pingpong(const struct peer *peer, const struct bench_case *bench_case)
{
    struct pingpong game = {
        .turn = semaphore_turn,
        .peer = peer,
        .objects = {peer->semaphore.new(0), peer->semaphore.new(0)},
    };
    double us = pingpong_measure(&game, bench_case->two_cores);
    peer->semaphore.free(game.objects[0]);
    peer->semaphore.free(game.objects[1]);
    return us;
}

/* ---- bounded buffer ---- */

/* The item after which a consumer exits. */
#define LAST_ITEM 0ul

struct worker {
    alignas(CACHE_LINE) atomic_long passed;
    unsigned long sum;
};

struct factory {
    const struct peer *peer;
    void *buffer;
    long each; /* the number of producers, and of consumers */
    atomic_bool stop;
    struct worker *producers;
    struct worker *consumers;
};

static void produce(void *context, int index)
{
    struct factory *factory = context;
    struct worker *self = &factory->producers[index];
    unsigned long item = LAST_ITEM;
    while (!atomic_load_explicit(&factory->stop, memory_order_relaxed)) {
        factory->peer->buffer.put(factory->buffer, ++item);
        self->sum += item;
    }
}

static void consume(void *context, int index)
{
    struct factory *factory = context;
    struct worker *self = &factory->consumers[index];
    long passed = 0;
    unsigned long item;
    while ((item = factory->peer->buffer.get(factory->buffer)) != LAST_ITEM) {
        self->sum += item;
        atomic_store_explicit(&self->passed, ++passed, memory_order_relaxed);
    }
}

static long passed_all(const struct factory *factory)
{
    long sum = 0;
    for (long i = 0; i < factory->each; i++)
        sum += atomic_load_explicit(&factory->consumers[i].passed, memory_order_relaxed);
    return sum;
}

static bool can_buffer(const struct peer *peer)
{
    return peer->buffer.new != NULL;
}

static double measure_buffer(const struct peer *peer, const struct bench_case *bench_case)
{
    const double window = 5e6;
    enum { WINDOWS = 30 };
    size_t size = (size_t)bench_case->n * sizeof(struct worker);
    struct factory factory = {.peer = peer,
                              .buffer = peer->buffer.new(),
                              .each = bench_case->n,
                              .producers = cache_line_alloc(size),
                              .consumers = cache_line_alloc(size)};
    struct crew *consumers = crew_start((int)bench_case->n, consume, &factory);
    struct crew *producers = crew_start((int)bench_case->n, produce, &factory);
    sleep_for(window);
    struct batches batches = {0};
    double before = now();
    long passed_before = passed_all(&factory);
    for (int i = 0; i < WINDOWS; i++) {
        sleep_for(window);
        double after = now();
        long passed_after = passed_all(&factory);
        batches_add(&batches, (double)(passed_after - passed_before) / (after - before) * 1e3);
        before = after;
        passed_before = passed_after;
    }
    atomic_store(&factory.stop, true);
    crew_join(producers);
    for (long i = 0; i < bench_case->n; i++)
        peer->buffer.put(factory.buffer, LAST_ITEM);
    crew_join(consumers);
    unsigned long put = 0;
    unsigned long got = 0;
    for (long i = 0; i < bench_case->n; i++) {
        put += factory.producers[i].sum;
        got += factory.consumers[i].sum;
    }
    check(put == got);
    peer->buffer.free(factory.buffer);
    return upper_quintile(&batches);
}

const struct bench_case semaphore_cases[] = {
    {.name = "semaphore.pair",
     .unit = "ns",
     .what = "release and acquire",
     .loop = offsetof(struct peer, semaphore.pair),
     .prepare = new_semaphore,
     .finish = free_semaphore},
    {.name = "semaphore.pingpong.1core",
     .unit = "us",
     .what = "release a semaphore for another thread and wait for its reply, on one core",
     .can = can_wait,
     .measure = measure_pingpong},
    {.name = "semaphore.pingpong.2cores",
     .unit = "us",
     .what = "release a semaphore for another thread and wait for its reply, on two cores",
     .two_cores = true,
     .can = can_wait,
     .measure = measure_pingpong},
    {.name = "semaphore.buffer.1x1",
     .unit = "Mitem/s",
     .what = "a bounded buffer between 1 producer and 1 consumer",
     .more_is_better = true,
     .n = 1,
     .can = can_buffer,
     .measure = measure_buffer},
    {.name = "semaphore.buffer.4x4",
     .unit = "Mitem/s",
     .what = "a bounded buffer between 4 producers and 4 consumers",
     .more_is_better = true,
     .n = 4,
     .can = can_buffer,
     .measure = measure_buffer},
    {0},
};
