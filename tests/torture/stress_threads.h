/* Threads, timers and locals: each runs at most once, and each argument and value is destroyed exactly once. */
#ifndef STRESS_THREADS_H
#define STRESS_THREADS_H

#include "stress.h"

/* --------------------------------------------------------------------------------------- threads and timers */

/* A thread or a timer, which gets this record as its argument. Two workers hold a reference: its creator, and the
 * one that takes it from the exchange; the last of them checks what has happened. */
struct job {
    threading_thread *thread;
    threading_timer *timer; /* NULL for a plain thread */
    double due;             /* earliest time to run; 0 for a thread */
    bool started;
    atomic_uint runs, destroyed;
    atomic_bool cancelled, too_late; /* the results of cancel */
    _Atomic uint64_t ended;          /* 1 after the argument's destructor has been called */
    atomic_uint holders;
};

enum { EXCHANGE_SLOTS = 16 };

struct exchange {
    _Atomic(struct job *) slots[EXCHANGE_SLOTS];
};

static inline void *job_run(void *arg)
{
    struct job *job = arg;
    TORTURE_CHECK(now() >= job->due);
    TORTURE_CHECK(threading_current_thread() == job->thread);
    TORTURE_CHECK(threading_thread_is_alive(job->thread));
    atomic_fetch_add(&job->runs, 1);
    return job;
}

static inline void job_destroy(void *arg)
{
    struct job *job = arg;
    atomic_fetch_add(&job->destroyed, 1);
    atomic_fetch_add(&job->ended, 1);
}

static inline void job_cancel(struct job *job)
{
    threading_status status = threading_timer_cancel(job->timer);
    TORTURE_CHECK(status == THREADING_OK || status == THREADING_TOO_LATE);
    atomic_store(status == THREADING_OK ? &job->cancelled : &job->too_late, true);
}

static inline void job_join(struct job *job, struct random *random)
{
    while (random_one_in(random, 2)) {
        double seconds = random_timeout(random), began = now();
        if (CHECK_TIMED_WAIT(threading_thread_join_timeout(job->thread, seconds), began, seconds))
            break;
    }
    TORTURE_STATUS(threading_thread_join(job->thread), THREADING_OK);
    TORTURE_CHECK(!threading_thread_is_alive(job->thread));
    TORTURE_CHECK(threading_thread_result(job->thread) == (atomic_load(&job->runs) ? job : NULL));
}

/* Releases the reference of one holder; the last one checks the counts. */
static inline void job_release(struct job *job)
{
    if (job->timer != NULL)
        TORTURE_STATUS(threading_timer_free(job->timer), THREADING_OK);
    else
        TORTURE_STATUS(threading_thread_free(job->thread), THREADING_OK);
    if (atomic_fetch_sub(&job->holders, 1) > 1)
        return;
    AWAIT_COUNT(&job->ended, 1);
    TORTURE_CHECK(job->destroyed == 1 && job->runs <= 1);
    TORTURE_CHECK(!job->cancelled || !job->too_late);
    TORTURE_CHECK((job->runs == 1) == (job->started && !job->cancelled));
    free(job);
}

static inline struct job *job_new(struct random *random, bool is_timer)
{
    static const double intervals[] = {-1, 0, 20e-6, 300e-6, 2e-3, 3600};
    struct job *job = calloc(1, sizeof *job);
    TORTURE_CHECK(job != NULL);
    job->holders = 2;
    if (is_timer) {
        double interval = intervals[random_below(random, sizeof intervals / sizeof intervals[0])];
        job->due = interval; /* the interval, until the timer is started */
        job->timer = threading_timer_new(interval, job_run, job);
        job->thread = threading_timer_thread(job->timer);
    } else {
        job->thread = threading_thread_new(job_run, job);
    }
    TORTURE_CHECK(job->thread != NULL);
    TORTURE_STATUS(threading_thread_set_arg_destructor(job->thread, job_destroy), THREADING_OK);
    TORTURE_STATUS(threading_thread_set_daemon(job->thread, random_one_in(random, 2)), THREADING_OK);
    return job;
}

/* Creates a job, starts most of them, and exchanges it for a job of another worker. */
static inline void job_create_and_exchange(struct worker *worker, struct exchange *exchange, bool is_timer)
{
    struct random *random = &worker->random;
    struct job *job = job_new(random, is_timer);
    bool never_expires = is_timer && job->due > 1;
    job->started = !random_one_in(random, 8);
    job->due = is_timer ? now() + job->due : 0;
    void *second_ref = is_timer ? (void *)threading_timer_ref(job->timer) : (void *)threading_thread_ref(job->thread);
    TORTURE_CHECK(second_ref != NULL);
    if (job->started && is_timer)
        TORTURE_STATUS(threading_timer_start(job->timer), THREADING_OK);
    else if (job->started)
        TORTURE_STATUS(threading_thread_start(job->thread), THREADING_OK);
    struct job *other = atomic_exchange(&exchange->slots[random_below(random, EXCHANGE_SLOTS)], job);
    random_pause(random);
    if (is_timer && (never_expires || random_one_in(random, 2)))
        job_cancel(job);
    if (job->started && random_one_in(random, 2))
        job_join(job, random);
    job_release(job);
    if (other == NULL)
        return;
    if (other->timer != NULL && random_one_in(random, 2))
        job_cancel(other);
    if (other->started && random_one_in(random, 2))
        job_join(other, random);
    job_release(other);
}

static inline void threads_worker(struct worker *worker)
{
    do {
        job_create_and_exchange(worker, worker->shared, false);
        worker_step(worker);
    } while (scenario_running(worker->scenario));
}

static inline void timers_worker(struct worker *worker)
{
    do {
        job_create_and_exchange(worker, worker->shared, true);
        worker_step(worker);
    } while (scenario_running(worker->scenario));
}

static inline void run_jobs(struct scenario *scenario, void (*body)(struct worker *))
{
    struct exchange exchange = {.slots = {NULL}};
    team_run(scenario, scenario->threads, body, &exchange);
    for (unsigned i = 0; i < EXCHANGE_SLOTS; i++)
        if (exchange.slots[i] != NULL)
            job_release(exchange.slots[i]);
}

static inline void scenario_threads(struct scenario *scenario)
{
    run_jobs(scenario, threads_worker);
}

static inline void scenario_timers(struct scenario *scenario)
{
    run_jobs(scenario, timers_worker);
}

/* ---------------------------------------------------------------------------------------------------- locals */

enum { LOCALS = 3, VALUES = 100 };

struct locals {
    threading_local *locals[LOCALS];
    _Atomic uint64_t created, destroyed;
};

struct value {
    struct locals *locals;
    pthread_t owner;
    atomic_uint destroyed;
};

/* True while this thread frees a local, which destroys the values of other threads. Values are not freed before the
 * end of the round, so that a second destruction is detected. */
static _Thread_local bool in_local_free;

static inline void value_destroy(void *arg)
{
    struct value *value = arg;
    TORTURE_CHECK(atomic_fetch_add(&value->destroyed, 1) == 0);
    TORTURE_CHECK(in_local_free || pthread_equal(value->owner, pthread_self()));
    atomic_fetch_add(&value->locals->destroyed, 1);
}

/* A value that could not be set still belongs to the caller. Setting fails if the local has been freed. */
static inline void destroy_if_not_set(struct value *value, threading_status status)
{
    if (status == THREADING_OK)
        return;
    TORTURE_STATUS(status, THREADING_ERR_HANDLE);
    value_destroy(value);
}

struct values {
    struct locals *locals;
    struct value of[MAX_TEAM][VALUES];
};

static inline void locals_worker(struct worker *worker)
{
    static const char *const names[] = {"a", "b"};
    struct values *values = worker->shared;
    struct locals *locals = values->locals;
    struct random *random = &worker->random;
    struct value *current[LOCALS] = {NULL}; /* the expected value; NULL once another thread has freed the local */
    for (unsigned i = 0; i < VALUES; i++) {
        unsigned index = (unsigned)random_below(random, LOCALS);
        threading_local *local = locals->locals[index];
        struct value *value = &values->of[worker->number][i];
        const char *name = names[random_below(random, 2)];
        threading_status status;
        void *got;
        *value = (struct value){.locals = locals, .owner = pthread_self()};
        switch (random_below(random, 5)) {
        case 0:
        case 1:
            atomic_fetch_add(&locals->created, 1);
            status = threading_local_set(local, value);
            destroy_if_not_set(value, status);
            /* after a failure the local is gone for all threads */
            current[index] = status == THREADING_OK ? value : NULL;
            break;
        case 2:
            atomic_fetch_add(&locals->created, 1);
            destroy_if_not_set(value, threading_local_set_attr(local, name, value));
            break;
        case 3:
            got = threading_local_get(local);
            TORTURE_CHECK(got == current[index] || got == NULL);
            break;
        default:
            if (random_one_in(random, 2)) {
                status = threading_local_del_attr(local, name);
            } else {
                status = threading_local_del(local);
                current[index] = NULL;
            }
            TORTURE_CHECK(status == THREADING_OK || status == THREADING_NO_VALUE || status == THREADING_ERR_HANDLE);
            break;
        }
        if (random_one_in(random, 150)) { /* while other threads use it */
            in_local_free = true;
            status = threading_local_free(local);
            in_local_free = false;
            TORTURE_CHECK(status == THREADING_OK || status == THREADING_ERR_HANDLE);
            if (status == THREADING_OK)
                current[index] = NULL;
        }
        if (random_one_in(random, 40))
            random_pause(random);
    }
    worker_step(worker);
}

static inline void scenario_locals(struct scenario *scenario)
{
    struct values *values = malloc(sizeof *values);
    TORTURE_CHECK(values != NULL);
    do {
        struct locals locals = {.created = 0};
        values->locals = &locals;
        for (unsigned i = 0; i < LOCALS; i++)
            locals.locals[i] = threading_local_new(value_destroy);
        team_run(scenario, scenario->threads, locals_worker, values);
        for (unsigned i = 0; i < LOCALS; i++) {
            TORTURE_CHECK(threading_local_get(locals.locals[i]) == NULL);
            threading_status status = threading_local_free(locals.locals[i]);
            TORTURE_CHECK(status == THREADING_OK || status == THREADING_ERR_HANDLE);
        }
        TORTURE_CHECK(locals.created == locals.destroyed);
    } while (scenario_running(scenario));
    free(values);
}

#endif
