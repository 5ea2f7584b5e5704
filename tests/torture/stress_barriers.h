/* Barriers: each index is returned once per generation, and if a generation is disturbed, either all threads pass or
 * none does. */
#ifndef STRESS_BARRIERS_H
#define STRESS_BARRIERS_H

#include "stress.h"

static inline uint64_t all_indices(unsigned parties)
{
    return parties == 64 ? UINT64_MAX : (UINT64_C(1) << parties) - 1;
}

/* ---------------------------------------------------------------------------- generations without disturbance */

enum { GENERATIONS = 4 }; /* generations whose indices are kept: no thread is more than one ahead of another */

struct generations {
    threading_barrier *barrier;
    unsigned parties;
    bool no_pauses;
    uint64_t generation; /* written by the action, which runs alone */
    _Atomic uint64_t indices[GENERATIONS];
    atomic_bool stop;
};

/* All threads have arrived for this generation, so all have recorded their index of the previous one. */
static inline int generations_action(void *arg)
{
    struct generations *g = arg;
    if (g->generation > 0)
        TORTURE_CHECK(atomic_exchange(&g->indices[(g->generation - 1) % GENERATIONS], 0) == all_indices(g->parties));
    TORTURE_CHECK(threading_barrier_n_waiting(g->barrier) == g->parties);
    g->generation++;
    return 0;
}

/* Waits once and returns the arrival index. */
static inline size_t generations_pass(struct worker *worker, struct generations *g, uint64_t generation)
{
    size_t index = SIZE_MAX;
    if (!g->no_pauses)
        random_pause(&worker->random);
    if (random_one_in(&worker->random, 2))
        TORTURE_STATUS(threading_barrier_wait(g->barrier, &index), THREADING_OK);
    else
        TORTURE_STATUS(threading_barrier_wait_timeout(g->barrier, STRESS_LIMIT, &index), THREADING_OK);
    TORTURE_CHECK(index < g->parties);
    /* no thread passes the next generation before all have passed this one */
    TORTURE_CHECK(g->generation == generation + 1);
    uint64_t bit = UINT64_C(1) << index;
    TORTURE_CHECK((atomic_fetch_or(&g->indices[generation % GENERATIONS], bit) & bit) == 0);
    return index;
}

static inline void generations_worker(struct worker *worker)
{
    struct generations *g = worker->shared;
    for (uint64_t generation = 0; !atomic_load(&g->stop); generation += 2) {
        /* All threads must agree on the last generation: the first arrival of one decides before the next. */
        if (generations_pass(worker, g, generation) == 0 && !scenario_running(worker->scenario))
            atomic_store(&g->stop, true);
        generations_pass(worker, g, generation + 1);
        worker_step(worker);
    }
}

static inline void scenario_generations(struct scenario *scenario)
{
    struct generations g = {.parties = scenario->threads, .no_pauses = random_one_in(&scenario->random, 2)};
    g.barrier = threading_barrier_new(g.parties, generations_action, &g);
    team_run(scenario, g.parties, generations_worker, &g);
    TORTURE_CHECK(g.indices[(g.generation - 1) % GENERATIONS] == all_indices(g.parties));
    TORTURE_CHECK(threading_barrier_n_waiting(g.barrier) == 0 && !threading_barrier_broken(g.barrier));
    TORTURE_STATUS(threading_barrier_free(g.barrier), THREADING_OK);
}

/* ------------------------------------------------------------------------------------- disturbed generations */

/* In each round, every worker waits once, while one of them has a short timeout, or the action fails or disturbs the
 * barrier, or the scenario's thread resets or aborts it. A reset that makes some waits fail leaves too few parties,
 * so an abort follows it. */
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

static inline void disturbed_prepare(struct scenario *scenario, void *shared)
{
    struct disturbed *d = shared;
    if (d->barrier == NULL) {
        bool has_action = random_one_in(&scenario->random, 2);
        d->barrier = threading_barrier_new(d->parties, has_action ? disturbed_action : NULL, d);
    }
    d->disturbance = (int)random_below(&scenario->random, DISTURBANCES);
    d->passed = d->broken = d->failed = d->indices = 0;
}

static inline void disturbed_work(struct worker *worker, void *shared)
{
    struct disturbed *d = shared;
    size_t index = SIZE_MAX;
    threading_status status;
    random_pause(&worker->random);
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

static inline void disturbed_drive(struct scenario *scenario, void *shared)
{
    struct disturbed *d = shared;
    random_pause(&scenario->random);
    if (d->disturbance == RESET_AND_ABORT) {
        TORTURE_STATUS(threading_barrier_reset(d->barrier), THREADING_OK);
        random_pause(&scenario->random);
    }
    if (d->disturbance == ABORT || d->disturbance == RESET_AND_ABORT)
        TORTURE_STATUS(threading_barrier_abort(d->barrier), THREADING_OK);
}

static inline void disturbed_finish(struct scenario *scenario, void *shared)
{
    struct disturbed *d = shared;
    bool all_passed = d->passed == d->parties && d->broken + d->failed == 0;
    bool all_broken = d->passed == 0 && d->failed <= (d->disturbance == ACTION_FAILS);
    TORTURE_CHECK(d->passed + d->broken + d->failed == d->parties);
    TORTURE_CHECK(all_passed || (all_broken && d->disturbance != NOTHING));
    TORTURE_CHECK(!all_passed || d->indices == all_indices(d->parties));
    TORTURE_CHECK(threading_barrier_n_waiting(d->barrier) == 0);
    TORTURE_STATUS(threading_barrier_reset(d->barrier), THREADING_OK);
    if (random_one_in(&scenario->random, 8)) {
        TORTURE_STATUS(threading_barrier_free(d->barrier), THREADING_OK);
        d->barrier = NULL;
    }
}

static inline void scenario_disturbed(struct scenario *scenario)
{
    struct disturbed disturbed = {.parties = scenario->threads};
    struct rounds rounds = {.shared = &disturbed,
                            .prepare = disturbed_prepare,
                            .work = disturbed_work,
                            .drive = disturbed_drive,
                            .finish = disturbed_finish};
    rounds_run(scenario, scenario->threads, &rounds);
    if (disturbed.barrier != NULL)
        TORTURE_STATUS(threading_barrier_free(disturbed.barrier), THREADING_OK);
}

#endif
