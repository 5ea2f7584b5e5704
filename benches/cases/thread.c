/* Threads: the time to start and join one, and its memory. */
#include "../bench.h"

/* A thread either returns immediately or waits for the event. */
struct parked_threads {
    const struct peer *peer;
    void *event;
    atomic_long arrived;
};

void thread_body(void *arg)
{
    struct parked_threads *parked = arg;
    if (parked == NULL)
        return;
    atomic_fetch_add(&parked->arrived, 1);
    parked->peer->event.wait(parked->event);
}

static bool can_start(const struct peer *peer)
{
    return peer->thread.start != NULL;
}

static double measure_start_join(const struct peer *peer, const struct bench_case *bench_case)
{
    enum { BATCHES = 40, BATCH = 25 };
    struct thread_storage *storage = cache_line_alloc(sizeof *storage);
    struct batches batches = {0};
    for (int b = 0; b <= BATCHES; b++) {
        double before = now();
        for (int i = 0; i < BATCH; i++) {
            peer->thread.start(storage, NULL);
            peer->thread.join(storage);
        }
        if (b > 0)
            batches_add(&batches, (now() - before) / BATCH / 1e3);
    }
    (void)bench_case;
    return lower_quintile(&batches);
}

static double measure_burst(const struct peer *peer, const struct bench_case *bench_case)
{
    enum { BURSTS = 5 };
    struct thread_storage *storages = cache_line_alloc((size_t)bench_case->n * sizeof *storages);
    struct batches batches = {0};
    for (int b = 0; b < BURSTS; b++) {
        double before = now();
        for (long i = 0; i < bench_case->n; i++)
            peer->thread.start(&storages[i], NULL);
        for (long i = 0; i < bench_case->n; i++)
            peer->thread.join(&storages[i]);
        batches_add(&batches, (now() - before) / (double)bench_case->n / 1e3);
    }
    return lower_quintile(&batches);
}

static void park(struct parked_threads *parked, struct thread_storage *storages, long n)
{
    for (long i = 0; i < n; i++)
        parked->peer->thread.start(&storages[i], parked);
    /* Wait until all are asleep. */
    while (atomic_load(&parked->arrived) < n)
        sleep_for(1e6);
    sleep_for(50e6);
}

static void unpark_and_join(struct parked_threads *parked, struct thread_storage *storages, long n)
{
    parked->peer->event.set(parked->event);
    for (long i = 0; i < n; i++)
        parked->peer->thread.join(&storages[i]);
    parked->peer->event.clear(parked->event);
    atomic_store(&parked->arrived, 0);
}

static bool can_park(const struct peer *peer)
{
    return can_start(peer) && peer->event.new != NULL;
}

static double measure_memory(const struct peer *peer, const struct bench_case *bench_case)
{
    struct parked_threads parked = {.peer = peer, .event = peer->event.new()};
    struct thread_storage *storages = cache_line_alloc((size_t)bench_case->n * sizeof *storages);
    for (long i = 0; i < bench_case->n; i++)
        storages[i] = (struct thread_storage){{NULL, NULL}};
    /* What the first thread allocates once for all threads is not counted. */
    park(&parked, storages, 1);
    unpark_and_join(&parked, storages, 1);
    double before = resident_bytes();
    park(&parked, storages, bench_case->n);
    double bytes = (resident_bytes() - before) / (double)bench_case->n;
    unpark_and_join(&parked, storages, bench_case->n);
    peer->event.free(parked.event);
    return bytes;
}

const struct bench_case thread_cases[] = {
    {.name = "thread.start-join",
     .unit = "us",
     .what = "start a thread that returns immediately, and join it",
     .can = can_start,
     .measure = measure_start_join},
    {.name = "thread.burst.1000",
     .unit = "us",
     .what = "start 1000 threads, then join them; time per thread",
     .n = 1000,
     .can = can_start,
     .measure = measure_burst},
    {.name = "thread.memory",
     .unit = "bytes",
     .what = "resident memory per thread, with 1000 waiting threads",
     .n = 1000,
     .alone = true,
     .max_rounds = 3,
     .can = can_park,
     .measure = measure_memory},
    {0},
};
