/* Barriers: every round has each index once, and whatever disturbs it, all pass or none. */
#ifndef STRESS_BARRIERS_H
#define STRESS_BARRIERS_H

#include "stress.h"

static inline uint64_t all_of(unsigned parties)
{
    return parties == 64 ? UINT64_MAX : (UINT64_C(1) << parties) - 1;
}

/* ------------------------------------------------------------------------------------------ round after round */

enum { GENERATIONS = 4 }; /* whose marks are kept: a thread is one ahead of another at most */

struct generations {
    threading_barrier *barrier;
    unsigned parties;
    bool hurried; /* nobody pauses */
    uint64_t generation; /* the action's, which is alone */
    _Atomic uint64_t indices[GENERATIONS];
    atomic_bool over;
};

/* All have arrived for this generation, so all have left their marks on the one before. */
static inline int generations_action(void *arg)
{
    struct generations *g = arg;
    if (g->generation > 0)
        TORTURE_CHECK(atomic_exchange(&g->indices[(g->generation - 1) % GENERATIONS], 0) == all_of(g->parties));
    TORTURE_CHECK(threading_barrier_n_waiting(g->barrier) == g->parties);
    g->generation++;
    return 0;
}

/* The place in this generation. */
static inline size_t generations_pass(struct worker *worker, struct generations *g, uint64_t generation)
{
    size_t index = SIZE_MAX;
    if (!g->hurried)
        pause_somehow(&worker->random);
    if (random_one_in(&worker->random, 2))
        TORTURE_STATUS(threading_barrier_wait(g->barrier, &index), THREADING_OK);
    else
        TORTURE_STATUS(threading_barrier_wait_timeout(g->barrier, STRESS_LIMIT, &index), THREADING_OK);
    TORTURE_CHECK(index < g->parties);
    TORTURE_CHECK(g->generation == generation + 1); /* nobody is through the next before all are through this */
    uint64_t mark = UINT64_C(1) << index;
    TORTURE_CHECK((atomic_fetch_or(&g->indices[generation % GENERATIONS], mark) & mark) == 0);
    return index;
}

static inline void generations_worker(struct worker *worker)
{
    struct generations *g = worker->shared;
    for (uint64_t generation = 0; !atomic_load(&g->over); generation += 2) {
        /* All must agree on which is the last: the first of one round decides before the next. */
        if (generations_pass(worker, g, generation) == 0 && !scene_goes_on(worker->scene))
            atomic_store(&g->over, true);
        generations_pass(worker, g, generation + 1);
        worker_step(worker);
    }
}

static inline void scene_generations(struct scene *scene)
{
    struct generations g = {.parties = scene->threads, .hurried = random_one_in(&scene->random, 2)};
    g.barrier = threading_barrier_new(g.parties, generations_action, &g);
    crew_run(scene, g.parties, generations_worker, &g);
    TORTURE_CHECK(g.indices[(g.generation - 1) % GENERATIONS] == all_of(g.parties));
    TORTURE_CHECK(threading_barrier_n_waiting(g.barrier) == 0 && !threading_barrier_broken(g.barrier));
    TORTURE_STATUS(threading_barrier_free(g.barrier), THREADING_OK);
}

/* ------------------------------------------------------------------------------------------ disturbed rounds */

/* Each worker waits once a round, while one of them has little time, or the action fails or disturbs it, or the
 * scene's thread resets the barrier, or breaks it. A reset that sends some away leaves too few: then the barrier is
 * broken too. */
struct disturbed {
    threading_barrier *barrier;
    unsigned parties;
    enum {
        NOTHING,
        ABORT,
        RESET_AND_ABORT,
        TIMEOUT,
        ACTION_FAILS,
        ACTION_ABORTS,
        ACTION_RESETS,
        DISTURBANCES
    } disturbance;
    _Atomic uint64_t passed, broken, failed, indices;
};

static inline int disturbed_action(void *arg)
{
    struct disturbed *d = arg;
    spin(2000);
    if (d->disturbance == ACTION_ABORTS)
        TORTURE_STATUS(threading_barrier_abort(d->barrier), THREADING_OK);
    if (d->disturbance == ACTION_RESETS)
        TORTURE_STATUS(threading_barrier_reset(d->barrier), THREADING_OK);
    return d->disturbance == ACTION_FAILS;
}

static inline void disturbed_prepare(struct scene *scene, void *shared)
{
    struct disturbed *d = shared;
    if (d->barrier == NULL) {
        bool acts = random_one_in(&scene->random, 2);
        d->barrier = threading_barrier_new(d->parties, acts ? disturbed_action : NULL, d);
    }
    d->disturbance = (int)random_below(&scene->random, DISTURBANCES);
    d->passed = d->broken = d->failed = d->indices = 0;
}

static inline void disturbed_once(struct worker *worker, void *shared)
{
    struct disturbed *d = shared;
    size_t index = SIZE_MAX;
    threading_status status;
    pause_somehow(&worker->random);
    if (d->disturbance == TIMEOUT && worker->number == 0)
        status = threading_barrier_wait_timeout(d->barrier, random_timeout(&worker->random), &index);
    else
        status = threading_barrier_wait(d->barrier, &index);
    if (status == THREADING_OK) {
        TORTURE_CHECK(index < d->parties);
        atomic_fetch_or(&d->indices, UINT64_C(1) << index);
        atomic_fetch_add(&d->passed, 1);
    } else if (status == THREADING_ERR_BROKEN_BARRIER) {
        atomic_fetch_add(&d->broken, 1);
    } else {
        TORTURE_STATUS(status, THREADING_ERR_CALLBACK);
        atomic_fetch_add(&d->failed, 1);
    }
}

static inline void disturbed_drive(struct scene *scene, void *shared)
{
    struct disturbed *d = shared;
    pause_somehow(&scene->random);
    if (d->disturbance == RESET_AND_ABORT) {
        TORTURE_STATUS(threading_barrier_reset(d->barrier), THREADING_OK);
        pause_somehow(&scene->random);
    }
    if (d->disturbance == ABORT || d->disturbance == RESET_AND_ABORT)
        TORTURE_STATUS(threading_barrier_abort(d->barrier), THREADING_OK);
}

static inline void disturbed_settle(struct scene *scene, void *shared)
{
    struct disturbed *d = shared;
    bool all_passed = d->passed == d->parties && d->broken + d->failed == 0;
    bool all_broken = d->passed == 0 && d->failed <= (d->disturbance == ACTION_FAILS);
    TORTURE_CHECK(d->passed + d->broken + d->failed == d->parties);
    TORTURE_CHECK(all_passed || (all_broken && d->disturbance != NOTHING));
    TORTURE_CHECK(!all_passed || d->indices == all_of(d->parties));
    TORTURE_CHECK(threading_barrier_n_waiting(d->barrier) == 0);
    TORTURE_STATUS(threading_barrier_reset(d->barrier), THREADING_OK);
    if (random_one_in(&scene->random, 8)) {
        TORTURE_STATUS(threading_barrier_free(d->barrier), THREADING_OK);
        d->barrier = NULL;
    }
}

static inline void scene_disturbed(struct scene *scene)
{
    struct disturbed disturbed = {.parties = scene->threads};
    struct rounds rounds = {
        .shared = &disturbed, .prepare = disturbed_prepare, .once = disturbed_once,
        .drive = disturbed_drive, .settle = disturbed_settle};
    rounds_run(scene, scene->threads, &rounds);
    if (disturbed.barrier != NULL)
        TORTURE_STATUS(threading_barrier_free(disturbed.barrier), THREADING_OK);
}

#endif
