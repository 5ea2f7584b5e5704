/* Frees of a condition and of its lock while other threads use them. No call uses the memory of a freed condition. */
#include "condition.h"
#include "stepwise.h"

#include <sched.h>

static void freed_lock_stays_usable(void)
{
    threading_lock *lock = threading_lock_new();
    threading_condition *c = threading_condition_new_with_lock(lock);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_free(lock), THREADING_ERR_HANDLE);
    /* The handle stays valid while the condition holds a reference to the lock. */
    acquire(c);
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    CHECK_PTR(threading_lock_ref(lock), lock);
    free_condition(c);
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_release(lock), THREADING_ERR_HANDLE);
}

static void free_with_waiters(void)
{
    threading_condition *c = new_condition();
    struct waiter w;
    struct call call;
    start_waiter(&w, c, THREADING_FOREVER);
    CHECK_PTR(threading_condition_ref(c), c);
    CHECK_STATUS(threading_condition_free(c), THREADING_OK);
    CHECK_STATUS(threading_condition_free(c), THREADING_ERR_BUSY);
    CHECK_STATUS(threading_condition_free(c), THREADING_ERR_BUSY);
    notify(c, 1);
    finish_waiter(&w, THREADING_OK);
    acquire(c);
    call_blocked(&call, acquire_and_release, c);
    CHECK_STATUS(threading_condition_free(c), THREADING_ERR_BUSY);
    release(c);
    CHECK_CALL(&call, THREADING_OK);
    free_condition(c);
    CHECK_STATUS(threading_condition_free(c), THREADING_ERR_HANDLE);
}

static threading_status wait_until_freed(void *condition)
{
    threading_status status;
    acquire(condition);
    status = threading_condition_wait(condition);
    threading_condition_release(condition); /* may fail: the condition may have been destroyed */
    return status;
}

static void free_after_notify(void)
{
    for (int i = 0; i < 20; i++) {
        threading_condition *c = new_condition();
        struct call calls[3];
        for (size_t k = 0; k < TEST_COUNT(calls); k++)
            call_blocked(&calls[k], wait_until_freed, c);
        acquire(c);
        CHECK_STATUS(threading_condition_notify(c, 3), THREADING_OK);
        if (i % 2 == 0)
            release(c);
        free_condition(c);
        if (i % 2 == 1)
            threading_condition_release(c);
        for (size_t k = 0; k < TEST_COUNT(calls); k++)
            CHECK_CALL(&calls[k], THREADING_OK);
        CHECK_FAILS(threading_condition_locked(c), THREADING_ERR_HANDLE);
    }
}

/* A condition that is destroyed while its notified waiters wait for the lock, which outlives it. */
struct shared {
    threading_condition *condition;
    threading_rlock *lock;
    int inside;
};

static threading_status wait_and_check_exclusion(void *arg)
{
    struct shared *s = arg;
    threading_status status;
    CHECK_STATUS(threading_rlock_acquire(s->lock), THREADING_OK);
    status = threading_condition_wait(s->condition);
    CHECK_INT(threading_rlock_recursion_count(s->lock), 1);
    CHECK_INT(s->inside++, 0);
    sleep_for(0.001);
    s->inside--;
    CHECK_STATUS(threading_rlock_release(s->lock), THREADING_OK);
    return status;
}

static void lock_outlives_its_condition(void)
{
    struct shared s = {.lock = threading_rlock_new()};
    for (int i = 0; i < 10; i++) {
        struct call calls[3];
        s.condition = threading_condition_new_with_rlock(s.lock);
        for (size_t k = 0; k < TEST_COUNT(calls); k++)
            call_blocked(&calls[k], wait_and_check_exclusion, &s);
        acquire(s.condition);
        CHECK_STATUS(threading_condition_notify_all(s.condition), THREADING_OK);
        free_condition(s.condition);
        CHECK_STATUS(threading_rlock_release(s.lock), THREADING_OK);
        for (size_t k = 0; k < TEST_COUNT(calls); k++)
            CHECK_CALL(&calls[k], THREADING_OK);
    }
    CHECK_STATUS(threading_rlock_free(s.lock), THREADING_OK);
}

static int free_condition_and_return_true(void *condition)
{
    return threading_condition_free(condition) == THREADING_OK;
}

static void free_in_a_predicate(void)
{
    threading_condition *c = new_condition();
    acquire(c);
    CHECK_STATUS(threading_condition_wait_for(c, free_condition_and_return_true, c), THREADING_OK);
    CHECK_STATUS(threading_condition_release(c), THREADING_ERR_HANDLE);
}

static void *wait_for_last_notify(void *arg)
{
    struct alternation *a = arg;
    acquire(a->condition);
    a->played = 1;
    CHECK_STATUS(threading_condition_wait(a->condition), THREADING_OK);
    return NULL;
}

/* The waiter has not parked as a rule. The notifying thread frees the condition and with it the lock, for which the waiter
 * may spin. */
static void free_after_notify_of_a_running_waiter(void)
{
    for (int i = 0; i < 500; i++) {
        struct alternation a = {.condition = new_condition()};
        threading_thread *thread = spawn(wait_for_last_notify, &a);
        bool waits = false;
        while (!waits) {
            acquire(a.condition);
            waits = a.played == 1;
            if (waits)
                CHECK_STATUS(threading_condition_notify(a.condition, 1), THREADING_OK);
            release(a.condition);
            if (!waits)
                sched_yield();
        }
        free_condition(a.condition);
        join(thread);
    }
}

static void *init_with_argument(void *arg)
{
    return arg;
}

static void *wait_for_a_second(void *arg)
{
    struct alternation *a = arg;
    acquire(a->condition);
    a->played = 1;
    /* A timeout, if this thread is not notified for a second. */
    CHECK(threading_condition_wait_timeout(a->condition, 1) >= THREADING_OK);
    return NULL;
}

/* The timeout of a notified waiter expires while it waits for the lock, when the memory of its condition contains other
 * objects. */
static void timeout_after_a_free(void)
{
    enum { CONDITIONS = 130000, LOCALS = 60000 }; /* the library uses returned memory again if there is enough of it */
    static threading_condition *conditions[CONDITIONS];
    static threading_local *locals[LOCALS];
    threading_lock *lock = threading_lock_new();
    threading_thread *thread;
    double start;
    for (int i = 0; i < CONDITIONS; i++)
        conditions[i] = threading_condition_new_with_lock(lock);
    struct alternation a = {.condition = conditions[CONDITIONS / 3]};
    thread = spawn(wait_for_a_second, &a);
    acquire(a.condition);
    while (a.played == 0) {
        release(a.condition);
        sched_yield();
        acquire(a.condition);
    }
    start = now();
    CHECK_STATUS(threading_condition_notify(a.condition, 1), THREADING_OK);
    for (int i = 0; i < CONDITIONS; i++)
        free_condition(conditions[i]);
    for (int i = 0; i < LOCALS; i++)
        locals[i] = threading_local_new_with_init(init_with_argument, &locals[i], NULL);
    while (now() - start < 1.1)
        sleep_for(0.01);
    for (int i = 0; i < LOCALS; i++) {
        CHECK_PTR(threading_local_get(locals[i]), &locals[i]);
        CHECK_STATUS(threading_local_free(locals[i]), THREADING_OK);
    }
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    join(thread);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
}

#ifdef STEPWISE
static struct {
    threading_condition *condition;
    bool is_notify;
} interrupted;

static void *call_stepwise(void *lock)
{
    threading_status status;
    if (!interrupted.is_notify)
        CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    begin_stepwise();
    status = interrupted.is_notify ? threading_condition_notify(interrupted.condition, 1)
                                   : threading_condition_wait_timeout(interrupted.condition, 0.01);
    end_stepwise();
    CHECK(status == THREADING_ERR_HANDLE || status == THREADING_OK || status == THREADING_TIMED_OUT);
    if (!interrupted.is_notify)
        CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    return NULL;
}

/* Interrupts a call after this many instructions, frees the condition, and creates other objects in its memory. Returns
 * false if the condition is not free any more, or the call ends before. */
static bool free_after_steps(int steps)
{
    static threading_condition *conditions[STEPWISE_OBJECTS];
    static threading_local *locals[STEPWISE_OBJECTS];
    const bool is_notify = interrupted.is_notify;
    threading_lock *lock = threading_lock_new();
    threading_thread *thread, *waiter = NULL;
    threading_status status;
    bool has_stopped;
    int count = 0;
    for (int i = 0; i < STEPWISE_OBJECTS; i++)
        conditions[i] = threading_condition_new_with_lock(lock);
    interrupted.condition = conditions[STEPWISE_OBJECTS / 3];
    struct alternation a = {.condition = interrupted.condition};
    if (is_notify) {
        waiter = spawn(wait_for_a_second, &a);
        acquire(a.condition);
        while (a.played == 0) {
            release(a.condition);
            sched_yield();
            acquire(a.condition);
        }
    }
    thread = start_stepwise(steps, call_stepwise, lock);
    has_stopped = is_stopped();
    if (is_notify)
        CHECK_STATUS(threading_condition_notify(interrupted.condition, 1), THREADING_OK);
    status = threading_condition_free(interrupted.condition);
    CHECK(status == THREADING_OK || (status == THREADING_ERR_BUSY && !is_notify));
    for (int i = 0; i < STEPWISE_OBJECTS; i++)
        if (conditions[i] != interrupted.condition)
            free_condition(conditions[i]);
    if (status == THREADING_OK && has_stopped) {
        do {
            locals[count] = threading_local_new_with_init(init_with_argument, &locals[count], NULL);
        } while (!is_same_memory(locals[count++], interrupted.condition) && count < STEPWISE_OBJECTS);
    }
    finish_stepwise(thread);
    if (is_notify) {
        CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
        join(waiter);
    }
    for (int i = 0; i < count; i++) {
        CHECK_PTR(threading_local_get(locals[i]), &locals[i]);
        CHECK_STATUS(threading_local_free(locals[i]), THREADING_OK);
    }
    if (status != THREADING_OK)
        free_condition(interrupted.condition);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    return status == THREADING_OK && has_stopped;
}

static void freed_during_a_call(void)
{
    interrupted.is_notify = false;
    interrupt_after_each(free_after_steps, 24);
    interrupted.is_notify = true;
    interrupt_after_each(free_after_steps, 24);
}
#endif

/* The cases in which threads wait for conditions of new_condition. */
static void after_broadcasts(void)
{
    void (*const again[])(void) = {free_with_waiters, free_after_notify, free_after_notify_of_a_running_waiter};
    parks_together = true;
    for (size_t i = 0; i < TEST_COUNT(again); i++)
        again[i]();
    parks_together = false;
}

static const struct test_case cases[] = {
    {"a freed lock stays usable as long as a condition uses it", freed_lock_stays_usable},
    {"a free of a condition that a thread is blocked on is ERR_BUSY and frees nothing", free_with_waiters},
    {"a free right after the notify of all waiters is OK, and the waits return", free_after_notify},
    {"waiters whose condition was freed after a notify still reacquire the lock one by one",
     lock_outlives_its_condition},
    {"a free in a predicate is OK, and wait_for returns its result", free_in_a_predicate},
    {"a free right after the notify of a waiter that has not parked is OK", free_after_notify_of_a_running_waiter},
    {"a notified waiter whose timeout expires does not use the memory of the freed condition",
     timeout_after_a_free},
    {"waits return the same after several broadcasts, when waiters park together", after_broadcasts},
#ifdef STEPWISE
    {"a wait and a notify do not use the memory of a condition that is freed during the call", freed_during_a_call},
#endif
};

TEST_MAIN(cases)
