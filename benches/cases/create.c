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

enum { OBJECTS = 300000 };

static bool can_create_locks(const struct peer *peer)
{
    return peer->create.lock != NULL;
}

static bool can_create_semaphores(const struct peer *peer)
{
    return peer->create.semaphore != NULL;
}

static double measure_locks(const struct peer *peer, const struct bench_case *bench_case)
{
    return measure_together(peer->create.lock, NULL, bench_case->n, OBJECTS);
}

static double measure_semaphores(const struct peer *peer, const struct bench_case *bench_case)
{
    return measure_together(peer->create.semaphore, NULL, bench_case->n, OBJECTS);
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
    BY_ONE_THREAD(barrier, "a barrier"),
    BY_ONE_THREAD(local, "a local, or a key of thread-specific data"),
    BY_ONE_THREAD(thread, "a thread that is not started"),
    {0},
};
