/* Threads, timers and locals: what begins ends once, and what is given away is destroyed once. */
#ifndef STRESS_THREADS_H
#define STRESS_THREADS_H

#include "stress.h"

/* --------------------------------------------------------------------------------------- threads and timers */

/* A thread or a timer, its own argument. Two workers have to do with it: its maker, and whoever takes it from the
 * board; the last of them judges it. */
struct life {
    threading_thread *thread;
    threading_timer *timer; /* NULL: a plain thread */
    double due;             /* not before that; 0 is a thread's */
    bool started;
    atomic_uint ran, destroyed;
    atomic_bool cancelled, too_late; /* what the cancels said */
    _Atomic uint64_t ended;          /* run or destroyed for the last time */
    atomic_uint holders;
};

enum { BOARD = 16 };

struct board {
    _Atomic(struct life *) places[BOARD];
};

static inline void *life_run(void *arg)
{
    struct life *life = arg;
    TORTURE_CHECK(torture_now() >= life->due);
    TORTURE_CHECK(threading_current_thread() == life->thread);
    TORTURE_CHECK(threading_thread_is_alive(life->thread));
    atomic_fetch_add(&life->ran, 1);
    return life;
}

static inline void life_destroy(void *arg)
{
    struct life *life = arg;
    atomic_fetch_add(&life->destroyed, 1);
    atomic_fetch_add(&life->ended, 1);
}

static inline void life_cancel(struct life *life)
{
    threading_status status = threading_timer_cancel(life->timer);
    TORTURE_CHECK(status == THREADING_OK || status == THREADING_TOO_LATE);
    atomic_store(status == THREADING_OK ? &life->cancelled : &life->too_late, true);
}

static inline void life_join(struct life *life, struct random *random)
{
    while (random_one_in(random, 2)) {
        double seconds = random_timeout(random), began = torture_now();
        if (RAN(threading_thread_join_timeout(life->thread, seconds), began, seconds))
            break;
    }
    TORTURE_STATUS(threading_thread_join(life->thread), THREADING_OK);
    TORTURE_CHECK(!threading_thread_is_alive(life->thread));
    TORTURE_CHECK(threading_thread_result(life->thread) == (atomic_load(&life->ran) ? life : NULL));
}

/* One of the two is done with it, and gives its reference back. */
static inline void life_leave(struct life *life)
{
    if (life->timer != NULL)
        TORTURE_STATUS(threading_timer_free(life->timer), THREADING_OK);
    else
        TORTURE_STATUS(threading_thread_free(life->thread), THREADING_OK);
    if (atomic_fetch_sub(&life->holders, 1) > 1)
        return;
    AWAIT(&life->ended, 1);
    TORTURE_CHECK(life->destroyed == 1 && life->ran <= 1);
    TORTURE_CHECK(!life->cancelled || !life->too_late);
    TORTURE_CHECK((life->ran == 1) == (life->started && !life->cancelled));
    free(life);
}

static inline struct life *life_new(struct random *random, bool is_timer)
{
    static const double intervals[] = {-1, 0, 20e-6, 300e-6, 2e-3, 3600};
    struct life *life = calloc(1, sizeof *life);
    TORTURE_CHECK(life != NULL);
    life->holders = 2;
    if (is_timer) {
        double interval = intervals[random_below(random, sizeof intervals / sizeof intervals[0])];
        life->due = interval; /* until it is started */
        life->timer = threading_timer_new(interval, life_run, life);
        life->thread = threading_timer_thread(life->timer);
    } else {
        life->thread = threading_thread_new(life_run, life);
    }
    TORTURE_CHECK(life->thread != NULL);
    TORTURE_STATUS(threading_thread_set_arg_destructor(life->thread, life_destroy), THREADING_OK);
    TORTURE_STATUS(threading_thread_set_daemon(life->thread, random_one_in(random, 2)), THREADING_OK);
    return life;
}

/* Begins a life, or not, and shows it to the others. */
static inline void life_make(struct worker *worker, struct board *board, bool is_timer)
{
    struct random *random = &worker->random;
    struct life *life = life_new(random, is_timer);
    bool never_ends = is_timer && life->due > 1;
    life->started = !random_one_in(random, 8);
    life->due = is_timer ? torture_now() + life->due : 0;
    void *again = is_timer ? (void *)threading_timer_ref(life->timer) : (void *)threading_thread_ref(life->thread);
    TORTURE_CHECK(again != NULL);
    if (life->started && is_timer)
        TORTURE_STATUS(threading_timer_start(life->timer), THREADING_OK);
    else if (life->started)
        TORTURE_STATUS(threading_thread_start(life->thread), THREADING_OK);
    struct life *other = atomic_exchange(&board->places[random_below(random, BOARD)], life);
    pause_somehow(random);
    if (is_timer && (never_ends || random_one_in(random, 2)))
        life_cancel(life);
    if (life->started && random_one_in(random, 2))
        life_join(life, random);
    life_leave(life);
    if (other == NULL)
        return;
    if (other->timer != NULL && random_one_in(random, 2))
        life_cancel(other);
    if (other->started && random_one_in(random, 2))
        life_join(other, random);
    life_leave(other);
}

static inline void threads_worker(struct worker *worker)
{
    do {
        life_make(worker, worker->shared, false);
        worker_step(worker);
    } while (scene_goes_on(worker->scene));
}

static inline void timers_worker(struct worker *worker)
{
    do {
        life_make(worker, worker->shared, true);
        worker_step(worker);
    } while (scene_goes_on(worker->scene));
}

static inline void lives_run(struct scene *scene, void (*body)(struct worker *))
{
    struct board board = {.places = {NULL}};
    crew_run(scene, scene->threads, body, &board);
    for (unsigned i = 0; i < BOARD; i++)
        if (board.places[i] != NULL)
            life_leave(board.places[i]);
}

static inline void scene_threads(struct scene *scene)
{
    lives_run(scene, threads_worker);
}

static inline void scene_timers(struct scene *scene)
{
    lives_run(scene, timers_worker);
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

/* Values are kept until the end of their round, so that a second destruction shows. */
static _Thread_local bool frees_a_local;

static inline void value_destroy(void *arg)
{
    struct value *value = arg;
    TORTURE_CHECK(atomic_fetch_add(&value->destroyed, 1) == 0);
    TORTURE_CHECK(frees_a_local || pthread_equal(value->owner, pthread_self()));
    atomic_fetch_add(&value->locals->destroyed, 1);
}

/* What refuses a value leaves it to the caller. A local that has been freed refuses. */
static inline void value_given(struct value *value, threading_status status)
{
    if (status == THREADING_OK)
        return;
    TORTURE_STATUS(status, THREADING_ERR_HANDLE);
    value_destroy(value);
}

struct values {
    struct locals *locals;
    struct value of[CREW][VALUES];
};

static inline void locals_worker(struct worker *worker)
{
    static const char *const names[] = {"a", "b"};
    struct values *values = worker->shared;
    struct locals *locals = values->locals;
    struct random *random = &worker->random;
    struct value *latest[LOCALS] = {NULL}; /* what get answers, but for NULL once another thread has freed it */
    for (unsigned i = 0; i < VALUES; i++) {
        unsigned which = (unsigned)random_below(random, LOCALS);
        threading_local *local = locals->locals[which];
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
            value_given(value, status);
            latest[which] = status == THREADING_OK ? value : NULL; /* once refused, it is gone for all */
            break;
        case 2:
            atomic_fetch_add(&locals->created, 1);
            value_given(value, threading_local_set_attr(local, name, value));
            break;
        case 3:
            got = threading_local_get(local);
            TORTURE_CHECK(got == latest[which] || got == NULL);
            break;
        default:
            if (random_one_in(random, 2)) {
                status = threading_local_del_attr(local, name);
            } else {
                status = threading_local_del(local);
                latest[which] = NULL;
            }
            TORTURE_CHECK(status == THREADING_OK || status == THREADING_NO_VALUE || status == THREADING_ERR_HANDLE);
            break;
        }
        if (random_one_in(random, 150)) { /* while others use it */
            frees_a_local = true;
            status = threading_local_free(local);
            frees_a_local = false;
            TORTURE_CHECK(status == THREADING_OK || status == THREADING_ERR_HANDLE);
            if (status == THREADING_OK)
                latest[which] = NULL;
        }
        if (random_one_in(random, 40))
            pause_somehow(random);
    }
    worker_step(worker);
}

static inline void scene_locals(struct scene *scene)
{
    struct values *values = malloc(sizeof *values);
    TORTURE_CHECK(values != NULL);
    do {
        struct locals locals = {.created = 0};
        values->locals = &locals;
        for (unsigned i = 0; i < LOCALS; i++)
            locals.locals[i] = threading_local_new(value_destroy);
        crew_run(scene, scene->threads, locals_worker, values);
        for (unsigned i = 0; i < LOCALS; i++) {
            TORTURE_CHECK(threading_local_get(locals.locals[i]) == NULL);
            threading_status status = threading_local_free(locals.locals[i]);
            TORTURE_CHECK(status == THREADING_OK || status == THREADING_ERR_HANDLE);
        }
        TORTURE_CHECK(locals.created == locals.destroyed);
    } while (scene_goes_on(scene));
    free(values);
}

#endif
