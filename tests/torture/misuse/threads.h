/* Calls on threads. */
#ifndef MISUSE_THREADS_H
#define MISUSE_THREADS_H

#include "tasks.h"

DEFINE_FREE_WHEN_NOT_BUSY(thread)
REF_CALL(THREAD, thread)

static bool call_thread_new(struct actor *a)
{
    struct object *slot = free_slot(a, THREAD);
    if (slot == NULL)
        return false;
    struct task *task = new_task(a);
    bool has_target = !one_in(&a->bytes, 4);
    record_new(a, slot, threading_thread_new(has_target ? run_task : NULL, task));
    slot->task = task;
    slot->has_target = has_target;
    return true;
}

static bool call_thread_free(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    if (choice.origin == CHURNED || (o != NULL && o->refs == 0 && (!own || o->is_foreign)))
        return false;
    statuses expected = ONE(o != NULL && o->refs == 0 ? THREADING_ERR_HANDLE : THREADING_OK);
    if (check_call(a, threading_thread_free(h), NONE, expected, expected)) {
        o->refs--;
        if (own)
            forget_thread_if_freed(a, o);
    }
    return true;
}

static bool call_thread_set_name(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    struct name name = next_name(&a->bytes);
    /* later actors expect the main thread's name to be unchanged */
    if (choice.origin == SHARED || (own && o->is_foreign && a->is_main))
        return false;
    statuses error = name.is_utf8 ? NONE : ONE(THREADING_ERR_VALUE);
    if (check_call(a, threading_thread_set_name(h, name.text), error, ONE(THREADING_OK), ONE(THREADING_OK)) && own)
        o->name = name.text;
    return true;
}

static bool call_thread_name(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    const char *name = threading_thread_name(h);
    if (check_getter(a, name == NULL, NONE) && o != NULL)
        check_name(a, o, name);
    return true;
}

/* Calls a setter that must be called before the start; `set` updates the record. */
#define CALL_SETTER(name, argument, errors, set)                                                                       \
    {                                                                                                                  \
        statuses expected_before_start =                                                                               \
            ONE(o == NULL || o->stage == NOT_STARTED ? THREADING_OK : THREADING_ERR_ALREADY_STARTED);                  \
        if (check_call(a, threading_thread_set_##name(h, argument), errors, expected_before_start,                     \
                       o != NULL ? expected_before_start : EITHER(THREADING_OK, THREADING_ERR_ALREADY_STARTED)) &&     \
            own)                                                                                                       \
            set;                                                                                                       \
        return true;                                                                                                   \
    }

static bool call_thread_set_daemon(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    static const int flags[] = {0, 1, -1, INT32_MIN, INT32_MAX, 256};
    int daemon = flags[next_byte(&a->bytes) % COUNT(flags)];
    CALL_SETTER(daemon, daemon, NONE, o->daemon = daemon != 0)
}

static bool call_thread_set_stack_size(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    static const size_t sizes[] = {0, 1, 4096, 32767, 65536, 262145, 1 << 20, SIZE_MAX, SIZE_MAX / 2};
    size_t bytes = sizes[next_byte(&a->bytes) % (choice.origin == CHURNED ? 7 : COUNT(sizes))];
    statuses errors = bytes > 0 && bytes < 32768 ? ONE(THREADING_ERR_VALUE) : NONE;
    CALL_SETTER(stack_size, bytes, errors, o->too_big = bytes > SIZE_MAX / 4)
}

static bool call_thread_set_arg_destructor(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    bool destructor_pending = one_in(&a->bytes, 2) && own && !may_be_listed(a, o);
    CALL_SETTER(arg_destructor, destructor_pending ? destroy_task : NULL, NONE,
                o->destructor_pending = destructor_pending && o->destructor_calls == 0)
}

static bool call_thread_set_run(struct actor *a)
{
    static const threading_run overrides[OVERRIDES] = {NULL, call_target, replace_target};
    CHOOSE(a, THREAD, thread);
    uint8_t override = own ? next_byte(&a->bytes) % OVERRIDES : NO_OVERRIDE;
    CALL_SETTER(run, overrides[override], NONE, o->override = override)
}

static bool call_thread_run(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    /* its target is the actor's own function */
    if (own && o->is_foreign)
        return false;
    in_direct_run = true;
    void *result = threading_thread_run(h);
    in_direct_run = false;
    if (check_getter(a, result == NULL, NONE))
        EXPECT(a, result == (own && o->has_target ? o->task : NULL));
    return true;
}

/* Returns the expected statuses of starting a thread or a timer. */
static inline statuses expected_start(struct actor *a, const struct object *t)
{
    if (t == NULL || t->stage != NOT_STARTED)
        return ONE(THREADING_ERR_ALREADY_STARTED) | (t == NULL ? ONE(THREADING_OK) : NONE);
    if (a->world->is_shut_down)
        return ONE(THREADING_ERR_SHUTDOWN);
    return t->too_big && !t->is_timer ? EITHER(THREADING_ERR_SYSTEM, THREADING_ERR_NO_MEMORY) : ONE(THREADING_OK);
}

static inline void record_start(struct actor *a, struct object *t)
{
    t->ident = threading_thread_ident(t->handle);
    EXPECT(a, t->ident != 0 && t->ident != threading_get_ident());
    if (t->is_timer && t->cancelled)
        record_finished(a, t);
    else if (t->is_timer && t->interval > 0)
        t->stage = PENDING;
    else
        t->stage = t->task->gated && has_work(t) ? RUNNING : FINISHING;
    forget_thread_if_freed(a, t);
}

static bool call_thread_start(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    /* a timer without a handle could not be cancelled */
    if (own && o->is_timer && o->partner == NULL && !o->cancelled && o->interval > 0)
        return false;
    /* see may_be_listed() */
    if (own && o->too_big && o->destructor_pending && !a->world->is_single)
        return false;
    statuses expected = expected_start(a, o);
    /* Keep a reference until the ident has been read: the thread may finish immediately. */
    bool add_ref = own && expected == ONE(THREADING_OK) && o->refs == 0;
    if (add_ref)
        EXPECT(a, threading_thread_ref(h) == h);
    bool started = check_call(a, threading_thread_start(h), NONE, expected, expected);
    if (started && own) {
        o->refs += add_ref;
        record_start(a, o);
        if (add_ref)
            EXPECT(a, threading_thread_free(h) == THREADING_OK);
        o->refs -= add_ref;
        forget_thread_if_freed(a, o);
    } else if (own) {
        o->start_failed = true;
    }
    return true;
}

/* Returns the expected statuses of a join; `failure` if the thread is still running when the timeout expires. */
static inline statuses expected_join(const struct actor *a, const struct object *t, threading_status failure)
{
    if (t == NULL)
        return ONE(THREADING_OK) | EITHER(failure, THREADING_ERR_NOT_STARTED);
    if (t->is_foreign && a->choice.origin == OWN)
        return ONE(a->is_started || a->is_main ? THREADING_ERR_DEADLOCK : THREADING_ERR_NOT_JOINABLE);
    if (t->stage == NOT_STARTED)
        return ONE(THREADING_ERR_NOT_STARTED);
    if (t->stage == FINISHED)
        return ONE(THREADING_OK);
    return t->stage == FINISHING ? EITHER(THREADING_OK, failure) : ONE(failure);
}

static bool call_thread_join(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    if (choice.origin == SHARED || choice.origin == CHURNED || (own && o->stage == PENDING))
        return false;
    if (own && o->stage == RUNNING && !o->is_foreign) {
        open_gate(o);
        if (o->refs == 0 && (o->partner == NULL || o->partner->refs == 0)) {
            forget_thread_if_freed(a, o); /* its handle may be invalid now */
            return false;
        }
    }
    statuses expected = expected_join(a, o, THREADING_OK);
    if (check_call(a, threading_thread_join(h), NONE, expected, expected) && own && o->stage == FINISHING) {
        record_finished(a, o);
        forget_thread_if_freed(a, o);
    }
    return true;
}

static bool call_thread_join_timeout(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    statuses expected = expected_join(a, o, THREADING_TIMED_OUT);
    struct seconds seconds = next_seconds(&a->bytes, own && o->stage == FINISHING);
    if (check_call(a, threading_thread_join_timeout(h, seconds.value), seconds.error, expected, expected) && own &&
        o->stage == FINISHING) {
        record_finished(a, o);
        forget_thread_if_freed(a, o);
    }
    return true;
}

static bool call_thread_is_alive(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    bool alive = threading_thread_is_alive(h);
    if (check_getter(a, !alive, NONE) && o != NULL && o->stage != FINISHING)
        EXPECT(a, alive == (o->stage == PENDING || o->stage == RUNNING));
    return true;
}

static bool call_thread_is_daemon(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    bool daemon = threading_thread_is_daemon(h);
    if (check_getter(a, !daemon, NONE) && o != NULL)
        EXPECT(a, daemon == o->daemon);
    return true;
}

static bool call_thread_ident(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    uint64_t ident = threading_thread_ident(h);
    if (check_getter(a, ident == 0, NONE) && o != NULL)
        EXPECT(a, o->is_foreign ? ident != 0 && (ident == threading_get_ident()) == own : ident == o->ident);
    return true;
}

static bool call_thread_native_id(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    uint64_t id = threading_thread_native_id(h);
    if (!check_getter(a, id == 0, NONE) || o == NULL)
        return true;
    if (o->stage == NOT_STARTED || o->stage == PENDING || o->cancelled)
        EXPECT(a, id == 0);
    else if (!o->is_timer)
        EXPECT(a, id != 0 && (id == threading_get_native_id()) == (o == &a->self));
    return true;
}

static bool call_thread_result(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    void *result = threading_thread_result(h);
    if (!check_getter(a, result == NULL, NONE) || o == NULL)
        return true;
    if (o->stage == FINISHING)
        EXPECT(a, result == NULL || result == expected_result(o));
    else
        EXPECT(a, result == (o->stage == FINISHED ? expected_result(o) : NULL));
    return true;
}

static bool call_thread_arg(struct actor *a)
{
    CHOOSE(a, THREAD, thread);
    void *arg = threading_thread_arg(h);
    if (check_getter(a, arg == NULL, NONE) && o != NULL && !(o->is_foreign && a->is_started))
        EXPECT(a, arg == o->task);
    return true;
}

#endif
