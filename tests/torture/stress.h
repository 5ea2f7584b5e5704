/* What the scenes of stress.c share, and in part signals.c: crews of threads, pauses, waits of all styles, and rounds.
 *
 * A scene stresses objects of its own for a slice of the run, so that any number of scenes can run at once. It
 * checks laws of conservation: what went in has come out, once. */
#ifndef STRESS_H
#define STRESS_H

#include "torture.h"

#include <sched.h>

enum { CREW = 64 }; /* threads of a scene at most */

/* Nothing that must happen may take longer. Only to catch what never comes: a lost wake-up. */
#define STRESS_LIMIT 60.0

struct scene {
    struct random random;
    unsigned threads; /* how many it should use */
    double until;    /* when it ends */
    uint64_t enough; /* operations of the run at which it ends, if that comes first */
};

/* Asked after the work, not before it: where threads are slow to start, each does something all the same. */
static inline bool scene_goes_on(const struct scene *scene)
{
    return torture_now() < scene->until &&
           atomic_load_explicit(&torture.steps, memory_order_relaxed) < scene->enough;
}

/* ------------------------------------------------------------------------------------- pauses and timeouts */

static inline void nap(double seconds)
{
    struct timespec t = {.tv_sec = (time_t)seconds, .tv_nsec = (long)((seconds - (double)(time_t)seconds) * 1e9)};
    nanosleep(&t, NULL);
}

static inline void spin(uint64_t turns)
{
    for (volatile uint64_t i = 0; i < turns; i++)
        ;
}

/* Nothing as a rule, or a few moments, or the CPU, or a sleep. */
static inline void pause_somehow(struct random *random)
{
    switch (random_below(random, 16)) {
    case 0:
        nap((double)random_below(random, 300) / 1e6);
        break;
    case 1:
        sched_yield();
        break;
    case 2:
    case 3:
    case 4:
    case 5:
        spin(random_below(random, 2000));
        break;
    default:
        break;
    }
}

/* Zero, some nanoseconds, or milliseconds: few enough to run out in the midst of everything. */
static inline double random_timeout(struct random *random)
{
    static const double most[] = {0, 1e-6, 20e-6, 100e-6, 1e-3, 3e-3};
    double fraction = (double)random_below(random, 1000) / 1000;
    return most[random_below(random, sizeof most / sizeof most[0])] * fraction;
}

/* Did a wait that began then and may run out get what it waited for? */
#define RAN(call, began, seconds) ran(__FILE__, __LINE__, #call, (call), (began), (seconds))

static inline bool ran(const char *file, int line, const char *call, threading_status status, double began,
                       double seconds)
{
    double lasted = torture_now() - began;
    if (status == THREADING_OK)
        return true;
    if (status != THREADING_TIMED_OUT)
        torture_fail(file, line, "%s is %s", call, threading_status_name(status));
    if (lasted < seconds)
        torture_fail(file, line, "%s timed out after %.9f s instead of %.9f s", call, lasted, seconds);
    return false;
}

/* Waits until a count has come to a number, and not past it. What it waits for has been caused already. */
#define AWAIT(count, number) await(__FILE__, __LINE__, #count, (count), (number))

static inline void await(const char *file, int line, const char *what, _Atomic uint64_t *count, uint64_t number)
{
    double end = torture_now() + STRESS_LIMIT;
    for (uint64_t turn = 0;; turn++) {
        uint64_t now = atomic_load(count);
        if (now == number)
            return;
        if (now > number || torture_now() > end)
            torture_fail(file, line, "%s is %" PRIu64 ", and should have come to %" PRIu64, what, now, number);
        if (turn < 50)
            spin(20);
        else if (turn < 100)
            sched_yield();
        else
            nap(20e-6);
    }
}

/* Acquires in one of all ways; whether it did. */
#define ACQUIRE_SOMEHOW(kind)                                                                                  \
    static inline bool kind##_acquire_somehow(threading_##kind *object, struct random *random)                \
    {                                                                                                          \
        threading_status status;                                                                               \
        double seconds, began;                                                                                 \
        switch (random_below(random, 4)) {                                                                     \
        case 0:                                                                                                \
            TORTURE_STATUS(threading_##kind##_acquire(object), THREADING_OK);                                  \
            return true;                                                                                       \
        case 1:                                                                                                \
            TORTURE_STATUS(threading_##kind##_acquire_timeout(object, STRESS_LIMIT), THREADING_OK);            \
            return true;                                                                                       \
        case 2:                                                                                                \
            status = threading_##kind##_try_acquire(object);                                                   \
            TORTURE_CHECK(status == THREADING_OK || status == THREADING_WOULD_BLOCK);                          \
            return status == THREADING_OK;                                                                     \
        default:                                                                                               \
            seconds = random_timeout(random);                                                                  \
            began = torture_now();                                                                             \
            return RAN(threading_##kind##_acquire_timeout(object, seconds), began, seconds);                   \
        }                                                                                                      \
    }

/* ---------------------------------------------------------------------------------------------------- crews */

struct worker {
    struct scene *scene;
    void *shared;
    unsigned number;
    struct random random;
    void (*body)(struct worker *);
    threading_thread *thread; /* NULL: a foreign thread */
    pthread_t foreign;
    uint64_t steps;
};

struct crew {
    unsigned count;
    struct worker workers[CREW];
};

static inline void worker_step(struct worker *worker)
{
    if (++worker->steps % 16 == 0)
        torture_step(16);
}

static inline void *worker_main(void *arg)
{
    struct worker *worker = arg;
    worker->body(worker);
    torture_step(worker->steps % 16);
    return worker;
}

/* Threads of the library's own and foreign ones, mixed. */
static inline void crew_start(struct crew *crew, struct scene *scene, unsigned count,
                              void (*body)(struct worker *), void *shared)
{
    crew->count = count;
    for (unsigned i = 0; i < count; i++) {
        struct worker *worker = &crew->workers[i];
        *worker = (struct worker){.scene = scene, .shared = shared, .number = i, .body = body};
        worker->random.state = random_next(&scene->random);
        if (random_one_in(&scene->random, 3)) {
            TORTURE_CHECK(pthread_create(&worker->foreign, NULL, worker_main, worker) == 0);
        } else {
            worker->thread = threading_thread_new(worker_main, worker);
            TORTURE_STATUS(threading_thread_start(worker->thread), THREADING_OK);
        }
    }
}

static inline void crew_join(struct crew *crew)
{
    for (unsigned i = 0; i < crew->count; i++) {
        struct worker *worker = &crew->workers[i];
        if (worker->thread == NULL) {
            TORTURE_CHECK(pthread_join(worker->foreign, NULL) == 0);
        } else {
            TORTURE_STATUS(threading_thread_join(worker->thread), THREADING_OK);
            TORTURE_CHECK(threading_thread_result(worker->thread) == worker);
            TORTURE_STATUS(threading_thread_free(worker->thread), THREADING_OK);
        }
    }
}

static inline void crew_run(struct scene *scene, unsigned count, void (*body)(struct worker *), void *shared)
{
    struct crew *crew = malloc(sizeof *crew);
    TORTURE_CHECK(crew != NULL);
    crew_start(crew, scene, count, body, shared);
    crew_join(crew);
    free(crew);
}

/* --------------------------------------------------------------------------------------------------- rounds */

/* For laws that hold of one wait each: in every round each worker does something once, while the scene's own
 * thread, which knows how many they are, drives them. What a later wait would heal, shows. The gates between the
 * rounds are pthread's: what is tested must not order its own test. */
struct rounds {
    void *shared;
    void (*prepare)(struct scene *, void *shared); /* alone, before */
    void (*once)(struct worker *, void *shared);
    void (*drive)(struct scene *, void *shared);
    void (*settle)(struct scene *, void *shared); /* alone, after */
    pthread_barrier_t gate;
    bool over;
};

static inline void rounds_worker(struct worker *worker)
{
    struct rounds *rounds = worker->shared;
    for (;;) {
        pthread_barrier_wait(&rounds->gate);
        if (rounds->over)
            return;
        rounds->once(worker, rounds->shared);
        worker_step(worker);
        pthread_barrier_wait(&rounds->gate);
    }
}

static inline void rounds_run(struct scene *scene, unsigned count, struct rounds *rounds)
{
    struct crew *crew = malloc(sizeof *crew);
    TORTURE_CHECK(crew != NULL && pthread_barrier_init(&rounds->gate, NULL, count + 1) == 0);
    rounds->over = false;
    crew_start(crew, scene, count, rounds_worker, rounds);
    do {
        rounds->prepare(scene, rounds->shared);
        pthread_barrier_wait(&rounds->gate);
        rounds->drive(scene, rounds->shared);
        pthread_barrier_wait(&rounds->gate);
        rounds->settle(scene, rounds->shared);
    } while (scene_goes_on(scene));
    rounds->over = true;
    pthread_barrier_wait(&rounds->gate);
    crew_join(crew);
    TORTURE_CHECK(pthread_barrier_destroy(&rounds->gate) == 0);
    free(crew);
}

#endif
