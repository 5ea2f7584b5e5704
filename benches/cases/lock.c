/* The lock: uncontended, cold, and contended. */
#include "../bench.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdlib.h>
#include <string.h>

static void *unlocked_lock(const struct peer *peer)
{
    return peer->lock.new();
}

static void free_lock(const struct peer *peer, void *lock)
{
    peer->lock.free(lock);
}

/* A thread that holds a lock. Another thread must hold it, because some peers have reentrant locks. */
struct holder {
    pthread_t thread;
    const struct peer *peer;
    void *lock;
    sem_t held;
    sem_t may_release;
    struct holder *next;
};

static struct holder *holders;

static void *hold_lock(void *arg)
{
    struct holder *holder = arg;
    holder->peer->lock.acquire(holder->lock);
    check(sem_post(&holder->held) == 0);
    while (sem_wait(&holder->may_release) != 0)
        ;
    holder->peer->lock.release(holder->lock);
    return NULL;
}

static void *held_lock(const struct peer *peer)
{
    struct holder *holder = calloc(1, sizeof *holder);
    check(holder != NULL);
    holder->peer = peer;
    holder->lock = peer->lock.new();
    check(sem_init(&holder->held, 0, 0) == 0 && sem_init(&holder->may_release, 0, 0) == 0);
    check(pthread_create(&holder->thread, NULL, hold_lock, holder) == 0);
    while (sem_wait(&holder->held) != 0)
        ;
    holder->next = holders;
    holders = holder;
    return holder->lock;
}

static void free_held_lock(const struct peer *peer, void *lock)
{
    struct holder **link = &holders;
    while ((*link)->lock != lock)
        link = &(*link)->next;
    struct holder *holder = *link;
    *link = holder->next;
    check(sem_post(&holder->may_release) == 0);
    check(pthread_join(holder->thread, NULL) == 0);
    peer->lock.free(lock);
    free(holder);
}

/* ---- many locks that are not in the cache ---- */

static bool can_cold(const struct peer *peer)
{
    return peer->lock.cold != NULL;
}

/* The links are in memory in the order of the walk, so that they are prefetched; the locks are in random
 * order. The next link is read while the lock is held, so that no peer can overlap two iterations. */
static double measure_cold(const struct peer *peer, const struct bench_case *bench_case)
{
    long n = bench_case->n;
    struct cold_link *links = malloc((size_t)n * sizeof *links);
    check(links != NULL);
    for (long i = 0; i < n; i++)
        links[i] = (struct cold_link){.lock = peer->lock.new(), .next = &links[(i + 1) % n]};
    uint64_t random = 88172645463325252u;
    for (long i = n - 1; i > 0; i--) {
        long j = (long)(random_next(&random) % (uint64_t)(i + 1));
        void *other = links[i].lock;
        links[i].lock = links[j].lock;
        links[j].lock = other;
    }
    enum { PASSES = 6, SLICE = 4096 };
    struct batches batches = {0};
    struct cold_link *link = links;
    peer->lock.cold(&link, n);
    for (long walked = 0; walked < PASSES * n; walked += SLICE) {
        double before = now();
        peer->lock.cold(&link, SLICE);
        batches_add(&batches, (now() - before) / SLICE);
    }
    /* They are not freed: the process exits soon, and with some peers that would take long. */
    return lower_quintile(&batches);
}

/* ---- one contended lock ---- */

struct contention_run {
    void (*contend)(struct contender *self);
    struct contention *shared;
    struct contender *contenders;
};

static void contend(void *context, int index)
{
    struct contention_run *run = context;
    run->contend(&run->contenders[index]);
}

static long total_acquires(const struct contender *contenders, long n)
{
    long sum = 0;
    for (long i = 0; i < n; i++)
        sum += atomic_load_explicit(&contenders[i].acquires, memory_order_relaxed);
    return sum;
}

/* Runs bench_case->n threads that contend, and returns the upper quintile of the rates in short windows. */
static double measure_contention(const struct peer *peer, const struct bench_case *bench_case,
                                 struct contender *contenders,
                                 void (*contend_loop)(struct contender *self), int windows)
{
    const double window = 5e6;
    struct contention *shared = cache_line_alloc(sizeof *shared);
    shared->lock = peer->lock.new();
    for (long i = 0; i < bench_case->n; i++)
        contenders[i].shared = shared;
    struct contention_run run = {contend_loop, shared, contenders};
    struct batches batches = {0};
    struct crew *crew = crew_start((int)bench_case->n, contend, &run);
    sleep_for(window);
    double before = now();
    long acquires_before = total_acquires(contenders, bench_case->n);
    for (int i = 0; i < windows; i++) {
        sleep_for(window);
        double after = now();
        long acquires_after = total_acquires(contenders, bench_case->n);
        batches_add(&batches, (double)(acquires_after - acquires_before) / (after - before) * 1e3);
        before = after;
        acquires_before = acquires_after;
    }
    atomic_store(&shared->stop, true);
    crew_join(crew);
    check(shared->counter == (uint64_t)total_acquires(contenders, bench_case->n));
    peer->lock.free(shared->lock);
    return upper_quintile(&batches);
}

static bool can_contend(const struct peer *peer)
{
    return peer->lock.contend != NULL;
}

/* The duration, in windows. It is the same for all peers, because the worst wait grows with it. */
enum { SHORT_WINDOWS = 16, LONG_WINDOWS = 100 };

static double measure_contended(const struct peer *peer, const struct bench_case *bench_case)
{
    struct contender *contenders = cache_line_alloc((size_t)bench_case->n * sizeof *contenders);
    return measure_contention(peer, bench_case, contenders, peer->lock.contend, SHORT_WINDOWS);
}

static double measure_worst_wait(const struct peer *peer, const struct bench_case *bench_case)
{
    struct contender *contenders = cache_line_alloc((size_t)bench_case->n * sizeof *contenders);
    measure_contention(peer, bench_case, contenders, peer->lock.contend_timed, LONG_WINDOWS);
    double worst = 0;
    for (long i = 0; i < bench_case->n; i++) {
        if (contenders[i].worst_wait > worst)
            worst = contenders[i].worst_wait;
    }
    return worst / 1e6;
}

static double measure_share(const struct peer *peer, const struct bench_case *bench_case)
{
    struct contender *contenders = cache_line_alloc((size_t)bench_case->n * sizeof *contenders);
    measure_contention(peer, bench_case, contenders, peer->lock.contend, LONG_WINDOWS);
    long least = contenders[0].acquires;
    long most = contenders[0].acquires;
    for (long i = 1; i < bench_case->n; i++) {
        if (contenders[i].acquires < least)
            least = contenders[i].acquires;
        if (contenders[i].acquires > most)
            most = contenders[i].acquires;
    }
    return 100.0 * (double)least / (double)most;
}

/* ---- with statistics of contention ---- */

static bool can_count_waits(const struct peer *peer)
{
    return peer->report.count_waits != NULL && peer->report.exist();
}

static void *unlocked_counted_lock(const struct peer *peer)
{
    peer->report.count_waits(true);
    return peer->lock.new();
}

static void free_counted_lock(const struct peer *peer, void *lock)
{
    peer->report.count_waits(false);
    peer->lock.free(lock);
}

static double measure_counted(const struct peer *peer, const struct bench_case *bench_case)
{
    peer->report.count_waits(true);
    double rate = measure_contended(peer, bench_case);
    peer->report.count_waits(false);
    return rate;
}

#define LOOP(name_, loop_, prepare_, finish_, what_)                                                         \
    {.name = name_,                                                                                          \
     .unit = "ns",                                                                                           \
     .what = what_,                                                                                          \
     .loop = offsetof(struct peer, lock.loop_),                                                              \
     .prepare = prepare_,                                                                                    \
     .finish = finish_}
#define CONTENDED(threads)                                                                                   \
    {.name = "lock.contended." #threads,                                                                     \
     .unit = "Mops/s",                                                                                       \
     .more_is_better = true,                                                                                 \
     .n = threads,                                                                                           \
     .what = #threads " threads acquire one lock for a few ns each",                                         \
     .can = can_contend,                                                                                     \
     .measure = measure_contended}
#define WORST_WAIT(threads)                                                                                  \
    {.name = "lock.worst-wait." #threads,                                                                    \
     .unit = "ms",                                                                                           \
     .what = "the longest wait of " #threads " threads for one lock",                                        \
     .n = threads,                                                                                           \
     .max_rounds = 3,                                                                                        \
     .can = can_contend,                                                                                     \
     .measure = measure_worst_wait}
#define COUNTED(threads)                                                                                     \
    {.name = "lock.counted." #threads,                                                                       \
     .unit = "Mops/s",                                                                                       \
     .more_is_better = true,                                                                                 \
     .n = threads,                                                                                           \
     .what = #threads " threads contend for one lock, with statistics of contention",                        \
     .can = can_count_waits,                                                                                 \
     .measure = measure_counted}

const struct bench_case lock_cases[] = {
    LOOP("lock.pair", pair, unlocked_lock, free_lock, "acquire and release"),
    LOOP("lock.try-pair", try_pair, unlocked_lock, free_lock, "acquire without blocking, and release"),
    LOOP("lock.try-fails", try_fails, held_lock, free_held_lock,
         "acquire without blocking, while another thread holds it"),
    LOOP("lock.timed", timed_pair, unlocked_lock, free_lock, "acquire with a timeout, and release"),
    {.name = "lock.cold",
     .unit = "ns",
     .what = "acquire and release 131072 locks in random order",
     .n = 131072,
     .can = can_cold,
     .measure = measure_cold},
    CONTENDED(2),
    CONTENDED(4),
    CONTENDED(16),
    CONTENDED(64),
    WORST_WAIT(4),
    WORST_WAIT(16),
    WORST_WAIT(64),
    {.name = "lock.share.64",
     .unit = "%",
     .what = "the fewest acquires of one of 64 threads, relative to the most",
     .more_is_better = true,
     .n = 64,
     .max_rounds = 3,
     .can = can_contend,
     .measure = measure_share},
    {.name = "lock.counted.pair",
     .unit = "ns",
     .what = "acquire and release, with statistics of contention",
     .can = can_count_waits,
     .loop = offsetof(struct peer, lock.pair),
     .prepare = unlocked_counted_lock,
     .finish = free_counted_lock},
    COUNTED(2),
    COUNTED(64),
    {0},
};
