/* Conditions: a bounded queue, and a count of notifies and waits. */
#ifndef STRESS_CONDITIONS_H
#define STRESS_CONDITIONS_H

#include "stress.h"

DEFINE_RANDOM_ACQUIRE(condition)

/* Creates a condition with a new lock or rlock, and optionally a second one with the same lock. */
static inline threading_condition *new_condition(struct random *random, threading_condition **second)
{
    threading_condition *condition = NULL;
    if (random_one_in(random, 2)) {
        threading_lock *lock = threading_lock_new();
        condition = threading_condition_new_with_lock(lock);
        if (second != NULL)
            *second = threading_condition_new_with_lock(lock);
        TORTURE_STATUS(threading_lock_free(lock), THREADING_OK);
    } else {
        threading_rlock *rlock = threading_rlock_new();
        condition = threading_condition_new_with_rlock(rlock);
        if (second != NULL)
            *second = threading_condition_new_with_rlock(rlock);
        TORTURE_STATUS(threading_rlock_free(rlock), THREADING_OK);
    }
    TORTURE_CHECK(condition != NULL);
    return condition;
}

/* ------------------------------------------------------------------------------------------- a bounded queue */

enum { QUEUE = 8 };

struct queue {
    threading_condition *not_empty, *not_full; /* with the same lock */
    struct item {
        unsigned producer;
        uint64_t number;
    } items[QUEUE];
    unsigned first, count;
    unsigned producers, producing;
    uint64_t produced[MAX_TEAM], consumed[MAX_TEAM], last[MAX_TEAM]; /* per producer */
};

/* Waits once, with the lock held, with or without a timeout. */
static inline void random_wait(threading_condition *condition, struct random *random)
{
    if (random_one_in(random, 2)) {
        TORTURE_STATUS(threading_condition_wait(condition), THREADING_OK);
    } else {
        double seconds = random_timeout(random), began = now();
        CHECK_TIMED_WAIT(threading_condition_wait_timeout(condition, seconds), began, seconds);
    }
}

static inline void queue_worker(struct worker *worker)
{
    struct queue *queue = worker->shared;
    struct random *random = &worker->random;
    bool produces = worker->number < queue->producers;
    threading_condition *own_condition = produces ? queue->not_full : queue->not_empty;
    threading_condition *other_condition = produces ? queue->not_empty : queue->not_full;
    for (bool done = false; !done;) {
        bool stop = !scenario_running(worker->scenario);
        if (!condition_random_acquire(own_condition, random))
            continue;
        while (queue->count == (produces ? QUEUE : 0) && (produces || queue->producing > 0))
            random_wait(own_condition, random);
        if (produces && !stop) {
            struct item *item = &queue->items[(queue->first + queue->count++) % QUEUE];
            *item = (struct item){worker->number, ++queue->produced[worker->number]};
            TORTURE_STATUS(threading_condition_notify(other_condition, 1), THREADING_OK);
        } else if (produces) {
            if (--queue->producing == 0)
                TORTURE_STATUS(threading_condition_notify_all(other_condition), THREADING_OK);
            /* another producer can use the free slot */
            TORTURE_STATUS(threading_condition_notify(own_condition, 1), THREADING_OK);
            done = true;
        } else if (queue->count > 0) {
            struct item item = queue->items[queue->first];
            queue->first = (queue->first + 1) % QUEUE;
            queue->count--;
            TORTURE_CHECK(item.number == queue->last[item.producer] + 1); /* none lost, none twice, in order */
            queue->last[item.producer] = item.number;
            queue->consumed[item.producer]++;
            TORTURE_STATUS(threading_condition_notify(other_condition, 1), THREADING_OK);
        } else {
            done = true;
        }
        TORTURE_STATUS(threading_condition_release(own_condition), THREADING_OK);
        random_pause(random);
        worker_step(worker);
    }
}

static inline void scenario_queue(struct scenario *scenario)
{
    struct queue *queue = calloc(1, sizeof *queue);
    TORTURE_CHECK(queue != NULL);
    queue->not_empty = new_condition(&scenario->random, &queue->not_full);
    queue->producers = queue->producing = 1 + (unsigned)random_below(&scenario->random, scenario->threads - 1);
    team_run(scenario, scenario->threads, queue_worker, queue);
    TORTURE_CHECK(queue->count == 0 && queue->producing == 0);
    for (unsigned i = 0; i < queue->producers; i++)
        TORTURE_CHECK(queue->consumed[i] == queue->produced[i]);
    TORTURE_STATUS(threading_condition_free(queue->not_empty), THREADING_OK);
    TORTURE_STATUS(threading_condition_free(queue->not_full), THREADING_OK);
    free(queue);
}

/* ------------------------------------------------------------------------ each notify ends exactly one wait */

/* Some workers wait without a timeout, the others once with a short one. The number of waiters that are certainly
 * queued is `untimed_started` less the notifications that may have been delivered to them. That many can be
 * notified, and each of these notifications must end one wait, even if a timed waiter times out at the same moment. */
struct notifies {
    threading_condition *condition;
    bool reentrant;
    unsigned workers, untimed;
    _Atomic uint64_t untimed_started, timed_started, timed_returned; /* changed with the lock held, like the next two */
    uint64_t timed_at_notify_all;                  /* timed waits that had started at the last notify_all */
    _Atomic uint64_t timed_at_notify_all_returned; /* those of them that have returned */
    /* Waits ended by a notification; changed with the lock held, too. */
    _Atomic uint64_t untimed_notified, timed_notified;
    _Atomic uint64_t done; /* the sum of both, incremented first */
};

static inline void notifies_prepare(struct scenario *scenario, void *shared)
{
    struct notifies *n = shared;
    if (n->condition == NULL) {
        n->reentrant = random_one_in(&scenario->random, 2);
        if (n->reentrant)
            n->condition = threading_condition_new();
        else
            n->condition = new_condition(&scenario->random, NULL);
        TORTURE_CHECK(n->condition != NULL);
    }
    n->untimed = 1 + (unsigned)random_below(&scenario->random, n->workers);
    n->untimed_started = n->timed_started = n->timed_returned = n->timed_at_notify_all_returned = 0;
    n->untimed_notified = n->timed_notified = n->done = 0;
    n->timed_at_notify_all = 0;
}

static inline void notifies_work(struct worker *worker, void *shared)
{
    struct notifies *n = shared;
    struct random *random = &worker->random;
    unsigned recursion = n->reentrant ? 1 + (unsigned)random_below(random, 3) : 1;
    random_pause(random);
    for (unsigned i = 0; i < recursion; i++)
        TORTURE_STATUS(threading_condition_acquire(n->condition), THREADING_OK);
    if (worker->number < n->untimed) {
        atomic_fetch_add(&n->untimed_started, 1);
        TORTURE_STATUS(threading_condition_wait(n->condition), THREADING_OK);
        atomic_fetch_add(&n->done, 1);
        atomic_fetch_add(&n->untimed_notified, 1);
    } else {
        double seconds = random_timeout(random), began = now();
        uint64_t index = atomic_fetch_add(&n->timed_started, 1);
        if (CHECK_TIMED_WAIT(threading_condition_wait_timeout(n->condition, seconds), began, seconds)) {
            atomic_fetch_add(&n->done, 1);
            atomic_fetch_add(&n->timed_notified, 1);
        }
        atomic_fetch_add(&n->timed_returned, 1);
        if (index < n->timed_at_notify_all)
            atomic_fetch_add(&n->timed_at_notify_all_returned, 1);
    }
    TORTURE_CHECK(threading_condition_is_owned(n->condition));
    for (unsigned i = 0; i < recursion; i++)
        TORTURE_STATUS(threading_condition_release(n->condition), THREADING_OK);
    if (n->reentrant) /* the wait has restored the recursion count */
        TORTURE_CHECK(!threading_condition_is_owned(n->condition));
}

static inline void notifies_drive(struct scenario *scenario, void *shared)
{
    struct notifies *n = shared;
    struct random *random = &scenario->random;
    double end = now() + STRESS_LIMIT;
    uint64_t notified = 0;
    while (atomic_load(&n->untimed_notified) < n->untimed) {
        if (random_one_in(random, 2))
            sleep_for(random_timeout(random));
        else
            random_pause(random);
        TORTURE_CHECK(now() < end);
        TORTURE_STATUS(threading_condition_acquire(n->condition), THREADING_OK);
        uint64_t untimed_started = n->untimed_started, timed_started = n->timed_started;
        uint64_t queued = untimed_started + n->timed_notified - notified;
        bool all = random_one_in(random, 4);
        if (all) {
            n->timed_at_notify_all = timed_started;
            n->timed_at_notify_all_returned = n->timed_returned;
            TORTURE_STATUS(threading_condition_notify_all(n->condition), THREADING_OK);
        } else if (queued > 0) {
            uint64_t count = 1 + random_below(random, queued);
            TORTURE_STATUS(threading_condition_notify(n->condition, (int64_t)count), THREADING_OK);
            notified += count;
        }
        TORTURE_STATUS(threading_condition_release(n->condition), THREADING_OK);
        if (all) { /* which timed waits were notified is unknown until they have returned */
            while (atomic_load(&n->untimed_notified) < untimed_started ||
                   atomic_load(&n->timed_at_notify_all_returned) < timed_started) {
                TORTURE_CHECK(now() < end);
                sched_yield();
            }
            notified = atomic_load(&n->done);
        } else if (random_one_in(random, 2)) {
            AWAIT_COUNT(&n->done, notified);
        }
    }
    AWAIT_COUNT(&n->done, notified);
}

static inline void notifies_finish(struct scenario *scenario, void *shared)
{
    struct notifies *n = shared;
    TORTURE_CHECK(!threading_condition_locked(n->condition));
    if (random_one_in(&scenario->random, 8)) {
        TORTURE_STATUS(threading_condition_free(n->condition), THREADING_OK);
        n->condition = NULL;
    }
}

static inline void scenario_notifies(struct scenario *scenario)
{
    struct notifies notifies = {.workers = scenario->threads};
    struct rounds rounds = {.shared = &notifies,
                            .prepare = notifies_prepare,
                            .work = notifies_work,
                            .drive = notifies_drive,
                            .finish = notifies_finish};
    rounds_run(scenario, scenario->threads, &rounds);
    if (notifies.condition != NULL)
        TORTURE_STATUS(threading_condition_free(notifies.condition), THREADING_OK);
}

#endif
