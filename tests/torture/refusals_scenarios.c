/* The calls of the library, each in the states in which it needs something of the system, and all others,
 * which must need nothing. */
#include "refusals.h"

#include <dirent.h>
#include <fcntl.h>
#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static const double MOMENT = 0.0005, LIMIT = 60;

static void nothing(void)
{
}

static threading_status made(const void *object)
{
    return object != NULL ? THREADING_OK : threading_last_error();
}

static void *return_arg(void *arg)
{
    return arg;
}

static void *wait_for(void *event)
{
    OK(threading_event_wait_timeout(event, LIMIT));
    return event;
}

static atomic_int destroyed;

static void count_destroyed(void *value)
{
    CHECK(value != NULL);
    atomic_fetch_add(&destroyed, 1);
}

/* ----------------------------------------------------------------------------------------------------- kinds */

static threading_lock *of_lock;
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

enum { LOCK, RLOCK, CONDITION, SEMAPHORE, EVENT, BARRIER, LOCAL, THREAD, TIMER, LIST, OVER_LOCK, OVER_RLOCK };

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

static void *make(int kind)
{
    void *object = makers[kind].make();
    OK(made(object));
    return object;
}

/* It is gone with its last reference: nobody has kept one. */
static void give_back(int kind, void *object)
{
    OK(makers[kind].free(object));
    STATUS(makers[kind].free(object), THREADING_ERR_HANDLE);
}

static void *object;

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
            CHECK(offset != SIZE_MAX);
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

static void count_alive(void)
{
    alive = threading_active_count();
}

static void as_many_alive(void)
{
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
enum { MANY = 300 };
static threading_timer *timers[MANY];

static void start_timers(void)
{
    for (int i = 0; i < scenario->parameter; i++) {
        timers[i] = make(TIMER);
        OK(threading_timer_start(timers[i]));
    }
    count_alive();
}

static void cancel_timers(void)
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

static void hook(threading_thread *thread, const char *type, const char *message, void *arg)
{
    CHECK(thread == threading_current_thread());
    CHECK(strcmp(type, "Type") == 0 && strcmp(message, "message") == 0);
    ++*(int *)arg;
}

static int hooked;

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

static const char *name;

static void prepare_thread(void)
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

static threading_event *event;

static void prepare_named(void)
{
    prepare_thread();
    name = threading_thread_name(object);
}

static void prepare_running(void)
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

/* --------------------------------------------------------------------------------------------------- threads */

static void check_unstarted(threading_thread *thread)
{
    CHECK(!threading_thread_is_alive(thread));
    CHECK(threading_thread_ident(thread) == 0);
    CHECK(threading_thread_native_id(thread) == 0);
    STATUS(threading_thread_join(thread), THREADING_ERR_NOT_STARTED);
    OK(threading_thread_set_daemon(thread, 0));
    CHECK(destroyed == 0);
    as_many_alive();
}

static void unstarted(void)
{
    if (alive == 0)
        count_alive();
    check_unstarted(object);
}

static void prepare_sized(void)
{
    prepare_thread();
    OK(threading_thread_set_stack_size(object, (size_t)scenario->parameter));
}

/* Waits until the system has so many threads of this process left. */
static void wait_for_tasks(size_t rest)
{
    for (size_t count = SIZE_MAX; count > rest;) {
        DIR *tasks = opendir("/proc/self/task");
        CHECK(tasks != NULL);
        count = 0;
        for (const struct dirent *task; (task = readdir(tasks)) != NULL;)
            count += task->d_name[0] != '.';
        CHECK(closedir(tasks) == 0);
        usleep(100);
    }
}

/* With stacks and the like at hand; some of those that have ended nobody has joined yet. */
static void prepare_used(void)
{
    threading_thread *threads[4];
    event = make(EVENT);
    for (size_t i = 0; i < COUNT(threads); i++) {
        OK(made(threads[i] = threading_thread_new(wait_for, event)));
        OK(threading_thread_start(threads[i]));
    }
    OK(threading_event_set(event));
    for (int i = 0; i < (int)COUNT(threads); i++) {
        if (i < scenario->parameter)
            OK(threading_thread_join(threads[i]));
        OK(threading_thread_free(threads[i]));
    }
    wait_for_tasks(threading_current_thread() == threading_main_thread() ? 1 : 2);
    OK(threading_event_free(event));
    count_alive();
    prepare_thread();
}

static threading_status call_start(void)
{
    return threading_thread_start(object);
}

static threading_status call_start_and_join(void)
{
    threading_status status = threading_thread_start(object);
    if (status == THREADING_OK)
        OK(threading_thread_join(object));
    return status;
}

static void done_start(void)
{
    OK(threading_thread_join(object));
    CHECK(threading_thread_result(object) == &of_lock);
    CHECK(destroyed == 1);
    give_back(THREAD, object);
    CHECK(destroyed == 1);
}

static threading_local *local;

/* What a thread does that is refused things from its beginning to its end. Values whose end the system cannot
 * announce are refused, not lost. */
static void *use_local(void *arg)
{
    threading_status status = threading_local_set(local, arg);
    void *value = threading_local_get(local);
    if (status == THREADING_OK)
        CHECK(value == arg);
    else
        CHECK(value == NULL && (status == THREADING_ERR_NO_MEMORY || status == THREADING_ERR_SYSTEM));
    if (status == THREADING_OK)
        atomic_fetch_add(&destroyed, -1);
    if (threading_local_set_attr(local, "name", arg) == THREADING_OK)
        atomic_fetch_add(&destroyed, -1);
    return arg;
}

static void prepare_user(void)
{
    local = threading_local_new(count_destroyed);
    object = threading_thread_new(use_local, &of_lock);
    OK(made(local));
    OK(made(object));
}

static void done_user(void)
{
    CHECK(threading_thread_result(object) == &of_lock);
    give_back(THREAD, object);
    give_back(LOCAL, local);
    CHECK(destroyed == 0);
}

/* ---------------------------------------------------------------------------------------------------- timers */

static void prepare_timer(void)
{
    start_timers();
    object = threading_timer_new(0, return_arg, &of_lock);
    OK(made(object));
    OK(threading_thread_set_arg_destructor(threading_timer_thread(object), count_destroyed));
}

static threading_status call_timer_start(void)
{
    return threading_timer_start(object);
}

static threading_status call_timer_start_and_join(void)
{
    threading_status status = threading_timer_start(object);
    if (status == THREADING_OK)
        OK(threading_thread_join(threading_timer_thread(object)));
    return status;
}

static threading_status call_timer_start_by_thread(void)
{
    return threading_thread_start(threading_timer_thread(object));
}

static void timer_unstarted(void)
{
    check_unstarted(threading_timer_thread(object));
}

static void done_timer(void)
{
    threading_thread *thread = threading_timer_thread(object);
    OK(threading_thread_join(thread));
    CHECK(threading_thread_result(thread) == &of_lock);
    STATUS(threading_timer_cancel(object), THREADING_TOO_LATE);
    CHECK(destroyed == 1);
    give_back(TIMER, object);
    cancel_timers();
}

/* Its thread alone is kept: the timer is made anew at the start. */
static void prepare_orphan(void)
{
    prepare_timer();
    threading_thread *thread = threading_thread_ref(threading_timer_thread(object));
    OK(threading_timer_free(object));
    object = thread;
}

static void done_orphan(void)
{
    done_start();
    cancel_timers();
}

/* The memory for pending timers shrinks meanwhile. */
static threading_status call_cancel(void)
{
    cancel_timers();
    return THREADING_OK;
}

/* The functions of many timers run, some of which take their time. */
static void *run_timer(void *arg)
{
    if ((threading_timer **)arg == &timers[0])
        usleep(2000);
    return use_local(arg);
}

static void prepare_runs(void)
{
    local = threading_local_new(count_destroyed);
    OK(made(local));
    count_alive();
    for (int i = 0; i < scenario->parameter; i++)
        OK(made(timers[i] = threading_timer_new(0.0002, run_timer, &timers[i])));
}

static threading_status call_runs(void)
{
    threading_status last = THREADING_OK;
    for (int i = 0; i < scenario->parameter; i++) {
        threading_thread *thread = threading_timer_thread(timers[i]);
        threading_status status =
            threading_thread_ident(thread) == 0 ? threading_timer_start(timers[i]) : THREADING_OK;
        if (status != THREADING_OK)
            last = status;
    }
    for (int i = 0; i < scenario->parameter; i++) {
        threading_thread *thread = threading_timer_thread(timers[i]);
        if (threading_thread_ident(thread) != 0)
            OK(threading_thread_join(thread));
    }
    return last;
}

static void done_runs(void)
{
    for (int i = 0; i < scenario->parameter; i++) {
        CHECK(threading_thread_result(threading_timer_thread(timers[i])) == &timers[i]);
        give_back(TIMER, timers[i]);
    }
    give_back(LOCAL, local);
    CHECK(destroyed == 0);
    as_many_alive();
}

/* ---------------------------------------------------------------------------------------------------- locals */

static int inits;

static void *init(void *arg)
{
    inits++;
    return arg;
}

static threading_local *locals[MANY];

/* Values for so many locals are there. */
static void prepare_local(void)
{
    local = threading_local_new(count_destroyed);
    OK(made(local));
    for (int i = 0; i < scenario->parameter; i++) {
        locals[i] = threading_local_new(count_destroyed);
        OK(made(locals[i]));
        OK(threading_local_set(locals[i], &locals[i]));
    }
}

static void prepare_init(void)
{
    local = threading_local_new_with_init(init, &of_lock, count_destroyed);
    OK(made(local));
}

static threading_status call_set(void)
{
    return threading_local_set(local, &local);
}

static void no_value(void)
{
    CHECK(destroyed == 0);
    CHECK(inits == 0);
}

static void done_local(void)
{
    CHECK(threading_local_get(local) == &local);
    give_back(LOCAL, local);
    CHECK(destroyed == 1);
    for (int i = 0; i < scenario->parameter; i++) {
        CHECK(threading_local_get(locals[i]) == &locals[i]);
        give_back(LOCAL, locals[i]);
        CHECK(destroyed == i + 2);
    }
}

static threading_status call_get(void)
{
    threading_clear_last_error();
    object = threading_local_get(local);
    return object != NULL ? THREADING_OK : threading_last_error();
}

static threading_status call_lookup(void)
{
    return threading_local_lookup(local, &object);
}

static void done_init(void)
{
    CHECK(object == &of_lock && threading_local_get(local) == &of_lock);
    CHECK(inits == 1 && destroyed == 0);
    give_back(LOCAL, local);
    CHECK(inits == 1 && destroyed == 1);
}

static threading_status call_del(void)
{
    return threading_local_del(local);
}

/* init's value, deleted or replaced, has been destroyed. */
static void done_init_replaced(void)
{
    CHECK(inits == 1 && destroyed == 1);
    give_back(LOCAL, local);
    CHECK(inits == 1 && destroyed == 1 + scenario->parameter);
}

static char attribute[32];

static void prepare_attributes(void)
{
    local = threading_local_new(count_destroyed);
    OK(made(local));
    for (int i = 0; i < scenario->parameter; i++) {
        snprintf(attribute, sizeof attribute, "attribute %d", i);
        OK(threading_local_set_attr(local, attribute, &local));
    }
}

static threading_status call_set_attr(void)
{
    return threading_local_set_attr(local, "name", &attribute);
}

static void no_attribute(void)
{
    CHECK(destroyed == 0);
}

static void done_attributes(void)
{
    void *value = NULL;
    OK(threading_local_get_attr(local, "name", &value));
    CHECK(value == &attribute);
    for (int i = 0; i < scenario->parameter; i++) {
        snprintf(attribute, sizeof attribute, "attribute %d", i);
        OK(threading_local_get_attr(local, attribute, &value));
        CHECK(value == &local);
    }
    CHECK(destroyed == 0);
    give_back(LOCAL, local);
    CHECK(destroyed == scenario->parameter + 1);
}

static threading_status call_get_attr(void)
{
    threading_status status = threading_local_get_attr(local, "name", &object);
    return status == THREADING_NO_VALUE ? THREADING_OK : status;
}

static threading_status call_del_attr(void)
{
    threading_status status = threading_local_del_attr(local, "name");
    return status == THREADING_NO_VALUE ? THREADING_OK : status;
}

static void done_init_met(void)
{
    CHECK(inits == 1 && destroyed == 0);
    give_back(LOCAL, local);
    CHECK(inits == 1 && destroyed == 1);
}

/* ----------------------------------------------------------------------------------------------------- waits */

static pthread_t helper;
static bool helped;
static atomic_bool waited;

static void prepare_wait(void)
{
    object = make(scenario->parameter);
    if (scenario->parameter == LOCK)
        OK(threading_lock_acquire(object));
}

static threading_status expect_timeout(threading_status status)
{
    return status == THREADING_TIMED_OUT ? THREADING_OK : status;
}

/* What the call waits for comes a little later, from a thread that is refused nothing. */
static void *let_go(void *arg)
{
    usleep(3000);
    switch (scenario->parameter) {
    case LOCK:
        OK(threading_lock_release(object));
        break;
    case RLOCK:
        OK(threading_rlock_release(object));
        break;
    case CONDITION:
        OK(threading_condition_release(object));
        break;
    case SEMAPHORE:
        OK(threading_semaphore_release(object));
        break;
    case EVENT:
        OK(threading_event_set(object));
        break;
    case BARRIER:
        OK(threading_barrier_wait(object, NULL));
        break;
    default:
        CHECK(false);
    }
    return arg;
}

static void *take_and_let_go(void *arg)
{
    if (scenario->parameter == RLOCK)
        OK(threading_rlock_acquire(object));
    if (scenario->parameter == CONDITION)
        OK(threading_condition_acquire(object));
    OK(threading_event_set(event));
    return let_go(arg);
}

static void prepare_late(void)
{
    prepare_wait();
    helped = true;
    if (scenario->parameter == RLOCK || scenario->parameter == CONDITION) {
        event = threading_event_new();
        CHECK(pthread_create(&helper, NULL, take_and_let_go, NULL) == 0);
        while (!threading_event_is_set(event))
            usleep(50);
    } else {
        CHECK(pthread_create(&helper, NULL, let_go, NULL) == 0);
    }
}

/* The unit that the semaphore has comes first. */
static threading_status call_wait(void)
{
    switch (scenario->parameter) {
    case LOCK:
        return threading_lock_acquire(object);
    case RLOCK:
        return threading_rlock_acquire(object);
    case CONDITION:
        return threading_condition_acquire(object);
    case SEMAPHORE:
        OK(threading_semaphore_acquire(object));
        return threading_semaphore_acquire(object);
    case EVENT:
        return threading_event_wait(object);
    default:
        return threading_barrier_wait(object, NULL);
    }
}

static void done_wait(void)
{
    CHECK(pthread_join(helper, NULL) == 0);
    switch (scenario->parameter) {
    case LOCK:
        OK(threading_lock_release(object));
        break;
    case RLOCK:
        OK(threading_rlock_release(object));
        break;
    case CONDITION:
        OK(threading_condition_release(object));
        break;
    default:
        break;
    }
    give_back(scenario->parameter, object);
    if (event != NULL)
        give_back(EVENT, event);
}

static threading_status call_wait_briefly(void)
{
    switch (scenario->parameter) {
    case LOCK:
        return expect_timeout(threading_lock_acquire_timeout(object, MOMENT));
    case RLOCK:
        return expect_timeout(threading_rlock_acquire_timeout(object, MOMENT));
    case CONDITION:
        return expect_timeout(threading_condition_acquire_timeout(object, MOMENT));
    case SEMAPHORE:
        OK(threading_semaphore_acquire_timeout(object, MOMENT));
        threading_status status = expect_timeout(threading_semaphore_acquire_timeout(object, MOMENT));
        OK(threading_semaphore_release(object));
        return status;
    case EVENT:
        return expect_timeout(threading_event_wait_timeout(object, MOMENT));
    default: {
        threading_status status = threading_barrier_wait_timeout(object, MOMENT, NULL);
        CHECK(threading_barrier_broken(object) == (status == THREADING_ERR_BROKEN_BARRIER));
        return status == THREADING_ERR_BROKEN_BARRIER ? THREADING_OK : status;
    }
    }
}

/* The holder lets go only when the caller has been. */
static pthread_mutex_t holding = PTHREAD_MUTEX_INITIALIZER;

static void *hold(void *arg)
{
    if (scenario->parameter == RLOCK)
        OK(threading_rlock_acquire(object));
    else
        OK(threading_condition_acquire(object));
    atomic_store(&waited, true);
    CHECK(pthread_mutex_lock(&holding) == 0 && pthread_mutex_unlock(&holding) == 0);
    if (scenario->parameter == RLOCK)
        OK(threading_rlock_release(object));
    else
        OK(threading_condition_release(object));
    return arg;
}

static void prepare_held(void)
{
    prepare_wait();
    if (scenario->parameter == RLOCK || scenario->parameter == CONDITION) {
        helped = true;
        CHECK(pthread_mutex_lock(&holding) == 0);
        CHECK(pthread_create(&helper, NULL, hold, NULL) == 0);
        while (!atomic_load(&waited))
            usleep(50);
    }
}

static void done_held(void)
{
    if (helped)
        CHECK(pthread_mutex_unlock(&holding) == 0 && pthread_join(helper, NULL) == 0);
    if (scenario->parameter == LOCK)
        OK(threading_lock_release(object));
    if (scenario->parameter == BARRIER)
        CHECK(threading_barrier_n_waiting(object) == 0);
    if (scenario->parameter == SEMAPHORE)
        CHECK(threading_semaphore_value(object) == 1);
    give_back(scenario->parameter, object);
}

static void prepare_owned(void)
{
    object = make(CONDITION);
    OK(threading_condition_acquire(object));
    OK(threading_condition_acquire(object));
}

static void still_owned(void)
{
    CHECK(threading_condition_is_owned(object));
}

static int never(void *arg)
{
    (void)arg;
    return 0;
}

static int predicate_calls;

static int at_last(void *arg)
{
    (void)arg;
    return predicate_calls++ > 1;
}

static threading_status call_condition_wait_timeout(void)
{
    return expect_timeout(threading_condition_wait_timeout(object, MOMENT));
}

static threading_status call_wait_for_timeout(void)
{
    return expect_timeout(threading_condition_wait_for_timeout(object, never, NULL, MOMENT));
}

static void *notify_often(void *arg)
{
    while (!atomic_load(&waited)) {
        OK(threading_condition_acquire(object));
        OK(threading_condition_notify(object, 1));
        OK(threading_condition_release(object));
        usleep(200);
    }
    return arg;
}

static void prepare_notified(void)
{
    prepare_owned();
    CHECK(pthread_create(&helper, NULL, notify_often, NULL) == 0);
}

static threading_status call_condition_wait(void)
{
    return threading_condition_wait(object);
}

static threading_status call_wait_for(void)
{
    return threading_condition_wait_for(object, at_last, NULL);
}

static void done_owned(void)
{
    OK(threading_condition_notify_all(object));
    OK(threading_condition_release(object));
    OK(threading_condition_release(object));
    STATUS(threading_condition_release(object), THREADING_ERR_NOT_OWNER);
    give_back(CONDITION, object);
}

static void done_notified(void)
{
    OK(threading_condition_release(object));
    OK(threading_condition_release(object));
    atomic_store(&waited, true);
    CHECK(pthread_join(helper, NULL) == 0);
    give_back(CONDITION, object);
}

static threading_status call_join_timeout(void)
{
    return expect_timeout(threading_thread_join_timeout(object, MOMENT));
}

static threading_status call_join(void)
{
    OK(threading_event_set(event));
    return threading_thread_join(object);
}

static void done_running(void)
{
    OK(threading_event_set(event));
    OK(threading_thread_join(object));
    CHECK(threading_thread_result(object) == event);
    give_back(THREAD, object);
    give_back(EVENT, event);
}

/* ---------------------------------------------------------------------------------------------------- leaving */

static int callbacks_called;

static void callback(void *arg)
{
    CHECK(callbacks_called++ == *(int *)arg);
}

static int order[16];

static void prepare_callbacks(void)
{
    for (int i = 0; i < scenario->parameter; i++) {
        order[i] = scenario->parameter - i;
        OK(threading_atexit(callback, &order[i]));
    }
    order[scenario->parameter] = 0;
}

static threading_status call_atexit(void)
{
    return threading_atexit(callback, &order[scenario->parameter]);
}

static void done_atexit(void)
{
    OK(threading_shutdown());
    CHECK(callbacks_called == scenario->parameter + 1);
    STATUS(threading_atexit(callback, NULL), THREADING_ERR_SHUTDOWN);
}

static void *return_later(void *arg)
{
    usleep(1000);
    return arg;
}

static void prepare_shutdown(void)
{
    object = threading_thread_new(return_later, &object);
    OK(made(object));
    OK(threading_thread_start(object));
    order[0] = 0;
    OK(threading_atexit(callback, &order[0]));
}

static threading_status call_shutdown(void)
{
    STATUS(threading_shutdown_timeout(0), THREADING_TIMED_OUT);
    return threading_shutdown();
}

static void done_shutdown(void)
{
    CHECK(threading_thread_result(object) == &object);
    give_back(THREAD, object);
    CHECK(callbacks_called == 1);
}

/* The child works, and so does the parent. */
static threading_status call_fork(void)
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        refusals_disarm();
        CHECK(threading_main_thread() == threading_current_thread());
        CHECK(threading_active_count() == 1);
        use_everything();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    return THREADING_OK;
}

/* -------------------------------------------------------------------------------------- what needs nothing */

static threading_thread *unstarted_thread, *over;
static threading_condition *condition;
static threading_semaphore *semaphore;
static threading_barrier *barrier;
static threading_rlock *rlock;
static threading_lock *lock;

static int no_action(void *arg)
{
    (void)arg;
    return 0;
}

static void prepare_all(void)
{
    lock = make(LOCK);
    rlock = make(RLOCK);
    condition = make(CONDITION);
    semaphore = make(SEMAPHORE);
    barrier = threading_barrier_new(1, no_action, NULL);
    OK(made(barrier));
    OK(threading_barrier_wait(barrier, NULL)); /* the thread has waited before */
    prepare_running();
    unstarted_thread = make(THREAD);
    over = make(THREAD);
    OK(threading_thread_start(over));
    OK(threading_thread_join(over));
    timers[0] = make(TIMER);
    OK(threading_timer_start(timers[0]));
    timers[1] = make(TIMER);
    local = make(LOCAL);
    OK(threading_local_set(local, &local));
    OK(threading_local_set_attr(local, "name", &local));
    full[0] = make(LIST);
    CHECK(threading_current_thread() != NULL && threading_main_thread() != NULL);
}

#define LIBRARY                                                                                              \
    "version version_number status_name status_message last_error last_error_message clear_last_error "      \
    "current_thread main_thread active_count get_ident get_native_id stack_size set_stack_size sleep "       \
    "set_excepthook get_excepthook report_exception thread_list_len thread_list_get thread_list_free"

static threading_status call_library(void)
{
    void *arg = NULL;
    CHECK(threading_version_number() != 0 && threading_version() != NULL);
    CHECK(threading_status_name(-1) != NULL && threading_status_message(-14) != NULL);
    threading_clear_last_error();
    OK(threading_last_error());
    CHECK(threading_last_error_message()[0] == '\0');
    CHECK(threading_current_thread() != NULL && threading_main_thread() != NULL);
    CHECK(threading_active_count() >= 3);
    CHECK(threading_get_ident() != 0 && threading_get_native_id() != 0);
    OK(threading_set_stack_size(1 << 20));
    CHECK(threading_stack_size() == 1 << 20);
    OK(threading_set_stack_size(0));
    OK(threading_sleep(MOMENT));
    threading_set_excepthook(hook, &hooked);
    CHECK(threading_get_excepthook(&arg) == hook && arg == &hooked);
    OK(threading_report_exception("Type", "message"));
    threading_set_excepthook(NULL, NULL);
    CHECK(threading_thread_list_len(full[0]) >= 3);
    CHECK(threading_thread_list_get(full[0], 0) == threading_main_thread());
    OK(threading_thread_list_free(full[0]));
    return THREADING_OK;
}

#define THREADS                                                                                              \
    "thread_ref thread_free thread_set_daemon thread_is_daemon thread_set_stack_size "                       \
    "thread_set_arg_destructor thread_set_run thread_run thread_join thread_join_timeout thread_is_alive "   \
    "thread_ident thread_native_id thread_result thread_arg thread_name timer_ref timer_free timer_thread "  \
    "timer_cancel timer_interval"

static void *run(threading_thread *thread, void *arg)
{
    (void)thread;
    return arg;
}

static threading_status call_threads(void)
{
    CHECK(threading_thread_ref(unstarted_thread) == unstarted_thread);
    OK(threading_thread_free(unstarted_thread));
    OK(threading_thread_set_daemon(unstarted_thread, 1));
    CHECK(threading_thread_is_daemon(unstarted_thread));
    OK(threading_thread_set_stack_size(unstarted_thread, 1 << 20));
    OK(threading_thread_set_arg_destructor(unstarted_thread, count_destroyed));
    OK(threading_thread_set_run(unstarted_thread, run));
    CHECK(threading_thread_run(unstarted_thread) == &of_lock);
    CHECK(threading_thread_arg(unstarted_thread) == &of_lock);
    STATUS(threading_thread_join(unstarted_thread), THREADING_ERR_NOT_STARTED);
    OK(threading_thread_join(over));
    OK(threading_thread_join_timeout(over, MOMENT));
    STATUS(threading_thread_join_timeout(object, MOMENT), THREADING_TIMED_OUT);
    CHECK(!threading_thread_is_alive(over) && threading_thread_is_alive(object));
    CHECK(threading_thread_ident(over) != 0 && threading_thread_native_id(over) != 0);
    CHECK(threading_thread_result(over) == &of_lock && threading_thread_result(object) == NULL);
    CHECK(threading_thread_name(object) == name);
    CHECK(threading_timer_ref(timers[0]) == timers[0] && threading_timer_thread(timers[0]) != NULL);
    CHECK(threading_timer_interval(timers[0]) == 3600);
    OK(threading_timer_free(timers[0]));
    OK(threading_timer_cancel(timers[0]));
    OK(threading_thread_join(threading_timer_thread(timers[0])));
    OK(threading_timer_cancel(timers[1]));
    OK(threading_timer_free(timers[1]));
    OK(threading_thread_free(unstarted_thread));
    CHECK(destroyed == 1);
    OK(threading_thread_free(over));
    return THREADING_OK;
}

#define OBJECTS                                                                                              \
    "lock_ref lock_free lock_acquire lock_try_acquire lock_acquire_timeout lock_release lock_locked "        \
    "lock_at_fork_reinit rlock_ref rlock_free rlock_acquire rlock_try_acquire rlock_acquire_timeout "        \
    "rlock_release rlock_locked rlock_is_owned rlock_recursion_count rlock_at_fork_reinit condition_ref "    \
    "condition_free condition_acquire condition_try_acquire condition_acquire_timeout condition_release "    \
    "condition_locked condition_is_owned condition_notify condition_notify_all condition_at_fork_reinit "    \
    "semaphore_ref semaphore_free semaphore_acquire semaphore_try_acquire semaphore_acquire_timeout "        \
    "semaphore_release semaphore_release_n semaphore_value event_ref event_free event_is_set event_set "     \
    "event_clear event_wait event_wait_timeout event_at_fork_reinit barrier_ref barrier_free "               \
    "barrier_set_timeout barrier_wait barrier_wait_timeout barrier_reset barrier_abort barrier_parties "     \
    "barrier_n_waiting barrier_broken local_ref local_free local_set local_get local_lookup local_del "      \
    "local_get_attr local_del_attr"

static threading_status call_objects(void)
{
    size_t index;
    void *value;
    CHECK(threading_lock_ref(lock) == lock);
    OK(threading_lock_acquire(lock));
    STATUS(threading_lock_try_acquire(lock), THREADING_WOULD_BLOCK);
    STATUS(threading_lock_acquire_timeout(lock, 0), THREADING_TIMED_OUT);
    CHECK(threading_lock_locked(lock));
    OK(threading_lock_release(lock));
    OK(threading_lock_at_fork_reinit(lock));
    OK(threading_lock_free(lock));
    CHECK(threading_rlock_ref(rlock) == rlock);
    OK(threading_rlock_acquire(rlock));
    OK(threading_rlock_try_acquire(rlock));
    OK(threading_rlock_acquire_timeout(rlock, MOMENT));
    CHECK(threading_rlock_locked(rlock) && threading_rlock_is_owned(rlock));
    CHECK(threading_rlock_recursion_count(rlock) == 3);
    OK(threading_rlock_release(rlock));
    OK(threading_rlock_at_fork_reinit(rlock));
    OK(threading_rlock_free(rlock));
    CHECK(threading_condition_ref(condition) == condition);
    OK(threading_condition_acquire(condition));
    OK(threading_condition_try_acquire(condition));
    OK(threading_condition_acquire_timeout(condition, MOMENT));
    CHECK(threading_condition_locked(condition) && threading_condition_is_owned(condition));
    OK(threading_condition_notify(condition, 1));
    OK(threading_condition_notify_all(condition));
    OK(threading_condition_release(condition));
    OK(threading_condition_at_fork_reinit(condition));
    OK(threading_condition_free(condition));
    CHECK(threading_semaphore_ref(semaphore) == semaphore);
    OK(threading_semaphore_acquire(semaphore));
    STATUS(threading_semaphore_try_acquire(semaphore), THREADING_WOULD_BLOCK);
    STATUS(threading_semaphore_acquire_timeout(semaphore, MOMENT), THREADING_TIMED_OUT);
    OK(threading_semaphore_release(semaphore));
    OK(threading_semaphore_release_n(semaphore, 2));
    CHECK(threading_semaphore_value(semaphore) == 3);
    OK(threading_semaphore_free(semaphore));
    CHECK(threading_event_ref(event) == event);
    STATUS(threading_event_wait_timeout(event, MOMENT), THREADING_TIMED_OUT);
    OK(threading_event_set(event));
    CHECK(threading_event_is_set(event));
    OK(threading_event_wait(event));
    OK(threading_event_free(event));
    CHECK(threading_barrier_ref(barrier) == barrier);
    OK(threading_barrier_set_timeout(barrier, 5));
    OK(threading_barrier_wait(barrier, &index));
    OK(threading_barrier_wait_timeout(barrier, MOMENT, &index));
    OK(threading_barrier_abort(barrier));
    CHECK(threading_barrier_broken(barrier));
    OK(threading_barrier_reset(barrier));
    CHECK(threading_barrier_parties(barrier) == 1 && threading_barrier_n_waiting(barrier) == 0);
    OK(threading_barrier_free(barrier));
    CHECK(threading_local_ref(local) == local);
    OK(threading_local_set(local, &value));
    CHECK(threading_local_get(local) == &value);
    OK(threading_local_lookup(local, &value));
    OK(threading_local_del(local));
    OK(threading_local_get_attr(local, "name", &value));
    OK(threading_local_del_attr(local, "name"));
    OK(threading_local_free(local));
    return THREADING_OK;
}

static void done_all(void)
{
    if (scenario->call != call_threads) {
        OK(threading_timer_cancel(timers[0]));
        give_back(TIMER, timers[1]);
        give_back(THREAD, unstarted_thread);
        give_back(THREAD, over);
    }
    give_back(TIMER, timers[0]);
    if (scenario->call != call_library)
        give_back(LIST, full[0]);
    OK(threading_event_set(event));
    OK(threading_thread_join(object));
    give_back(THREAD, object);
    if (scenario->call == call_objects) {
        OK(threading_event_clear(event));
        OK(threading_event_at_fork_reinit(event));
    }
    give_back(EVENT, event);
    give_back(LOCK, lock);
    give_back(RLOCK, rlock);
    give_back(CONDITION, condition);
    give_back(SEMAPHORE, semaphore);
    give_back(BARRIER, barrier);
    give_back(LOCAL, local);
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

/* --------------------------------------------------------------------------------------------------- the table */

#define MAKES(calls, kind)                                                                               \
    {.name = "the first " calls, .functions = calls, .prepare = prepare_maker, .call = call_maker,   \
     .errors = NO_MEMORY, .done = done_maker, .parameter = (kind)}
#define MAKES_ONE_MORE(calls, kind)                                                                      \
    {.name = calls " where memory is used up", .functions = calls, .prepare = fill_maker,            \
     .call = call_maker, .errors = NO_MEMORY, .done = done_full, .parameter = (kind)}
#define WAITS(calls, kind)                                                                               \
    {.name = "a first wait in " calls, .functions = calls, .prepare = prepare_late,                  \
     .call = call_wait, .errors = NO_MEMORY, .done = done_wait, .parameter = (kind)},                          \
    {.name = "a first wait in " calls "_timeout", .functions = calls "_timeout",                     \
     .prepare = prepare_held, .call = call_wait_briefly, .errors = NO_MEMORY, .done = done_held,             \
     .parameter = (kind)}

const struct scenario scenarios[] = {
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
    MAKES("semaphore_new_bounded", OVER_RLOCK + 1),
    MAKES("local_new_with_init", OVER_RLOCK + 2),
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

    {"a default name", "thread_name", prepare_thread, call_name, NO_MEMORY, NULL, done_name, 0, false, false},
    {"a new name", "thread_set_name", prepare_named, call_set_name, NO_MEMORY, same_name, done_set_name, 0,
     false, false},
    {"a new name of a running thread", "thread_set_name", prepare_running, call_set_name, NO_MEMORY, same_name,
     done_set_name_running, 0, false, false},

    {"the first start", "thread_start", prepare_thread, call_start, NO_MEMORY | SYSTEM, unstarted, done_start,
     0, false, false},
    {"the first start, and what runs", "thread_start", prepare_thread, call_start_and_join,
     NO_MEMORY | SYSTEM, unstarted, done_start, 0, true, false},
    {"a start on a small stack", "thread_start", prepare_sized, call_start, NO_MEMORY | SYSTEM, unstarted,
     done_start, 64 * 1024, false, false},
    {"a start on a large stack", "thread_start", prepare_sized, call_start, NO_MEMORY | SYSTEM, unstarted,
     done_start, 64 << 20, false, false},
    {"a start on a stack that was kept", "thread_start", prepare_used, call_start, NO_MEMORY | SYSTEM,
     unstarted, done_start, 4, false, false},
    {"a start when others have not been joined", "thread_start", prepare_used, call_start, NO_MEMORY | SYSTEM,
     unstarted, done_start, 0, false, false},
    {"a thread that uses a local", "thread_start local_set local_set_attr", prepare_user, call_start_and_join,
     NO_MEMORY | SYSTEM, NULL, done_user, 0, true, false},
    {"a join", "thread_join", prepare_running, call_join, 0, NULL, done_running, 0, false, false},
    {"a join that is early", "thread_join_timeout", prepare_running, call_join_timeout, 0, NULL, done_running,
     0, false, false},
    {"a join, and the thread's end", "thread_join", prepare_running, call_join, 0, NULL, done_running, 0, true,
     false},

    {"the first start of a timer", "timer_start", prepare_timer, call_timer_start, NO_MEMORY | SYSTEM,
     timer_unstarted, done_timer, 0, false, false},
    {"the first start of a timer, and its function", "timer_start", prepare_timer, call_timer_start_and_join,
     NO_MEMORY | SYSTEM, timer_unstarted, done_timer, 0, true, false},
    {"the first start of a timer, by its thread", "thread_start", prepare_timer, call_timer_start_by_thread,
     NO_MEMORY | SYSTEM, timer_unstarted, done_timer, 0, false, false},
    {"a start beside 32 timers", "timer_start", prepare_timer, call_timer_start, NO_MEMORY | SYSTEM,
     timer_unstarted, done_timer, 32, false, false},
    {"a start beside 64 timers", "timer_start", prepare_timer, call_timer_start, NO_MEMORY | SYSTEM,
     timer_unstarted, done_timer, 64, false, false},
    {"a start beside 288 timers", "timer_start", prepare_timer, call_timer_start_by_thread, NO_MEMORY | SYSTEM,
     timer_unstarted, done_timer, 288, false, false},
    {"the start of a timer that was freed", "thread_start", prepare_orphan, call_start, NO_MEMORY | SYSTEM,
     unstarted, done_orphan, 0, false, false},
    {"many timers cancelled", "timer_cancel", start_timers, call_cancel, 0, NULL, NULL, MANY, false, false},
    {"two timers' functions", "timer_start", prepare_runs, call_runs, NO_MEMORY | SYSTEM, NULL, done_runs, 2,
     true, false},
    {"many timers' functions", "timer_start", prepare_runs, call_runs, NO_MEMORY | SYSTEM, NULL, done_runs,
     200, true, false},

    {"the first value", "local_set", prepare_local, call_set, NO_MEMORY | SYSTEM, no_value, done_local, 0,
     false, false},
    {"the seventh value", "local_set", prepare_local, call_set, NO_MEMORY | SYSTEM, no_value, done_local, 6,
     false, false},
    {"the 193rd value", "local_set", prepare_local, call_set, NO_MEMORY | SYSTEM, no_value, done_local, 192,
     false, false},
    {"init by get", "local_get", prepare_init, call_get, NO_MEMORY | SYSTEM, no_value, done_init, 0, false,
     false},
    {"init by lookup", "local_lookup", prepare_init, call_lookup, NO_MEMORY | SYSTEM, no_value, done_init, 0,
     false, false},
    {"init by del", "local_del", prepare_init, call_del, NO_MEMORY | SYSTEM, no_value, done_init_replaced, 0,
     false, false},
    {"init by set", "local_set", prepare_init, call_set, NO_MEMORY | SYSTEM, no_value,
     done_init_replaced, 1, false, false},
    {"init by get_attr", "local_get_attr", prepare_init, call_get_attr, NO_MEMORY | SYSTEM, no_value,
     done_init_met, 0, false, false},
    {"init by del_attr", "local_del_attr", prepare_init, call_del_attr, NO_MEMORY | SYSTEM, no_value,
     done_init_met, 0, false, false},
    {"the first attribute", "local_set_attr", prepare_attributes, call_set_attr, NO_MEMORY | SYSTEM,
     no_attribute, done_attributes, 0, false, false},
    {"the fourth attribute", "local_set_attr", prepare_attributes, call_set_attr, NO_MEMORY | SYSTEM,
     no_attribute, done_attributes, 3, false, false},
    {"the 113th attribute", "local_set_attr", prepare_attributes, call_set_attr, NO_MEMORY | SYSTEM,
     no_attribute, done_attributes, 112, false, false},

    WAITS("lock_acquire", LOCK),
    WAITS("rlock_acquire", RLOCK),
    WAITS("condition_acquire", CONDITION),
    WAITS("semaphore_acquire", SEMAPHORE),
    WAITS("event_wait", EVENT),
    WAITS("barrier_wait", BARRIER),
    {"a first wait for a notify", "condition_wait", prepare_notified, call_condition_wait, NO_MEMORY,
     still_owned, done_notified, 0, false, false},
    {"a first wait for a notify in vain", "condition_wait_timeout", prepare_owned, call_condition_wait_timeout,
     NO_MEMORY, still_owned, done_owned, 0, false, false},
    {"a first wait for a predicate", "condition_wait_for", prepare_notified, call_wait_for, NO_MEMORY,
     still_owned, done_notified, 0, false, false},
    {"a first wait for a predicate in vain", "condition_wait_for_timeout", prepare_owned,
     call_wait_for_timeout, NO_MEMORY, still_owned, done_owned, 0, false, false},

    {"the first callback", "atexit", prepare_callbacks, call_atexit, NO_MEMORY, NULL, done_atexit, 0, false,
     true},
    {"the fifth callback", "atexit", prepare_callbacks, call_atexit, NO_MEMORY, NULL, done_atexit, 4, false,
     true},
    {"a shutdown", "shutdown shutdown_timeout", prepare_shutdown, call_shutdown, 0, NULL, done_shutdown, 0,
     false, true},
    {"a fork", "", nothing, call_fork, 0, NULL, NULL, 0, false, false},

    {"the library needs nothing", LIBRARY, prepare_all, call_library, 0, NULL, done_all, 0, false, false},
    {"threads need nothing", THREADS, prepare_all, call_threads, 0, NULL, done_all, 0, false, false},
    {"objects need nothing", OBJECTS, prepare_all, call_objects, 0, NULL, done_all, 0, false, false},
};

const size_t scenario_count = COUNT(scenarios);
