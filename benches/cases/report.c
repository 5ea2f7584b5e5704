/* Dumps of all threads, the owners of locks, and their names. */
#include "../bench.h"

#include <fcntl.h>
#include <stdlib.h>

static bool can_report(const struct peer *peer)
{
    return peer->report.dump != NULL && peer->report.exist();
}

/* ---- dumps ---- */

/* Half of the threads wait for the lock, the others for the event. */
struct sleepers {
    const struct peer *peer;
    void *lock;
    void *event;
};

static void wait_for_end(void *context, int index)
{
    struct sleepers *sleepers = context;
    const struct peer *peer = sleepers->peer;
    if (index % 2 == 0) {
        peer->event.wait(sleepers->event);
        return;
    }
    peer->lock.acquire(sleepers->lock);
    peer->lock.release(sleepers->lock);
}

/* Returns how long a dump takes in a process with this number of waiting threads, and this number of other locks. */
static double measure_dump_of(const struct peer *peer, int threads, long locks)
{
    enum { DUMPS = 200 };
    const double enough = 2e9;
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    check(null >= 0);
    /* They are not freed: the process exits soon. */
    for (long i = 0; i < locks; i++)
        check(peer->lock.new() != NULL);
    struct sleepers sleepers = {.peer = peer, .lock = peer->lock.new(), .event = peer->event.new()};
    peer->lock.acquire(sleepers.lock);
    struct crew *crew = crew_start(threads, wait_for_end, &sleepers);
    /* Until all of them wait. */
    sleep_for(50e6 + 0.2e6 * threads);
    struct batches batches = {0};
    double start = now();
    peer->report.dump(null);
    for (int i = 0; i < DUMPS && now() - start < enough; i++) {
        double before = now();
        peer->report.dump(null);
        batches_add(&batches, (now() - before) / 1e3);
    }
    peer->event.set(sleepers.event);
    peer->lock.release(sleepers.lock);
    crew_join(crew);
    return lower_quintile(&batches);
}

static double measure_dump(const struct peer *peer, const struct bench_case *bench_case)
{
    return measure_dump_of(peer, (int)bench_case->n, 0);
}

static double measure_dump_beside_locks(const struct peer *peer, const struct bench_case *bench_case)
{
    return measure_dump_of(peer, 100, bench_case->n);
}

/* ---- names and owners ---- */

static void *held_lock(const struct peer *peer)
{
    void *lock = peer->lock.new();
    peer->lock.acquire(lock);
    return lock;
}

static void free_held_lock(const struct peer *peer, void *lock)
{
    peer->lock.release(lock);
    peer->lock.free(lock);
}

static bool can_loop(const struct peer *peer)
{
    return peer->baseline || can_report(peer);
}

static double measure_name_memory(const struct peer *peer, const struct bench_case *bench_case)
{
    void **locks = malloc((size_t)bench_case->n * sizeof *locks);
    check(locks != NULL);
    for (long i = 0; i < bench_case->n; i++)
        locks[i] = peer->lock.new();
    double before = resident_bytes();
    for (long i = 0; i < bench_case->n; i++)
        peer->report.set_name_loop(locks[i], 1);
    return (resident_bytes() - before) / (double)bench_case->n;
}

#define DUMP(name_, n_, measure_, what_)                                                                     \
    {.name = name_,                                                                                          \
     .unit = "us",                                                                                           \
     .n = n_,                                                                                                \
     .what = what_,                                                                                          \
     .alone = true,                                                                                          \
     .can = can_report,                                                                                      \
     .measure = measure_}
#define LOOP(name_, loop_, what_)                                                                            \
    {.name = name_,                                                                                          \
     .unit = "ns",                                                                                           \
     .what = what_,                                                                                          \
     .can = can_loop,                                                                                        \
     .loop = offsetof(struct peer, report.loop_),                                                            \
     .prepare = held_lock,                                                                                   \
     .finish = free_held_lock}

const struct bench_case report_cases[] = {
    DUMP("dump.10", 10, measure_dump, "a dump of 10 waiting threads to /dev/null"),
    DUMP("dump.1000", 1000, measure_dump, "a dump of 1000 waiting threads to /dev/null"),
    DUMP("dump.1M-locks", 1000000, measure_dump_beside_locks,
         "a dump of 100 waiting threads to /dev/null, beside a million locks"),
    LOOP("owner.lock", owner_loop, "get the owner of a lock"),
    LOOP("name.set", set_name_loop, "set the name of a lock that has one"),
    {.name = "name.memory",
     .unit = "bytes",
     .what = "resident memory of the name of a lock, with 100,000 names",
     .n = 100000,
     .alone = true,
     .max_rounds = 3,
     .can = can_report,
     .measure = measure_name_memory},
    {0},
};
