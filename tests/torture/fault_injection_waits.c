/* Refusals while a thread waits for the first time. */
#include "fault_injection_scenarios.h"

#include <stdio.h>

static pthread_t helper;
static bool helped;
static atomic_bool waited;

static void prepare_wait(void)
{
    object = make(scenario->parameter);
    if (scenario->parameter == LOCK)
        OK(threading_lock_acquire(object));
}

/* The caller, once it is about to wait. */
static atomic_int caller;

static bool sleeps(int task)
{
    char path[64], state = '?';
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", task);
    FILE *stat = fopen(path, "r");
    CHECK(stat != NULL);
    CHECK(fscanf(stat, "%*d (%*[^)]) %c", &state) == 1);
    CHECK(fclose(stat) == 0);
    return state == 'S';
}

/* What the call waits for comes when it waits, from a thread that is refused nothing. */
static void *let_go(void *arg)
{
    while (atomic_load(&caller) == 0 || !sleeps(atomic_load(&caller)))
        usleep(300);
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
    atomic_store(&caller, (int)gettid());
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

#define WAITS(calls, kind)                                                                               \
    {.name = "a first wait in " calls, .functions = calls, .prepare = prepare_late,                  \
     .call = call_wait, .errors = NO_MEMORY, .done = done_wait, .parameter = (kind)},                          \
    {.name = "a first wait in " calls "_timeout", .functions = calls "_timeout",                     \
     .prepare = prepare_held, .call = call_wait_briefly, .errors = NO_MEMORY, .done = done_held,             \
     .parameter = (kind)}

const struct scenario wait_scenarios[] = {
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
};

const size_t wait_scenarios_count = COUNT(wait_scenarios);
