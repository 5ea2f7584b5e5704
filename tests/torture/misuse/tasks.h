/* The tasks that threads and timers run, and the model of their life cycle. */
#ifndef MISUSE_TASKS_H
#define MISUSE_TASKS_H

#include <pthread.h>
#include <sched.h>

#include "locals.h"

/* --------------------------------------------------------------------------------------------------------- tasks */

/* The argument of a thread or timer: what it does, and what has happened. After its last effect, which increments
 * `runs` or `destructor_calls`, the thread does not access it any more. */
struct task {
    sem_t gate;             /* a POSIX semaphore, because the test must not depend on the library under test */
    bool gated;             /* the task waits for the gate */
    bool exits;             /* the task ends with pthread_exit() */
    threading_local *local; /* the task sets a value in it, unless it is NULL */
    atomic_bool started;
    atomic_uint runs, destructor_calls;
};

/* True while the actor calls threading_thread_run() itself; the task does nothing then. */
static _Thread_local bool in_direct_run;

static void do_task(struct task *task)
{
    atomic_store(&task->started, true);
    if (task->gated)
        while (sem_wait(&task->gate) != 0)
            continue;
    if (task->local != NULL)
        ASSERT(threading_local_set(task->local, new_token()) == THREADING_OK);
}

static void *run_task(void *arg)
{
    struct task *task = arg;
    if (in_direct_run)
        return arg;
    do_task(task);
    bool exits = task->exits;
    atomic_fetch_add(&task->runs, 1);
    if (exits)
        pthread_exit(arg);
    return arg;
}

/* How run() is overridden: by a function that calls the target, or by one that replaces it. */
enum { NO_OVERRIDE, CALLS_TARGET, REPLACES_TARGET, OVERRIDES };

static void *call_target(threading_thread *self, void *arg)
{
    (void)arg;
    ASSERT(threading_current_thread() == self);
    return threading_thread_run(self);
}

static void *replace_target(threading_thread *self, void *arg)
{
    struct task *task = arg;
    ASSERT(threading_thread_arg(self) == arg);
    do_task(task);
    atomic_fetch_add(&task->runs, 1);
    return self;
}

static void destroy_task(void *arg)
{
    struct task *task = arg;
    if (current_actor != NULL)
        (void)nested_call(current_actor);
    atomic_fetch_add(&task->destructor_calls, 1);
}

static inline struct task *new_task(struct actor *a)
{
    struct task *task = calloc(1, sizeof *task);
    EXPECT(a, task != NULL && sem_init(&task->gate, 0, 0) == 0);
    task->gated = one_in(&a->bytes, 2);
    task->exits = one_in(&a->bytes, 8);
    task->local = one_in(&a->bytes, 4) ? a->world->shared[LOCAL] : NULL;
    return task;
}

/* ------------------------------------------------------------------------------------------------ the life cycle */

static inline bool has_work(const struct object *t)
{
    return t->has_target || t->override == REPLACES_TARGET;
}

static inline void *expected_result(const struct object *t)
{
    if (t->cancelled)
        return NULL;
    if (t->override == REPLACES_TARGET)
        return t->handle;
    return t->has_target && !(t->task->exits && t->is_timer) ? t->task : NULL;
}

/* Records that the destructor has been called, or will have been when the thread has finished. */
static inline void record_destructor(struct object *t)
{
    t->destructor_calls += t->destructor_pending;
    t->destructor_pending = false;
}

/* Records that the thread has finished, and checks that its task and the destructor have run as often as expected. */
static inline void record_finished(struct actor *a, struct object *t)
{
    t->stage = FINISHED;
    record_destructor(t);
    EXPECT(a, atomic_load(&t->task->runs) == (has_work(t) && !t->cancelled));
    EXPECT(a, atomic_load(&t->task->destructor_calls) == t->destructor_calls);
}

/* Waits until a thread has finished whose handle may have been freed, and then does the same as record_finished(). */
static inline void await_finished(struct actor *a, struct object *t)
{
    while (atomic_load(&t->task->runs) < (has_work(t) && !t->cancelled) ||
           atomic_load(&t->task->destructor_calls) < t->destructor_calls + t->destructor_pending)
        sched_yield();
    record_finished(a, t);
}

/* A thread that failed to start was listed for a short time. Another actor's list may still hold a reference to it,
 * so its argument is destroyed when that list is freed. */
static inline bool may_be_listed(const struct actor *a, const struct object *t)
{
    return t->start_failed && !a->world->is_single;
}

/* Empties the records of a thread and its timer if they have been freed. The exact time at which a thread that
 * finishes by itself is freed is unknown; unless the actor holds a reference, the record is emptied without
 * publishing the handle as stale. */
static inline void forget_thread_if_freed(struct actor *a, struct object *t)
{
    struct object *timer = t->partner;
    bool was_observed = t->stage == NOT_STARTED || (t->stage == FINISHED && t->cancelled);
    if (t->is_foreign)
        return;
    if (timer != NULL && timer->refs == 0 && t->stage != PENDING && t->stage != RUNNING) {
        if (was_observed)
            publish_stale(a, TIMER, timer->handle);
        *timer = (struct object){.handle = NULL};
        t->partner = NULL;
        t->internal_refs = 0;
    }
    if (t->refs > 0 || t->internal_refs > 0 || t->stage == PENDING || t->stage == RUNNING)
        return;
    if (t->stage == FINISHING)
        await_finished(a, t);
    if (t->stage == NOT_STARTED) {
        record_destructor(t);
        EXPECT(a, atomic_load(&t->task->destructor_calls) == t->destructor_calls);
        if (!may_be_listed(a, t))
            publish_stale(a, THREAD, t->handle);
    }
    sem_destroy(&t->task->gate);
    free(t->task);
    *t = (struct object){.handle = NULL};
}

static inline void open_gate(struct object *t)
{
    t->stage = FINISHING;
    sem_post(&t->task->gate);
}

/* Checks a thread's name: the name that was set, or the form of a default name. */
static inline void check_name(struct actor *a, struct object *t, const char *name)
{
    EXPECT(a, name != NULL);
    if (t->name != NULL)
        EXPECT(a, strcmp(name, t->name) == 0);
    else
        EXPECT(a, strncmp(name, "Thread-", 7) == 0 || (t->is_foreign && strncmp(name, "Dummy-", 6) == 0) ||
                      strcmp(name, "MainThread") == 0);
    t->name = name; /* the pointer stays valid as long as the handle */
}

#endif
