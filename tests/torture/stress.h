/* What the scenarios of stress.c, and in part signals.c, share: teams of threads, random pauses and waits, and
 * rounds.
 *
 * A scenario uses objects of its own for a fraction of the run, so that any number of scenarios can run
 * concurrently. It checks invariants: what goes in comes out exactly once. */
#ifndef STRESS_H
#define STRESS_H

#include "torture.h"

#include <sched.h>

enum { MAX_TEAM = 64 }; /* maximum number of threads in a scenario */

/* Upper bound in seconds for everything that must happen; it is exceeded only if a wake-up is lost. */
#define STRESS_LIMIT 60.0

struct scenario {
    struct random random;
    unsigned threads;   /* number of threads that the scenario should use */
    double until;       /* time at which the scenario ends */
    uint64_t max_steps; /* the scenario also ends when the run has done this many operations */
};

/* Workers check this after a step, so that each does at least one, even if it starts late. */
static inline bool scenario_running(const struct scenario *scenario)
{
    return now() < scenario->until &&
           atomic_load_explicit(&torture.steps, memory_order_relaxed) < scenario->max_steps;
}

/* ------------------------------------------------------------------------------------- pauses and timeouts */

static inline void spin(uint64_t iterations)
{
    for (volatile uint64_t i = 0; i < iterations; i++)
        ;
}

/* Usually does nothing; else spins, yields or sleeps for a short time. */
static inline void random_pause(struct random *random)
{
    switch (random_below(random, 16)) {
    case 0:
        sleep_for((double)random_below(random, 300) / 1e6);
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

/* Returns a timeout between zero and a few milliseconds, short enough to expire at any point of the other threads'
 * work. */
static inline double random_timeout(struct random *random)
{
    static const double max_seconds[] = {0, 1e-6, 20e-6, 100e-6, 1e-3, 3e-3};
    double fraction = (double)random_below(random, 1000) / 1000;
    return max_seconds[random_below(random, sizeof max_seconds / sizeof max_seconds[0])] * fraction;
}

/* Checks a wait with a timeout that began at `began`. Returns true if it succeeded, and false if it timed out, which
 * must not be early. */
#define CHECK_TIMED_WAIT(call, began, seconds) check_timed_wait(__FILE__, __LINE__, #call, (call), (began), (seconds))

static inline bool check_timed_wait(const char *file, int line, const char *call, threading_status status, double began,
                                    double seconds)
{
    double lasted = now() - began;
    if (status == THREADING_OK)
        return true;
    if (status != THREADING_TIMED_OUT)
        torture_fail(file, line, "%s is %s", call, threading_status_name(status));
    if (lasted < seconds)
        torture_fail(file, line, "%s timed out after %.9f s instead of %.9f s", call, lasted, seconds);
    return false;
}

/* Waits until a counter reaches `number`, and fails if it exceeds it. What the counter depends on must have been
 * triggered before. */
#define AWAIT_COUNT(count, number) await_count(__FILE__, __LINE__, #count, (count), (number))

static inline void await_count(const char *file, int line, const char *what, _Atomic uint64_t *count, uint64_t number)
{
    double end = now() + STRESS_LIMIT;
    for (uint64_t turn = 0;; turn++) {
        uint64_t current = atomic_load(count);
        if (current == number)
            return;
        if (current > number || now() > end)
            torture_fail(file, line, "%s is %" PRIu64 ", expected %" PRIu64, what, current, number);
        if (turn < 50)
            spin(20);
        else if (turn < 100)
            sched_yield();
        else
            sleep_for(20e-6);
    }
}

/* Defines a function that acquires an object in a random way and returns true if it succeeded. */
#define DEFINE_RANDOM_ACQUIRE(kind)                                                                                    \
    static inline bool kind##_random_acquire(threading_##kind *object, struct random *random)                          \
    {                                                                                                                  \
        threading_status status;                                                                                       \
        double seconds, began;                                                                                         \
        switch (random_below(random, 4)) {                                                                             \
        case 0:                                                                                                        \
            TORTURE_STATUS(threading_##kind##_acquire(object), THREADING_OK);                                          \
            return true;                                                                                               \
        case 1:                                                                                                        \
            TORTURE_STATUS(threading_##kind##_acquire_timeout(object, STRESS_LIMIT), THREADING_OK);                    \
            return true;                                                                                               \
        case 2:                                                                                                        \
            status = threading_##kind##_try_acquire(object);                                                           \
            TORTURE_CHECK(status == THREADING_OK || status == THREADING_WOULD_BLOCK);                                  \
            return status == THREADING_OK;                                                                             \
        default:                                                                                                       \
            seconds = random_timeout(random);                                                                          \
            began = now();                                                                                     \
            return CHECK_TIMED_WAIT(threading_##kind##_acquire_timeout(object, seconds), began, seconds);              \
        }                                                                                                              \
    }

/* ----------------------------------------------------------------------------------------- teams of threads */

struct worker {
    struct scenario *scenario;
    void *shared;
    unsigned number;
    struct random random;
    void (*body)(struct worker *);
    threading_thread *thread; /* NULL for a foreign thread */
    pthread_t foreign;
    uint64_t steps;
};

struct team {
    unsigned count;
    struct worker workers[MAX_TEAM];
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

/* Starts a random mix of threads of the library and foreign threads. */
static inline void team_start(struct team *team, struct scenario *scenario, unsigned count,
                              void (*body)(struct worker *), void *shared)
{
    team->count = count;
    for (unsigned i = 0; i < count; i++) {
        struct worker *worker = &team->workers[i];
        *worker = (struct worker){.scenario = scenario, .shared = shared, .number = i, .body = body};
        worker->random.state = random_next(&scenario->random);
        if (random_one_in(&scenario->random, 3)) {
            TORTURE_CHECK(pthread_create(&worker->foreign, NULL, worker_main, worker) == 0);
        } else {
            worker->thread = threading_thread_new(worker_main, worker);
            TORTURE_STATUS(threading_thread_start(worker->thread), THREADING_OK);
        }
    }
}

static inline void team_join(struct team *team)
{
    for (unsigned i = 0; i < team->count; i++) {
        struct worker *worker = &team->workers[i];
        if (worker->thread == NULL) {
            TORTURE_CHECK(pthread_join(worker->foreign, NULL) == 0);
        } else {
            TORTURE_STATUS(threading_thread_join(worker->thread), THREADING_OK);
            TORTURE_CHECK(threading_thread_result(worker->thread) == worker);
            TORTURE_STATUS(threading_thread_free(worker->thread), THREADING_OK);
        }
    }
}

static inline void team_run(struct scenario *scenario, unsigned count, void (*body)(struct worker *), void *shared)
{
    struct team *team = malloc(sizeof *team);
    TORTURE_CHECK(team != NULL);
    team_start(team, scenario, count, body, shared);
    team_join(team);
    free(team);
}

/* --------------------------------------------------------------------------------------------------- rounds */

/* For invariants of single waits: in every round each worker does its work once, while the scenario's own thread
 * drives them. A lost wake-up cannot be hidden by a later one. The rounds are separated by a pthread barrier,
 * because the test must not depend on the library under test. */
struct rounds {
    void *shared;
    void (*prepare)(struct scenario *, void *shared); /* before the round, without workers */
    void (*work)(struct worker *, void *shared);
    void (*drive)(struct scenario *, void *shared);
    void (*finish)(struct scenario *, void *shared); /* after the round, without workers */
    pthread_barrier_t barrier;
    bool stop;
};

static inline void rounds_worker(struct worker *worker)
{
    struct rounds *rounds = worker->shared;
    for (;;) {
        pthread_barrier_wait(&rounds->barrier);
        if (rounds->stop)
            return;
        rounds->work(worker, rounds->shared);
        worker_step(worker);
        pthread_barrier_wait(&rounds->barrier);
    }
}

static inline void rounds_run(struct scenario *scenario, unsigned count, struct rounds *rounds)
{
    struct team *team = malloc(sizeof *team);
    TORTURE_CHECK(team != NULL && pthread_barrier_init(&rounds->barrier, NULL, count + 1) == 0);
    rounds->stop = false;
    team_start(team, scenario, count, rounds_worker, rounds);
    do {
        rounds->prepare(scenario, rounds->shared);
        pthread_barrier_wait(&rounds->barrier);
        rounds->drive(scenario, rounds->shared);
        pthread_barrier_wait(&rounds->barrier);
        rounds->finish(scenario, rounds->shared);
    } while (scenario_running(scenario));
    rounds->stop = true;
    pthread_barrier_wait(&rounds->barrier);
    team_join(team);
    TORTURE_CHECK(pthread_barrier_destroy(&rounds->barrier) == 0);
    free(team);
}

#endif
