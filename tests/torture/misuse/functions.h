/* The table of all functions, and how an actor chooses among them. */
#ifndef MISUSE_FUNCTIONS_H
#define MISUSE_FUNCTIONS_H

#include "conditions.h"
#include "sync_objects.h"
#include "module.h"

/* H: those that take a handle, N: the others. */
#define FUNCTIONS(H, N)                                                                                      \
    N(version) N(version_number) N(status_name) N(status_message) N(last_error) N(last_error_message)        \
    N(clear_last_error) N(current_thread) N(main_thread) N(active_count) N(enumerate) N(get_ident)           \
    N(get_native_id) N(stack_size) N(set_stack_size) N(sleep) N(atexit) N(shutdown) N(shutdown_timeout)      \
    N(set_excepthook) N(get_excepthook) N(report_exception)                                                  \
    H(thread_list_len) H(thread_list_get) H(thread_list_free)                                                \
    N(thread_new) H(thread_ref) H(thread_free) H(thread_set_name) H(thread_name) H(thread_set_daemon)        \
    H(thread_is_daemon) H(thread_set_stack_size) H(thread_set_arg_destructor) H(thread_set_run)              \
    H(thread_run) H(thread_start) H(thread_join) H(thread_join_timeout) H(thread_is_alive) H(thread_ident)   \
    H(thread_native_id) H(thread_result) H(thread_arg)                                                       \
    N(timer_new) H(timer_ref) H(timer_free) H(timer_thread) H(timer_start) H(timer_cancel) H(timer_interval) \
    N(lock_new) H(lock_ref) H(lock_free) H(lock_acquire) H(lock_try_acquire) H(lock_acquire_timeout)         \
    H(lock_release) H(lock_locked) H(lock_at_fork_reinit)                                                    \
    N(rlock_new) H(rlock_ref) H(rlock_free) H(rlock_acquire) H(rlock_try_acquire) H(rlock_acquire_timeout)   \
    H(rlock_release) H(rlock_locked) H(rlock_is_owned) H(rlock_recursion_count) H(rlock_at_fork_reinit)      \
    N(condition_new) H(condition_new_with_lock) H(condition_new_with_rlock) H(condition_ref)                 \
    H(condition_free) H(condition_acquire) H(condition_try_acquire) H(condition_acquire_timeout)             \
    H(condition_release) H(condition_locked) H(condition_is_owned) H(condition_wait)                         \
    H(condition_wait_timeout) H(condition_wait_for) H(condition_wait_for_timeout) H(condition_notify)        \
    H(condition_notify_all) H(condition_at_fork_reinit)                                                      \
    N(semaphore_new) N(semaphore_new_bounded) H(semaphore_ref) H(semaphore_free) H(semaphore_acquire)        \
    H(semaphore_try_acquire) H(semaphore_acquire_timeout) H(semaphore_release) H(semaphore_release_n)        \
    H(semaphore_value)                                                                                       \
    N(event_new) H(event_ref) H(event_free) H(event_is_set) H(event_set) H(event_clear) H(event_wait)        \
    H(event_wait_timeout) H(event_at_fork_reinit)                                                            \
    N(barrier_new) H(barrier_ref) H(barrier_free) H(barrier_set_timeout) H(barrier_wait)                     \
    H(barrier_wait_timeout) H(barrier_reset) H(barrier_abort) H(barrier_parties) H(barrier_n_waiting)        \
    H(barrier_broken)                                                                                        \
    N(local_new) N(local_new_with_init) H(local_ref) H(local_free) H(local_set) H(local_get)                 \
    H(local_lookup) H(local_del) H(local_set_attr) H(local_get_attr) H(local_del_attr)

struct function {
    const char *name;
    bool (*call)(struct actor *a); /* false: it was not made, as it might block for ever, or there is no place */
    bool takes_handle;
};

#define WITH_HANDLE(function) {"threading_" #function, call_##function, true},
#define WITHOUT_HANDLE(function) {"threading_" #function, call_##function, false},

static const struct function functions[] = {FUNCTIONS(WITH_HANDLE, WITHOUT_HANDLE)};

_Static_assert(COUNT(functions) <= FUNCTIONS_MOST, "each function has a counter");

static const char *function_name(const struct function *function)
{
    return function != NULL ? function->name : "no function";
}

/* ------------------------------------------------------------------------------------------------ churned objects */

static inline void *new_churned(enum kind kind)
{
    switch (kind) {
    case THREAD:
        return threading_thread_new(NULL, NULL);
    case LIST:
        return threading_enumerate();
    case TIMER:
        return threading_timer_new(INFINITY, NULL, NULL);
    case LOCK:
        return threading_lock_new();
    case RLOCK:
        return threading_rlock_new();
    case CONDITION:
        return threading_condition_new();
    case SEMAPHORE:
        return threading_semaphore_new(1);
    case EVENT:
        return threading_event_new();
    case BARRIER: {
        threading_barrier *barrier = threading_barrier_new(2, NULL, NULL);
        HOLDS(threading_barrier_set_timeout(barrier, 1e-6) == THREADING_OK);
        return barrier;
    }
    default:
        return threading_local_new(destroy_token);
    }
}

static void (*const free_kind[])(void *) = {
    [THREAD] = free_thread,       [TIMER] = free_timer,         [LOCK] = free_lock,   [RLOCK] = free_rlock,
    [CONDITION] = free_condition, [SEMAPHORE] = free_semaphore, [EVENT] = free_event, [BARRIER] = free_barrier,
    [LOCAL] = free_local};

static inline void free_churned(enum kind kind, void *handle)
{
    if (handle == NULL)
        return;
    if (kind == LIST) {
        HOLDS(threading_thread_list_free(handle) == THREADING_OK);
        return;
    }
    if (kind == TIMER) /* it may have been started, and its moment never comes */
        HOLDS(threading_timer_cancel(handle) == THREADING_OK);
    free_kind[kind](handle);
}

/* Replaces one that others may be using at this moment. */
static inline void churn(struct actor *a)
{
    enum kind kind = (enum kind)(next_byte(&a->bytes) % KINDS);
    void *made = new_churned(kind);
    HOLDS(made != NULL);
    free_churned(kind, atomic_exchange(&a->world->churned[kind][next_byte(&a->bytes) % CHURNED_PLACES], made));
}

#define REFS_IN_A_ROW 100

#define REF_AS_ANY(type)                                                                                     \
    static void *ref_##type(void *handle)                                                                    \
    {                                                                                                        \
        return threading_##type##_ref(handle);                                                               \
    }
REF_AS_ANY(thread)
REF_AS_ANY(timer)
REF_AS_ANY(lock)
REF_AS_ANY(rlock)
REF_AS_ANY(condition)
REF_AS_ANY(semaphore)
REF_AS_ANY(event)
REF_AS_ANY(barrier)
REF_AS_ANY(local)

/* Takes references and gives them back at full speed, so that one meets the moment in which the owner gives back the
 * last. What is then got is good until it is given back, or it was not got. */
static inline void ref_in_a_row(struct actor *a)
{
    static void *(*const ref_kind[])(void *) = {
        [THREAD] = ref_thread,       [TIMER] = ref_timer,         [LOCK] = ref_lock,   [RLOCK] = ref_rlock,
        [CONDITION] = ref_condition, [SEMAPHORE] = ref_semaphore, [EVENT] = ref_event, [BARRIER] = ref_barrier,
        [LOCAL] = ref_local};
    enum kind kind = (enum kind)(next_byte(&a->bytes) % KINDS);
    _Atomic(void *) *place = &a->world->churned[kind][next_byte(&a->bytes) % CHURNED_PLACES];
    for (int i = 0; kind != LIST && i < REFS_IN_A_ROW; i++) {
        void *handle = atomic_load(place), *got = ref_kind[kind](handle);
        HOLDS(got == handle || (got == NULL && threading_last_error() == THREADING_ERR_HANDLE));
        if (got != NULL)
            free_kind[kind](got);
    }
    forget_error(a);
}

/* ---------------------------------------------------------------------------------------------------------- calls */

static inline void call_any(struct actor *a)
{
    const struct function *function = &functions[next_byte(&a->bytes) % COUNT(functions)];
    if (a->only_bad && !function->takes_handle)
        return;
    a->function = function;
    a->made[function - functions] += function->call(a);
}

static bool nested(struct actor *a)
{
    if (a->nesting >= 2 || !bytes_left(&a->bytes) || !one_in(&a->bytes, 4))
        return false;
    const struct function *function = a->function;
    struct choice choice = a->choice;
    bool only_bad = a->only_bad, is_inline = runs_inline;
    unsigned destroyed = destroyed_now, owed = owed_now, calls = hooked;
    a->nesting++;
    a->only_bad = true;
    call_any(a);
    a->nesting--;
    a->function = function;
    a->choice = choice;
    a->only_bad = only_bad;
    runs_inline = is_inline;
    destroyed_now = destroyed;
    owed_now = owed;
    hooked = calls;
    return true;
}

static inline void release_common(struct actor *a)
{
    for (; a->common[RLOCK].levels > 0; a->common[RLOCK].levels--)
        EXPECT(a, threading_rlock_release(a->common[RLOCK].handle) == THREADING_OK);
}

static inline void step(struct actor *a)
{
    if (!a->world->alone && one_in(&a->bytes, 40))
        churn(a);
    if (!a->world->alone && one_in(&a->bytes, 100))
        ref_in_a_row(a);
    /* Others wait for it after a wait on the condition. */
    if (a->common[RLOCK].levels > 0 && one_in(&a->bytes, 8))
        release_common(a);
    call_any(a);
}

/* --------------------------------------------------------------------------------------------- an actor's begin, end */

static inline void begin_actor(struct actor *a, struct world *world)
{
    here = a;
    a->on_stack = &world;
    a->world = world;
    forget_error(a);
    for (int kind = 0; kind < KINDS; kind++)
        a->common[kind].handle = world->common[kind];
    a->common[CONDITION].over = &a->common[RLOCK];
    a->common[CONDITION].over_rlock = true;
    a->common[LOCAL].destroys = true;
    a->common[THREAD].is_foreign = true;
    a->common[THREAD].stage = GATED;
}

/* Gives everything back. What `free` answers is exact here too. */
#define GIVE_BACK(KIND, type)                                                                                \
    for (unsigned i = 0; i < PLACES; i++)                                                                    \
        for (struct object *o = &a->own[KIND][i]; o->handle != NULL;) {                                      \
            if (o->refs > 0) {                                                                               \
                EXPECT(a, threading_##type##_free(o->handle) == THREADING_OK);                               \
                o->refs--;                                                                                   \
            }                                                                                                \
            review(a, KIND, o);                                                                              \
        }                                                                                                    \
    for (; a->common[KIND].refs > 0; a->common[KIND].refs--)                                                 \
        EXPECT(a, threading_##type##_free(a->common[KIND].handle) == THREADING_OK)

static inline void end_thread(struct actor *a, struct object *t)
{
    struct object *timer = t->partner;
    if (t->stage == PENDING) {
        EXPECT(a, threading_timer_cancel(timer->handle) == THREADING_OK);
        t->cancelled = true;
        see_end(a, t);
    } else if (t->stage == GATED) {
        open_gate(t);
    }
    for (; timer != NULL && timer->refs > 0; timer->refs--)
        EXPECT(a, threading_timer_free(timer->handle) == THREADING_OK);
    for (; t->refs > 0; t->refs--)
        EXPECT(a, threading_thread_free(t->handle) == THREADING_OK);
    review_thread(a, t);
}

static inline void end_conditions(struct actor *a)
{
    for (unsigned i = 0; i < PLACES; i++) {
        struct object *o = &a->own[CONDITION][i];
        if (o->handle != NULL && o->hidden == NULL)
            o->over->kept--;
        free(o->hidden);
    }
    GIVE_BACK(CONDITION, condition);
}

/* The values in a common local are left to the thread's end. */
static inline void end_locals(struct actor *a)
{
    for (unsigned i = 0; i < PLACES; i++) {
        struct object *o = &a->own[LOCAL][i];
        begin_owing();
        owe(o, o->has_value ? o->value_set : NULL);
        for (unsigned k = 0; k < ATTRIBUTES; k++)
            owe(o, o->has_attribute[k] ? o->attribute[k] : NULL);
        for (; o->refs > 0; o->refs--)
            EXPECT(a, threading_local_free(o->handle) == THREADING_OK);
        EXPECT(a, destroyed_now == owed_now);
        if (o->handle != NULL)
            review(a, LOCAL, o);
    }
    GIVE_BACK(LOCAL, local);
}

#define LAST_BAD_CALLS 500

static inline void end_actor(struct actor *a)
{
    a->function = NULL;
    a->nesting = UINT32_MAX; /* no more calls from callbacks */
    for (unsigned i = 0; i < PLACES; i++) {
        if (a->own[THREAD][i].handle != NULL)
            end_thread(a, &a->own[THREAD][i]);
        if (a->own[LIST][i].handle != NULL)
            EXPECT(a, threading_thread_list_free(a->own[LIST][i].handle) == THREADING_OK);
        a->own[LIST][i].handle = NULL;
    }
    for (; a->itself.refs > 0; a->itself.refs--)
        EXPECT(a, threading_thread_free(a->itself.handle) == THREADING_OK);
    for (; a->common[THREAD].refs > 0; a->common[THREAD].refs--)
        EXPECT(a, threading_thread_free(a->common[THREAD].handle) == THREADING_OK);
    release_common(a);
    end_conditions(a);
    GIVE_BACK(LOCK, lock);
    GIVE_BACK(RLOCK, rlock);
    GIVE_BACK(SEMAPHORE, semaphore);
    GIVE_BACK(EVENT, event);
    GIVE_BACK(BARRIER, barrier);
    end_locals(a);
    /* Now all that the actor has had is stale. */
    forget_error(a);
    a->only_bad = true;
    for (unsigned i = 0; a->bytes.seeded && i < LAST_BAD_CALLS; i++)
        call_any(a);
    here = NULL;
}

/* Makes what all use: all but lists and timers, which are one's own. */
static inline void begin_world(struct world *world)
{
    threading_set_excepthook(hooks[0], &hook_args[0]);
    if (world->alone)
        return;
    world->common[THREAD] = threading_main_thread();
    world->common[LOCK] = threading_lock_new();
    world->common[RLOCK] = threading_rlock_new();
    world->common[CONDITION] = threading_condition_new_with_rlock(world->common[RLOCK]);
    world->common[SEMAPHORE] = threading_semaphore_new(1);
    world->common[EVENT] = threading_event_new();
    world->common[BARRIER] = new_churned(BARRIER);
    world->common[LOCAL] = threading_local_new(destroy_token);
}

/* When no actor is left: nobody has kept a reference, or lost one. */
static inline void end_world(struct world *world)
{
    for (int kind = 0; kind < KINDS; kind++)
        for (unsigned i = 0; i < CHURNED_PLACES; i++)
            free_churned((enum kind)kind, atomic_load(&world->churned[kind][i]));
    if (world->alone)
        return;
#define LAST(KIND, type)                                                                                     \
    HOLDS(threading_##type##_free(world->common[KIND]) == THREADING_OK);                                     \
    HOLDS(threading_##type##_ref(world->common[KIND]) == NULL)
    LAST(CONDITION, condition);
    LAST(LOCK, lock);
    LAST(RLOCK, rlock);
    LAST(SEMAPHORE, semaphore);
    LAST(EVENT, event);
    LAST(BARRIER, barrier);
    LAST(LOCAL, local);
#undef LAST
}

/* Does what the bytes say, in this thread. */
static inline void interpret(const uint8_t *bytes, size_t size, bool is_main, struct actor *a)
{
    struct world world = {.alone = true};
    begin_world(&world);
    *a = (struct actor){.bytes = {.at = bytes, .end = bytes + size}, .is_main = is_main};
    begin_actor(a, &world);
    while (bytes_left(&a->bytes))
        step(a);
    end_actor(a);
    end_world(&world);
    HOLDS(atomic_load(&tokens_made) == atomic_load(&tokens_destroyed));
}

#endif
