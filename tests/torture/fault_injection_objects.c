/* Fault injection while objects are created and threads are enumerated. */
#include "fault_injection_scenarios.h"

#include <fcntl.h>
#include <stdio.h>

void do_nothing(void)
{
}

threading_status status_of(const void *object)
{
    return object != NULL ? THREADING_OK : threading_last_error();
}

void *return_arg(void *arg)
{
    return arg;
}

void *wait_for(void *event)
{
    OK(threading_event_wait_timeout(event, LONG_TIMEOUT));
    return event;
}

atomic_int destructor_calls;

void count_destroyed(void *value)
{
    CHECK(value != NULL);
    atomic_fetch_add(&destructor_calls, 1);
}

/* ----------------------------------------------------------------------------------------------------- kinds */

int thread_arg;
static threading_lock *condition_lock;
static threading_rlock *condition_rlock;

#define KIND(kind, type, new)                                                                                          \
    static void *new_##kind(void)                                                                                      \
    {                                                                                                                  \
        return new;                                                                                                    \
    }                                                                                                                  \
    static threading_status free_##kind(void *object)                                                                  \
    {                                                                                                                  \
        return threading_##type##_free(object);                                                                        \
    }

KIND(lock, lock, threading_lock_new())
KIND(rlock, rlock, threading_rlock_new())
KIND(condition, condition, threading_condition_new())
KIND(semaphore, semaphore, threading_semaphore_new(1))
KIND(event, event, threading_event_new())
KIND(barrier, barrier, threading_barrier_new(2, NULL, NULL))
KIND(local, local, threading_local_new(NULL))
KIND(thread, thread, threading_thread_new(return_arg, &thread_arg))
KIND(timer, timer, threading_timer_new(3600, return_arg, &thread_arg))
KIND(list, thread_list, threading_enumerate())
KIND(condition_with_lock, condition, threading_condition_new_with_lock(condition_lock))
KIND(condition_with_rlock, condition, threading_condition_new_with_rlock(condition_rlock))
KIND(bounded_semaphore, semaphore, threading_semaphore_new_bounded(1))
KIND(local_with_init, local, threading_local_new_with_init(return_arg, &thread_arg, NULL))

static const struct {
    void *(*create)(void);
    threading_status (*free)(void *object);
} factories[] = {
    {new_lock, free_lock},
    {new_rlock, free_rlock},
    {new_condition, free_condition},
    {new_semaphore, free_semaphore},
    {new_event, free_event},
    {new_barrier, free_barrier},
    {new_local, free_local},
    {new_thread, free_thread},
    {new_timer, free_timer},
    {new_list, free_list},
    {new_condition_with_lock, free_condition_with_lock},
    {new_condition_with_rlock, free_condition_with_rlock},
    {new_bounded_semaphore, free_bounded_semaphore},
    {new_local_with_init, free_local_with_init},
};

void *create(int kind)
{
    void *object = factories[kind].create();
    OK(status_of(object));
    return object;
}

/* The object is freed with its last reference, so no other reference exists. */
void release_last(int kind, void *object)
{
    OK(factories[kind].free(object));
    STATUS(factories[kind].free(object), THREADING_ERR_HANDLE);
}

void *object;

static void prepare_factory(void)
{
    if (scenario->parameter == CONDITION_WITH_LOCK)
        condition_lock = create(LOCK);
    if (scenario->parameter == CONDITION_WITH_RLOCK)
        condition_rlock = create(RLOCK);
}

static threading_status call_factory(void)
{
    return status_of(object = factories[scenario->parameter].create());
}

static void finish_factory(void)
{
    release_last(scenario->parameter, object);
    /* If the condition could not be created, the caller still owns the lock. */
    if (condition_lock != NULL)
        release_last(LOCK, condition_lock);
    if (condition_rlock != NULL)
        release_last(RLOCK, condition_rlock);
}

/* Objects that fill all blocks of their kind. A block is 64 KiB, and its first slot is not used. */
enum { BLOCK = 64 * 1024, MAX_FILLERS = 1 << 14 };
static void *filler[MAX_FILLERS];
static size_t filler_count;

/* Creates objects until this number of blocks is full, but for `left` slots of the last one. */
static void fill(int kind, int blocks, size_t left)
{
    size_t size;
    filler[filler_count++] = create(kind);
    filler[filler_count++] = create(kind);
    size = slot_offset(filler[1]) - slot_offset(filler[0]);
    for (int filled = 0; filled < blocks;) {
        CHECK(filler_count < MAX_FILLERS);
        filler[filler_count++] = create(kind);
        filled += BLOCK / size - 1 - slot_offset(filler[filler_count - 1]) / size == left;
    }
}

static void fill_one_block(void)
{
    fill(scenario->parameter, 1, 0);
}

/* The table of blocks has to grow for one more. */
static void fill_16_blocks(void)
{
    fill(scenario->parameter, 16, 0);
}

static void free_fillers(int kind)
{
    while (filler_count > 0)
        OK(factories[kind].free(filler[--filler_count]));
}

static void finish_full(void)
{
    finish_factory();
    free_fillers(scenario->parameter);
}

void measure_slots(size_t used[KINDS])
{
    enum { SAMPLES = 64 };
    void *objects[SAMPLES];
    for (int kind = 0; kind < KINDS; kind++) {
        used[kind] = 0;
        for (int i = 0; i < SAMPLES; i++) {
            size_t offset = slot_offset(objects[i] = create(kind));
            if (offset > used[kind])
                used[kind] = offset;
        }
        for (int i = 0; i < SAMPLES; i++)
            OK(factories[kind].free(objects[i]));
    }
}

/* -------------------------------------------------------------------------------- threads and the excepthook */

static size_t alive_count;

static threading_status call_current(void)
{
    return status_of(object = threading_current_thread());
}

void record_alive(void)
{
    alive_count = threading_active_count();
}

void check_alive(void)
{
    /* Not earlier, because threading_active_count() creates main's object, which must be created in a call that may
     * fail. */
    if (alive_count == 0)
        record_alive();
    CHECK(threading_active_count() == alive_count);
}

static void finish_current(void)
{
    CHECK(threading_current_thread() == object);
    CHECK(threading_thread_is_alive(object));
    CHECK(threading_thread_ident(object) == threading_get_ident());
}

/* There is room for the dummy thread, but not for main. */
static void fill_but_one(void)
{
    fill(THREAD, 1, 1);
}

static void finish_current_full(void)
{
    finish_current();
    free_fillers(THREAD);
}

static threading_status call_main(void)
{
    return status_of(object = threading_main_thread());
}

static threading_status call_active_count(void)
{
    return threading_active_count() > 0 ? THREADING_OK : threading_last_error();
}

/* Pending timers are threads that use few resources. */
threading_timer *timers[MAX_OBJECTS];

void start_timers(void)
{
    for (int i = 0; i < scenario->parameter; i++) {
        timers[i] = create(TIMER);
        OK(threading_timer_start(timers[i]));
    }
    record_alive();
}

void cancel_timers(void)
{
    for (int i = 0; i < scenario->parameter; i++) {
        OK(threading_timer_cancel(timers[i]));
        OK(threading_thread_join(threading_timer_thread(timers[i])));
        release_last(TIMER, timers[i]);
    }
}

static threading_status call_enumerate(void)
{
    return status_of(object = threading_enumerate());
}

static void finish_enumerate(void)
{
    CHECK(threading_thread_list_len(object) == alive_count);
    release_last(LIST, object);
    cancel_timers();
}

void hook(threading_thread *thread, const char *type, const char *message, void *arg)
{
    CHECK(thread == threading_current_thread());
    CHECK(strcmp(type, "Type") == 0 && strcmp(message, "message") == 0);
    ++*(int *)arg;
}

int hook_calls;

static void prepare_hook(void)
{
    threading_set_excepthook(hook, &hook_calls);
}

static threading_status call_report(void)
{
    return threading_report_exception("Type", "message");
}

static void check_not_reported(void)
{
    CHECK(hook_calls == 0);
}

static void finish_report(void)
{
    CHECK(hook_calls == 1);
}

static int standard_error;

static void hide_errors(void)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    standard_error = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 10);
    CHECK(null >= 0 && standard_error >= 0 && dup2(null, STDERR_FILENO) == STDERR_FILENO);
    CHECK(close(null) == 0);
}

static void show_errors(void)
{
    CHECK(dup2(standard_error, STDERR_FILENO) == STDERR_FILENO && close(standard_error) == 0);
}

/* ----------------------------------------------------------------------------------------------------- names */

const char *name;

void prepare_thread(void)
{
    object = create(THREAD);
    OK(threading_thread_set_arg_destructor(object, count_destroyed));
}

static threading_status call_name(void)
{
    return status_of(name = threading_thread_name(object));
}

static void finish_name(void)
{
    CHECK(strncmp(name, "Thread-", 7) == 0);
    CHECK(threading_thread_name(object) == name);
    release_last(THREAD, object);
    CHECK(destructor_calls == 1);
}

threading_event *event;

static void prepare_named(void)
{
    prepare_thread();
    name = threading_thread_name(object);
}

void prepare_running(void)
{
    event = create(EVENT);
    object = threading_thread_new(wait_for, event);
    OK(status_of(object));
    OK(threading_thread_start(object));
    CHECK(threading_thread_native_id(object) != 0);
    name = threading_thread_name(object);
}

static threading_status call_set_name(void)
{
    return threading_thread_set_name(object, "a name not used before");
}

static void check_same_name(void)
{
    CHECK(threading_thread_name(object) == name);
}

static void check_renamed(void)
{
    CHECK(strcmp(threading_thread_name(object), "a name not used before") == 0);
    CHECK(strncmp(name, "Thread-", 7) == 0);
}

static void finish_set_name(void)
{
    check_renamed();
    release_last(THREAD, object);
}

static void finish_set_name_running(void)
{
    check_renamed();
    OK(threading_event_set(event));
    OK(threading_thread_join(object));
    release_last(THREAD, object);
    release_last(EVENT, event);
}

/* ------------------------------------------------------------------------------------------- using everything */

void use_everything(void)
{
    threading_lock *a_lock = create(LOCK);
    threading_condition *a_condition = create(CONDITION);
    threading_local *a_local = create(LOCAL);
    threading_event *an_event = create(EVENT);
    threading_timer *timer = threading_timer_new(0.0001, return_arg, &a_lock);
    threading_thread *thread = threading_thread_new(wait_for, an_event);
    size_t before = threading_active_count();
    OK(status_of(timer));
    OK(status_of(thread));
    OK(threading_thread_start(thread));
    OK(threading_timer_start(timer));
    threading_thread_list *list = create(LIST);
    CHECK(threading_thread_list_get(list, 0) == threading_main_thread());
    release_last(LIST, list);
    OK(threading_lock_acquire(a_lock));
    STATUS(threading_lock_acquire_timeout(a_lock, SHORT_TIMEOUT), THREADING_TIMED_OUT);
    OK(threading_lock_release(a_lock));
    OK(threading_condition_acquire(a_condition));
    STATUS(threading_condition_wait_timeout(a_condition, SHORT_TIMEOUT), THREADING_TIMED_OUT);
    OK(threading_condition_release(a_condition));
    OK(threading_local_set(a_local, &thread));
    OK(threading_local_set_attr(a_local, "name", &timer));
    OK(threading_event_set(an_event));
    OK(threading_thread_join(thread));
    OK(threading_thread_join(threading_timer_thread(timer)));
    CHECK(threading_thread_result(threading_timer_thread(timer)) == &a_lock);
    CHECK(threading_active_count() == before);
    release_last(THREAD, thread);
    release_last(TIMER, timer);
    release_last(EVENT, an_event);
    release_last(LOCAL, a_local);
    release_last(CONDITION, a_condition);
    release_last(LOCK, a_lock);
}

/* -------------------------------------------------------------------------------------------- rlocks acquired twice */

static threading_rlock *outer, *inner;

static void acquire_outer_twice(void)
{
    outer = create(RLOCK);
    inner = create(RLOCK);
    OK(threading_rlock_acquire(outer));
    OK(threading_rlock_acquire(outer));
    OK(threading_rlock_acquire(inner));
}

static threading_status call_acquire_inner_again(void)
{
    return scenario->parameter == 0 ? threading_rlock_try_acquire(inner) : threading_rlock_acquire(inner);
}

static void check_inner_acquired_once(void)
{
    CHECK(threading_rlock_recursion_count(inner) == 1);
}

static void finish_acquire_inner_again(void)
{
    threading_rlock *both[] = {outer, inner};
    for (size_t i = 0; i < COUNT(both); i++) {
        CHECK(threading_rlock_recursion_count(both[i]) == 2);
        OK(threading_rlock_release(both[i]));
        OK(threading_rlock_release(both[i]));
        CHECK(!threading_rlock_locked(both[i]));
        release_last(RLOCK, both[i]);
    }
}

/* --------------------------------------------------------------------------------------------------- the table */

#define CREATES(calls, kind)                                                                                           \
    {.name = "the first " calls,                                                                                       \
     .functions = calls,                                                                                               \
     .prepare = prepare_factory,                                                                                       \
     .call = call_factory,                                                                                             \
     .errors = NO_MEMORY,                                                                                              \
     .finish = finish_factory,                                                                                         \
     .parameter = (kind)}
#define CREATES_ONE_MORE(calls, kind)                                                                                  \
    {.name = calls " with one full block",                                                                             \
     .functions = calls,                                                                                               \
     .prepare = fill_one_block,                                                                                        \
     .call = call_factory,                                                                                             \
     .errors = NO_MEMORY,                                                                                              \
     .finish = finish_full,                                                                                            \
     .parameter = (kind)},                                                                                             \
    {                                                                                                                  \
        .name = calls " with 16 full blocks", .functions = calls, .prepare = fill_16_blocks, .call = call_factory,     \
        .errors = NO_MEMORY, .finish = finish_full, .parameter = (kind)                                                \
    }
const struct scenario object_scenarios[] = {
    CREATES("lock_new", LOCK),
    CREATES("rlock_new", RLOCK),
    CREATES("condition_new", CONDITION),
    CREATES("semaphore_new", SEMAPHORE),
    CREATES("event_new", EVENT),
    CREATES("barrier_new", BARRIER),
    CREATES("local_new", LOCAL),
    CREATES("thread_new", THREAD),
    CREATES("timer_new", TIMER),
    CREATES("enumerate", LIST),
    CREATES("condition_new_with_lock", CONDITION_WITH_LOCK),
    CREATES("condition_new_with_rlock", CONDITION_WITH_RLOCK),
    CREATES("semaphore_new_bounded", BOUNDED_SEMAPHORE),
    CREATES("local_new_with_init", LOCAL_WITH_INIT),
    CREATES_ONE_MORE("lock_new", LOCK),
    CREATES_ONE_MORE("rlock_new", RLOCK),
    CREATES_ONE_MORE("condition_new", CONDITION),
    CREATES_ONE_MORE("semaphore_new", SEMAPHORE),
    CREATES_ONE_MORE("event_new", EVENT),
    CREATES_ONE_MORE("barrier_new", BARRIER),
    CREATES_ONE_MORE("local_new", LOCAL),
    CREATES_ONE_MORE("thread_new", THREAD),
    CREATES_ONE_MORE("timer_new", TIMER),

    {"the first current_thread", "current_thread", do_nothing, call_current, NO_MEMORY | SYSTEM, NULL, finish_current,
     0, false, false},
    {"current_thread with one free slot", "current_thread", fill_but_one, call_current, NO_MEMORY | SYSTEM, NULL,
     finish_current_full, 0, false, false},
    {"the first main_thread", "main_thread", do_nothing, call_main, NO_MEMORY, NULL, NULL, 0, false, false},
    {"the first active_count", "active_count", do_nothing, call_active_count, NO_MEMORY, NULL, NULL, 0, false, false},
    {"enumerate of many", "enumerate", start_timers, call_enumerate, NO_MEMORY, check_alive, finish_enumerate,
     MAX_OBJECTS, false, false},
    {"an exception reported to a hook", "report_exception", prepare_hook, call_report, NO_MEMORY | SYSTEM,
     check_not_reported, finish_report, 0, false, false},
    {"an exception printed", "report_exception", hide_errors, call_report, NO_MEMORY | SYSTEM, NULL, show_errors, 0,
     false, false},

    {"a second rlock acquired twice by try_acquire", "rlock_try_acquire", acquire_outer_twice, call_acquire_inner_again,
     NO_MEMORY, check_inner_acquired_once, finish_acquire_inner_again, 0, false, false},
    {"a second rlock acquired twice", "rlock_acquire", acquire_outer_twice, call_acquire_inner_again, NO_MEMORY,
     check_inner_acquired_once, finish_acquire_inner_again, 1, false, false},

    {"a default name", "thread_name", prepare_thread, call_name, NO_MEMORY, NULL, finish_name, 0, false, false},
    {"a new name", "thread_set_name", prepare_named, call_set_name, NO_MEMORY, check_same_name, finish_set_name, 0,
     false, false},
    {"a new name of a running thread", "thread_set_name", prepare_running, call_set_name, NO_MEMORY, check_same_name,
     finish_set_name_running, 0, false, false},
};

const size_t object_scenarios_count = COUNT(object_scenarios);
