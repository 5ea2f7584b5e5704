/* Condition: a thread that holds the lock releases it, waits until another thread notifies it, and reacquires it. Frees
 * are in condition_free.c. */
#include "condition.h"

#include <sched.h>

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

static threading_status release_unchecked(void *condition)
{
    return threading_condition_release(condition);
}

static threading_status in_another_thread(threading_status (*function)(void *), void *arg)
{
    struct call call;
    call_start(&call, function, arg);
    return call_result(&call);
}

static void has_its_own_rlock(void)
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
    CHECK_RESULT(in_another_thread(try_acquire, c), THREADING_WOULD_BLOCK);
    CHECK_RESULT(in_another_thread(acquire_shortly, c), THREADING_TIMED_OUT);
    CHECK_RESULT(in_another_thread(release_unchecked, c), THREADING_ERR_NOT_OWNER);
    call_blocked(&call, acquire_and_release, c);
    for (int i = 0; i < 3; i++) {
        CHECK(!atomic_load(&call.returned));
        CHECK_STATUS_KEEPS_ERROR(threading_condition_release(c), THREADING_OK);
    }
    CHECK_CALL(&call, THREADING_OK);
    CHECK(!threading_condition_locked(c));
    CHECK_STATUS(threading_condition_release(c), THREADING_ERR_NOT_OWNER);
    free_condition(c);
}

static void uses_the_given_lock(void)
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
    CHECK_RESULT(in_another_thread(release_unchecked, c), THREADING_OK);
    CHECK(!threading_lock_locked(lock));
    free_condition(c);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
}

static void uses_the_given_rlock(void)
{
    threading_rlock *lock = threading_rlock_new();
    threading_condition *c = threading_condition_new_with_rlock(lock);
    CHECK(c != NULL);
    CHECK_STATUS(threading_condition_release(c), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_condition_acquire(c), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_INT(threading_rlock_recursion_count(lock), 2);
    CHECK(threading_condition_is_owned(c));
    CHECK_RESULT(in_another_thread(try_acquire, c), THREADING_WOULD_BLOCK);
    CHECK_RESULT(in_another_thread(release_unchecked, c), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_condition_release(c), THREADING_OK);
    CHECK_STATUS(threading_condition_release(c), THREADING_OK);
    CHECK(!threading_rlock_locked(lock));
    free_condition(c);
    CHECK_STATUS(threading_rlock_free(lock), THREADING_OK);
}

/* A predicate that returns true or fails in a given call, and counts its calls. */
struct predicate {
    threading_condition *condition;
    int calls, true_at, fail_at;
};

static int predicate(void *arg)
{
    struct predicate *p = arg;
    p->calls++;
    CHECK(threading_condition_is_owned(p->condition));
    return p->calls == p->fail_at ? -7 : p->calls == p->true_at ? 7 : 0;
}

static void check_not_owner(threading_condition *c)
{
    struct predicate p = {.condition = c, .true_at = 1};
    CHECK_STATUS(threading_condition_wait(c), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_condition_wait_timeout(c, 0), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_condition_wait_for(c, predicate, &p), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_condition_wait_for_timeout(c, predicate, &p, 0), THREADING_ERR_NOT_OWNER);
    CHECK_INT(p.calls, 0);
    CHECK_STATUS(threading_condition_notify(c, 1), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_condition_notify(c, 0), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_condition_notify_all(c), THREADING_ERR_NOT_OWNER);
    /* Arguments are checked before the state. */
    CHECK_BAD_TIMEOUTS(threading_condition_wait_timeout(c, seconds));
    CHECK_BAD_TIMEOUTS(threading_condition_wait_for_timeout(c, predicate, &p, seconds));
    CHECK_STATUS(threading_condition_wait_for(c, NULL, &p), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_condition_wait_for_timeout(c, NULL, &p, 0), THREADING_ERR_VALUE);
}

static threading_status check_not_owner_here(void *condition)
{
    check_not_owner(condition);
    return THREADING_OK;
}

static void needs_the_lock(void)
{
    threading_lock *lock = threading_lock_new();
    threading_condition *c = new_condition(), *plain = threading_condition_new_with_lock(lock);
    check_not_owner(c);
    check_not_owner(plain);
    acquire(c);
    CHECK_RESULT(in_another_thread(check_not_owner_here, c), THREADING_OK);
    release(c);
    free_condition(c);
    free_condition(plain);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
}

static void invalid_arguments(void)
{
    threading_rlock *lock = threading_rlock_new();
    threading_condition *c = threading_condition_new_with_rlock(lock);
    struct predicate p = {.condition = c, .true_at = 1};
    CHECK_BAD_TIMEOUTS(threading_condition_acquire_timeout(c, seconds));
    CHECK(!threading_condition_locked(c));
    acquire(c);
    acquire(c);
    CHECK_BAD_TIMEOUTS(threading_condition_acquire_timeout(c, seconds));
    CHECK_BAD_TIMEOUTS(threading_condition_wait_timeout(c, seconds));
    CHECK_BAD_TIMEOUTS(threading_condition_wait_for_timeout(c, predicate, &p, seconds));
    CHECK_STATUS(threading_condition_wait_for(c, NULL, NULL), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_condition_wait_for_timeout(c, NULL, NULL, 1), THREADING_ERR_VALUE);
    CHECK_INT(p.calls, 0);
    CHECK_INT(threading_rlock_recursion_count(lock), 2);
    free_condition(c);
    CHECK_STATUS(threading_rlock_free(lock), THREADING_OK);
}

static void times_out(void)
{
    static const double seconds[] = {0, 1e-9, 0.0005, 0.02, 0.15};
    threading_rlock *lock = threading_rlock_new();
    threading_condition *c = threading_condition_new_with_rlock(lock);
    struct predicate never = {.condition = c};
    acquire(c);
    acquire(c);
    for (size_t i = 0; i < TEST_COUNT(seconds); i++) {
        double start = now();
        CHECK_STATUS_KEEPS_ERROR(threading_condition_wait_timeout(c, seconds[i]), THREADING_TIMED_OUT);
        CHECK_AT_LEAST(now() - start, seconds[i]);
        start = now();
        CHECK_STATUS_KEEPS_ERROR(threading_condition_wait_for_timeout(c, predicate, &never, seconds[i]),
                                 THREADING_TIMED_OUT);
        CHECK_AT_LEAST(now() - start, seconds[i]);
        CHECK_INT(threading_rlock_recursion_count(lock), 2);
    }
    free_condition(c);
    CHECK_STATUS(threading_rlock_free(lock), THREADING_OK);
}

static threading_status wait_without_timeout(void *condition)
{
    threading_status status;
    acquire(condition);
    status = threading_condition_wait(condition);
    release(condition);
    return status;
}

static void waits_until_notified(void)
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
    call_blocked(&call, wait_without_timeout, c);
    notify(c, 1);
    CHECK_CALL(&call, THREADING_OK);
    free_condition(c);
}

static void *notify_when_released(void *arg)
{
    threading_condition *c = arg;
    acquire(c); /* blocks until the wait has released all recursion levels */
    CHECK_STATUS(threading_condition_notify(c, 1), THREADING_OK);
    release(c);
    return NULL;
}

static void releases_all_levels(void)
{
    threading_rlock *lock = threading_rlock_new();
    threading_condition *c = threading_condition_new_with_rlock(lock);
    for (int level = 1; level <= 5; level++) {
        threading_thread *thread;
        acquire(c);
        thread = spawn(notify_when_released, c);
        CHECK_STATUS_KEEPS_ERROR(threading_condition_wait_timeout(c, TEST_LIMIT), THREADING_OK);
        CHECK_INT(threading_rlock_recursion_count(lock), level);
        join(thread);
        CHECK_RESULT(in_another_thread(try_acquire, c), THREADING_WOULD_BLOCK);
    }
    free_condition(c);
    CHECK_STATUS(threading_rlock_free(lock), THREADING_OK);
}

static void notify_wakes_longest_waiting_first(void)
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

static void notify_without_waiters(void)
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

static void conditions_share_a_lock(void)
{
    threading_lock *lock = threading_lock_new();
    threading_condition *full = prepared(threading_condition_new_with_lock(lock));
    threading_condition *empty = prepared(threading_condition_new_with_lock(lock));
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

/* Of waiters that park together, one is notified; the others wake up, too, and wait on. */
static void one_of_many(void)
{
    threading_condition *c = new_condition();
    struct waiter w[8];
    if (!parks_together)
        expect_broadcasts(c);
    for (size_t i = 0; i < TEST_COUNT(w); i++)
        start_waiter(&w[i], c, i % 2 == 0 ? THREADING_FOREVER : TEST_LIMIT);
    for (size_t i = 0; i < TEST_COUNT(w); i++) {
        CHECK(still_waits(&w[i]));
        notify(c, 1);
        finish_waiter(&w[i], THREADING_OK);
    }
    free_condition(c);
}

static void *hold_and_release(void *condition)
{
    acquire(condition);
    sleep_for(0.005);
    release(condition);
    return NULL;
}

/* Some threads are blocked on the lock, and others notified, when it is released. */
static void broadcast_beside_blocked_threads(void)
{
    threading_condition *c = new_condition();
    threading_thread *blocked[4];
    struct waiter w[8];
    if (!parks_together)
        expect_broadcasts(c);
    for (int round = 0; round < 20; round++) {
        for (size_t i = 0; i < TEST_COUNT(w); i++)
            start_waiter(&w[i], c, THREADING_FOREVER);
        acquire(c);
        for (size_t i = 0; i < TEST_COUNT(blocked); i++)
            blocked[i] = spawn(hold_and_release, c);
        sleep_for(0.002);
        CHECK_STATUS(threading_condition_notify_all(c), THREADING_OK);
        release(c);
        for (size_t i = 0; i < TEST_COUNT(w); i++)
            finish_waiter(&w[i], THREADING_OK);
        for (size_t i = 0; i < TEST_COUNT(blocked); i++)
            join(blocked[i]);
    }
    free_condition(c);
}

/* The lock is held until after the deadline of the waiter that was notified. */
static void notified_before_the_deadline(void)
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
        if (notified < first.start + 0.3) { /* unless a loaded machine delayed the notify */
            CHECK_RESULT(first.status, THREADING_OK);
            CHECK(still_waits(&second));
        }
        notify(c, 1);
        finish_waiter(&second, THREADING_OK);
    } while (notified >= first.start + 0.3);
    free_condition(c);
}

/* Whether the first waiter times out before or after the notify, exactly one of the two waiters returns OK. */
static void notify_wakes_exactly_one(void)
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
        late = atomic_load(&w.done); /* on a loaded machine it may have timed out before */
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
    struct predicate p = {.condition = c, .true_at = 1};
    acquire(c);
    CHECK_STATUS_KEEPS_ERROR(threading_condition_wait_for(c, predicate, &p), THREADING_OK);
    CHECK_INT(p.calls, 1);
    p.calls = 0;
    CHECK_STATUS_KEEPS_ERROR(threading_condition_wait_for_timeout(c, predicate, &p, 0), THREADING_OK);
    CHECK_INT(p.calls, 1);
    /* The predicate is called once more at the timeout, and its result decides. */
    p = (struct predicate){.condition = c, .true_at = 2};
    CHECK_STATUS(threading_condition_wait_for_timeout(c, predicate, &p, 0.01), THREADING_OK);
    CHECK_INT(p.calls, 2);
    p = (struct predicate){.condition = c};
    CHECK_STATUS(threading_condition_wait_for_timeout(c, predicate, &p, 0), THREADING_TIMED_OUT);
    CHECK_INT(p.calls, 2);
    CHECK(threading_condition_is_owned(c));
    free_condition(c);
}

static void wait_for_failing_predicate(void)
{
    threading_condition *c = new_condition();
    struct predicate p = {.condition = c, .fail_at = 1};
    acquire(c);
    CHECK_STATUS(threading_condition_wait_for(c, predicate, &p), THREADING_ERR_CALLBACK);
    CHECK(threading_condition_is_owned(c));
    p.calls = 0;
    CHECK_STATUS(threading_condition_wait_for_timeout(c, predicate, &p, 1), THREADING_ERR_CALLBACK);
    CHECK(threading_condition_is_owned(c));
    p = (struct predicate){.condition = c, .fail_at = 2};
    CHECK_STATUS(threading_condition_wait_for_timeout(c, predicate, &p, 0.01), THREADING_ERR_CALLBACK);
    CHECK_INT(p.calls, 2);
    release(c);
    CHECK(!threading_condition_locked(c)); /* the recursion count was 1 throughout */
    free_condition(c);
}

struct level {
    threading_condition *condition;
    int value;
    double seconds;
    atomic_int calls;
};

static int level_is_3(void *arg)
{
    struct level *level = arg;
    CHECK(threading_condition_is_owned(level->condition));
    atomic_fetch_add(&level->calls, 1);
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

static void wait_for_until_true(void)
{
    const double seconds[] = {THREADING_FOREVER, TEST_LIMIT};
    for (size_t i = 0; i < TEST_COUNT(seconds); i++) {
        struct level level = {.condition = new_condition(), .seconds = seconds[i]};
        struct call call;
        call_start(&call, wait_for_level, &level);
        while (level.value < 3) {
            /* One call of the predicate for each notify, and none without. */
            double end = now() + TEST_LIMIT;
            while (atomic_load(&level.calls) <= level.value && now() < end)
                sleep_for(0.001);
            acquire(level.condition);
            CHECK_INT(atomic_load(&level.calls), level.value + 1);
            level.value++;
            CHECK_STATUS(threading_condition_notify(level.condition, 1), THREADING_OK);
            release(level.condition);
        }
        CHECK_CALL(&call, THREADING_OK);
        CHECK_INT(level.calls, 4);
        free_condition(level.condition);
    }
}

static void notifies_do_not_extend_the_timeout(void)
{
    struct level level = {.condition = new_condition(), .seconds = 0.2};
    do { /* again if a loaded machine delayed the notifies too much */
        struct call call;
        double start = now();
        atomic_store(&level.calls, 0);
        call_start(&call, wait_for_level, &level);
        while (!atomic_load(&call.returned) && now() < start + TEST_LIMIT) {
            notify(level.condition, 1);
            sleep_for(0.002);
        }
        CHECK(atomic_load(&call.returned)); /* the wait ended while notifies continued */
        CHECK_CALL(&call, THREADING_TIMED_OUT);
        CHECK_AT_LEAST(now() - start, 0.2);
    } while (atomic_load(&level.calls) < 4);
    free_condition(level.condition);
}

static threading_status wait_without_acquiring(void *condition)
{
    return threading_condition_wait(condition);
}

static threading_status notify_without_acquiring(void *condition)
{
    return threading_condition_notify(condition, 1);
}

static bool is_unlocked(void *lock)
{
    return !threading_lock_locked(lock);
}

static void lock_held_by_any_thread(void)
{
    threading_lock *lock = threading_lock_new();
    threading_condition *c = threading_condition_new_with_lock(lock);
    struct call call;
    acquire(c);
    call_start(&call, wait_without_acquiring, c); /* releases the lock that the main thread holds */
    wait_until(is_unlocked, lock);
    acquire(c);
    CHECK_RESULT(in_another_thread(notify_without_acquiring, c), THREADING_OK);
    CHECK(call_still_blocked(&call));
    release(c);
    CHECK_CALL(&call, THREADING_OK);
    CHECK(threading_lock_locked(lock)); /* the wait reacquired it */
    release(c);
    free_condition(c);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
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

static void blocked_wait_is_not_cancelled(void)
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

/* notify is called only if there are more waiters without timeout than notifies whose waiter has not returned yet, so
 * each notify finds a waiter. If a timeout lost a notify, `woken` would stay below `notified`. */
struct counts {
    threading_condition *condition;
    long notified, woken, untimed;
    bool over;
};

static void *wait_and_count(struct counts *counts, bool untimed)
{
    unsigned random = (unsigned)(uintptr_t)&random | 1;
    acquire(counts->condition);
    while (!counts->over) {
        threading_status status;
        random = random * 1664525u + 1013904223u;
        counts->untimed += untimed;
        status = untimed ? threading_condition_wait(counts->condition)
                         : threading_condition_wait_timeout(counts->condition, (random >> 16) * 3e-9);
        counts->untimed -= untimed;
        if (status != THREADING_TIMED_OUT || untimed)
            CHECK_RESULT(status, THREADING_OK);
        counts->woken += status == THREADING_OK;
    }
    release(counts->condition);
    return NULL;
}

static void *wait_untimed(void *counts)
{
    return wait_and_count(counts, true);
}

static void *wait_timed(void *counts)
{
    return wait_and_count(counts, false);
}

static void no_notify_is_lost(void)
{
    struct counts counts = {.condition = new_condition()};
    threading_thread *threads[6];
    double end = now() + TEST_LIMIT;
    bool settled = false;
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        threads[i] = spawn(i < 2 ? wait_untimed : wait_timed, &counts);
    for (double stop = now() + 1.5; counts.notified < 20000 && now() < stop; sched_yield()) {
        acquire(counts.condition);
        if (counts.untimed > counts.notified - counts.woken) {
            CHECK_STATUS(threading_condition_notify(counts.condition, 1), THREADING_OK);
            counts.notified++;
        }
        release(counts.condition);
    }
    while (!settled && now() < end) {
        sleep_for(0.001);
        acquire(counts.condition);
        settled = counts.woken == counts.notified;
        release(counts.condition);
    }
    acquire(counts.condition);
    CHECK_INT(counts.woken, counts.notified);
    counts.over = true;
    CHECK_STATUS(threading_condition_notify_all(counts.condition), THREADING_OK);
    release(counts.condition);
    join_all(threads);
    free_condition(counts.condition);
}

/* A bounded buffer with two conditions on one lock. Each item is put and taken once. */
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
    /* Other threads may still wait for an item or for space. */
    CHECK_STATUS(threading_condition_notify_all(b->not_empty), THREADING_OK);
    CHECK_STATUS(threading_condition_notify_all(b->not_full), THREADING_OK);
    release(b->not_empty);
    return NULL;
}

static void bounded_buffer(void)
{
    threading_lock *lock = threading_lock_new();
    struct buffer b = {.not_full = prepared(threading_condition_new_with_lock(lock)),
                       .not_empty = prepared(threading_condition_new_with_lock(lock)),
                       .next = 1,
                       .last = test_many(50000)};
    threading_thread *threads[6];
    pthread_t foreign = spawn_foreign(get_items, &b);
    for (size_t i = 0; i < TEST_COUNT(threads); i++)
        threads[i] = spawn(i % 2 == 0 ? put_items : get_items, &b);
    join_all(threads);
    join_foreign(foreign);
    CHECK_INT(b.got, b.last);
    CHECK_INT(b.sum, (int64_t)b.last * (b.last + 1) / 2);
    free_condition(b.not_full);
    free_condition(b.not_empty);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
}

static void take_turns(struct alternation *a, int side)
{
    acquire(a->condition);
    while (a->played < a->turns) {
        if (a->played % 2 == side) {
            a->played++;
            CHECK_STATUS(threading_condition_notify(a->condition, 1), THREADING_OK);
        } else {
            threading_status status = threading_condition_wait_timeout(a->condition, a->seconds);
            CHECK(status == THREADING_OK || (status == THREADING_TIMED_OUT && a->seconds < 1));
            CHECK(threading_condition_is_owned(a->condition));
        }
    }
    release(a->condition);
}

static void *play(void *arg)
{
    take_turns(arg, 1);
    return NULL;
}

/* Waiters spin before they park, so that a notify finds them running, spinning, parked, or with an expired timeout. */
static void two_threads_alternate(void)
{
    static const double timeouts[] = {60, 2e-5, 1e-6};
    for (size_t i = 0; i < TEST_COUNT(timeouts); i++) {
        for (int plain = 0; plain < 2; plain++) {
            threading_lock *lock = threading_lock_new();
            struct alternation a = {.turns = test_many(20000), .seconds = timeouts[i]};
            a.condition = plain ? threading_condition_new_with_lock(lock) : new_condition();
            threading_thread *thread = spawn(play, &a);
            take_turns(&a, 0);
            join(thread);
            CHECK_INT(a.played, a.turns);
            free_condition(a.condition);
            CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
        }
    }
}

/* The cases in which threads wait. */
static void after_broadcasts(void)
{
    void (*const again[])(void) = {times_out, waits_until_notified, releases_all_levels,
                                   notify_wakes_longest_waiting_first, notify_all_wakes_all, notify_without_waiters,
                                   conditions_share_a_lock, one_of_many, broadcast_beside_blocked_threads,
                                   notified_before_the_deadline, notify_wakes_exactly_one, returns_only_with_the_lock,
                                   wait_for_until_true, notifies_do_not_extend_the_timeout,
                                   blocked_wait_is_not_cancelled, no_notify_is_lost, bounded_buffer,
                                   two_threads_alternate};
    parks_together = true;
    for (size_t i = 0; i < TEST_COUNT(again); i++)
        again[i]();
    parks_together = false;
}

static const struct test_case cases[] = {
    {"a new condition has its own RLock", has_its_own_rlock},
    {"acquire and release of a condition on a Lock apply to that lock", uses_the_given_lock},
    {"acquire and release of a condition on an RLock apply to that RLock", uses_the_given_rlock},
    {"wait and notify without the lock are ERR_NOT_OWNER", needs_the_lock},
    {"an invalid timeout or a missing predicate is an error, and the lock stays held", invalid_arguments},
    {"a wait does not time out early, and reacquires the lock", times_out},
    {"wait, FOREVER, infinity and TIMEOUT_MAX wait until notified", waits_until_notified},
    {"a wait releases all recursion levels of an RLock and restores them", releases_all_levels},
    {"notify wakes the given number of waiters, the longest waiting first", notify_wakes_longest_waiting_first},
    {"notify_all wakes all waiters, which return after the lock is released", notify_all_wakes_all},
    {"a notify without waiters has no effect on later waits", notify_without_waiters},
    {"conditions that share a lock have separate waiters", conditions_share_a_lock},
    {"a notify of one waiter after several broadcasts wakes it, and no other returns", one_of_many},
    {"a broadcast wakes all waiters while other threads are blocked on the lock", broadcast_beside_blocked_threads},
    {"a wait that is notified before its deadline is OK, even if it returns later", notified_before_the_deadline},
    {"a notify that races with a timeout wakes exactly one waiter", notify_wakes_exactly_one},
    {"a wait that times out returns only after it has reacquired the lock", returns_only_with_the_lock},
    {"wait_for calls the predicate before waiting, and once more at the timeout", wait_for_true_predicate},
    {"wait_for with a failing predicate is ERR_CALLBACK, with the lock held", wait_for_failing_predicate},
    {"wait_for calls the predicate after each notify until it is true", wait_for_until_true},
    {"notifies do not extend the timeout of wait_for", notifies_do_not_extend_the_timeout},
    {"wait and notify on a condition on a Lock work while any thread holds the lock", lock_held_by_any_thread},
    {"at_fork_reinit of a condition unlocks its lock", reinit_unlocks},
    {"a blocked wait is not a cancellation point", blocked_wait_is_not_cancelled},
    {"no notify is lost among waits that time out", no_notify_is_lost},
    {"a bounded buffer passes every item once", bounded_buffer},
    {"two threads that alternate return from each wait with the lock", two_threads_alternate},
    {"waits return the same after several broadcasts, when waiters park together", after_broadcasts},
};

TEST_MAIN(cases)
