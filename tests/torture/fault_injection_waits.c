/* Fault injection while a thread blocks for the first time. */
#include "fault_injection_scenarios.h"

#include "asleep.h"

static pthread_t helper;
static bool has_helper;
static atomic_bool ready;

static void prepare_wait(void)
{
    object = create(scenario->parameter);
    if (scenario->parameter == LOCK)
        OK(threading_lock_acquire(object));
}

/* Thread ID of the caller when it is about to wait; else 0. */
static atomic_int caller;

/* Acquires or releases the object if it is a lock, an rlock or a condition. */
static void acquire_if_lock(void)
{
    if (scenario->parameter == LOCK)
        OK(threading_lock_acquire(object));
    if (scenario->parameter == RLOCK)
        OK(threading_rlock_acquire(object));
    if (scenario->parameter == CONDITION)
        OK(threading_condition_acquire(object));
}

static void release_if_lock(void)
{
    if (scenario->parameter == LOCK)
        OK(threading_lock_release(object));
    if (scenario->parameter == RLOCK)
        OK(threading_rlock_release(object));
    if (scenario->parameter == CONDITION)
        OK(threading_condition_release(object));
}

/* Ends the caller's wait when it is blocked. Calls of this thread do not fail. */
static void *wake_caller(void *arg)
{
    while (atomic_load(&caller) == 0 || !is_asleep(atomic_load(&caller)))
        usleep(300);
    switch (scenario->parameter) {
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
        release_if_lock();
    }
    return arg;
}

static void *acquire_and_wake_caller(void *arg)
{
    acquire_if_lock();
    OK(threading_event_set(event));
    return wake_caller(arg);
}

static void prepare_woken(void)
{
    prepare_wait();
    has_helper = true;
    if (scenario->parameter == RLOCK || scenario->parameter == CONDITION) {
        event = threading_event_new();
        CHECK(pthread_create(&helper, NULL, acquire_and_wake_caller, NULL) == 0);
        while (!threading_event_is_set(event))
            usleep(50);
    } else {
        CHECK(pthread_create(&helper, NULL, wake_caller, NULL) == 0);
    }
}

/* The semaphore has one unit, which is acquired first. */
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

static void finish_wait(void)
{
    CHECK(pthread_join(helper, NULL) == 0);
    release_if_lock();
    release_last(scenario->parameter, object);
    if (event != NULL)
        release_last(EVENT, event);
}

static threading_status call_wait_timeout(void)
{
    switch (scenario->parameter) {
    case LOCK:
        return expect_timeout(threading_lock_acquire_timeout(object, SHORT_TIMEOUT));
    case RLOCK:
        return expect_timeout(threading_rlock_acquire_timeout(object, SHORT_TIMEOUT));
    case CONDITION:
        return expect_timeout(threading_condition_acquire_timeout(object, SHORT_TIMEOUT));
    case SEMAPHORE:
        OK(threading_semaphore_acquire_timeout(object, SHORT_TIMEOUT));
        threading_status status = expect_timeout(threading_semaphore_acquire_timeout(object, SHORT_TIMEOUT));
        OK(threading_semaphore_release(object));
        return status;
    case EVENT:
        return expect_timeout(threading_event_wait_timeout(object, SHORT_TIMEOUT));
    default: {
        threading_status status = threading_barrier_wait_timeout(object, SHORT_TIMEOUT, NULL);
        CHECK(threading_barrier_broken(object) == (status == THREADING_ERR_BROKEN_BARRIER));
        return status == THREADING_ERR_BROKEN_BARRIER ? THREADING_OK : status;
    }
    }
}

/* The owner releases only after the caller has timed out. */
static pthread_mutex_t hold_mutex = PTHREAD_MUTEX_INITIALIZER;

static void *hold_until_unlocked(void *arg)
{
    acquire_if_lock();
    atomic_store(&ready, true);
    CHECK(pthread_mutex_lock(&hold_mutex) == 0 && pthread_mutex_unlock(&hold_mutex) == 0);
    release_if_lock();
    return arg;
}

static void prepare_held(void)
{
    prepare_wait();
    if (scenario->parameter == RLOCK || scenario->parameter == CONDITION) {
        has_helper = true;
        CHECK(pthread_mutex_lock(&hold_mutex) == 0);
        CHECK(pthread_create(&helper, NULL, hold_until_unlocked, NULL) == 0);
        while (!atomic_load(&ready))
            usleep(50);
    }
}

static void finish_held(void)
{
    if (has_helper)
        CHECK(pthread_mutex_unlock(&hold_mutex) == 0 && pthread_join(helper, NULL) == 0);
    if (scenario->parameter == LOCK)
        OK(threading_lock_release(object));
    if (scenario->parameter == BARRIER)
        CHECK(threading_barrier_n_waiting(object) == 0);
    if (scenario->parameter == SEMAPHORE)
        CHECK(threading_semaphore_value(object) == 1);
    release_last(scenario->parameter, object);
}

static void prepare_owned(void)
{
    object = create(CONDITION);
    OK(threading_condition_acquire(object));
    OK(threading_condition_acquire(object));
}

static void check_still_owned(void)
{
    CHECK(threading_condition_is_owned(object));
}

static int return_false(void *arg)
{
    (void)arg;
    return 0;
}

static int predicate_calls;

static int return_true_finally(void *arg)
{
    (void)arg;
    return predicate_calls++ > 1;
}

static threading_status call_condition_wait_timeout(void)
{
    return expect_timeout(threading_condition_wait_timeout(object, SHORT_TIMEOUT));
}

static threading_status call_wait_for_timeout(void)
{
    return expect_timeout(threading_condition_wait_for_timeout(object, return_false, NULL, SHORT_TIMEOUT));
}

static void *notify_repeatedly(void *arg)
{
    while (!atomic_load(&ready)) {
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
    CHECK(pthread_create(&helper, NULL, notify_repeatedly, NULL) == 0);
}

static threading_status call_condition_wait(void)
{
    return threading_condition_wait(object);
}

static threading_status call_wait_for(void)
{
    return threading_condition_wait_for(object, return_true_finally, NULL);
}

static void finish_owned(void)
{
    OK(threading_condition_notify_all(object));
    OK(threading_condition_release(object));
    OK(threading_condition_release(object));
    STATUS(threading_condition_release(object), THREADING_ERR_NOT_OWNER);
    release_last(CONDITION, object);
}

static void finish_notified(void)
{
    OK(threading_condition_release(object));
    OK(threading_condition_release(object));
    atomic_store(&ready, true);
    CHECK(pthread_join(helper, NULL) == 0);
    release_last(CONDITION, object);
}

#define WAITS(calls, kind)                                                                                             \
    {.name = "a first wait in " calls,                                                                                 \
     .functions = calls,                                                                                               \
     .prepare = prepare_woken,                                                                                         \
     .call = call_wait,                                                                                                \
     .errors = NO_MEMORY,                                                                                              \
     .finish = finish_wait,                                                                                            \
     .parameter = (kind)},                                                                                             \
    {                                                                                                                  \
        .name = "a first wait in " calls "_timeout", .functions = calls "_timeout", .prepare = prepare_held,           \
        .call = call_wait_timeout, .errors = NO_MEMORY, .finish = finish_held, .parameter = (kind)                     \
    }

const struct scenario wait_scenarios[] = {
    WAITS("lock_acquire", LOCK),
    WAITS("rlock_acquire", RLOCK),
    WAITS("condition_acquire", CONDITION),
    WAITS("semaphore_acquire", SEMAPHORE),
    WAITS("event_wait", EVENT),
    WAITS("barrier_wait", BARRIER),
    {"a first wait for a notification", "condition_wait", prepare_notified, call_condition_wait, NO_MEMORY,
     check_still_owned, finish_notified, 0, false, false},
    {"a first wait for a notification that times out", "condition_wait_timeout", prepare_owned,
     call_condition_wait_timeout, NO_MEMORY, check_still_owned, finish_owned, 0, false, false},
    {"a first wait for a predicate", "condition_wait_for", prepare_notified, call_wait_for, NO_MEMORY,
     check_still_owned, finish_notified, 0, false, false},
    {"a first wait for a predicate that times out", "condition_wait_for_timeout", prepare_owned, call_wait_for_timeout,
     NO_MEMORY, check_still_owned, finish_owned, 0, false, false},
};

const size_t wait_scenarios_count = COUNT(wait_scenarios);
