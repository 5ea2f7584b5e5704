/* How threads and timers live, and what they do meanwhile. */
#ifndef MISUSE_TASKS_H
#define MISUSE_TASKS_H

#include <pthread.h>
#include <sched.h>

#include "locals.h"

/* ------------------------------------------------------------------------------------------------------- errands */

/* The argument of a thread or timer: what it does, and what has come of it. Nobody looks at it after its last
 * effect, be that `ran` or `destroyed`. */
struct errand {
    sem_t gate; /* not of this library: what it waits for must not depend on what is tested */
    bool gated; /* wait for it */
    bool exits; /* by pthread_exit */
    threading_local *local; /* set a value there; may be NULL */
    atomic_bool begun;
    atomic_uint ran, destroyed;
};

/* Set while the actor itself calls threading_thread_run: there is nothing to wait for then. */
static _Thread_local bool runs_inline;

static void do_errand(struct errand *errand)
{
    atomic_store(&errand->begun, true);
    if (errand->gated)
        while (sem_wait(&errand->gate) != 0)
            continue;
    if (errand->local != NULL)
        HOLDS(threading_local_set(errand->local, new_token()) == THREADING_OK);
}

static void *run_errand(void *arg)
{
    struct errand *errand = arg;
    if (runs_inline)
        return arg;
    do_errand(errand);
    bool exits = errand->exits;
    atomic_fetch_add(&errand->ran, 1);
    if (exits)
        pthread_exit(arg);
    return arg;
}

/* An override that calls what it overrides, and one that does not. */
enum { NO_OVERRIDE, CALLS_TARGET, REPLACES, OVERRIDES };

static void *call_target(threading_thread *self, void *arg)
{
    (void)arg;
    HOLDS(threading_current_thread() == self);
    return threading_thread_run(self);
}

static void *replace_target(threading_thread *self, void *arg)
{
    struct errand *errand = arg;
    HOLDS(threading_thread_arg(self) == arg);
    do_errand(errand);
    atomic_fetch_add(&errand->ran, 1);
    return self;
}

static void destroy_errand(void *arg)
{
    struct errand *errand = arg;
    if (here != NULL)
        (void)nested(here);
    atomic_fetch_add(&errand->destroyed, 1);
}

static inline struct errand *new_errand(struct actor *a)
{
    struct errand *errand = calloc(1, sizeof *errand);
    EXPECT(a, errand != NULL && sem_init(&errand->gate, 0, 0) == 0);
    errand->gated = one_in(&a->bytes, 2);
    errand->exits = one_in(&a->bytes, 8);
    errand->local = one_in(&a->bytes, 4) ? a->world->common[LOCAL] : NULL;
    return errand;
}

/* ---------------------------------------------------------------------------------------------------- their life */

static inline bool runs_something(const struct object *t)
{
    return t->has_target || t->override == REPLACES;
}

static inline void *result_of(const struct object *t)
{
    if (t->cancelled)
        return NULL;
    if (t->override == REPLACES)
        return t->handle;
    return t->has_target && !(t->errand->exits && t->is_timer) ? t->errand : NULL;
}

/* The destructor has been called, or will have been before the thread is over. */
static inline void destroy_argument(struct object *t)
{
    t->destroyed += t->owes;
    t->owes = false;
}

/* It is over, and seen to be: then all has happened that had to. */
static inline void see_end(struct actor *a, struct object *t)
{
    t->stage = OVER;
    destroy_argument(t);
    EXPECT(a, atomic_load(&t->errand->ran) == (runs_something(t) && !t->cancelled));
    EXPECT(a, atomic_load(&t->errand->destroyed) == t->destroyed);
}

/* The same for one whose handle may be gone. */
static inline void await_end(struct actor *a, struct object *t)
{
    while (atomic_load(&t->errand->ran) < (runs_something(t) && !t->cancelled) ||
           atomic_load(&t->errand->destroyed) < t->destroyed + t->owes)
        sched_yield();
    see_end(a, t);
}

/* One that the system has refused to start was enumerated for a moment, and may be kept by somebody's list now: its
 * argument is destroyed whenever that is freed. */
static inline bool may_be_listed(const struct actor *a, const struct object *t)
{
    return t->was_tried && !a->world->alone;
}

/* Who is gone after a change of a thread, or of its timer. What ends by itself cannot be told to the moment: unless
 * the actor has a reference, it is forgotten, and its handle is not called stale. */
static inline void review_thread(struct actor *a, struct object *t)
{
    struct object *timer = t->partner;
    bool was_seen = t->stage == FRESH || (t->stage == OVER && t->cancelled);
    if (t->is_foreign)
        return;
    if (timer != NULL && timer->refs == 0 && t->stage != PENDING && t->stage != GATED) {
        if (was_seen)
            publish_stale(a, TIMER, timer->handle);
        *timer = (struct object){.handle = NULL};
        t->partner = NULL;
        t->kept = 0;
    }
    if (t->refs > 0 || t->kept > 0 || t->stage == PENDING || t->stage == GATED)
        return;
    if (t->stage == LEAVING)
        await_end(a, t);
    if (t->stage == FRESH) {
        destroy_argument(t);
        EXPECT(a, atomic_load(&t->errand->destroyed) == t->destroyed);
        if (!may_be_listed(a, t))
            publish_stale(a, THREAD, t->handle);
    }
    sem_destroy(&t->errand->gate);
    free(t->errand);
    *t = (struct object){.handle = NULL};
}

static inline void open_gate(struct object *t)
{
    t->stage = LEAVING;
    sem_post(&t->errand->gate);
}

/* A name's text, if it is given; a default one's beginning. */
static inline void expect_name(struct actor *a, struct object *t, const char *name)
{
    EXPECT(a, name != NULL);
    if (t->given != NULL)
        EXPECT(a, strcmp(name, t->given) == 0);
    else
        EXPECT(a, strncmp(name, "Thread-", 7) == 0 || (t->is_foreign && strncmp(name, "Dummy-", 6) == 0) ||
                      strcmp(name, "MainThread") == 0);
    t->given = name; /* which stays valid as long as the handle */
}

#endif
