/* The longest wait for a lock that other threads acquire again and again without a pause. */
#ifndef STRESS_FAIRNESS_H
#define STRESS_FAIRNESS_H

#include "stress.h"

/* A wait of this many seconds is starvation. A contended lock is handed off to the longest waiter about once per
 * millisecond, so with 64 threads a wait takes up to a tenth of a second; the rest is for busy machines and slow
 * tools. With an unfair lock some threads would wait indefinitely. */
#define STARVATION_LIMIT 30.0

/* Number of acquisitions that each thread must have made before the measurement may end. */
enum { MIN_ACQUISITIONS = 4 };

struct contention {
    threading_lock *lock;
    uint64_t hold_iterations; /* iterations of a loop with the lock held */
    atomic_bool stop;
    struct contender {
        _Atomic double waiting_since; /* start of the current wait; 0 if the thread is not waiting */
        _Atomic uint64_t acquisitions;
        double longest;
    } threads[MAX_TEAM];
};

static inline void contention_worker(struct worker *worker)
{
    struct contention *contention = worker->shared;
    struct contender *self = &contention->threads[worker->number];
    while (!atomic_load_explicit(&contention->stop, memory_order_relaxed)) {
        double began = now();
        atomic_store_explicit(&self->waiting_since, began, memory_order_relaxed);
        TORTURE_STATUS(threading_lock_acquire(contention->lock), THREADING_OK);
        double waited = now() - began;
        atomic_store_explicit(&self->waiting_since, 0, memory_order_relaxed);
        atomic_fetch_add_explicit(&self->acquisitions, 1, memory_order_relaxed);
        if (waited > self->longest)
            self->longest = waited;
        spin(contention->hold_iterations);
        TORTURE_STATUS(threading_lock_release(contention->lock), THREADING_OK);
        worker_step(worker);
    }
}

/* Returns true if all threads have made enough acquisitions; fails if one starves. */
static inline bool all_have_acquired(struct contention *contention, unsigned threads)
{
    bool all = true;
    for (unsigned i = 0; i < threads; i++) {
        double since = atomic_load(&contention->threads[i].waiting_since), waited = now() - since;
        if (since != 0 && waited > STARVATION_LIMIT)
            torture_fail(__FILE__, __LINE__,
                         "one of %u threads starves: it has waited %.1f s for a contended lock, after %" PRIu64
                         " acquisitions",
                         threads, waited, atomic_load(&contention->threads[i].acquisitions));
        all = all && atomic_load(&contention->threads[i].acquisitions) >= MIN_ACQUISITIONS;
    }
    return all;
}

/* Returns the longest wait of any thread of the scenario, in seconds. */
static inline double longest_wait(struct scenario *scenario, uint64_t hold_iterations)
{
    struct contention *contention = calloc(1, sizeof *contention);
    struct team *team = malloc(sizeof *team);
    double longest = 0;
    TORTURE_CHECK(contention != NULL && team != NULL);
    contention->lock = threading_lock_new();
    contention->hold_iterations = hold_iterations;
    team_start(team, scenario, scenario->threads, contention_worker, contention);
    while (!all_have_acquired(contention, scenario->threads) || scenario_running(scenario))
        sleep_for(0.01);
    atomic_store(&contention->stop, true);
    team_join(team);
    for (unsigned i = 0; i < scenario->threads; i++)
        if (contention->threads[i].longest > longest)
            longest = contention->threads[i].longest;
    TORTURE_STATUS(threading_lock_free(contention->lock), THREADING_OK);
    free(team);
    free(contention);
    return longest;
}

#endif
