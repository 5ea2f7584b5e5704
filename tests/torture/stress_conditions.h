/* Conditions: a bounded queue, and the account of notifies and waits. */
#ifndef STRESS_CONDITIONS_H
#define STRESS_CONDITIONS_H

#include "stress.h"

ACQUIRE_SOMEHOW(condition)

/* A condition over a lock of any kind, the caller's or its own. */
static inline threading_condition *new_condition(struct random *random, threading_condition **sibling)
{
    threading_condition *condition = NULL;
    if (random_one_in(random, 2)) {
        threading_lock *lock = threading_lock_new();
        condition = threading_condition_new_with_lock(lock);
        if (sibling != NULL)
            *sibling = threading_condition_new_with_lock(lock);
        TORTURE_STATUS(threading_lock_free(lock), THREADING_OK);
    } else {
        threading_rlock *rlock = threading_rlock_new();
        condition = threading_condition_new_with_rlock(rlock);
        if (sibling != NULL)
            *sibling = threading_condition_new_with_rlock(rlock);
        TORTURE_STATUS(threading_rlock_free(rlock), THREADING_OK);
    }
    TORTURE_CHECK(condition != NULL);
    return condition;
}

/* ------------------------------------------------------------------------------------------- a bounded queue */

enum { QUEUE = 8 };

struct queue {
    threading_condition *not_empty, *not_full; /* over the same lock */
    struct item {
        unsigned producer;
        uint64_t number;
    } items[QUEUE];
    unsigned first, count;
    unsigned producers, producing;
    uint64_t made[CREW], taken[CREW], last[CREW]; /* of each producer */
};

/* Waits once, the lock held, whether or not the time suffices. */
static inline void wait_somehow(threading_condition *condition, struct random *random)
{
    if (random_one_in(random, 2)) {
        TORTURE_STATUS(threading_condition_wait(condition), THREADING_OK);
    } else {
        double seconds = random_timeout(random), began = torture_now();
        RAN(threading_condition_wait_timeout(condition, seconds), began, seconds);
    }
}

static inline void queue_worker(struct worker *worker)
{
    struct queue *queue = worker->shared;
    struct random *random = &worker->random;
    bool produces = worker->number < queue->producers;
    threading_condition *mine = produces ? queue->not_full : queue->not_empty;
    threading_condition *theirs = produces ? queue->not_empty : queue->not_full;
    for (bool done = false; !done;) {
        bool over = !scene_goes_on(worker->scene);
        if (!condition_acquire_somehow(mine, random))
            continue;
        while (queue->count == (produces ? QUEUE : 0) && (produces || queue->producing > 0))
            wait_somehow(mine, random);
        if (produces && !over) {
            struct item *item = &queue->items[(queue->first + queue->count++) % QUEUE];
            *item = (struct item){worker->number, ++queue->made[worker->number]};
            TORTURE_STATUS(threading_condition_notify(theirs, 1), THREADING_OK);
        } else if (produces) {
            if (--queue->producing == 0)
                TORTURE_STATUS(threading_condition_notify_all(theirs), THREADING_OK);
            TORTURE_STATUS(threading_condition_notify(mine, 1), THREADING_OK); /* the room is another's */
            done = true;
        } else if (queue->count > 0) {
            struct item item = queue->items[queue->first];
            queue->first = (queue->first + 1) % QUEUE;
            queue->count--;
            TORTURE_CHECK(item.number == queue->last[item.producer] + 1); /* none lost, none twice, in order */
            queue->last[item.producer] = item.number;
            queue->taken[item.producer]++;
            TORTURE_STATUS(threading_condition_notify(theirs, 1), THREADING_OK);
        } else {
            done = true;
        }
        TORTURE_STATUS(threading_condition_release(mine), THREADING_OK);
        pause_somehow(random);
        worker_step(worker);
    }
}

static inline void scene_queue(struct scene *scene)
{
    struct queue *queue = calloc(1, sizeof *queue);
    TORTURE_CHECK(queue != NULL);
    queue->not_empty = new_condition(&scene->random, &queue->not_full);
    queue->producers = queue->producing = 1 + (unsigned)random_below(&scene->random, scene->threads - 1);
    crew_run(scene, scene->threads, queue_worker, queue);
    TORTURE_CHECK(queue->count == 0 && queue->producing == 0);
    for (unsigned i = 0; i < queue->producers; i++)
        TORTURE_CHECK(queue->taken[i] == queue->made[i]);
    TORTURE_STATUS(threading_condition_free(queue->not_empty), THREADING_OK);
    TORTURE_STATUS(threading_condition_free(queue->not_full), THREADING_OK);
    free(queue);
}

/* -------------------------------------------------------------------- each notify ends a wait, and one only */

/* Some of the workers wait without a limit, the others once and not for long. As many as `patient_in` less the
 * notifies that may have gone to them are in line for certain: so many can be notified, and each of these notifies
 * must end one wait, whoever gave up at that moment. */
struct notifies {
    threading_condition *condition;
    bool reentrant;
    unsigned workers, patient;
    _Atomic uint64_t patient_in, hasty_in, hasty_out; /* changed under the lock, as the next two */
    uint64_t met;                                     /* so many hasty ones had come in when all were notified */
    _Atomic uint64_t met_out;                         /* of these so many are out */
    _Atomic uint64_t patient_done, hasty_done;        /* waits that a notify ended; under the lock, too */
    _Atomic uint64_t done;                            /* both; counted first */
};

static inline void notifies_prepare(struct scene *scene, void *shared)
{
    struct notifies *n = shared;
    if (n->condition == NULL) {
        n->reentrant = random_one_in(&scene->random, 2);
        if (n->reentrant)
            n->condition = threading_condition_new();
        else
            n->condition = new_condition(&scene->random, NULL);
        TORTURE_CHECK(n->condition != NULL);
    }
    n->patient = 1 + (unsigned)random_below(&scene->random, n->workers);
    n->patient_in = n->hasty_in = n->hasty_out = n->met = n->met_out = n->patient_done = n->hasty_done = n->done = 0;
}

static inline void notifies_once(struct worker *worker, void *shared)
{
    struct notifies *n = shared;
    struct random *random = &worker->random;
    unsigned levels = n->reentrant ? 1 + (unsigned)random_below(random, 3) : 1;
    pause_somehow(random);
    for (unsigned i = 0; i < levels; i++)
        TORTURE_STATUS(threading_condition_acquire(n->condition), THREADING_OK);
    if (worker->number < n->patient) {
        atomic_fetch_add(&n->patient_in, 1);
        TORTURE_STATUS(threading_condition_wait(n->condition), THREADING_OK);
        atomic_fetch_add(&n->done, 1);
        atomic_fetch_add(&n->patient_done, 1);
    } else {
        double seconds = random_timeout(random), began = torture_now();
        uint64_t place = atomic_fetch_add(&n->hasty_in, 1);
        if (RAN(threading_condition_wait_timeout(n->condition, seconds), began, seconds)) {
            atomic_fetch_add(&n->done, 1);
            atomic_fetch_add(&n->hasty_done, 1);
        }
        atomic_fetch_add(&n->hasty_out, 1);
        if (place < n->met)
            atomic_fetch_add(&n->met_out, 1);
    }
    TORTURE_CHECK(threading_condition_is_owned(n->condition));
    for (unsigned i = 0; i < levels; i++)
        TORTURE_STATUS(threading_condition_release(n->condition), THREADING_OK);
    if (n->reentrant) /* the wait gave back as many levels as it took */
        TORTURE_CHECK(!threading_condition_is_owned(n->condition));
}

static inline void notifies_drive(struct scene *scene, void *shared)
{
    struct notifies *n = shared;
    struct random *random = &scene->random;
    double end = torture_now() + STRESS_LIMIT;
    uint64_t notified = 0;
    while (atomic_load(&n->patient_done) < n->patient) {
        if (random_one_in(random, 2))
            nap(random_timeout(random));
        else
            pause_somehow(random);
        TORTURE_CHECK(torture_now() < end);
        TORTURE_STATUS(threading_condition_acquire(n->condition), THREADING_OK);
        uint64_t patient_in = n->patient_in, hasty_in = n->hasty_in;
        uint64_t certain = patient_in + n->hasty_done - notified;
        bool all = random_one_in(random, 4);
        if (all) {
            n->met = hasty_in;
            n->met_out = n->hasty_out;
            TORTURE_STATUS(threading_condition_notify_all(n->condition), THREADING_OK);
        } else if (certain > 0) {
            uint64_t count = 1 + random_below(random, certain);
            TORTURE_STATUS(threading_condition_notify(n->condition, (int64_t)count), THREADING_OK);
            notified += count;
        }
        TORTURE_STATUS(threading_condition_release(n->condition), THREADING_OK);
        if (all) { /* which of the hasty ones it met cannot be known before they are out */
            while (atomic_load(&n->patient_done) < patient_in || atomic_load(&n->met_out) < hasty_in) {
                TORTURE_CHECK(torture_now() < end);
                sched_yield();
            }
            notified = atomic_load(&n->done);
        } else if (random_one_in(random, 2)) {
            AWAIT(&n->done, notified);
        }
    }
    AWAIT(&n->done, notified);
}

static inline void notifies_settle(struct scene *scene, void *shared)
{
    struct notifies *n = shared;
    TORTURE_CHECK(!threading_condition_locked(n->condition));
    if (random_one_in(&scene->random, 8)) {
        TORTURE_STATUS(threading_condition_free(n->condition), THREADING_OK);
        n->condition = NULL;
    }
}

static inline void scene_notifies(struct scene *scene)
{
    struct notifies notifies = {.workers = scene->threads};
    struct rounds rounds = {
        .shared = &notifies, .prepare = notifies_prepare, .once = notifies_once,
        .drive = notifies_drive, .settle = notifies_settle};
    rounds_run(scene, scene->threads, &rounds);
    if (notifies.condition != NULL)
        TORTURE_STATUS(threading_condition_free(notifies.condition), THREADING_OK);
}

#endif
