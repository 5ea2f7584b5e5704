/* The longest wait for a lock that others take again and again without a pause. */
#ifndef STRESS_FAIRNESS_H
#define STRESS_FAIRNESS_H

#include "stress.h"

/* Nobody may wait so long. A contended lock is handed to the one that has waited longest about every
 * millisecond, so that with 64 threads it takes a tenth of a second; the rest is for busy machines and slow
 * tools. A lock that forgets who has waited longest lets some threads wait for ever. */
#define STARVED 30.0

/* How often each thread must have had the lock before its wait is taken for typical. */
enum { TURNS = 4 };

struct hammer {
    threading_lock *lock;
    uint64_t hold; /* turns of a loop */
    atomic_bool over;
    struct hammered {
        _Atomic double since; /* when its wait began; 0 while it does not wait */
        _Atomic uint64_t turns;
        double worst;
    } threads[CREW];
};

static inline void hammer_worker(struct worker *worker)
{
    struct hammer *hammer = worker->shared;
    struct hammered *mine = &hammer->threads[worker->number];
    while (!atomic_load_explicit(&hammer->over, memory_order_relaxed)) {
        double began = torture_now();
        atomic_store_explicit(&mine->since, began, memory_order_relaxed);
        TORTURE_STATUS(threading_lock_acquire(hammer->lock), THREADING_OK);
        double waited = torture_now() - began;
        atomic_store_explicit(&mine->since, 0, memory_order_relaxed);
        atomic_fetch_add_explicit(&mine->turns, 1, memory_order_relaxed);
        if (waited > mine->worst)
            mine->worst = waited;
        spin(hammer->hold);
        TORTURE_STATUS(threading_lock_release(hammer->lock), THREADING_OK);
        worker_step(worker);
    }
}

/* Whether all have had their turns; fails if one is starved. */
static inline bool hammer_is_fair(struct hammer *hammer, unsigned threads)
{
    bool fair = true;
    for (unsigned i = 0; i < threads; i++) {
        double since = atomic_load(&hammer->threads[i].since), now = torture_now();
        if (since != 0 && now - since > STARVED)
            torture_fail(__FILE__, __LINE__, "one of %u threads has waited %.1f s for a lock in use, after %" PRIu64
                         " turns: it starves", threads, now - since, atomic_load(&hammer->threads[i].turns));
        fair = fair && atomic_load(&hammer->threads[i].turns) >= TURNS;
    }
    return fair;
}

/* The longest wait of any of so many threads, in seconds. */
static inline double longest_wait(struct scene *scene, uint64_t hold)
{
    struct hammer *hammer = calloc(1, sizeof *hammer);
    struct crew *crew = malloc(sizeof *crew);
    double worst = 0;
    TORTURE_CHECK(hammer != NULL && crew != NULL);
    hammer->lock = threading_lock_new();
    hammer->hold = hold;
    crew_start(crew, scene, scene->threads, hammer_worker, hammer);
    while (!hammer_is_fair(hammer, scene->threads) || scene_goes_on(scene))
        nap(0.01);
    atomic_store(&hammer->over, true);
    crew_join(crew);
    for (unsigned i = 0; i < scene->threads; i++)
        if (hammer->threads[i].worst > worst)
            worst = hammer->threads[i].worst;
    TORTURE_STATUS(threading_lock_free(hammer->lock), THREADING_OK);
    free(crew);
    free(hammer);
    return worst;
}

#endif
