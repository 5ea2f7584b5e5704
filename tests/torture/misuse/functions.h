/* The table of all functions, and the loop in which an actor calls them. */
#ifndef MISUSE_FUNCTIONS_H
#define MISUSE_FUNCTIONS_H

#include "conditions.h"
#include "sync_objects.h"
#include "module.h"
#include "dumps.h"

/* H: functions that take a handle; N: the others. */
#define FUNCTIONS(H, N)                                                                                      \
    N(version) N(version_number) N(status_name) N(status_message) N(last_error) N(last_error_message)        \
    N(clear_last_error) N(current_thread) N(main_thread) N(active_count) N(enumerate) N(get_ident)           \
    N(get_native_id) N(stack_size) N(set_stack_size) N(sleep) N(atexit) N(shutdown) N(shutdown_timeout)      \
    N(set_excepthook) N(get_excepthook) N(report_exception) N(dump) N(dump_on_signal) N(set_hang_hook)       \
    N(trace) N(set_contention)                                                                               \
    H(thread_list_len) H(thread_list_get) H(thread_list_free)                                                \
    N(thread_new) H(thread_ref) H(thread_free) H(thread_set_name) H(thread_name) H(thread_set_daemon)        \
    H(thread_is_daemon) H(thread_set_stack_size) H(thread_set_arg_destructor) H(thread_set_run)              \
    H(thread_run) H(thread_start) H(thread_join) H(thread_join_timeout) H(thread_is_alive) H(thread_ident)   \
    H(thread_native_id) H(thread_result) H(thread_arg)                                                       \
    N(timer_new) H(timer_ref) H(timer_free) H(timer_thread) H(timer_start) H(timer_cancel) H(timer_interval) \
    N(lock_new) H(lock_ref) H(lock_free) H(lock_acquire) H(lock_try_acquire) H(lock_acquire_timeout)         \
    H(lock_release) H(lock_locked) H(lock_at_fork_reinit) H(lock_owner) H(lock_set_name)                     \
    N(rlock_new) H(rlock_ref) H(rlock_free) H(rlock_acquire) H(rlock_try_acquire) H(rlock_acquire_timeout)   \
    H(rlock_release) H(rlock_locked) H(rlock_is_owned) H(rlock_recursion_count) H(rlock_at_fork_reinit)      \
    H(rlock_owner) H(rlock_set_name)                                                                         \
    N(condition_new) H(condition_new_with_lock) H(condition_new_with_rlock) H(condition_ref)                 \
    H(condition_free) H(condition_acquire) H(condition_try_acquire) H(condition_acquire_timeout)             \
    H(condition_release) H(condition_locked) H(condition_is_owned) H(condition_wait)                         \
    H(condition_wait_timeout) H(condition_wait_for) H(condition_wait_for_timeout) H(condition_notify)        \
    H(condition_notify_all) H(condition_at_fork_reinit) H(condition_set_name)                                \
    N(semaphore_new) N(semaphore_new_bounded) H(semaphore_ref) H(semaphore_free) H(semaphore_acquire)        \
    H(semaphore_try_acquire) H(semaphore_acquire_timeout) H(semaphore_release) H(semaphore_release_n)        \
    H(semaphore_value) H(semaphore_set_name)                                                                 \
    N(event_new) H(event_ref) H(event_free) H(event_is_set) H(event_set) H(event_clear) H(event_wait)        \
    H(event_wait_timeout) H(event_at_fork_reinit) H(event_set_name)                                          \
    N(barrier_new) H(barrier_ref) H(barrier_free) H(barrier_set_timeout) H(barrier_wait)                     \
    H(barrier_wait_timeout) H(barrier_reset) H(barrier_abort) H(barrier_parties) H(barrier_n_waiting)        \
    H(barrier_broken) H(barrier_set_name)                                                                    \
    N(local_new) N(local_new_with_init) H(local_ref) H(local_free) H(local_set) H(local_get)                 \
    H(local_lookup) H(local_del) H(local_set_attr) H(local_get_attr) H(local_del_attr)

struct function {
    const char *name;
    bool (*call)(struct actor *a); /* false: no call was made, because it might block indefinitely or no slot is free */
    bool takes_handle;
};

#define WITH_HANDLE(function) {"threading_" #function, call_##function, true},
#define WITHOUT_HANDLE(function) {"threading_" #function, call_##function, false},

static const struct function functions[] = {FUNCTIONS(WITH_HANDLE, WITHOUT_HANDLE)};

_Static_assert(COUNT(functions) <= FUNCTIONS_MAX, "each function has a counter");

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
        ASSERT(threading_barrier_set_timeout(barrier, 1e-6) == THREADING_OK);
        return barrier;
    }
    default:
        return threading_local_new(destroy_token);
    }
}

static void (*const free_kind[])(void *) = {
    [THREAD] = free_thread, [TIMER] = free_timer,         [LOCK] = free_lock,
    [RLOCK] = free_rlock,   [CONDITION] = free_condition, [SEMAPHORE] = free_semaphore,
    [EVENT] = free_event,   [BARRIER] = free_barrier,     [LOCAL] = free_local};

static inline void free_churned(enum kind kind, void *handle)
{
    if (handle == NULL)
        return;
    if (kind == LIST) {
        ASSERT(threading_thread_list_free(handle) == THREADING_OK);
        return;
    }
    if (kind == TIMER) /* it may have been started, and its interval never expires */
        ASSERT(threading_timer_cancel(handle) == THREADING_OK);
    free_kind[kind](handle);
}

/* Replaces a churned object, which other actors may be using. */
static inline void churn(struct actor *a)
{
    enum kind kind = (enum kind)(next_byte(&a->bytes) % KINDS);
    void *made = new_churned(kind);
    ASSERT(made != NULL);
    free_churned(kind, atomic_exchange(&a->world->churned[kind][next_byte(&a->bytes) % CHURNED_SLOTS], made));
}

#define REFS_IN_A_LOOP 100

#define REF_AS_ANY(type)                                                                                               \
    static void *ref_##type(void *handle)                                                                              \
    {                                                                                                                  \
        return threading_##type##_ref(handle);                                                                         \
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

/* Takes and releases references in a tight loop, to race with the release of the last reference by the owner. Each
 * call must either return a valid reference or fail. */
static inline void ref_in_a_loop(struct actor *a)
{
    static void *(*const ref_kind[])(void *) = {
        [THREAD] = ref_thread, [TIMER] = ref_timer,         [LOCK] = ref_lock,
        [RLOCK] = ref_rlock,   [CONDITION] = ref_condition, [SEMAPHORE] = ref_semaphore,
        [EVENT] = ref_event,   [BARRIER] = ref_barrier,     [LOCAL] = ref_local};
    enum kind kind = (enum kind)(next_byte(&a->bytes) % KINDS);
    _Atomic(void *) *slot = &a->world->churned[kind][next_byte(&a->bytes) % CHURNED_SLOTS];
    for (int i = 0; kind != LIST && i < REFS_IN_A_LOOP; i++) {
        void *handle = atomic_load(slot), *got = ref_kind[kind](handle);
        ASSERT(got == handle || (got == NULL && threading_last_error() == THREADING_ERR_HANDLE));
        if (got != NULL)
            free_kind[kind](got);
    }
    clear_error(a);
}

/* ---------------------------------------------------------------------------------------------------------- calls */

static inline void call_random_function(struct actor *a)
{
    const struct function *function = &functions[next_byte(&a->bytes) % COUNT(functions)];
    if (a->only_invalid && !function->takes_handle)
        return;
    a->function = function;
    a->calls_by_function[function - functions] += function->call(a);
}

static bool nested_call(struct actor *a)
{
    if (a->nesting >= 2 || !bytes_left(&a->bytes) || !one_in(&a->bytes, 4))
        return false;
    const struct function *function = a->function;
    struct choice choice = a->choice;
    bool only_invalid = a->only_invalid, was_in_direct_run = in_direct_run;
    unsigned saved_destroyed = values_destroyed, saved_expected = expected_destroyed, saved_hook_calls = hook_calls;
    a->nesting++;
    a->only_invalid = true;
    call_random_function(a);
    a->nesting--;
    a->function = function;
    a->choice = choice;
    a->only_invalid = only_invalid;
    in_direct_run = was_in_direct_run;
    values_destroyed = saved_destroyed;
    expected_destroyed = saved_expected;
    hook_calls = saved_hook_calls;
    return true;
}

static inline void release_shared_rlock(struct actor *a)
{
    for (; a->shared[RLOCK].recursion > 0; a->shared[RLOCK].recursion--)
        EXPECT(a, threading_rlock_release(a->shared[RLOCK].handle) == THREADING_OK);
}

static inline void step(struct actor *a)
{
    if (!a->world->is_single && one_in(&a->bytes, 40))
        churn(a);
    if (!a->world->is_single && one_in(&a->bytes, 100))
        ref_in_a_loop(a);
    /* Other actors need it to return from a wait on the condition. */
    if (a->shared[RLOCK].recursion > 0 && one_in(&a->bytes, 8))
        release_shared_rlock(a);
    call_random_function(a);
}

/* ------------------------------------------------------------------------------------- an actor's beginning and end */

static inline void begin_actor(struct actor *a, struct world *world)
{
    current_actor = a;
    a->on_stack = &world;
    a->world = world;
    clear_error(a);
    for (int kind = 0; kind < KINDS; kind++)
        a->shared[kind].handle = world->shared[kind];
    a->shared[CONDITION].lock = &a->shared[RLOCK];
    a->shared[CONDITION].lock_is_rlock = true;
    a->shared[LOCAL].has_destructor = true;
    a->shared[THREAD].is_foreign = true;
    a->shared[THREAD].stage = RUNNING;
}

/* Releases all references. The results of `free` are checked against the model here, too. */
#define RELEASE_ALL(KIND, type)                                                                                        \
    for (unsigned i = 0; i < SLOTS; i++)                                                                               \
        for (struct object *o = &a->own[KIND][i]; o->handle != NULL;) {                                                \
            if (o->refs > 0) {                                                                                         \
                EXPECT(a, threading_##type##_free(o->handle) == THREADING_OK);                                         \
                o->refs--;                                                                                             \
            }                                                                                                          \
            forget_if_freed(a, KIND, o);                                                                               \
        }                                                                                                              \
    for (; a->shared[KIND].refs > 0; a->shared[KIND].refs--)                                                           \
    EXPECT(a, threading_##type##_free(a->shared[KIND].handle) == THREADING_OK)

static inline void end_thread(struct actor *a, struct object *t)
{
    struct object *timer = t->partner;
    if (t->stage == PENDING) {
        EXPECT(a, threading_timer_cancel(timer->handle) == THREADING_OK);
        t->cancelled = true;
        record_finished(a, t);
    } else if (t->stage == RUNNING) {
        open_gate(t);
    }
    for (; timer != NULL && timer->refs > 0; timer->refs--)
        EXPECT(a, threading_timer_free(timer->handle) == THREADING_OK);
    for (; t->refs > 0; t->refs--)
        EXPECT(a, threading_thread_free(t->handle) == THREADING_OK);
    forget_thread_if_freed(a, t);
}

static inline void end_conditions(struct actor *a)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        struct object *o = &a->own[CONDITION][i];
        if (o->handle != NULL && o->implicit_lock == NULL)
            o->lock->internal_refs--;
        free(o->implicit_lock);
    }
    RELEASE_ALL(CONDITION, condition);
}

/* The values in the shared local are destroyed when the thread ends. */
static inline void end_locals(struct actor *a)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        struct object *o = &a->own[LOCAL][i];
        reset_destroyed();
        expect_destroyed(o, o->has_value ? o->current_value : NULL);
        for (unsigned k = 0; k < ATTRIBUTES; k++)
            expect_destroyed(o, o->has_attribute[k] ? o->attribute[k] : NULL);
        for (; o->refs > 0; o->refs--)
            EXPECT(a, threading_local_free(o->handle) == THREADING_OK);
        EXPECT(a, values_destroyed == expected_destroyed);
        if (o->handle != NULL)
            forget_if_freed(a, LOCAL, o);
    }
    RELEASE_ALL(LOCAL, local);
}

#define FINAL_INVALID_CALLS 500

static inline void end_actor(struct actor *a)
{
    a->function = NULL;
    a->nesting = UINT32_MAX; /* callbacks make no more calls */
    for (unsigned i = 0; i < SLOTS; i++) {
        if (a->own[THREAD][i].handle != NULL)
            end_thread(a, &a->own[THREAD][i]);
        if (a->own[LIST][i].handle != NULL)
            EXPECT(a, threading_thread_list_free(a->own[LIST][i].handle) == THREADING_OK);
        a->own[LIST][i].handle = NULL;
    }
    for (; a->self.refs > 0; a->self.refs--)
        EXPECT(a, threading_thread_free(a->self.handle) == THREADING_OK);
    for (; a->shared[THREAD].refs > 0; a->shared[THREAD].refs--)
        EXPECT(a, threading_thread_free(a->shared[THREAD].handle) == THREADING_OK);
    release_shared_rlock(a);
    end_conditions(a);
    RELEASE_ALL(LOCK, lock);
    RELEASE_ALL(RLOCK, rlock);
    RELEASE_ALL(SEMAPHORE, semaphore);
    RELEASE_ALL(EVENT, event);
    RELEASE_ALL(BARRIER, barrier);
    end_locals(a);
    /* Now all handles of the actor are stale. */
    clear_error(a);
    a->only_invalid = true;
    for (unsigned i = 0; a->bytes.seeded && i < FINAL_INVALID_CALLS; i++)
        call_random_function(a);
    current_actor = NULL;
}

/* Creates the shared objects: of all kinds but lists and timers. */
static inline void begin_world(struct world *world)
{
    threading_set_excepthook(hooks[0], &hook_args[0]);
    if (world->is_single)
        return;
    world->shared[THREAD] = threading_main_thread();
    world->shared[LOCK] = threading_lock_new();
    world->shared[RLOCK] = threading_rlock_new();
    world->shared[CONDITION] = threading_condition_new_with_rlock(world->shared[RLOCK]);
    world->shared[SEMAPHORE] = threading_semaphore_new(1);
    world->shared[EVENT] = threading_event_new();
    world->shared[BARRIER] = new_churned(BARRIER);
    world->shared[LOCAL] = threading_local_new(destroy_token);
}

/* After all actors have ended: every object is freed with the world's reference, so no reference has leaked. */
static inline void end_world(struct world *world)
{
    for (int kind = 0; kind < KINDS; kind++)
        for (unsigned i = 0; i < CHURNED_SLOTS; i++)
            free_churned((enum kind)kind, atomic_load(&world->churned[kind][i]));
    if (world->is_single)
        return;
#define FREE_SHARED(KIND, type)                                                                                        \
    ASSERT(threading_##type##_free(world->shared[KIND]) == THREADING_OK);                                              \
    ASSERT(threading_##type##_ref(world->shared[KIND]) == NULL)
    FREE_SHARED(CONDITION, condition);
    FREE_SHARED(LOCK, lock);
    FREE_SHARED(RLOCK, rlock);
    FREE_SHARED(SEMAPHORE, semaphore);
    FREE_SHARED(EVENT, event);
    FREE_SHARED(BARRIER, barrier);
    FREE_SHARED(LOCAL, local);
#undef FREE_SHARED
}

/* Executes the calls that the bytes describe, in this thread. */
static inline void interpret(const uint8_t *bytes, size_t size, bool is_main, struct actor *a)
{
    struct world world = {.is_single = true};
    begin_world(&world);
    *a = (struct actor){.bytes = {.at = bytes, .end = bytes + size}, .is_main = is_main};
    begin_actor(a, &world);
    while (bytes_left(&a->bytes))
        step(a);
    end_actor(a);
    end_world(&world);
    ASSERT(atomic_load(&tokens_created) == atomic_load(&tokens_destroyed));
}

#endif
