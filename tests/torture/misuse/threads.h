/* The calls on threads. */
#ifndef MISUSE_THREADS_H
#define MISUSE_THREADS_H

#include "tasks.h"

FREE_AT_LAST(thread)
REF_CALL(THREAD, thread)

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
    SETTING(arg_destructor, owes ? destroy_errand : NULL, NONE, o->owes = owes && o->destroyed == 0)
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

/* What a join must answer; `failure` if it is not over in time. */
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
        EXPECT(a, o->is_foreign ? ident != 0 && (ident == threading_get_ident()) == own : ident == o->ident);
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
        EXPECT(a, id != 0 && (id == threading_get_native_id()) == (o == &a->itself));
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

#endif
