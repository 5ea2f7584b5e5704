/* Threads: what it takes to start and join one, and to have one. */
#include "../bench.h"

/* What a thread does: nothing, or wait to be let go. */
struct parking {
    const struct peer *peer;
    void *event;
    atomic_long arrived;
};

void thread_body(void *arg)
{
    struct parking *parking = arg;
    if (parking == NULL)
        return;
    atomic_fetch_add(&parking->arrived, 1);
    parking->peer->event.wait(parking->event);
}

static bool can_start(const struct peer *peer)
{
    return peer->thread.start != NULL;
}

static double measure_start_join(const struct peer *peer, const struct bench_case *bench_case)
{
    enum { BATCHES = 40, BATCH = 25 };
    struct thread_place *place = line_alloc(sizeof *place);
    struct batches batches = {0};
    for (int b = 0; b <= BATCHES; b++) {
        double before = now();
        for (int i = 0; i < BATCH; i++) {
            peer->thread.start(place, NULL);
            peer->thread.join(place);
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
    struct thread_place *places = line_alloc((size_t)bench_case->n * sizeof *places);
    struct batches batches = {0};
    for (int b = 0; b < BURSTS; b++) {
        double before = now();
        for (long i = 0; i < bench_case->n; i++)
            peer->thread.start(&places[i], NULL);
        for (long i = 0; i < bench_case->n; i++)
            peer->thread.join(&places[i]);
        batches_add(&batches, (now() - before) / (double)bench_case->n / 1e3);
    }
    return lower_quintile(&batches);
}

static void park(struct parking *parking, struct thread_place *places, long n)
{
    for (long i = 0; i < n; i++)
        parking->peer->thread.start(&places[i], parking);
    /* Until all have gone to sleep. */
    while (atomic_load(&parking->arrived) < n)
        sleep_for(1e6);
    sleep_for(50e6);
}

static void leave(struct parking *parking, struct thread_place *places, long n)
{
    parking->peer->event.set(parking->event);
    for (long i = 0; i < n; i++)
        parking->peer->thread.join(&places[i]);
    parking->peer->event.clear(parking->event);
    atomic_store(&parking->arrived, 0);
}

static bool can_park(const struct peer *peer)
{
    return can_start(peer) && peer->event.new != NULL;
}

static double measure_memory(const struct peer *peer, const struct bench_case *bench_case)
{
    struct parking parking = {.peer = peer, .event = peer->event.new()};
    struct thread_place *places = line_alloc((size_t)bench_case->n * sizeof *places);
    for (long i = 0; i < bench_case->n; i++)
        places[i] = (struct thread_place){{NULL, NULL}};
    /* What the first thread of all brings along is not counted. */
    park(&parking, places, 1);
    leave(&parking, places, 1);
    double before = resident_bytes();
    park(&parking, places, bench_case->n);
    double bytes = (resident_bytes() - before) / (double)bench_case->n;
    leave(&parking, places, bench_case->n);
    peer->event.free(parking.event);
    return bytes;
}

const struct bench_case thread_cases[] = {
    {.name = "thread.start-join",
     .unit = "us",
     .what = "start a thread that does nothing, and join it",
     .can = can_start,
     .measure = measure_start_join},
    {.name = "thread.burst.1000",
     .unit = "us",
     .what = "start 1000 threads, then join them; of each",
     .n = 1000,
     .can = can_start,
     .measure = measure_burst},
    {.name = "thread.memory",
     .unit = "bytes",
     .what = "resident memory of a thread that waits, of 1000",
     .n = 1000,
     .alone = true,
     .rounds_most = 3,
     .can = can_park,
     .measure = measure_memory},
    {0},
};
