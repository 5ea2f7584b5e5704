/* Locks and semaphores under contention: mutual exclusion, recursion, permits, and bounds. */
#ifndef STRESS_LOCKS_H
#define STRESS_LOCKS_H

#include "stress.h"

DEFINE_RANDOM_ACQUIRE(lock)
DEFINE_RANDOM_ACQUIRE(rlock)
DEFINE_RANDOM_ACQUIRE(semaphore)

/* -------------------------------------------------------------------------------------------- lock and rlock */

struct locks {
    threading_lock *lock;
    threading_rlock *rlock;
    uint64_t lock_count, rlock_count; /* plain counters, each protected by its lock */
    _Atomic uint64_t lock_acquisitions, rlock_acquisitions;
};

static inline void hold_briefly(struct random *random)
{
    if (random_one_in(random, 200))
        sleep_for((double)random_below(random, 1000) / 1e6);
    else
        spin(random_below(random, 100));
}

/* Acquires and releases the rlock recursively. */
static inline void rlock_recurse(threading_rlock *rlock, struct random *random, size_t depth)
{
    size_t count = random_below(random, 4);
    for (size_t i = 1; i <= count; i++) {
        TORTURE_CHECK(rlock_random_acquire(rlock, random)); /* an owner never blocks */
        TORTURE_CHECK(threading_rlock_recursion_count(rlock) == depth + i);
    }
    hold_briefly(random);
    for (size_t i = count; i-- > 0;) {
        TORTURE_STATUS(threading_rlock_release(rlock), THREADING_OK);
        TORTURE_CHECK(threading_rlock_recursion_count(rlock) == depth + i);
    }
    TORTURE_CHECK(threading_rlock_is_owned(rlock));
}

static inline void locks_worker(struct worker *worker)
{
    struct locks *locks = worker->shared;
    struct random *random = &worker->random;
    uint64_t lock_acquisitions = 0, rlock_acquisitions = 0;
    do {
        if (lock_random_acquire(locks->lock, random)) {
            uint64_t count = locks->lock_count;
            hold_briefly(random);
            TORTURE_CHECK(threading_lock_locked(locks->lock));
            locks->lock_count = count + 1;
            TORTURE_STATUS(threading_lock_release(locks->lock), THREADING_OK);
            lock_acquisitions++;
        }
        TORTURE_CHECK(!threading_rlock_is_owned(locks->rlock));
        if (rlock_random_acquire(locks->rlock, random)) {
            uint64_t count = locks->rlock_count;
            rlock_recurse(locks->rlock, random, 1);
            locks->rlock_count = count + 1;
            TORTURE_STATUS(threading_rlock_release(locks->rlock), THREADING_OK);
            rlock_acquisitions++;
        } else {
            TORTURE_STATUS(threading_rlock_release(locks->rlock), THREADING_ERR_NOT_OWNER);
        }
        random_pause(random);
        worker_step(worker);
    } while (scenario_running(worker->scenario));
    atomic_fetch_add(&locks->lock_acquisitions, lock_acquisitions);
    atomic_fetch_add(&locks->rlock_acquisitions, rlock_acquisitions);
}

static inline void scenario_locks(struct scenario *scenario)
{
    struct locks locks = {.lock = threading_lock_new(), .rlock = threading_rlock_new()};
    team_run(scenario, scenario->threads, locks_worker, &locks);
    TORTURE_CHECK(locks.lock_count == locks.lock_acquisitions);
    TORTURE_CHECK(locks.rlock_count == locks.rlock_acquisitions);
    TORTURE_CHECK(!threading_lock_locked(locks.lock) && !threading_rlock_locked(locks.rlock));
    TORTURE_STATUS(threading_lock_free(locks.lock), THREADING_OK);
    TORTURE_STATUS(threading_rlock_free(locks.rlock), THREADING_OK);
}

/* ------------------------------------------------------------------- one release starts a chain of acquisitions */

/* The scenario's thread holds the lock while the workers arrive, and releases it once. That must wake all of them,
 * one after the other, even if some time out at the same moment. No later release can hide a lost wake-up. */
struct chain {
    threading_lock *lock;
    threading_rlock *rlock;
    bool reentrant;
    unsigned workers, untimed;
    _Atomic uint64_t done;
};

static inline void chain_acquire(struct chain *chain)
{
    if (chain->reentrant)
        TORTURE_STATUS(threading_rlock_acquire(chain->rlock), THREADING_OK);
    else
        TORTURE_STATUS(threading_lock_acquire(chain->lock), THREADING_OK);
}

static inline void chain_release(struct chain *chain)
{
    if (chain->reentrant)
        TORTURE_STATUS(threading_rlock_release(chain->rlock), THREADING_OK);
    else
        TORTURE_STATUS(threading_lock_release(chain->lock), THREADING_OK);
}

static inline bool chain_acquire_timeout(struct chain *chain, double seconds)
{
    double began = now();
    if (chain->reentrant)
        return CHECK_TIMED_WAIT(threading_rlock_acquire_timeout(chain->rlock, seconds), began, seconds);
    return CHECK_TIMED_WAIT(threading_lock_acquire_timeout(chain->lock, seconds), began, seconds);
}

static inline void chain_prepare(struct scenario *scenario, void *shared)
{
    struct chain *chain = shared;
    chain->reentrant = random_one_in(&scenario->random, 2);
    chain->untimed = 1 + (unsigned)random_below(&scenario->random, chain->workers);
    chain->done = 0;
    chain_acquire(chain);
}

static inline void chain_work(struct worker *worker, void *shared)
{
    struct chain *chain = shared;
    for (unsigned i = 0; i < 3; i++) {
        spin(random_below(&worker->random, 1000));
        if (worker->number < chain->untimed)
            chain_acquire(chain);
        else if (!chain_acquire_timeout(chain, random_timeout(&worker->random) / 10))
            continue;
        spin(random_below(&worker->random, 1000));
        chain_release(chain);
    }
    atomic_fetch_add(&chain->done, 1);
}

static inline void chain_drive(struct scenario *scenario, void *shared)
{
    struct chain *chain = shared;
    if (random_one_in(&scenario->random, 2))
        sleep_for(random_timeout(&scenario->random) / 10);
    else
        spin(random_below(&scenario->random, 20000));
    chain_release(chain);
    AWAIT_COUNT(&chain->done, chain->workers);
}

/* The wait queue is empty, and the flags of the lock agree. */
static inline void chain_finish(struct scenario *scenario, void *shared)
{
    struct chain *chain = shared;
    TORTURE_CHECK(!threading_lock_locked(chain->lock) && !threading_rlock_locked(chain->rlock));
    if (random_one_in(&scenario->random, 8)) {
        TORTURE_STATUS(threading_lock_free(chain->lock), THREADING_OK);
        TORTURE_STATUS(threading_rlock_free(chain->rlock), THREADING_OK);
        chain->lock = threading_lock_new();
        chain->rlock = threading_rlock_new();
    }
}

static inline void scenario_release_chain(struct scenario *scenario)
{
    struct chain chain = {.lock = threading_lock_new(), .rlock = threading_rlock_new(), .workers = scenario->threads};
    struct rounds rounds = {
        .shared = &chain, .prepare = chain_prepare, .work = chain_work, .drive = chain_drive, .finish = chain_finish};
    rounds_run(scenario, scenario->threads, &rounds);
    TORTURE_STATUS(threading_lock_free(chain.lock), THREADING_OK);
    TORTURE_STATUS(threading_rlock_free(chain.rlock), THREADING_OK);
}

/* -------------------------------------------------------------------------------------------- a pool of permits */

struct pool {
    threading_semaphore *semaphore;
    int64_t permits;
    bool bounded;
    atomic_llong acquired; /* acquired permits: incremented after an acquisition, decremented before a release */
};

static inline void pool_worker(struct worker *worker)
{
    struct pool *pool = worker->shared;
    struct random *random = &worker->random;
    do {
        int64_t held = 0;
        if (semaphore_random_acquire(pool->semaphore, random))
            held++;
        while (held > 0 && random_one_in(random, 3) && threading_semaphore_try_acquire(pool->semaphore) == THREADING_OK)
            held++;
        TORTURE_CHECK(atomic_fetch_add(&pool->acquired, held) + held <= pool->permits);
        if (held > 0)
            hold_briefly(random);
        int64_t value = threading_semaphore_value(pool->semaphore);
        TORTURE_CHECK(value >= 0 && value <= pool->permits - held);
        if (pool->bounded)
            TORTURE_STATUS(threading_semaphore_release_n(pool->semaphore, pool->permits + 1),
                           THREADING_ERR_OVER_RELEASED);
        atomic_fetch_sub(&pool->acquired, held);
        if (held > 1 && random_one_in(random, 2)) {
            TORTURE_STATUS(threading_semaphore_release_n(pool->semaphore, held), THREADING_OK);
            held = 0;
        }
        for (; held > 0; held--)
            TORTURE_STATUS(threading_semaphore_release(pool->semaphore), THREADING_OK);
        random_pause(random);
        worker_step(worker);
    } while (scenario_running(worker->scenario));
}

static inline void scenario_pool(struct scenario *scenario)
{
    struct pool pool = {.permits = 1 + (int64_t)random_below(&scenario->random, scenario->threads)};
    pool.bounded = random_one_in(&scenario->random, 2);
    pool.semaphore =
        pool.bounded ? threading_semaphore_new_bounded(pool.permits) : threading_semaphore_new(pool.permits);
    team_run(scenario, scenario->threads, pool_worker, &pool);
    TORTURE_CHECK(threading_semaphore_value(pool.semaphore) == pool.permits);
    if (pool.bounded)
        TORTURE_STATUS(threading_semaphore_release(pool.semaphore), THREADING_ERR_OVER_RELEASED);
    TORTURE_STATUS(threading_semaphore_free(pool.semaphore), THREADING_OK);
}

/* ----------------------------------------------------------------------------- each permit ends exactly one wait */

/* Some workers wait without a timeout, the others once with a short one. As long as there are more untimed waiters
 * than permits, every permit must be acquired, even if a waiter times out at the same moment. */
struct permits {
    threading_semaphore *semaphore;
    unsigned workers, untimed;
    _Atomic uint64_t acquired, untimed_done;
};

static inline void permits_prepare(struct scenario *scenario, void *shared)
{
    struct permits *permits = shared;
    if (permits->semaphore == NULL)
        permits->semaphore = threading_semaphore_new(0);
    permits->untimed = 1 + (unsigned)random_below(&scenario->random, permits->workers);
    permits->acquired = permits->untimed_done = 0;
}

static inline void permits_work(struct worker *worker, void *shared)
{
    struct permits *permits = shared;
    random_pause(&worker->random);
    if (worker->number < permits->untimed) {
        TORTURE_STATUS(threading_semaphore_acquire(permits->semaphore), THREADING_OK);
        atomic_fetch_add(&permits->untimed_done, 1);
        atomic_fetch_add(&permits->acquired, 1);
    } else {
        double seconds = random_timeout(&worker->random), began = now();
        if (CHECK_TIMED_WAIT(threading_semaphore_acquire_timeout(permits->semaphore, seconds), began, seconds))
            atomic_fetch_add(&permits->acquired, 1);
    }
}

static inline void permits_drive(struct scenario *scenario, void *shared)
{
    struct permits *permits = shared;
    uint64_t released = 0;
    while (atomic_load(&permits->untimed_done) < permits->untimed) {
        uint64_t missing = permits->untimed - atomic_load(&permits->untimed_done);
        uint64_t count = 1 + random_below(&scenario->random, missing);
        if (random_one_in(&scenario->random, 2))
            sleep_for(random_timeout(&scenario->random));
        else
            random_pause(&scenario->random);
        if (random_one_in(&scenario->random, 2))
            TORTURE_STATUS(threading_semaphore_release_n(permits->semaphore, (int64_t)count), THREADING_OK);
        else
            for (uint64_t i = 0; i < count; i++)
                TORTURE_STATUS(threading_semaphore_release(permits->semaphore), THREADING_OK);
        released += count;
        AWAIT_COUNT(&permits->acquired, released);
    }
}

static inline void permits_finish(struct scenario *scenario, void *shared)
{
    struct permits *permits = shared;
    TORTURE_CHECK(threading_semaphore_value(permits->semaphore) == 0);
    if (random_one_in(&scenario->random, 8)) {
        TORTURE_STATUS(threading_semaphore_free(permits->semaphore), THREADING_OK);
        permits->semaphore = NULL;
    }
}

static inline void scenario_permits(struct scenario *scenario)
{
    struct permits permits = {.workers = scenario->threads};
    struct rounds rounds = {
        .shared = &permits, .prepare = permits_prepare, .work = permits_work, .drive = permits_drive,
        .finish = permits_finish};
    rounds_run(scenario, scenario->threads, &rounds);
    if (permits.semaphore != NULL)
        TORTURE_STATUS(threading_semaphore_free(permits.semaphore), THREADING_OK);
}

#endif
