/* Measures one round of one case. Loops of some nanoseconds run in batches that alternate between the peers;
 * longer measurements run one peer after the other. */
#include "bench.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static const struct peer *current;

void report_begin(const struct peer *peer)
{
    current = peer;
    printf("begin %s\n", peer->name);
    fflush(stdout);
}

void report_value(const struct peer *peer, double value)
{
    printf("value %.9g %s\n", value, peer->name);
    fflush(stdout);
}

noreturn void check_failed(const char *what, const char *file, int line)
{
    /* The parent attributes a failure to the peer that was reported last. The batches of loops alternate between the
     * peers, and are not reported. */
    if (current != NULL)
        report_begin(current);
    printf("failure %s:%d: check failed: %s\n", file, line, what);
    fflush(stdout);
    _exit(1);
}

static void *sleep_forever(void *arg)
{
    for (;;)
        pause();
    return arg;
}

/* The C library optimizes processes that have never had a second thread. */
static void have_second_thread(void)
{
    pthread_t thread;
    check(pthread_create(&thread, NULL, sleep_forever, NULL) == 0);
    check(pthread_detach(thread) == 0);
}

static double time_batch(batch *loop, void *object, long n)
{
    double before = now();
    loop(object, n);
    return now() - before;
}

struct lane {
    batch *loop;
    void *object;
    long n;
    struct batches batches;
};

/* The duration of a batch: short enough that most batches are not interrupted. */
static const double BATCH_NS = 40e3;
enum { BATCHES = 100, MAX_LANES = 32 };

static void calibrate(struct lane *lane)
{
    /* The first operation of a peer may take long, for example to allocate memory. */
    lane->loop(lane->object, 1);
    lane->n = 1;
    double ns;
    while ((ns = time_batch(lane->loop, lane->object, lane->n)) < BATCH_NS / 2 && lane->n < 1 << 20)
        lane->n *= 2;
    long n = (long)((double)lane->n * BATCH_NS / ns);
    lane->n = n < 1 ? 1 : n;
}

static void measure_loops(const struct bench_case *bench_case, const struct peer *const chosen[], int count)
{
    static struct lane lanes[MAX_LANES];
    check(count <= MAX_LANES);
    for (int i = 0; i < count; i++) {
        report_begin(chosen[i]);
        lanes[i].loop = case_loop(bench_case, chosen[i]);
        lanes[i].object = bench_case->prepare(chosen[i]);
        calibrate(&lanes[i]);
    }
    for (int b = 0; b < BATCHES; b++) {
        for (int i = 0; i < count; i++) {
            struct lane *lane = &lanes[i];
            current = chosen[i];
            lane->loop(lane->object, lane->n / 16 + 1);
            batches_add(&lane->batches, time_batch(lane->loop, lane->object, lane->n) / (double)lane->n);
        }
    }
    for (int i = 0; i < count; i++) {
        current = chosen[i];
        bench_case->finish(chosen[i], lanes[i].object);
        report_value(chosen[i], lower_quintile(&lanes[i].batches));
    }
}

void measure_case(const struct bench_case *bench_case, const struct peer *const chosen[], int count)
{
    have_second_thread();
    for (int i = 0; i < count; i++) {
        if (chosen[i]->begin != NULL)
            chosen[i]->begin();
    }
    if (bench_case->measure == NULL) {
        measure_loops(bench_case, chosen, count);
        return;
    }
    for (int i = 0; i < count; i++) {
        report_begin(chosen[i]);
        report_value(chosen[i], bench_case->measure(chosen[i], bench_case));
    }
}
