/* Refusals while objects are made, and questions about threads are asked. */
#include "fault_injection_scenarios.h"

#include <fcntl.h>
#include <stdio.h>

void nothing(void)
{
}

threading_status made(const void *object)
{
    return object != NULL ? THREADING_OK : threading_last_error();
}

void *return_arg(void *arg)
{
    return arg;
}

void *wait_for(void *event)
{
    OK(threading_event_wait_timeout(event, LIMIT));
    return event;
}

atomic_int destroyed;

void count_destroyed(void *value)
{
    CHECK(value != NULL);
    atomic_fetch_add(&destroyed, 1);
}

/* ----------------------------------------------------------------------------------------------------- kinds */

threading_lock *of_lock;
static threading_rlock *of_rlock;

#define KIND(kind, type, new)                                                                                \
    static void *new_##kind(void)                                                                            \
    {                                                                                                        \
        return new;                                                                                          \
    }                                                                                                        \
    static threading_status free_##kind(void *object)                                                        \
    {                                                                                                        \
        return threading_##type##_free(object);                                                              \
    }

KIND(lock, lock, threading_lock_new())
KIND(rlock, rlock, threading_rlock_new())
KIND(condition, condition, threading_condition_new())
KIND(semaphore, semaphore, threading_semaphore_new(1))
KIND(event, event, threading_event_new())
KIND(barrier, barrier, threading_barrier_new(2, NULL, NULL))
KIND(local, local, threading_local_new(NULL))
KIND(thread, thread, threading_thread_new(return_arg, &of_lock))
KIND(timer, timer, threading_timer_new(3600, return_arg, &of_lock))
KIND(list, thread_list, threading_enumerate())
KIND(over_lock, condition, threading_condition_new_with_lock(of_lock))
KIND(over_rlock, condition, threading_condition_new_with_rlock(of_rlock))
KIND(bounded, semaphore, threading_semaphore_new_bounded(1))
KIND(with_init, local, threading_local_new_with_init(return_arg, &of_lock, NULL))

static const struct {
    void *(*make)(void);
    threading_status (*free)(void *object);
} makers[] = {
    {new_lock, free_lock},           {new_rlock, free_rlock},           {new_condition, free_condition},
    {new_semaphore, free_semaphore}, {new_event, free_event},           {new_barrier, free_barrier},
    {new_local, free_local},         {new_thread, free_thread},         {new_timer, free_timer},
    {new_list, free_list},           {new_over_lock, free_over_lock},   {new_over_rlock, free_over_rlock},
    {new_bounded, free_bounded},     {new_with_init, free_with_init},
};

void *make(int kind)
{
    void *object = makers[kind].make();
    OK(made(object));
    return object;
}

/* It is gone with its last reference: nobody has kept one. */
void give_back(int kind, void *object)
{
    OK(makers[kind].free(object));
    STATUS(makers[kind].free(object), THREADING_ERR_HANDLE);
}

void *object;

static void prepare_maker(void)
{
    if (scenario->parameter == OVER_LOCK)
        of_lock = make(LOCK);
    if (scenario->parameter == OVER_RLOCK)
        of_rlock = make(RLOCK);
}

static threading_status call_maker(void)
{
    return made(object = makers[scenario->parameter].make());
}

static void done_maker(void)
{
    give_back(scenario->parameter, object);
    /* A condition that was not made has left its lock to those who had it. */
    if (of_lock != NULL)
        give_back(LOCK, of_lock);
    if (of_rlock != NULL)
        give_back(RLOCK, of_rlock);
}

/* Memory for objects comes a megabyte at a time, in blocks of 64 KiB whose first slot is none. */
enum { FULL = 1 << 14 };
static void *full[FULL];
static size_t full_count;

/* So many objects that there is room for `left` more in the memory at hand. */
static void fill(int kind, size_t left)
{
    size_t slots, size;
    full[full_count++] = make(kind);
    full[full_count++] = make(kind);
    size = (size_t)((uintptr_t)full[1] / 64 - (uintptr_t)full[0] / 64) * 64;
    slots = 16 * (65536 / size - 1);
    CHECK(slots <= FULL);
    while (full_count < slots - left)
        full[full_count++] = make(kind);
}

static void fill_maker(void)
{
    fill(scenario->parameter, 0);
}

static void empty(int kind)
{
    while (full_count > 0)
        OK(makers[kind].free(full[--full_count]));
}

static void done_full(void)
{
    done_maker();
    empty(scenario->parameter);
}

void look_at_slots(size_t used[KINDS])
{
    enum { MANY = 64 };
    void *objects[MANY];
    for (int kind = 0; kind < KINDS; kind++) {
        used[kind] = 0;
        for (int i = 0; i < MANY; i++) {
            size_t offset = refusals_offset(objects[i] = make(kind));
            if (offset > used[kind])
                used[kind] = offset;
        }
        for (int i = 0; i < MANY; i++)
            OK(makers[kind].free(objects[i]));
    }
}

/* ------------------------------------------------------------------------------------------------ who is who */

static size_t alive;

static threading_status call_current(void)
{
    return made(object = threading_current_thread());
}

void count_alive(void)
{
    alive = threading_active_count();
}

void as_many_alive(void)
{
    if (alive == 0) /* only now, since the question makes main's object, which is to be made during a call */
        count_alive();
    CHECK(threading_active_count() == alive);
}

static void done_current(void)
{
    CHECK(threading_current_thread() == object);
    CHECK(threading_thread_is_alive(object));
    CHECK(threading_thread_ident(object) == threading_get_ident());
}

/* There is room for a Dummy, but not for main. */
static void fill_but_one(void)
{
    fill(THREAD, 1);
}

static void done_current_full(void)
{
    done_current();
    empty(THREAD);
}

static threading_status call_main(void)
{
    return made(object = threading_main_thread());
}

static threading_status call_active_count(void)
{
    return threading_active_count() > 0 ? THREADING_OK : threading_last_error();
}

/* Many that are alive and cost little: pending timers. */
threading_timer *timers[MANY];

void start_timers(void)
{
    for (int i = 0; i < scenario->parameter; i++) {
        timers[i] = make(TIMER);
        OK(threading_timer_start(timers[i]));
    }
    count_alive();
}

void cancel_timers(void)
{
    for (int i = 0; i < scenario->parameter; i++) {
        OK(threading_timer_cancel(timers[i]));
        OK(threading_thread_join(threading_timer_thread(timers[i])));
        give_back(TIMER, timers[i]);
    }
}

static threading_status call_enumerate(void)
{
    return made(object = threading_enumerate());
}

static void done_enumerate(void)
{
    CHECK(threading_thread_list_len(object) == alive);
    give_back(LIST, object);
    cancel_timers();
}

void hook(threading_thread *thread, const char *type, const char *message, void *arg)
{
    CHECK(thread == threading_current_thread());
    CHECK(strcmp(type, "Type") == 0 && strcmp(message, "message") == 0);
    ++*(int *)arg;
}

int hooked;

static void prepare_hook(void)
{
    threading_set_excepthook(hook, &hooked);
}

static threading_status call_report(void)
{
    return threading_report_exception("Type", "message");
}

static void not_reported(void)
{
    CHECK(hooked == 0);
}

static void done_report(void)
{
    CHECK(hooked == 1);
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
    object = make(THREAD);
    OK(threading_thread_set_arg_destructor(object, count_destroyed));
}

static threading_status call_name(void)
{
    return made(name = threading_thread_name(object));
}

static void done_name(void)
{
    CHECK(strncmp(name, "Thread-", 7) == 0);
    CHECK(threading_thread_name(object) == name);
    give_back(THREAD, object);
    CHECK(destroyed == 1);
}

threading_event *event;

static void prepare_named(void)
{
    prepare_thread();
    name = threading_thread_name(object);
}

void prepare_running(void)
{
    event = make(EVENT);
    object = threading_thread_new(wait_for, event);
    OK(made(object));
    OK(threading_thread_start(object));
    CHECK(threading_thread_native_id(object) != 0);
    name = threading_thread_name(object);
}

static threading_status call_set_name(void)
{
    return threading_thread_set_name(object, "a name that nobody has had");
}

static void same_name(void)
{
    CHECK(threading_thread_name(object) == name);
}

static void check_renamed(void)
{
    CHECK(strcmp(threading_thread_name(object), "a name that nobody has had") == 0);
    CHECK(strncmp(name, "Thread-", 7) == 0);
}

static void done_set_name(void)
{
    check_renamed();
    give_back(THREAD, object);
}

static void done_set_name_running(void)
{
    check_renamed();
    OK(threading_event_set(event));
    OK(threading_thread_join(object));
    give_back(THREAD, object);
    give_back(EVENT, event);
}

/* -------------------------------------------------------------------------------------------------- all again */

void use_everything(void)
{
    threading_lock *a_lock = make(LOCK);
    threading_condition *a_condition = make(CONDITION);
    threading_local *a_local = make(LOCAL);
    threading_event *an_event = make(EVENT);
    threading_timer *timer = threading_timer_new(0.0001, return_arg, &a_lock);
    threading_thread *thread = threading_thread_new(wait_for, an_event);
    size_t before = threading_active_count();
    OK(made(timer));
    OK(made(thread));
    OK(threading_thread_start(thread));
    OK(threading_timer_start(timer));
    threading_thread_list *list = make(LIST);
    CHECK(threading_thread_list_get(list, 0) == threading_main_thread());
    give_back(LIST, list);
    OK(threading_lock_acquire(a_lock));
    STATUS(threading_lock_acquire_timeout(a_lock, MOMENT), THREADING_TIMED_OUT);
    OK(threading_lock_release(a_lock));
    OK(threading_condition_acquire(a_condition));
    STATUS(threading_condition_wait_timeout(a_condition, MOMENT), THREADING_TIMED_OUT);
    OK(threading_condition_release(a_condition));
    OK(threading_local_set(a_local, &thread));
    OK(threading_local_set_attr(a_local, "name", &timer));
    OK(threading_event_set(an_event));
    OK(threading_thread_join(thread));
    OK(threading_thread_join(threading_timer_thread(timer)));
    CHECK(threading_thread_result(threading_timer_thread(timer)) == &a_lock);
    CHECK(threading_active_count() == before);
    give_back(THREAD, thread);
    give_back(TIMER, timer);
    give_back(EVENT, an_event);
    give_back(LOCAL, a_local);
    give_back(CONDITION, a_condition);
    give_back(LOCK, a_lock);
}

/* ----------------------------------------------------------------------------------------------- RLocks taken twice */

static threading_rlock *outer, *inner;

static void take_outer_twice(void)
{
    outer = make(RLOCK);
    inner = make(RLOCK);
    OK(threading_rlock_acquire(outer));
    OK(threading_rlock_acquire(outer));
    OK(threading_rlock_acquire(inner));
}

static threading_status call_take_inner_again(void)
{
    return scenario->parameter == 0 ? threading_rlock_try_acquire(inner) : threading_rlock_acquire(inner);
}

static void inner_taken_once(void)
{
    CHECK(threading_rlock_recursion_count(inner) == 1);
}

static void done_take_inner_again(void)
{
    threading_rlock *both[] = {outer, inner};
    for (size_t i = 0; i < COUNT(both); i++) {
        CHECK(threading_rlock_recursion_count(both[i]) == 2);
        OK(threading_rlock_release(both[i]));
        OK(threading_rlock_release(both[i]));
        CHECK(!threading_rlock_locked(both[i]));
        give_back(RLOCK, both[i]);
    }
}

/* --------------------------------------------------------------------------------------------------- the table */

#define MAKES(calls, kind)                                                                               \
    {.name = "the first " calls, .functions = calls, .prepare = prepare_maker, .call = call_maker,   \
     .errors = NO_MEMORY, .done = done_maker, .parameter = (kind)}
#define MAKES_ONE_MORE(calls, kind)                                                                      \
    {.name = calls " where memory is used up", .functions = calls, .prepare = fill_maker,            \
     .call = call_maker, .errors = NO_MEMORY, .done = done_full, .parameter = (kind)}
const struct scenario object_scenarios[] = {
    MAKES("lock_new", LOCK),
    MAKES("rlock_new", RLOCK),
    MAKES("condition_new", CONDITION),
    MAKES("semaphore_new", SEMAPHORE),
    MAKES("event_new", EVENT),
    MAKES("barrier_new", BARRIER),
    MAKES("local_new", LOCAL),
    MAKES("thread_new", THREAD),
    MAKES("timer_new", TIMER),
    MAKES("enumerate", LIST),
    MAKES("condition_new_with_lock", OVER_LOCK),
    MAKES("condition_new_with_rlock", OVER_RLOCK),
    MAKES("semaphore_new_bounded", BOUNDED),
    MAKES("local_new_with_init", WITH_INIT),
    MAKES_ONE_MORE("lock_new", LOCK),
    MAKES_ONE_MORE("rlock_new", RLOCK),
    MAKES_ONE_MORE("condition_new", CONDITION),
    MAKES_ONE_MORE("semaphore_new", SEMAPHORE),
    MAKES_ONE_MORE("event_new", EVENT),
    MAKES_ONE_MORE("barrier_new", BARRIER),
    MAKES_ONE_MORE("local_new", LOCAL),
    MAKES_ONE_MORE("thread_new", THREAD),
    MAKES_ONE_MORE("timer_new", TIMER),

    {"the first question who it is", "current_thread", nothing, call_current, NO_MEMORY | SYSTEM, NULL,
     done_current, 0, false, false},
    {"the question where there is room for one", "current_thread", fill_but_one, call_current,
     NO_MEMORY | SYSTEM, NULL, done_current_full, 0, false, false},
    {"the first main_thread", "main_thread", nothing, call_main, NO_MEMORY, NULL, NULL, 0, false, false},
    {"the first active_count", "active_count", nothing, call_active_count, NO_MEMORY, NULL, NULL, 0, false,
     false},
    {"enumerate of many", "enumerate", start_timers, call_enumerate, NO_MEMORY, as_many_alive, done_enumerate,
     MANY, false, false},
    {"a failure told to a hook", "report_exception", prepare_hook, call_report, NO_MEMORY | SYSTEM,
     not_reported, done_report, 0, false, false},
    {"a failure printed", "report_exception", hide_errors, call_report, NO_MEMORY | SYSTEM, NULL, show_errors,
     0, false, false},

    {"a second rlock tried twice", "rlock_try_acquire", take_outer_twice, call_take_inner_again, NO_MEMORY,
     inner_taken_once, done_take_inner_again, 0, false, false},
    {"a second rlock taken twice", "rlock_acquire", take_outer_twice, call_take_inner_again, NO_MEMORY,
     inner_taken_once, done_take_inner_again, 1, false, false},

    {"a default name", "thread_name", prepare_thread, call_name, NO_MEMORY, NULL, done_name, 0, false, false},
    {"a new name", "thread_set_name", prepare_named, call_set_name, NO_MEMORY, same_name, done_set_name, 0,
     false, false},
    {"a new name of a running thread", "thread_set_name", prepare_running, call_set_name, NO_MEMORY, same_name,
     done_set_name_running, 0, false, false},
};

const size_t object_scenarios_count = COUNT(object_scenarios);
