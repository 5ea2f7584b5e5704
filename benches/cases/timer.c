/* Timers that run a function once: the cost of arming and cancelling, the lateness, and the memory. */
#include "../bench.h"

#include <math.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The measurements of one timer. */
struct timer_sample {
    double due; /* ns */
    double ran;
    pid_t thread;
    double block; /* ns, how long its function blocks */
    atomic_long *left;
};

void timer_due(void *arg)
{
    struct timer_sample *sample = arg;
    check(sample != NULL /* otherwise it should have been cancelled */);
    sample->ran = now();
    sample->thread = (pid_t)syscall(SYS_gettid);
    if (sample->block > 0)
        sleep_for(sample->block);
    atomic_fetch_sub(sample->left, 1);
}

static bool can_arm(const struct peer *peer)
{
    return peer->timer.arm != NULL;
}

/* Pending timers are due later than those that are armed and cancelled. The latter resemble the timeouts of
 * requests, which nearly always succeed. */
static const double SOON = 600;
static const double LATER_MIN = 1000;
static const double LATER_MAX = 2000;

enum { MAX_PAIR_THREADS = 4 };

static void **arm_many(const struct peer *peer, long n)
{
    uint64_t random = 88172645463325252u;
    void **timers = malloc((size_t)(n + 1) * sizeof *timers);
    check(timers != NULL);
    for (long i = 0; i < n; i++)
        timers[i] = peer->timer.arm(random_between(&random, LATER_MIN, LATER_MAX), NULL);
    return timers;
}

/* ---- arm and cancel ---- */

static double measure_pair(const struct peer *peer, const struct bench_case *bench_case)
{
    const double batch_ns = 100e3;
    const double enough_ns = 100e6;
    double soon = SOON;
    arm_many(peer, bench_case->n);
    struct batches batches = {0};
    double start = now();
    peer->timer.pair(&soon, 50);
    double before = now();
    peer->timer.pair(&soon, 50);
    long n = (long)(batch_ns / ((now() - before) / 50)) + 1;
    while (now() - start < enough_ns || batches.count < 5) {
        before = now();
        peer->timer.pair(&soon, n);
        batches_add(&batches, (now() - before) / (double)n);
    }
    return lower_quintile(&batches);
}

/* Several threads that arm and cancel at the same time. */
struct pair_run {
    const struct peer *peer;
    atomic_int ready;
    atomic_bool stop;
    struct {
        _Alignas(128) atomic_long pairs;
    } counts[MAX_PAIR_THREADS];
};

static void arm_and_cancel(void *context, int index)
{
    enum { SLICE = 20 };
    struct pair_run *run = context;
    double soon = SOON;
    run->peer->timer.pair(&soon, SLICE);
    atomic_fetch_add(&run->ready, 1);
    while (!atomic_load(&run->stop)) {
        run->peer->timer.pair(&soon, SLICE);
        atomic_fetch_add_explicit(&run->counts[index].pairs, SLICE, memory_order_relaxed);
    }
}

static long total_pairs(struct pair_run *run, long threads)
{
    long total = 0;
    for (long i = 0; i < threads; i++)
        total += atomic_load_explicit(&run->counts[i].pairs, memory_order_relaxed);
    return total;
}

/* Returns the upper quintile of the rates of all threads together, in windows of some milliseconds. */
static double measure_pair_threads(const struct peer *peer, const struct bench_case *bench_case)
{
    enum { WINDOWS = 60 };
    const double window_ns = 5e6;
    static struct pair_run run;
    run.peer = peer;
    struct crew *crew = crew_start((int)bench_case->n, arm_and_cancel, &run);
    while (atomic_load(&run.ready) < bench_case->n)
        sleep_for(1e5);
    struct batches rates = {0};
    for (int i = 0; i < WINDOWS; i++) {
        double start = now();
        long before = total_pairs(&run, bench_case->n);
        sleep_for(window_ns);
        long pairs = total_pairs(&run, bench_case->n) - before;
        batches_add(&rates, (double)pairs / (now() - start) * 1e3);
    }
    atomic_store(&run.stop, true);
    crew_join(crew);
    return upper_quintile(&rates);
}

/* Cancels one at random and arms another. */
static void churn(const struct peer *peer, void **timers, long pending, uint64_t *random, long n)
{
    for (long i = 0; i < n; i++) {
        long k = (long)(random_next(random) % (uint64_t)pending);
        peer->timer.cancel(timers[k]);
        timers[k] = peer->timer.arm(random_between(random, LATER_MIN, LATER_MAX), NULL);
    }
}

static double measure_churn(const struct peer *peer, const struct bench_case *bench_case)
{
    const double batch_ns = 1e6;
    const double enough_ns = 150e6;
    uint64_t random = 362436069362436069u;
    void **timers = arm_many(peer, bench_case->n);
    struct batches batches = {0};
    double start = now();
    churn(peer, timers, bench_case->n, &random, 50);
    double before = now();
    churn(peer, timers, bench_case->n, &random, 50);
    long n = (long)(batch_ns / ((now() - before) / 50)) + 1;
    while (now() - start < enough_ns || batches.count < 5) {
        before = now();
        churn(peer, timers, bench_case->n, &random, n);
        batches_add(&batches, (now() - before) / (double)n);
    }
    return lower_quintile(&batches);
}

/* ---- timers that run ---- */

/* Arms n timers that are due between these times from now (ns), and waits until all have run. */
static struct timer_sample *take_timer_samples(const struct peer *peer, long n, double least, double most,
                                               double block)
{
    static atomic_long left;
    uint64_t random = 88172645463325252u;
    struct timer_sample *samples = calloc((size_t)n, sizeof *samples);
    void **timers = malloc((size_t)n * sizeof *timers);
    check(samples != NULL && timers != NULL);
    atomic_store(&left, n);
    double start = now();
    for (long i = 0; i < n; i++) {
        samples[i].due = start + random_between(&random, least, most);
        samples[i].left = &left;
    }
    if (block > 0) {
        samples[0].due = start + least / 2;
        samples[0].block = block;
    }
    for (long i = 0; i < n; i++) {
        double wait = samples[i].due - now();
        timers[i] = peer->timer.arm(wait > 0 ? wait / 1e9 : 0, &samples[i]);
    }
    peer->timer.serve(&left);
    for (long i = 0; i < n; i++)
        peer->timer.drop(timers[i]);
    free(timers);
    return samples;
}

/* Returns a delay that is longer than it takes to arm n timers. */
static double time_to_arm(const struct peer *peer, long n)
{
    enum { PROBE = 100 };
    void *timers[PROBE];
    double before = now();
    for (int i = 0; i < PROBE; i++)
        timers[i] = peer->timer.arm(SOON, NULL);
    double each = (now() - before) / PROBE;
    for (int i = 0; i < PROBE; i++)
        peer->timer.cancel(timers[i]);
    return 100e6 + 3 * each * (double)n;
}

static double measure_burst(const struct peer *peer, const struct bench_case *bench_case)
{
    double due = time_to_arm(peer, bench_case->n);
    struct timer_sample *samples = take_timer_samples(peer, bench_case->n, due, due, 0);
    double last = 0;
    for (long i = 0; i < bench_case->n; i++) {
        double late = samples[i].ran - samples[i].due;
        if (late > last)
            last = late;
    }
    return last / 1e6;
}

static int by_thread(const void *a, const void *b)
{
    pid_t left = ((const struct timer_sample *)a)->thread;
    pid_t right = ((const struct timer_sample *)b)->thread;
    return (left > right) - (left < right);
}

static double measure_burst_threads(const struct peer *peer, const struct bench_case *bench_case)
{
    double due = time_to_arm(peer, bench_case->n);
    struct timer_sample *samples = take_timer_samples(peer, bench_case->n, due, due, 0);
    qsort(samples, (size_t)bench_case->n, sizeof *samples, by_thread);
    long threads = 1;
    for (long i = 1; i < bench_case->n; i++)
        threads += samples[i].thread != samples[i - 1].thread;
    return (double)threads;
}

/* The due times are random, so that they do not fit the granularity of one peer better than that of another. A timer
 * that runs too early, because of the rounding of its peer, counts like one that runs late by the same amount. */
static double lateness(const struct peer *peer, long n, double fraction)
{
    double first = time_to_arm(peer, n);
    struct timer_sample *samples = take_timer_samples(peer, n, first, first + 1e9, 0);
    struct batches late = {0};
    for (long i = 0; i < n; i++)
        batches_add(&late, fabs(samples[i].ran - samples[i].due));
    return batches_quantile(&late, fraction) / 1e3;
}

static double measure_late_p50(const struct peer *peer, const struct bench_case *bench_case)
{
    return lateness(peer, bench_case->n, 0.5);
}

static double measure_late_p99(const struct peer *peer, const struct bench_case *bench_case)
{
    return lateness(peer, bench_case->n, 0.99);
}

static double measure_blocked(const struct peer *peer, const struct bench_case *bench_case)
{
    const double block = 300e6;
    struct timer_sample *samples = take_timer_samples(peer, bench_case->n + 1, 50e6, 50e6 + block * 0.8, block);
    double worst = 0;
    for (long i = 1; i <= bench_case->n; i++) {
        double late = samples[i].ran - samples[i].due;
        if (late > worst)
            worst = late;
    }
    return worst / 1e6;
}

/* ---- memory ---- */

static double measure_memory(const struct peer *peer, const struct bench_case *bench_case)
{
    long n = peer->timer.max_pending < bench_case->n ? peer->timer.max_pending : bench_case->n;
    void **timers = malloc((size_t)n * sizeof *timers);
    check(timers != NULL);
    for (long i = 0; i < n; i++)
        timers[i] = NULL;
    peer->timer.cancel(peer->timer.arm(SOON, NULL));
    sleep_for(20e6);
    double before = resident_bytes();
    uint64_t random = 88172645463325252u;
    for (long i = 0; i < n; i++)
        timers[i] = peer->timer.arm(random_between(&random, LATER_MIN, LATER_MAX), NULL);
    sleep_for(100e6);
    return (resident_bytes() - before) / (double)n;
}

static bool can_arm_in_threads(const struct peer *peer)
{
    return peer->timer.arm != NULL && peer->timer.any_thread;
}

static bool can_pend_10k(const struct peer *peer)
{
    return peer->timer.max_pending >= 10000;
}

static bool can_pend_1m(const struct peer *peer)
{
    return peer->timer.max_pending >= 1000000;
}

#define PENDING(name_, n_, can_, what_, measure_)                                                            \
    {.name = name_,                                                                                          \
     .unit = "ns",                                                                                           \
     .n = n_,                                                                                                \
     .what = what_,                                                                                          \
     .alone = true,                                                                                          \
     .max_rounds = 3,                                                                                       \
     .can = can_,                                                                                            \
     .measure = measure_}

#define PAIR_THREADS(name_, n_, what_)                                                                       \
    {.name = name_,                                                                                          \
     .unit = "Mpairs/s",                                                                                     \
     .n = n_,                                                                                                \
     .what = what_,                                                                                          \
     .more_is_better = true,                                                                                 \
     .alone = true,                                                                                          \
     .max_rounds = 3,                                                                                        \
     .can = can_arm_in_threads,                                                                              \
     .measure = measure_pair_threads}

const struct bench_case timer_cases[] = {
    PENDING("timer.pair.0", 0, can_arm, "arm and cancel, no pending timers", measure_pair),
    PENDING("timer.pair.10k", 10000, can_pend_10k, "arm and cancel, 10,000 pending timers", measure_pair),
    PENDING("timer.pair.1M", 1000000, can_pend_1m, "arm and cancel, a million pending timers", measure_pair),
    PAIR_THREADS("timer.pair.threads1", 1, "one thread that arms and cancels, no pending timers"),
    PAIR_THREADS("timer.pair.threads4", 4, "four threads that arm and cancel at the same time"),
    PENDING("timer.churn.10k", 10000, can_pend_10k,
            "cancel a random one of 10,000 pending timers, and arm another", measure_churn),
    PENDING("timer.churn.1M", 1000000, can_pend_1m,
            "cancel a random one of a million pending timers, and arm another", measure_churn),
    {.name = "timer.burst.10k",
     .unit = "ms",
     .what = "10,000 timers with the same due time, until all have run",
     .n = 10000,
     .alone = true,
     .max_rounds = 3,
     .can = can_pend_10k,
     .measure = measure_burst},
    {.name = "timer.burst-threads.10k",
     .unit = "threads",
     .what = "the number of threads in which those 10,000 run",
     .n = 10000,
     .alone = true,
     .max_rounds = 1,
     .can = can_pend_10k,
     .measure = measure_burst_threads},
    {.name = "timer.late.p50",
     .unit = "us",
     .what = "median lateness (or earliness) of 1000 timers with random due times",
     .n = 1000,
     .alone = true,
     .max_rounds = 3,
     .can = can_arm,
     .measure = measure_late_p50},
    {.name = "timer.late.p99",
     .unit = "us",
     .what = "99th percentile of the same",
     .n = 1000,
     .alone = true,
     .max_rounds = 3,
     .can = can_arm,
     .measure = measure_late_p99},
    {.name = "timer.blocked",
     .unit = "ms",
     .what = "maximum lateness of 20 timers while the function of another takes 300 ms",
     .n = 20,
     .alone = true,
     .max_rounds = 3,
     .can = can_arm,
     .measure = measure_blocked},
    {.name = "timer.memory",
     .unit = "bytes",
     .what = "resident memory per pending timer, with at most 100,000",
     .n = 100000,
     .alone = true,
     .max_rounds = 2,
     .can = can_arm,
     .measure = measure_memory},
    {0},
};
