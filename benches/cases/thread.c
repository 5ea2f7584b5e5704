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

static void start_and_join(const struct peer *peer, struct thread_storage *storage, long n)
{
    for (; n > 0; n--) {
        peer->thread.start(storage, NULL);
        peer->thread.join(storage);
    }
}

static struct batches start_join_batches(const struct peer *peer, int count)
{
    enum { BATCH = 25 };
    struct thread_storage *storage = cache_line_alloc(sizeof *storage);
    struct batches batches = {0};
    for (int b = 0; b <= count; b++) {
        double before = now();
        start_and_join(peer, storage, BATCH);
        if (b > 0)
            batches_add(&batches, (now() - before) / BATCH / 1e3);
    }
    return batches;
}

static double measure_start_join(const struct peer *peer, const struct bench_case *bench_case)
{
    struct batches batches = start_join_batches(peer, 40);
    (void)bench_case;
    return lower_quintile(&batches);
}

/* The kernel chooses a CPU for each new thread: that of its creator, where the thread runs when its creator waits, or
 * another one, which has to be woken up. The choice depends on whether the previous thread is completely gone, and may
 * be the same for many threads. So this is the median of many threads, in a process of their own. */
static double measure_start_join_unpinned(const struct peer *peer, const struct bench_case *bench_case)
{
    struct batches batches = start_join_batches(peer, 200);
    (void)bench_case;
    return batches_quantile(&batches, 0.5);
}

/* Several threads that start and join others at the same time. */
struct starters {
    const struct peer *peer;
    atomic_long waiting; /* starters that have not begun yet, and the thread that measures */
};

enum { STARTS = 100 };

static void start_and_join_many(void *context, int index)
{
    struct starters *starters = context;
    struct thread_storage storage = {{NULL, NULL}};
    (void)index;
    /* What the first thread of a starter allocates is not measured. */
    start_and_join(starters->peer, &storage, 10);
    atomic_fetch_sub(&starters->waiting, 1);
    while (atomic_load(&starters->waiting) > 0)
        sleep_for(1e3);
    start_and_join(starters->peer, &storage, STARTS);
}

/* Returns the median of the time per thread, of all starters together. */
static double measure_starters(const struct peer *peer, const struct bench_case *bench_case)
{
    enum { BATCHES = 40 };
    struct batches batches = {0};
    for (int b = 0; b < BATCHES; b++) {
        struct starters starters = {.peer = peer, .waiting = bench_case->n + 1};
        struct crew *crew = crew_start((int)bench_case->n, start_and_join_many, &starters);
        while (atomic_load(&starters.waiting) > 1)
            sleep_for(1e4);
        double before = now();
        atomic_fetch_sub(&starters.waiting, 1);
        crew_join(crew);
        batches_add(&batches, (now() - before) / (double)(bench_case->n * STARTS) / 1e3);
    }
    return batches_quantile(&batches, 0.5);
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
    {.name = "thread.start-join.unpinned",
     .unit = "us",
     .what = "the same, the median of many, in a process of its own",
     .alone = true,
     .can = can_start,
     .measure = measure_start_join_unpinned},
    {.name = "thread.start-join.threads2",
     .unit = "us",
     .what = "2 threads start and join others; time per thread",
     .n = 2,
     .two_cores = true,
     .alone = true,
     .can = can_start,
     .measure = measure_starters},
    {.name = "thread.start-join.threads4",
     .unit = "us",
     .what = "4 threads start and join others; time per thread",
     .n = 4,
     .two_cores = true,
     .alone = true,
     .can = can_start,
     .measure = measure_starters},
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
