/* Locks and semaphores under contention: exclusion, recursion, units, and bounds. */
#ifndef STRESS_LOCKS_H
#define STRESS_LOCKS_H

#include "stress.h"

ACQUIRE_SOMEHOW(lock)
ACQUIRE_SOMEHOW(rlock)
ACQUIRE_SOMEHOW(semaphore)

/* -------------------------------------------------------------------------------------------- lock and rlock */

struct locks {
    threading_lock *lock;
    threading_rlock *rlock;
    uint64_t lock_count, rlock_count; /* each changed under its lock alone, and not atomically */
    _Atomic uint64_t locked, rlocked;
};

static inline void hold_for_a_moment(struct random *random)
{
    if (random_one_in(random, 200))
        nap((double)random_below(random, 1000) / 1e6);
    else
        spin(random_below(random, 100));
}

/* Takes and gives back more levels. */
static inline void rlock_deeper(threading_rlock *rlock, struct random *random, size_t depth)
{
    size_t levels = random_below(random, 4);
    for (size_t i = 1; i <= levels; i++) {
        while (!rlock_acquire_somehow(rlock, random))
            TORTURE_CHECK(!"an owner can always acquire");
        TORTURE_CHECK(threading_rlock_recursion_count(rlock) == depth + i);
    }
    hold_for_a_moment(random);
    for (size_t i = levels; i-- > 0;) {
        TORTURE_STATUS(threading_rlock_release(rlock), THREADING_OK);
        TORTURE_CHECK(threading_rlock_recursion_count(rlock) == depth + i);
    }
    TORTURE_CHECK(threading_rlock_is_owned(rlock));
}

static inline void locks_worker(struct worker *worker)
{
    struct locks *locks = worker->shared;
    struct random *random = &worker->random;
    uint64_t locked = 0, rlocked = 0;
    do {
        if (lock_acquire_somehow(locks->lock, random)) {
            uint64_t count = locks->lock_count;
            hold_for_a_moment(random);
            TORTURE_CHECK(threading_lock_locked(locks->lock));
            locks->lock_count = count + 1;
            TORTURE_STATUS(threading_lock_release(locks->lock), THREADING_OK);
            locked++;
        }
        TORTURE_CHECK(!threading_rlock_is_owned(locks->rlock));
        if (rlock_acquire_somehow(locks->rlock, random)) {
            uint64_t count = locks->rlock_count;
            rlock_deeper(locks->rlock, random, 1);
            locks->rlock_count = count + 1;
            TORTURE_STATUS(threading_rlock_release(locks->rlock), THREADING_OK);
            rlocked++;
        } else {
            TORTURE_STATUS(threading_rlock_release(locks->rlock), THREADING_ERR_NOT_OWNER);
        }
        pause_somehow(random);
        worker_step(worker);
    } while (scene_goes_on(worker->scene));
    atomic_fetch_add(&locks->locked, locked);
    atomic_fetch_add(&locks->rlocked, rlocked);
}

static inline void scene_locks(struct scene *scene)
{
    struct locks locks = {.lock = threading_lock_new(), .rlock = threading_rlock_new()};
    crew_run(scene, scene->threads, locks_worker, &locks);
    TORTURE_CHECK(locks.lock_count == locks.locked);
    TORTURE_CHECK(locks.rlock_count == locks.rlocked);
    TORTURE_CHECK(!threading_lock_locked(locks.lock) && !threading_rlock_locked(locks.rlock));
    TORTURE_STATUS(threading_lock_free(locks.lock), THREADING_OK);
    TORTURE_STATUS(threading_rlock_free(locks.rlock), THREADING_OK);
}

/* ------------------------------------------------------------------------- a release ends a wait, by and by all */

/* The scene's thread holds the lock while the workers come, and releases it once: that must do for all, whoever gives
 * up at that moment. Nobody comes later whose release would make good for a lost call. */
struct turns {
    threading_lock *lock;
    threading_rlock *rlock;
    bool reentrant;
    unsigned workers, patient;
    _Atomic uint64_t done;
};

static inline void turns_acquire(struct turns *turns)
{
    if (turns->reentrant)
        TORTURE_STATUS(threading_rlock_acquire(turns->rlock), THREADING_OK);
    else
        TORTURE_STATUS(threading_lock_acquire(turns->lock), THREADING_OK);
}

static inline void turns_release(struct turns *turns)
{
    if (turns->reentrant)
        TORTURE_STATUS(threading_rlock_release(turns->rlock), THREADING_OK);
    else
        TORTURE_STATUS(threading_lock_release(turns->lock), THREADING_OK);
}

static inline bool turns_acquire_timeout(struct turns *turns, double seconds)
{
    double began = torture_now();
    if (turns->reentrant)
        return RAN(threading_rlock_acquire_timeout(turns->rlock, seconds), began, seconds);
    return RAN(threading_lock_acquire_timeout(turns->lock, seconds), began, seconds);
}

static inline void turns_prepare(struct scene *scene, void *shared)
{
    struct turns *turns = shared;
    turns->reentrant = random_one_in(&scene->random, 2);
    turns->patient = 1 + (unsigned)random_below(&scene->random, turns->workers);
    turns->done = 0;
    turns_acquire(turns);
}

static inline void turns_once(struct worker *worker, void *shared)
{
    struct turns *turns = shared;
    for (unsigned i = 0; i < 3; i++) {
        spin(random_below(&worker->random, 1000));
        if (worker->number < turns->patient)
            turns_acquire(turns);
        else if (!turns_acquire_timeout(turns, random_timeout(&worker->random) / 10))
            continue;
        spin(random_below(&worker->random, 1000));
        turns_release(turns);
    }
    atomic_fetch_add(&turns->done, 1);
}

static inline void turns_drive(struct scene *scene, void *shared)
{
    struct turns *turns = shared;
    if (random_one_in(&scene->random, 2))
        nap(random_timeout(&scene->random) / 10);
    else
        spin(random_below(&scene->random, 20000));
    turns_release(turns);
    AWAIT(&turns->done, turns->workers);
}

/* Nobody is left in line, nor thought to be. */
static inline void turns_settle(struct scene *scene, void *shared)
{
    struct turns *turns = shared;
    TORTURE_CHECK(!threading_lock_locked(turns->lock) && !threading_rlock_locked(turns->rlock));
    if (random_one_in(&scene->random, 8)) {
        TORTURE_STATUS(threading_lock_free(turns->lock), THREADING_OK);
        TORTURE_STATUS(threading_rlock_free(turns->rlock), THREADING_OK);
        turns->lock = threading_lock_new();
        turns->rlock = threading_rlock_new();
    }
}

static inline void scene_turns(struct scene *scene)
{
    struct turns turns = {.lock = threading_lock_new(), .rlock = threading_rlock_new(), .workers = scene->threads};
    struct rounds rounds = {
        .shared = &turns, .prepare = turns_prepare, .once = turns_once,
        .drive = turns_drive, .settle = turns_settle};
    rounds_run(scene, scene->threads, &rounds);
    TORTURE_STATUS(threading_lock_free(turns.lock), THREADING_OK);
    TORTURE_STATUS(threading_rlock_free(turns.rlock), THREADING_OK);
}

/* ---------------------------------------------------------------------------------------- a pool of few units */

struct pool {
    threading_semaphore *semaphore;
    int64_t units;
    bool bounded;
    atomic_llong taken; /* units that are out: counted after they are taken, and before they are given back */
};

static inline void pool_worker(struct worker *worker)
{
    struct pool *pool = worker->shared;
    struct random *random = &worker->random;
    do {
        int64_t mine = 0;
        if (semaphore_acquire_somehow(pool->semaphore, random))
            mine++;
        while (mine > 0 && random_one_in(random, 3) &&
               threading_semaphore_try_acquire(pool->semaphore) == THREADING_OK)
            mine++;
        TORTURE_CHECK(atomic_fetch_add(&pool->taken, mine) + mine <= pool->units);
        if (mine > 0)
            hold_for_a_moment(random);
        int64_t value = threading_semaphore_value(pool->semaphore);
        TORTURE_CHECK(value >= 0 && value <= pool->units - mine);
        if (pool->bounded)
            TORTURE_STATUS(threading_semaphore_release_n(pool->semaphore, pool->units + 1),
                           THREADING_ERR_OVER_RELEASED);
        atomic_fetch_sub(&pool->taken, mine);
        if (mine > 1 && random_one_in(random, 2)) {
            TORTURE_STATUS(threading_semaphore_release_n(pool->semaphore, mine), THREADING_OK);
            mine = 0;
        }
        for (; mine > 0; mine--)
            TORTURE_STATUS(threading_semaphore_release(pool->semaphore), THREADING_OK);
        pause_somehow(random);
        worker_step(worker);
    } while (scene_goes_on(worker->scene));
}

static inline void scene_pool(struct scene *scene)
{
    struct pool pool = {.units = 1 + (int64_t)random_below(&scene->random, scene->threads)};
    pool.bounded = random_one_in(&scene->random, 2);
    pool.semaphore =
        pool.bounded ? threading_semaphore_new_bounded(pool.units) : threading_semaphore_new(pool.units);
    crew_run(scene, scene->threads, pool_worker, &pool);
    TORTURE_CHECK(threading_semaphore_value(pool.semaphore) == pool.units);
    if (pool.bounded)
        TORTURE_STATUS(threading_semaphore_release(pool.semaphore), THREADING_ERR_OVER_RELEASED);
    TORTURE_STATUS(threading_semaphore_free(pool.semaphore), THREADING_OK);
}

/* ------------------------------------------------------------------------- each unit ends a wait, and one only */

/* Some of the workers wait without a limit, the others once and not for long. As long as there are more patient
 * ones than units, every unit must find its taker, whoever gave up at that moment. */
struct units {
    threading_semaphore *semaphore;
    unsigned workers, patient;
    _Atomic uint64_t taken, patient_done;
};

static inline void units_prepare(struct scene *scene, void *shared)
{
    struct units *units = shared;
    if (units->semaphore == NULL)
        units->semaphore = threading_semaphore_new(0);
    units->patient = 1 + (unsigned)random_below(&scene->random, units->workers);
    units->taken = units->patient_done = 0;
}

static inline void units_once(struct worker *worker, void *shared)
{
    struct units *units = shared;
    pause_somehow(&worker->random);
    if (worker->number < units->patient) {
        TORTURE_STATUS(threading_semaphore_acquire(units->semaphore), THREADING_OK);
        atomic_fetch_add(&units->patient_done, 1);
        atomic_fetch_add(&units->taken, 1);
    } else {
        double seconds = random_timeout(&worker->random), began = torture_now();
        if (RAN(threading_semaphore_acquire_timeout(units->semaphore, seconds), began, seconds))
            atomic_fetch_add(&units->taken, 1);
    }
}

static inline void units_drive(struct scene *scene, void *shared)
{
    struct units *units = shared;
    uint64_t released = 0;
    while (atomic_load(&units->patient_done) < units->patient) {
        uint64_t lacking = units->patient - atomic_load(&units->patient_done);
        uint64_t count = 1 + random_below(&scene->random, lacking);
        if (random_one_in(&scene->random, 2))
            nap(random_timeout(&scene->random));
        else
            pause_somehow(&scene->random);
        if (random_one_in(&scene->random, 2))
            TORTURE_STATUS(threading_semaphore_release_n(units->semaphore, (int64_t)count), THREADING_OK);
        else
            for (uint64_t i = 0; i < count; i++)
                TORTURE_STATUS(threading_semaphore_release(units->semaphore), THREADING_OK);
        released += count;
        AWAIT(&units->taken, released);
    }
}

static inline void units_settle(struct scene *scene, void *shared)
{
    struct units *units = shared;
    TORTURE_CHECK(threading_semaphore_value(units->semaphore) == 0);
    if (random_one_in(&scene->random, 8)) {
        TORTURE_STATUS(threading_semaphore_free(units->semaphore), THREADING_OK);
        units->semaphore = NULL;
    }
}

static inline void scene_units(struct scene *scene)
{
    struct units units = {.workers = scene->threads};
    struct rounds rounds = {
        .shared = &units, .prepare = units_prepare, .once = units_once,
        .drive = units_drive, .settle = units_settle};
    rounds_run(scene, scene->threads, &rounds);
    if (units.semaphore != NULL)
        TORTURE_STATUS(threading_semaphore_free(units.semaphore), THREADING_OK);
}

#endif
