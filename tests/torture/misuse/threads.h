/* The calls on threads, timers and lists of threads. */
#ifndef MISUSE_THREADS_H
#define MISUSE_THREADS_H

#include <pthread.h>
#include <sched.h>

#include "locals.h"

FREE_AT_LAST(thread)
FREE_AT_LAST(timer)

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

/* ------------------------------------------------------------------------------------------------------- threads */

static bool call_thread_new(struct actor *a)
{
    struct object *place = empty_place(a, THREAD);
    if (place == NULL)
        return false;
    struct errand *errand = new_errand(a);
    bool has_target = !one_in(&a->bytes, 4);
    begin_life(a, place, threading_thread_new(has_target ? run_errand : NULL, errand));
    place->errand = errand;
    place->has_target = has_target;
    return true;
}

REF_CALL(THREAD, thread)

static bool call_thread_free(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    if (choice.whose == CHURNED || (o != NULL && o->refs == 0 && (!own || o->is_foreign)))
        return false;
    statuses known = ONE(o != NULL && o->refs == 0 ? THREADING_ERR_HANDLE : THREADING_OK);
    if (expect(a, threading_thread_free(h), NONE, known, known)) {
        o->refs--;
        if (own)
            review_thread(a, o);
    }
    return true;
}

static bool call_thread_set_name(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    struct name name = next_name(&a->bytes);
    if (choice.whose == COMMON || (own && o->is_foreign && a->is_main))
        return false; /* main keeps its name, for the actors after this one */
    statuses error = name.is_utf8 ? NONE : ONE(THREADING_ERR_VALUE);
    if (expect(a, threading_thread_set_name(h, name.text), error, ONE(THREADING_OK), ONE(THREADING_OK)) && own)
        o->given = name.text;
    return true;
}

static bool call_thread_name(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    const char *name = threading_thread_name(h);
    if (expect_answer(a, name == NULL, NONE) && o != NULL)
        expect_name(a, o, name);
    return true;
}

/* A setting that must come before the start; `set` is what it changes in what is known. */
#define SETTING(name, argument, errors, set)                                                                 \
    {                                                                                                        \
        statuses before = ONE(o == NULL || o->stage == FRESH ? THREADING_OK : THREADING_ERR_ALREADY_STARTED); \
        if (expect(a, threading_thread_set_##name(h, argument), errors, before,                              \
                   o != NULL ? before : EITHER(THREADING_OK, THREADING_ERR_ALREADY_STARTED)) &&              \
            own)                                                                                             \
            set;                                                                                             \
        return true;                                                                                         \
    }

static bool call_thread_set_daemon(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    static const int flags[] = {0, 1, -1, INT32_MIN, INT32_MAX, 256};
    int daemon = flags[next_byte(&a->bytes) % COUNT(flags)];
    SETTING(daemon, daemon, NONE, o->daemon = daemon != 0)
}

static bool call_thread_set_stack_size(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    static const size_t sizes[] = {0, 1, 4096, 32767, 65536, 262145, 1 << 20, SIZE_MAX, SIZE_MAX / 2};
    size_t bytes = sizes[next_byte(&a->bytes) % (choice.whose == CHURNED ? 7 : COUNT(sizes))];
    statuses errors = bytes > 0 && bytes < 32768 ? ONE(THREADING_ERR_VALUE) : NONE;
    SETTING(stack_size, bytes, errors, o->too_big = bytes > SIZE_MAX / 4)
}

static bool call_thread_set_arg_destructor(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    bool owes = one_in(&a->bytes, 2) && own && !may_be_listed(a, o);
    SETTING(arg_destructor, owes ? destroy_errand : NULL, NONE, o->owes = owes)
}

static bool call_thread_set_run(struct actor *a)
{
    static const threading_run runs[OVERRIDES] = {NULL, call_target, replace_target};
    CHOOSE(a, THREAD, thread);
    uint8_t override = own ? next_byte(&a->bytes) % OVERRIDES : NO_OVERRIDE;
    SETTING(run, runs[override], NONE, o->override = override)
}

static bool call_thread_run(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    if (own && o->is_foreign)
        return false; /* its target is the actor */
    runs_inline = true;
    void *result = threading_thread_run(h);
    runs_inline = false;
    if (expect_answer(a, result == NULL, NONE))
        EXPECT(a, result == (own && o->has_target ? o->errand : NULL));
    return true;
}

/* What a start, by the thread or by the timer, must answer, and what it leaves. */
static inline statuses starts(struct actor *a, const struct object *t)
{
    if (t == NULL || t->stage != FRESH)
        return ONE(THREADING_ERR_ALREADY_STARTED) | (t == NULL ? ONE(THREADING_OK) : NONE);
    if (a->world->closed)
        return ONE(THREADING_ERR_SHUTDOWN);
    return t->too_big && !t->is_timer ? EITHER(THREADING_ERR_SYSTEM, THREADING_ERR_NO_MEMORY) : ONE(THREADING_OK);
}

static inline void see_start(struct actor *a, struct object *t)
{
    t->ident = threading_thread_ident(t->handle);
    EXPECT(a, t->ident != 0 && t->ident != threading_get_ident());
    if (t->is_timer && t->cancelled)
        see_end(a, t);
    else if (t->is_timer && t->interval > 0)
        t->stage = PENDING;
    else
        t->stage = t->errand->gated && runs_something(t) ? GATED : LEAVING;
    review_thread(a, t);
}

static bool call_thread_start(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    if (own && o->is_timer && o->partner == NULL && !o->cancelled && o->interval > 0)
        return false; /* a timer whose handle is gone could not be cancelled any more */
    if (own && o->too_big && o->owes && !a->world->alone)
        return false; /* see may_be_listed */
    statuses known = starts(a, o);
    /* Long enough to ask for its ident: it may be over at once. */
    bool is_new = own && known == ONE(THREADING_OK) && o->refs == 0;
    if (is_new)
        EXPECT(a, threading_thread_ref(h) == h);
    bool started = expect(a, threading_thread_start(h), NONE, known, known);
    if (started && own) {
        o->refs += is_new;
        see_start(a, o);
        if (is_new)
            EXPECT(a, threading_thread_free(h) == THREADING_OK);
        o->refs -= is_new;
        review_thread(a, o);
    } else if (own) {
        o->was_tried = true;
    }
    return true;
}

/* What a join that waits for `patience` must answer: `failure` if it is not over. */
static inline statuses joins(const struct actor *a, const struct object *t, threading_status failure)
{
    if (t == NULL)
        return ONE(THREADING_OK) | EITHER(failure, THREADING_ERR_NOT_STARTED);
    if (t->is_foreign && a->choice.whose == OWN)
        return ONE(a->is_started || a->is_main ? THREADING_ERR_DEADLOCK : THREADING_ERR_NOT_JOINABLE);
    if (t->stage == FRESH)
        return ONE(THREADING_ERR_NOT_STARTED);
    if (t->stage == OVER)
        return ONE(THREADING_OK);
    return t->stage == LEAVING ? EITHER(THREADING_OK, failure) : ONE(failure);
}

static bool call_thread_join(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    if (choice.whose == COMMON || choice.whose == CHURNED || (own && o->stage == PENDING))
        return false;
    if (own && o->stage == GATED && !o->is_foreign) {
        open_gate(o);
        if (o->refs == 0 && (o->partner == NULL || o->partner->refs == 0)) {
            review_thread(a, o); /* its handle may be gone */
            return false;
        }
    }
    statuses known = joins(a, o, THREADING_OK);
    if (expect(a, threading_thread_join(h), NONE, known, known) && own && o->stage == LEAVING) {
        see_end(a, o);
        review_thread(a, o);
    }
    return true;
}

static bool call_thread_join_timeout(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    statuses known = joins(a, o, THREADING_TIMED_OUT);
    struct seconds seconds = next_seconds(&a->bytes, own && o->stage == LEAVING);
    if (expect(a, threading_thread_join_timeout(h, seconds.value), seconds.error, known, known) && own &&
        o->stage == LEAVING) {
        see_end(a, o);
        review_thread(a, o);
    }
    return true;
}

static bool call_thread_is_alive(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    bool alive = threading_thread_is_alive(h);
    if (expect_answer(a, !alive, NONE) && o != NULL && o->stage != LEAVING)
        EXPECT(a, alive == (o->stage == PENDING || o->stage == GATED));
    return true;
}

static bool call_thread_is_daemon(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    bool daemon = threading_thread_is_daemon(h);
    if (expect_answer(a, !daemon, NONE) && o != NULL)
        EXPECT(a, daemon == o->daemon);
    return true;
}

static bool call_thread_ident(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    uint64_t ident = threading_thread_ident(h);
    if (expect_answer(a, ident == 0, NONE) && o != NULL)
        EXPECT(a, o->is_foreign ? ident != 0 && own == (ident == threading_get_ident()) : ident == o->ident);
    return true;
}

static bool call_thread_native_id(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    uint64_t id = threading_thread_native_id(h);
    if (!expect_answer(a, id == 0, NONE) || o == NULL)
        return true;
    if (o->stage == FRESH || o->stage == PENDING || o->cancelled)
        EXPECT(a, id == 0);
    else if (!o->is_timer)
        EXPECT(a, id != 0 && own == (id == threading_get_native_id() || !o->is_foreign));
    return true;
}

static bool call_thread_result(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    void *result = threading_thread_result(h);
    if (!expect_answer(a, result == NULL, NONE) || o == NULL)
        return true;
    if (o->stage == LEAVING)
        EXPECT(a, result == NULL || result == result_of(o));
    else
        EXPECT(a, result == (o->stage == OVER ? result_of(o) : NULL));
    return true;
}

static bool call_thread_arg(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    void *arg = threading_thread_arg(h);
    if (expect_answer(a, arg == NULL, NONE) && o != NULL && !(o->is_foreign && a->is_started))
        EXPECT(a, arg == o->errand);
    return true;
}

/* -------------------------------------------------------------------------------------------------------- timers */

static bool call_timer_new(struct actor *a)
{
    static const double intervals[] = {INFINITY, 0,    -1, -INFINITY, 1e-5,          86400, THREADING_TIMEOUT_MAX,
                                       NAN,      1e10, 0,  INFINITY,  -DBL_TRUE_MIN, DBL_MAX};
    struct object *place = empty_place(a, TIMER), *thread = empty_place(a, THREAD);
    if (place == NULL || thread == NULL)
        return false;
    double interval = intervals[next_byte(&a->bytes) % COUNT(intervals)];
    statuses errors = isnan(interval)                                            ? ONE(THREADING_ERR_VALUE)
                      : interval > THREADING_TIMEOUT_MAX && interval != INFINITY ? ONE(THREADING_ERR_OVERFLOW)
                                                                                 : NONE;
    struct errand *errand = new_errand(a);
    bool has_target = !one_in(&a->bytes, 4);
    threading_timer *made = threading_timer_new(interval, has_target ? run_errand : NULL, errand);
    a->choice = (struct choice){made, NULL, OWN};
    if (!expect_answer(a, made == NULL, errors)) {
        sem_destroy(&errand->gate);
        free(errand);
        return true;
    }
    EXPECT(a, made != NULL);
    *place = (struct object){.handle = made, .refs = 1, .interval = interval, .partner = thread};
    *thread = (struct object){.handle = threading_timer_thread(made),
                              .kept = 1,
                              .is_timer = true,
                              .interval = interval < 1e-3 ? 0 : interval,
                              .has_target = has_target,
                              .errand = errand,
                              .partner = place};
    EXPECT(a, thread->handle != NULL);
    return true;
}

REF_CALL(TIMER, timer)

static bool call_timer_free(struct actor *a)
{
    CHOOSE(a, TIMER, timer);
    if (choice.whose == CHURNED)
        return false;
    statuses known = ONE(own && o->refs == 0 ? THREADING_ERR_HANDLE : THREADING_OK);
    if (expect(a, threading_timer_free(h), NONE, known, known)) {
        o->refs--;
        review_thread(a, o->partner);
    }
    return true;
}

static bool call_timer_thread(struct actor *a)
{
    CHOOSE(a, TIMER, timer);
    threading_thread *thread = threading_timer_thread(h);
    if (expect_answer(a, thread == NULL, NONE))
        EXPECT(a, own ? thread == o->partner->handle : thread != NULL);
    return true;
}

static bool call_timer_interval(struct actor *a)
{
    CHOOSE(a, TIMER, timer);
    double interval = threading_timer_interval(h);
    if (expect_answer(a, interval == 0, NONE))
        EXPECT(a, interval == (own ? o->interval : INFINITY));
    return true;
}

static bool call_timer_start(struct actor *a)
{
    CHOOSE(a, TIMER, timer);
    struct object *t = own ? o->partner : NULL;
    statuses known = starts(a, t);
    if (own && o->refs == 0 && t->refs == 0)
        return false; /* it may be over before its ident is asked for */
    if (expect(a, threading_timer_start(h), NONE, known, known) && own)
        see_start(a, t);
    return true;
}

static bool call_timer_cancel(struct actor *a)
{
    CHOOSE(a, TIMER, timer);
    struct object *t = own ? o->partner : NULL;
    bool may_have_begun = t == NULL || t->stage == LEAVING || t->stage == GATED;
    statuses known = EITHER(THREADING_OK, THREADING_TOO_LATE);
    if (choice.whose == CHURNED)
        known = ONE(THREADING_OK); /* its moment never comes */
    else if (t != NULL && t->stage == GATED && atomic_load(&t->errand->begun))
        known = ONE(THREADING_TOO_LATE);
    else if (!may_have_begun)
        known = ONE(t->stage == OVER && !t->cancelled ? THREADING_TOO_LATE : THREADING_OK);
    if (!expect(a, threading_timer_cancel(h), NONE, known, known) || t == NULL || t->cancelled)
        return true;
    t->cancelled = true;
    destroy_argument(t);
    if (t->stage != FRESH)
        see_end(a, t);
    review_thread(a, t);
    return true;
}

/* --------------------------------------------------------------------------------------------------------- lists */

static bool call_enumerate(struct actor *a)
{
    struct object *place = empty_place(a, LIST);
    if (place == NULL)
        return false;
    begin_life(a, place, threading_enumerate());
    place->length = threading_thread_list_len(place->handle);
    EXPECT(a, a->world->closed || place->length > 0);
    EXPECT(a, a->world->closed || threading_thread_list_get(place->handle, 0) == threading_main_thread());
    /* Each of the actor's that runs is there once, and none that does not. */
    for (unsigned i = 0; i < PLACES; i++) {
        struct object *t = &a->own[THREAD][i];
        unsigned found = 0;
        if (t->handle == NULL || t->stage == LEAVING)
            continue;
        for (size_t k = 0; k < place->length; k++)
            found += threading_thread_list_get(place->handle, k) == t->handle;
        EXPECT(a, found == (t->stage == PENDING || t->stage == GATED));
    }
    return true;
}

static bool call_thread_list_len(struct actor *a)
{
    CHOOSE(a, LIST, thread_list);
    size_t length = threading_thread_list_len(h);
    if (expect_answer(a, length == 0, NONE))
        EXPECT(a, own ? length == o->length : length > 0);
    return true;
}

static bool call_thread_list_get(struct actor *a)
{
    CHOOSE(a, LIST, thread_list);
    size_t i = next_size(&a->bytes);
    bool is_over = own && i >= o->length;
    if (choice.whose == CHURNED)
        i = 0;
    threading_thread *thread = threading_thread_list_get(h, i);
    if (expect_answer(a, thread == NULL, is_over ? ONE(THREADING_ERR_VALUE) : NONE) && own)
        EXPECT(a, thread != NULL);
    return true;
}

static bool call_thread_list_free(struct actor *a)
{
    CHOOSE(a, LIST, thread_list);
    if (choice.whose == CHURNED)
        return false;
    if (expect(a, threading_thread_list_free(h), NONE, ONE(THREADING_OK), NONE)) {
        o->refs = 0;
        review(a, LIST, o);
    }
    return true;
}

#endif
