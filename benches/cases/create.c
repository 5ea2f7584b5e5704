/* Creating and freeing objects: one after the other, by one thread or by several at the same time. */
#include "../bench.h"

static void *no_object(const struct peer *peer)
{
    (void)peer;
    return NULL;
}

static void no_finish(const struct peer *peer, void *object)
{
    (void)peer;
    (void)object;
}

/* ---- several threads ---- */

enum { OBJECTS = 50000 };

struct creation {
    batch *loop;
    atomic_long waiting; /* threads that have not started yet */
};

static void create_objects(void *context, int index)
{
    struct creation *creation = context;
    (void)index;
    /* What a thread does for its first object is not measured. */
    creation->loop(NULL, 100);
    atomic_fetch_sub(&creation->waiting, 1);
    while (atomic_load(&creation->waiting) > 0)
        sleep_for(1e3);
    creation->loop(NULL, OBJECTS);
}

static bool can_create_locks(const struct peer *peer)
{
    return peer->create.lock != NULL;
}

static bool can_create_semaphores(const struct peer *peer)
{
    return peer->create.semaphore != NULL;
}

/* Returns the time of one object on one core: if the threads do not disturb each other, the time that a single thread
 * needs. */
static double measure_threads(batch *loop, long n)
{
    enum { BATCHES = 20 };
    struct batches batches = {0};
    long running = n < cores() ? n : cores();
    for (int b = 0; b < BATCHES; b++) {
        struct creation creation = {.loop = loop, .waiting = n + 1};
        struct crew *crew = crew_start((int)n, create_objects, &creation);
        while (atomic_load(&creation.waiting) > 1)
            sleep_for(1e4);
        double before = now();
        atomic_fetch_sub(&creation.waiting, 1);
        crew_join(crew);
        batches_add(&batches, (now() - before) * (double)running / (double)(n * OBJECTS));
    }
    return lower_quintile(&batches);
}

static double measure_locks(const struct peer *peer, const struct bench_case *bench_case)
{
    return measure_threads(peer->create.lock, bench_case->n);
}

static double measure_semaphores(const struct peer *peer, const struct bench_case *bench_case)
{
    return measure_threads(peer->create.semaphore, bench_case->n);
}

#define BY_ONE_THREAD(object, text)                                                                          \
    {                                                                                                        \
        .name = "create." #object, .unit = "ns", .what = "create and free " text,                            \
        .loop = offsetof(struct peer, create.object), .prepare = no_object, .finish = no_finish              \
    }
#define BY_THREADS(object, threads, can_create, function)                                                    \
    {                                                                                                        \
        .name = "create." #object "." #threads, .unit = "ns",                                                \
        .what = #threads " threads create and free objects; time per object and core", .n = threads,         \
        .two_cores = true, .can = can_create, .measure = function                                            \
    }

const struct bench_case create_cases[] = {
    BY_ONE_THREAD(lock, "a lock"),
    BY_THREADS(lock, 2, can_create_locks, measure_locks),
    BY_THREADS(lock, 4, can_create_locks, measure_locks),
    BY_ONE_THREAD(rlock, "an RLock"),
    BY_ONE_THREAD(event, "an event"),
    BY_ONE_THREAD(semaphore, "a semaphore"),
    BY_THREADS(semaphore, 2, can_create_semaphores, measure_semaphores),
    BY_THREADS(semaphore, 4, can_create_semaphores, measure_semaphores),
    BY_ONE_THREAD(condition, "a condition with its lock"),
    {0},
};
