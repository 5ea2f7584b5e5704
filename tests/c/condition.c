/* Condition: threads that hold its lock wait, giving it up meanwhile, until others notify them. */
#include "test.h"

#include <sched.h>

static threading_condition *new_condition(void)
{
    threading_condition *condition = threading_condition_new();
    CHECK(condition != NULL);
    return condition;
}

static void free_condition(threading_condition *condition)
{
    CHECK_STATUS(threading_condition_free(condition), THREADING_OK);
}

static void acquire(threading_condition *condition)
{
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
}

static void release(threading_condition *condition)
{
    CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
}

static void notify(threading_condition *condition, int64_t n)
{
    acquire(condition);
    CHECK_STATUS_KEEPS_ERROR(threading_condition_notify(condition, n), THREADING_OK);
    release(condition);
}

/* A thread in a wait for the condition, and what became of it. */
struct waiter {
    threading_condition *condition;
    double seconds, start;
    atomic_int waiting, done;
    threading_status status;
    threading_thread *thread;
};

static void *wait_once(void *arg)
{
    struct waiter *w = arg;
    acquire(w->condition);
    w->start = now();
    atomic_store(&w->waiting, 1);
    w->status = threading_condition_wait_timeout(w->condition, w->seconds);
    CHECK(threading_condition_is_owned(w->condition));
    atomic_store(&w->done, 1);
    release(w->condition);
    return NULL;
}

/* Comes back when the thread waits: it says so with the lock held, and gives that up only by waiting. */
static void start_waiter(struct waiter *w, threading_condition *condition, double seconds)
{
    *w = (struct waiter){.condition = condition, .seconds = seconds};
    w->thread = spawn(wait_once, w);
    wait_until(is_nonzero, &w->waiting);
    acquire(condition);
    release(condition);
}

static void finish_waiter(struct waiter *w, threading_status status)
{
    join(w->thread);
    CHECK_RESULT(w->status, status);
}

static bool still_waits(struct waiter *w)
{
    sleep_for(0.03);
    return !atomic_load(&w->done);
}

static threading_status try_acquire(void *condition)
{
    return threading_condition_try_acquire(condition);
}

static threading_status acquire_shortly(void *condition)
{
    return threading_condition_acquire_timeout(condition, 0.01);
}

static threading_status try_release(void *condition)
{
    return threading_condition_release(condition);
}

static threading_status take_turn(void *condition)
{
    acquire(condition);
    release(condition);
    return THREADING_OK;
}

static threading_status elsewhere(threading_status (*function)(void *), void *arg)
{
    struct call call;
    call_start(&call, function, arg);
    return call_result(&call);
}

static void has_an_rlock_of_its_own(void)
{
    threading_condition *c = new_condition();
    struct call call;
    CHECK(!threading_condition_locked(c));
    CHECK(!threading_condition_is_owned(c));
    CHECK_STATUS_KEEPS_ERROR(threading_condition_acquire(c), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_condition_try_acquire(c), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_condition_acquire_timeout(c, 0), THREADING_OK);
    CHECK(threading_condition_locked(c));
    CHECK(threading_condition_is_owned(c));
    CHECK_RESULT(elsewhere(try_acquire, c), THREADING_WOULD_BLOCK);
    CHECK_RESULT(elsewhere(acquire_shortly, c), THREADING_TIMED_OUT);
    CHECK_RESULT(elsewhere(try_release, c), THREADING_ERR_NOT_OWNER);
    call_blocked(&call, take_turn, c);
    for (int i = 0; i < 3; i++) {
        CHECK(!atomic_load(&call.returned));
        CHECK_STATUS_KEEPS_ERROR(threading_condition_release(c), THREADING_OK);
    }
    CHECK_CALL(&call, THREADING_OK);
    CHECK(!threading_condition_locked(c));
    CHECK_STATUS(threading_condition_release(c), THREADING_ERR_NOT_OWNER);
    free_condition(c);
}

static void forwards_to_a_lock(void)
{
    threading_lock *lock = threading_lock_new();
    threading_condition *c = threading_condition_new_with_lock(lock);
    CHECK(c != NULL);
    CHECK_STATUS(threading_condition_release(c), THREADING_ERR_NOT_ACQUIRED);
    CHECK_STATUS(threading_condition_acquire(c), THREADING_OK);
    CHECK(threading_lock_locked(lock));
    CHECK_STATUS_KEEPS_ERROR(threading_condition_try_acquire(c), THREADING_WOULD_BLOCK);
    CHECK_STATUS_KEEPS_ERROR(threading_condition_acquire_timeout(c, 0.001), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    CHECK(!threading_condition_locked(c));
    CHECK(!threading_condition_is_owned(c));
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    CHECK(threading_condition_locked(c));
    CHECK(threading_condition_is_owned(c));
    CHECK_RESULT(elsewhere(try_release, c), THREADING_OK);
    CHECK(!threading_lock_locked(lock));
    free_condition(c);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
}

static void forwards_to_an_rlock(void)
{
    threading_rlock *lock = threading_rlock_new();
    threading_condition *c = threading_condition_new_with_rlock(lock);
    CHECK(c != NULL);
    CHECK_STATUS(threading_condition_release(c), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_condition_acquire(c), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_INT(threading_rlock_recursion_count(lock), 2);
    CHECK(threading_condition_is_owned(c));
    CHECK_RESULT(elsewhere(try_acquire, c), THREADING_WOULD_BLOCK);
    CHECK_RESULT(elsewhere(try_release, c), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_condition_release(c), THREADING_OK);
    CHECK_STATUS(threading_condition_release(c), THREADING_OK);
    CHECK(!threading_rlock_locked(lock));
    free_condition(c);
    CHECK_STATUS(threading_rlock_free(lock), THREADING_OK);
}

/* Predicates, with what they have seen. */
struct ask {
    threading_condition *condition;
    int calls, true_at, fail_at;
};

static int ask(void *arg)
{
    struct ask *a = arg;
    a->calls++;
    CHECK(threading_condition_is_owned(a->condition));
    return a->calls == a->fail_at ? -7 : a->calls == a->true_at ? 7 : 0;
}

static void refuses_everything(threading_condition *c)
{
    struct ask a = {.condition = c, .true_at = 1};
    CHECK_STATUS(threading_condition_wait(c), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_condition_wait_timeout(c, 0), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_condition_wait_for(c, ask, &a), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_condition_wait_for_timeout(c, ask, &a, 0), THREADING_ERR_NOT_OWNER);
    CHECK_INT(a.calls, 0);
    CHECK_STATUS(threading_condition_notify(c, 1), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_condition_notify(c, 0), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_condition_notify_all(c), THREADING_ERR_NOT_OWNER);
    /* Arguments come before state. */
    CHECK_BAD_TIMEOUTS(threading_condition_wait_timeout(c, seconds));
    CHECK_BAD_TIMEOUTS(threading_condition_wait_for_timeout(c, ask, &a, seconds));
    CHECK_STATUS(threading_condition_wait_for(c, NULL, &a), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_condition_wait_for_timeout(c, NULL, &a, 0), THREADING_ERR_VALUE);
}

static threading_status refuses_me(void *condition)
{
    refuses_everything(condition);
    return THREADING_OK;
}

static void only_with_the_lock_held(void)
{
    threading_lock *lock = threading_lock_new();
    threading_condition *c = new_condition(), *plain = threading_condition_new_with_lock(lock);
    refuses_everything(c);
    refuses_everything(plain);
    acquire(c);
    CHECK_RESULT(elsewhere(refuses_me, c), THREADING_OK);
    release(c);
    free_condition(c);
    free_condition(plain);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
}

static void bad_arguments(void)
{
    threading_rlock *lock = threading_rlock_new();
    threading_condition *c = threading_condition_new_with_rlock(lock);
    struct ask a = {.condition = c, .true_at = 1};
    CHECK_BAD_TIMEOUTS(threading_condition_acquire_timeout(c, seconds));
    CHECK(!threading_condition_locked(c));
    acquire(c);
    acquire(c);
    CHECK_BAD_TIMEOUTS(threading_condition_acquire_timeout(c, seconds));
    CHECK_BAD_TIMEOUTS(threading_condition_wait_timeout(c, seconds));
    CHECK_BAD_TIMEOUTS(threading_condition_wait_for_timeout(c, ask, &a, seconds));
    CHECK_STATUS(threading_condition_wait_for(c, NULL, NULL), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_condition_wait_for_timeout(c, NULL, NULL, 1), THREADING_ERR_VALUE);
    CHECK_INT(a.calls, 0);
    CHECK_INT(threading_rlock_recursion_count(lock), 2);
    free_condition(c);
    CHECK_STATUS(threading_rlock_free(lock), THREADING_OK);
}

static void times_out(void)
{
    static const double seconds[] = {0, 1e-9, 0.0005, 0.02, 0.15};
    threading_rlock *lock = threading_rlock_new();
    threading_condition *c = threading_condition_new_with_rlock(lock);
    struct ask never = {.condition = c};
    acquire(c);
    acquire(c);
    for (size_t i = 0; i < TEST_COUNT(seconds); i++) {
        double start = now();
        CHECK_STATUS_KEEPS_ERROR(threading_condition_wait_timeout(c, seconds[i]), THREADING_TIMED_OUT);
        CHECK_AT_LEAST(now() - start, seconds[i]);
        start = now();
        CHECK_STATUS_KEEPS_ERROR(threading_condition_wait_for_timeout(c, ask, &never, seconds[i]),
                                 THREADING_TIMED_OUT);
        CHECK_AT_LEAST(now() - start, seconds[i]);
        CHECK_INT(threading_rlock_recursion_count(lock), 2);
    }
    free_condition(c);
    CHECK_STATUS(threading_rlock_free(lock), THREADING_OK);
}

static threading_status wait_unlimited(void *condition)
{
    threading_status status;
    acquire(condition);
    status = threading_condition_wait(condition);
    release(condition);
    return status;
}

static void waits_for_ever(void)
{
    static const double seconds[] = {THREADING_FOREVER, INFINITY, THREADING_TIMEOUT_MAX};
    threading_condition *c = new_condition();
    struct call call;
    for (size_t i = 0; i < TEST_COUNT(seconds); i++) {
        struct waiter w;
        start_waiter(&w, c, seconds[i]);
        CHECK(still_waits(&w));
        notify(c, 1);
        finish_waiter(&w, THREADING_OK);
    }
    call_blocked(&call, wait_unlimited, c);
    notify(c, 1);
    CHECK_CALL(&call, THREADING_OK);
    free_condition(c);
}

static void *notify_when_free(void *arg)
{
    threading_condition *c = arg;
    acquire(c); /* not before the wait has given up all levels */
    CHECK_STATUS(threading_condition_notify(c, 1), THREADING_OK);
    release(c);
    return NULL;
}

static void gives_up_all_levels(void)
{
    threading_rlock *lock = threading_rlock_new();
    threading_condition *c = threading_condition_new_with_rlock(lock);
    for (int level = 1; level <= 5; level++) {
        threading_thread *thread;
        acquire(c);
        thread = spawn(notify_when_free, c);
        CHECK_STATUS_KEEPS_ERROR(threading_condition_wait_timeout(c, TEST_LIMIT), THREADING_OK);
        CHECK_INT(threading_rlock_recursion_count(lock), level);
        join(thread);
        CHECK_RESULT(elsewhere(try_acquire, c), THREADING_WOULD_BLOCK);
    }
    free_condition(c);
    CHECK_STATUS(threading_rlock_free(lock), THREADING_OK);
}

static void longest_waiting_first(void)
{
    threading_condition *c = new_condition();
    struct waiter w[7];
    for (size_t i = 0; i < TEST_COUNT(w); i++)
        start_waiter(&w[i], c, i % 2 == 0 ? THREADING_FOREVER : TEST_LIMIT);
    notify(c, 0);
    notify(c, -1);
    notify(c, INT64_MIN);
    CHECK(still_waits(&w[0]));
    notify(c, 1);
    finish_waiter(&w[0], THREADING_OK);
    notify(c, 1);
    finish_waiter(&w[1], THREADING_OK);
    notify(c, 3);
    for (size_t i = 2; i < 5; i++)
        finish_waiter(&w[i], THREADING_OK);
    CHECK(still_waits(&w[5]) && still_waits(&w[6]));
    notify(c, INT64_MAX);
    finish_waiter(&w[5], THREADING_OK);
    finish_waiter(&w[6], THREADING_OK);
    free_condition(c);
}

static void notify_all_wakes_all(void)
{
    threading_condition *c = new_condition();
    struct waiter w[6];
    for (int round = 0; round < 3; round++) {
        for (size_t i = 0; i < TEST_COUNT(w); i++)
            start_waiter(&w[i], c, THREADING_FOREVER);
        acquire(c);
        CHECK_STATUS_KEEPS_ERROR(threading_condition_notify_all(c), THREADING_OK);
        for (size_t i = 0; i < TEST_COUNT(w); i++)
            CHECK(!atomic_load(&w[i].done)); /* none can return before the lock is released */
        release(c);
        for (size_t i = 0; i < TEST_COUNT(w); i++)
            finish_waiter(&w[i], THREADING_OK);
    }
    free_condition(c);
}

static void notify_is_not_kept(void)
{
    threading_condition *c = new_condition();
    struct waiter w;
    notify(c, 5);
    acquire(c);
    CHECK_STATUS(threading_condition_notify_all(c), THREADING_OK);
    CHECK_STATUS(threading_condition_wait_timeout(c, 0.02), THREADING_TIMED_OUT);
    release(c);
    start_waiter(&w, c, THREADING_FOREVER);
    CHECK(still_waits(&w));
    notify(c, 1);
    finish_waiter(&w, THREADING_OK);
    free_condition(c);
}

static void several_over_one_lock(void)
{
    threading_lock *lock = threading_lock_new();
    threading_condition *full = threading_condition_new_with_lock(lock);
    threading_condition *empty = threading_condition_new_with_lock(lock);
    struct waiter w[3];
    start_waiter(&w[0], full, THREADING_FOREVER);
    start_waiter(&w[1], empty, THREADING_FOREVER);
    start_waiter(&w[2], full, THREADING_FOREVER);
    notify(empty, 10);
    finish_waiter(&w[1], THREADING_OK);
    CHECK(still_waits(&w[0]) && still_waits(&w[2]));
    notify(full, 10);
    finish_waiter(&w[0], THREADING_OK);
    finish_waiter(&w[2], THREADING_OK);
    free_condition(full);
    free_condition(empty);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
}

/* The lock is held until the time of the waiter that was chosen has run out. */
static void chosen_before_its_time_ran_out(void)
{
    threading_condition *c = new_condition();
    struct waiter first, second;
    double notified;
    do {
        start_waiter(&first, c, 0.3);
        start_waiter(&second, c, THREADING_FOREVER);
        acquire(c);
        CHECK_STATUS(threading_condition_notify(c, 1), THREADING_OK);
        notified = now();
        while (now() < first.start + 0.35)
            sleep_for(0.01);
        release(c);
        join(first.thread);
        if (notified < first.start + 0.3) { /* on a busy machine it may have come too late */
            CHECK_RESULT(first.status, THREADING_OK);
            CHECK(still_waits(&second));
        }
        notify(c, 1);
        finish_waiter(&second, THREADING_OK);
    } while (notified >= first.start + 0.3);
    free_condition(c);
}

/* Whichever comes first, time or notify: one of the two waiters has the notify, and only one. */
static void notify_goes_to_exactly_one(void)
{
    threading_condition *c = new_condition();
    for (int i = 0; i < 200; i++) {
        struct waiter first, second;
        start_waiter(&first, c, 0.001 + i * 1e-5);
        start_waiter(&second, c, THREADING_FOREVER);
        notify(c, 1);
        join(first.thread);
        if (first.status == THREADING_OK) {
            CHECK(!atomic_load(&second.done));
            notify(c, 1);
        }
        finish_waiter(&second, THREADING_OK);
    }
    free_condition(c);
}

static void returns_only_with_the_lock(void)
{
    threading_condition *c = new_condition();
    struct waiter w;
    bool late;
    do {
        start_waiter(&w, c, 0.05);
        acquire(c);
        late = atomic_load(&w.done); /* on a busy machine its time may have run out before */
        while (now() < w.start + 0.1)
            sleep_for(0.01);
        CHECK(late || still_waits(&w));
        release(c);
        finish_waiter(&w, THREADING_TIMED_OUT);
    } while (late);
    free_condition(c);
}

static void wait_for_true_predicate(void)
{
    threading_condition *c = new_condition();
    struct ask a = {.condition = c, .true_at = 1};
    acquire(c);
    CHECK_STATUS_KEEPS_ERROR(threading_condition_wait_for(c, ask, &a), THREADING_OK);
    CHECK_INT(a.calls, 1);
    a.calls = 0;
    CHECK_STATUS_KEEPS_ERROR(threading_condition_wait_for_timeout(c, ask, &a, 0), THREADING_OK);
    CHECK_INT(a.calls, 1);
    /* It is asked once more when the time has run out, and that answer counts. */
    a = (struct ask){.condition = c, .true_at = 2};
    CHECK_STATUS(threading_condition_wait_for_timeout(c, ask, &a, 0.01), THREADING_OK);
    CHECK_INT(a.calls, 2);
    a = (struct ask){.condition = c};
    CHECK_STATUS(threading_condition_wait_for_timeout(c, ask, &a, 0), THREADING_TIMED_OUT);
    CHECK_INT(a.calls, 2);
    CHECK(threading_condition_is_owned(c));
    free_condition(c);
}

static void wait_for_failing_predicate(void)
{
    threading_condition *c = new_condition();
    struct ask a = {.condition = c, .fail_at = 1};
    acquire(c);
    CHECK_STATUS(threading_condition_wait_for(c, ask, &a), THREADING_ERR_CALLBACK);
    CHECK(threading_condition_is_owned(c));
    a.calls = 0;
    CHECK_STATUS(threading_condition_wait_for_timeout(c, ask, &a, 1), THREADING_ERR_CALLBACK);
    CHECK(threading_condition_is_owned(c));
    a = (struct ask){.condition = c, .fail_at = 2};
    CHECK_STATUS(threading_condition_wait_for_timeout(c, ask, &a, 0.01), THREADING_ERR_CALLBACK);
    CHECK_INT(a.calls, 2);
    release(c);
    CHECK(!threading_condition_locked(c)); /* it was held at one level throughout */
    free_condition(c);
}

struct level {
    threading_condition *condition;
    int value;
    double seconds;
    atomic_int asked;
};

static int level_is_3(void *arg)
{
    struct level *level = arg;
    CHECK(threading_condition_is_owned(level->condition));
    atomic_fetch_add(&level->asked, 1);
    return level->value == 3;
}

static threading_status wait_for_level(void *arg)
{
    struct level *level = arg;
    threading_status status;
    acquire(level->condition);
    status = level->seconds < 0
                 ? threading_condition_wait_for(level->condition, level_is_3, level)
                 : threading_condition_wait_for_timeout(level->condition, level_is_3, level, level->seconds);
    CHECK_INT(level->value == 3, status == THREADING_OK);
    release(level->condition);
    return status;
}

static void wait_for_goes_on_until_true(void)
{
    const double seconds[] = {THREADING_FOREVER, TEST_LIMIT};
    for (size_t i = 0; i < TEST_COUNT(seconds); i++) {
        struct level level = {.condition = new_condition(), .seconds = seconds[i]};
        struct call call;
        call_start(&call, wait_for_level, &level);
        while (level.value < 3) {
            /* One more answer for each notify, and none without. */
            double end = now() + TEST_LIMIT;
            while (atomic_load(&level.asked) <= level.value && now() < end)
                sleep_for(0.001);
            acquire(level.condition);
            CHECK_INT(atomic_load(&level.asked), level.value + 1);
            level.value++;
            CHECK_STATUS(threading_condition_notify(level.condition, 1), THREADING_OK);
            release(level.condition);
        }
        CHECK_CALL(&call, THREADING_OK);
        CHECK_INT(level.asked, 4);
        free_condition(level.condition);
    }
}

static void notifies_do_not_prolong(void)
{
    struct level level = {.condition = new_condition(), .seconds = 0.2};
    do { /* again, should a busy machine have let none of the notifies through in time */
        struct call call;
        double start = now();
        atomic_store(&level.asked, 0);
        call_start(&call, wait_for_level, &level);
        while (!atomic_load(&call.returned) && now() < start + TEST_LIMIT) {
            notify(level.condition, 1);
            sleep_for(0.002);
        }
        CHECK(atomic_load(&call.returned)); /* while the notifies went on */
        CHECK_CALL(&call, THREADING_TIMED_OUT);
        CHECK_AT_LEAST(now() - start, 0.2);
    } while (atomic_load(&level.asked) < 4);
    free_condition(level.condition);
}

static threading_status wait_unheld(void *condition)
{
    return threading_condition_wait(condition);
}

static threading_status notify_unheld(void *condition)
{
    return threading_condition_notify(condition, 1);
}

static bool is_unlocked(void *lock)
{
    return !threading_lock_locked(lock);
}

static void plain_lock_held_by_anybody(void)
{
    threading_lock *lock = threading_lock_new();
    threading_condition *c = threading_condition_new_with_lock(lock);
    struct call call;
    acquire(c);
    call_start(&call, wait_unheld, c); /* gives up the lock that this thread holds */
    wait_until(is_unlocked, lock);
    acquire(c);
    CHECK_RESULT(elsewhere(notify_unheld, c), THREADING_OK);
    CHECK(call_still_blocked(&call));
    release(c);
    CHECK_CALL(&call, THREADING_OK);
    CHECK(threading_lock_locked(lock)); /* the wait took it back */
    release(c);
    free_condition(c);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
}

static void keeps_its_lock(void)
{
    threading_lock *lock = threading_lock_new();
    threading_condition *c = threading_condition_new_with_lock(lock);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_free(lock), THREADING_ERR_HANDLE);
    /* The handle works as long as the condition keeps the lock. */
    acquire(c);
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    CHECK_PTR(threading_lock_ref(lock), lock);
    free_condition(c);
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_release(lock), THREADING_ERR_HANDLE);
}

static void busy_while_blocked(void)
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
    call_blocked(&call, take_turn, c);
    CHECK_STATUS(threading_condition_free(c), THREADING_ERR_BUSY);
    release(c);
    CHECK_CALL(&call, THREADING_OK);
    free_condition(c);
    CHECK_STATUS(threading_condition_free(c), THREADING_ERR_HANDLE);
}

static threading_status wait_and_lose(void *condition)
{
    threading_status status;
    acquire(condition);
    status = threading_condition_wait(condition);
    threading_condition_release(condition); /* which may be gone by now */
    return status;
}

static void notify_then_free(void)
{
    for (int i = 0; i < 20; i++) {
        threading_condition *c = new_condition();
        struct call calls[3];
        for (size_t k = 0; k < TEST_COUNT(calls); k++)
            call_blocked(&calls[k], wait_and_lose, c);
        acquire(c);
        CHECK_STATUS(threading_condition_notify(c, 3), THREADING_OK);
        if (i % 2 == 0)
            release(c);
        free_condition(c);
        if (i % 2 == 1)
            threading_condition_release(c);
        for (size_t k = 0; k < TEST_COUNT(calls); k++)
            CHECK_CALL(&calls[k], THREADING_OK);
        CHECK_REFUSED(threading_condition_locked(c), THREADING_ERR_HANDLE);
    }
}

/* A condition that goes while its waiters are on their way, and the lock that stays. */
struct guarded {
    threading_condition *condition;
    threading_rlock *lock;
    int inside;
};

static threading_status wait_guarded(void *arg)
{
    struct guarded *g = arg;
    threading_status status;
    CHECK_STATUS(threading_rlock_acquire(g->lock), THREADING_OK);
    status = threading_condition_wait(g->condition);
    CHECK_INT(threading_rlock_recursion_count(g->lock), 1);
    CHECK_INT(g->inside++, 0);
    sleep_for(0.001);
    g->inside--;
    CHECK_STATUS(threading_rlock_release(g->lock), THREADING_OK);
    return status;
}

static void lock_outlives_its_condition(void)
{
    struct guarded g = {.lock = threading_rlock_new()};
    for (int i = 0; i < 10; i++) {
        struct call calls[3];
        g.condition = threading_condition_new_with_rlock(g.lock);
        for (size_t k = 0; k < TEST_COUNT(calls); k++)
            call_blocked(&calls[k], wait_guarded, &g);
        acquire(g.condition);
        CHECK_STATUS(threading_condition_notify_all(g.condition), THREADING_OK);
        free_condition(g.condition);
        CHECK_STATUS(threading_rlock_release(g.lock), THREADING_OK);
        for (size_t k = 0; k < TEST_COUNT(calls); k++)
            CHECK_CALL(&calls[k], THREADING_OK);
    }
    CHECK_STATUS(threading_rlock_free(g.lock), THREADING_OK);
}

static int free_inside(void *condition)
{
    return threading_condition_free(condition) == THREADING_OK;
}

static void freed_by_its_predicate(void)
{
    threading_condition *c = new_condition();
    acquire(c);
    CHECK_STATUS(threading_condition_wait_for(c, free_inside, c), THREADING_OK);
    CHECK_STATUS(threading_condition_release(c), THREADING_ERR_HANDLE);
}

static void reinit_unlocks(void)
{
    threading_lock *lock = threading_lock_new();
    threading_condition *conditions[] = {new_condition(), threading_condition_new_with_lock(lock)};
    for (size_t i = 0; i < TEST_COUNT(conditions); i++) {
        threading_condition *c = conditions[i];
        struct waiter w;
        acquire(c);
        CHECK_STATUS_KEEPS_ERROR(threading_condition_at_fork_reinit(c), THREADING_OK);
        CHECK(!threading_condition_locked(c));
        CHECK_STATUS(threading_condition_wait_timeout(c, 0), THREADING_ERR_NOT_OWNER);
        start_waiter(&w, c, THREADING_FOREVER);
        notify(c, 1);
        finish_waiter(&w, THREADING_OK);
        free_condition(c);
    }
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
}

static void *wait_and_be_cancelled(void *arg)
{
    struct waiter *w = arg;
    acquire(w->condition);
    atomic_store(&w->waiting, 1);
    CHECK_STATUS(threading_condition_wait(w->condition), THREADING_OK);
    atomic_store(&w->done, 1);
    release(w->condition);
    pthread_testcancel();
    return NULL;
}

static void no_cancel_point(void)
{
    struct waiter w = {.condition = new_condition()};
    pthread_t thread = spawn_foreign(wait_and_be_cancelled, &w);
    wait_until(is_nonzero, &w.waiting);
    acquire(w.condition);
    CHECK_INT(pthread_cancel(thread), 0);
    release(w.condition);
    CHECK(still_waits(&w));
    notify(w.condition, 1);
    CHECK_PTR(join_foreign(thread), PTHREAD_CANCELED);
    CHECK_INT(atomic_load(&w.done), 1);
    free_condition(w.condition);
}

/* Notifies are made only while a waiter without timeout is there for each one that is under way, so that each
 * must choose somebody; if one were lost with a waiter whose time ran out, the sums would differ for ever. */
struct toll {
    threading_condition *condition;
    long notified, woken, lasting;
    bool over;
};

static void *pass_toll(struct toll *toll, bool lasting)
{
    unsigned random = (unsigned)(uintptr_t)&random | 1;
    acquire(toll->condition);
    while (!toll->over) {
        threading_status status;
        random = random * 1664525u + 1013904223u;
        toll->lasting += lasting;
        status = lasting ? threading_condition_wait(toll->condition)
                         : threading_condition_wait_timeout(toll->condition, (random >> 16) * 3e-9);
        toll->lasting -= lasting;
        if (status != THREADING_TIMED_OUT || lasting)
            CHECK_RESULT(status, THREADING_OK);
        toll->woken += status == THREADING_OK;
    }
    release(toll->condition);
    return NULL;
}

static void *pass_lasting(void *toll)
{
    return pass_toll(toll, true);
}

static void *pass_hasty(void *toll)
{
    return pass_toll(toll, false);
}

static void no_notify_is_lost(void)
{
    struct toll toll = {.condition = new_condition()};
    threading_thread *threads[6];
    double end = now() + TEST_LIMIT;
    bool settled = false;
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        threads[i] = spawn(i < 2 ? pass_lasting : pass_hasty, &toll);
    for (double stop = now() + 1.5; toll.notified < 20000 && now() < stop; sched_yield()) {
        acquire(toll.condition);
        if (toll.lasting > toll.notified - toll.woken) {
            CHECK_STATUS(threading_condition_notify(toll.condition, 1), THREADING_OK);
            toll.notified++;
        }
        release(toll.condition);
    }
    while (!settled && now() < end) {
        sleep_for(0.001);
        acquire(toll.condition);
        settled = toll.woken == toll.notified;
        release(toll.condition);
    }
    CHECK_INT(toll.woken, toll.notified);
    acquire(toll.condition);
    toll.over = true;
    CHECK_STATUS(threading_condition_notify_all(toll.condition), THREADING_OK);
    release(toll.condition);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        join(threads[i]);
    free_condition(toll.condition);
}

/* A bounded buffer: two conditions over one lock, each item put and got once. */
struct buffer {
    threading_condition *not_full, *not_empty;
    int items[8];
    size_t used;
    int next, last;
    int64_t got, sum;
};

static void *put_items(void *arg)
{
    struct buffer *b = arg;
    acquire(b->not_full);
    while (b->next <= b->last) {
        if (b->used == TEST_COUNT(b->items)) {
            CHECK_STATUS(threading_condition_wait(b->not_full), THREADING_OK);
            continue;
        }
        b->items[b->used++] = b->next++;
        CHECK_STATUS(threading_condition_notify(b->not_empty, 1), THREADING_OK);
    }
    release(b->not_full);
    return NULL;
}

static void *get_items(void *arg)
{
    struct buffer *b = arg;
    acquire(b->not_empty);
    while (b->got < b->last) {
        if (b->used == 0) {
            CHECK_STATUS(threading_condition_wait(b->not_empty), THREADING_OK);
            continue;
        }
        b->sum += b->items[--b->used];
        b->got++;
        CHECK_STATUS(threading_condition_notify(b->not_full, 1), THREADING_OK);
    }
    /* The others may wait for what has gone to this one. */
    CHECK_STATUS(threading_condition_notify_all(b->not_empty), THREADING_OK);
    CHECK_STATUS(threading_condition_notify_all(b->not_full), THREADING_OK);
    release(b->not_empty);
    return NULL;
}

static void bounded_buffer(void)
{
    threading_lock *lock = threading_lock_new();
    struct buffer b = {.not_full = threading_condition_new_with_lock(lock),
                       .not_empty = threading_condition_new_with_lock(lock),
                       .next = 1,
                       .last = 50000};
    threading_thread *threads[6];
    pthread_t foreign = spawn_foreign(get_items, &b);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        threads[i] = spawn(i % 2 == 0 ? put_items : get_items, &b);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        join(threads[i]);
    join_foreign(foreign);
    CHECK_INT(b.got, b.last);
    CHECK_INT(b.sum, (int64_t)b.last * (b.last + 1) / 2);
    free_condition(b.not_full);
    free_condition(b.not_empty);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
}

static const struct test_case cases[] = {
    {"a new condition has an rlock of its own", has_an_rlock_of_its_own},
    {"a condition forwards to the lock it was given", forwards_to_a_lock},
    {"a condition forwards to the rlock it was given", forwards_to_an_rlock},
    {"wait and notify without the lock are NOT_OWNER", only_with_the_lock_held},
    {"a bad timeout or no predicate is refused and the lock stays held", bad_arguments},
    {"a wait times out not before its time, the lock held again", times_out},
    {"wait, FOREVER, infinity and TIMEOUT_MAX wait until notified", waits_for_ever},
    {"wait gives up all levels of an rlock and takes them back", gives_up_all_levels},
    {"notify wakes the longest waiting first, and as many as it is told", longest_waiting_first},
    {"notify_all wakes all, after the lock is released", notify_all_wakes_all},
    {"a notify without waiters is not kept for later ones", notify_is_not_kept},
    {"several conditions over one lock have waiters of their own", several_over_one_lock},
    {"a waiter that a notify chose is OK though its time ran out meanwhile", chosen_before_its_time_ran_out},
    {"a notify goes to exactly one waiter, timed out or not", notify_goes_to_exactly_one},
    {"a wait whose time ran out returns only with the lock", returns_only_with_the_lock},
    {"wait_for asks first, and once more when the time has run out", wait_for_true_predicate},
    {"a predicate that fails ends wait_for with ERR_CALLBACK, the lock held", wait_for_failing_predicate},
    {"wait_for asks after each notify and goes on until true", wait_for_goes_on_until_true},
    {"notifies do not prolong the time of wait_for", notifies_do_not_prolong},
    {"over a plain lock, held means held by anybody", plain_lock_held_by_anybody},
    {"a condition keeps its lock, whose handle works meanwhile", keeps_its_lock},
    {"freeing a condition that a thread is blocked on is BUSY and frees nothing", busy_while_blocked},
    {"a condition may be freed right after the notify that chose its waiters", notify_then_free},
    {"waiters whose condition was freed still get its lock one by one", lock_outlives_its_condition},
    {"a condition may be freed inside a predicate", freed_by_its_predicate},
    {"at_fork_reinit makes the lock of a condition as new", reinit_unlocks},
    {"a wait is no cancellation point", no_cancel_point},
    {"no notify is lost among waits that time out", no_notify_is_lost},
    {"a bounded buffer passes every item once", bounded_buffer},
};

TEST_MAIN(cases)
