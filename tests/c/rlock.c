/* RLock: owned by a thread, recursive, and only its owner may release it. */
#define LOCKABLE rlock
#define CONTEST_TURNS 10000
#include "lockable.h"

/* Also releases the rlock, so that it is unlocked when the thread exits. */
static threading_status acquire_and_release(void *lock)
{
    threading_status status = threading_rlock_acquire(lock);
    if (status == THREADING_OK)
        CHECK_STATUS(threading_rlock_release(lock), THREADING_OK);
    return status;
}

static threading_status try_acquire(void *lock)
{
    return threading_rlock_try_acquire(lock);
}

/* Returns the status that another thread gets from the function. */
static threading_status in_another_thread(threading_status (*function)(void *), threading_rlock *lock)
{
    struct call call;
    call_start(&call, function, lock);
    return call_result(&call);
}

static void new_is_unlocked(void)
{
    threading_rlock *lock = new_lock();
    threading_clear_last_error();
    CHECK(!threading_rlock_locked(lock));
    CHECK(!threading_rlock_is_owned(lock));
    CHECK_INT(threading_rlock_recursion_count(lock), 0);
    CHECK_LAST_ERROR(THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_rlock_acquire(lock), THREADING_OK);
    CHECK(threading_rlock_locked(lock));
    CHECK(threading_rlock_is_owned(lock));
    CHECK_STATUS_KEEPS_ERROR(threading_rlock_release(lock), THREADING_OK);
    CHECK(!threading_rlock_locked(lock));
    CHECK(!threading_rlock_is_owned(lock));
    free_lock(lock);
}

static void owner_acquires_again(void)
{
    threading_rlock *lock = new_lock();
    for (int i = 0; i < 30; i++) {
        CHECK_INT(threading_rlock_recursion_count(lock), i);
        CHECK_STATUS_KEEPS_ERROR(i % 3 == 0   ? threading_rlock_acquire(lock)
                                 : i % 3 == 1 ? threading_rlock_try_acquire(lock)
                                              : threading_rlock_acquire_timeout(lock, 0),
                                 THREADING_OK);
    }
    for (int i = 30; i > 0; i--) {
        CHECK_INT(threading_rlock_recursion_count(lock), i);
        CHECK(threading_rlock_is_owned(lock));
        CHECK_RESULT(in_another_thread(try_acquire, lock), THREADING_WOULD_BLOCK);
        CHECK_STATUS(threading_rlock_release(lock), THREADING_OK);
    }
    CHECK_RESULT(in_another_thread(acquire_and_release, lock), THREADING_OK);
    free_lock(lock);
}

static void deep_recursion(void)
{
    threading_rlock *lock = new_lock();
    for (int i = 0; i < 100000; i++)
        CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_INT(threading_rlock_recursion_count(lock), 100000);
    for (int i = 0; i < 100000; i++)
        CHECK_STATUS(threading_rlock_release(lock), THREADING_OK);
    CHECK(!threading_rlock_locked(lock));
    CHECK_STATUS(threading_rlock_release(lock), THREADING_ERR_NOT_OWNER);
    free_lock(lock);
}

static void *check_not_owner(void *lock)
{
    CHECK(threading_rlock_locked(lock));
    CHECK(!threading_rlock_is_owned(lock));
    CHECK_INT(threading_rlock_recursion_count(lock), 0);
    CHECK_STATUS_KEEPS_ERROR(threading_rlock_try_acquire(lock), THREADING_WOULD_BLOCK);
    CHECK_STATUS_KEEPS_ERROR(threading_rlock_acquire_timeout(lock, 0), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_rlock_release(lock), THREADING_ERR_NOT_OWNER);
    CHECK(threading_rlock_locked(lock));
    return lock;
}

static void other_threads_are_not_owners(void)
{
    threading_rlock *lock = new_held_lock();
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_PTR(join(spawn(check_not_owner, lock)), lock);
    CHECK_PTR(join_foreign(spawn_foreign(check_not_owner, lock)), lock);
    CHECK(threading_rlock_is_owned(lock));
    CHECK_INT(threading_rlock_recursion_count(lock), 2);
    free_lock(lock);
}

static void release_of_unlocked(void)
{
    threading_rlock *lock = new_lock();
    CHECK_STATUS(threading_rlock_release(lock), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(lock), THREADING_ERR_NOT_OWNER);
    CHECK(!threading_rlock_locked(lock));
    CHECK_RESULT(in_another_thread(acquire_and_release, lock), THREADING_OK);
    free_lock(lock);
}

static void timeout_is_not_early(void)
{
    threading_rlock *lock = new_lock();
    CHECK_RESULT(in_another_thread(acquire, lock), THREADING_OK);
    check_timeouts(lock);
    free_lock(lock);
}

static void invalid_timeouts(void)
{
    threading_rlock *lock = new_lock();
    CHECK_BAD_TIMEOUTS(threading_rlock_acquire_timeout(lock, seconds));
    CHECK(!threading_rlock_locked(lock));
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_BAD_TIMEOUTS(threading_rlock_acquire_timeout(lock, seconds));
    CHECK_INT(threading_rlock_recursion_count(lock), 1);
    free_lock(lock);
    lock = new_lock();
    CHECK_RESULT(in_another_thread(acquire, lock), THREADING_OK);
    CHECK_BAD_TIMEOUTS(threading_rlock_acquire_timeout(lock, seconds));
    free_lock(lock);
}

static void unlimited_waits(void)
{
    threading_status (*const calls[])(void *) = {acquire, acquire_infinity, acquire_forever, acquire_max};
    for (size_t i = 0; i < TEST_COUNT(calls); i++) {
        threading_rlock *lock = new_held_lock();
        struct call call;
        CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
        call_blocked(&call, calls[i], lock);
        CHECK_STATUS(threading_rlock_release(lock), THREADING_OK);
        CHECK(call_still_blocked(&call)); /* the recursion count is 1 */
        CHECK_STATUS(threading_rlock_release(lock), THREADING_OK);
        CHECK_CALL(&call, THREADING_OK);
        free_lock(lock);
    }
}

static void *acquire_twice(void *lock)
{
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK(threading_rlock_is_owned(lock));
    CHECK_INT(threading_rlock_recursion_count(lock), 2);
    return lock;
}

/* No later thread counts as the owner, even if it gets the same stack or the same ID from the system. */
static void owner_that_exited(bool foreign)
{
    threading_rlock *lock = new_lock();
    if (foreign)
        join_foreign(spawn_foreign(acquire_twice, lock));
    else
        join(spawn(acquire_twice, lock));
    for (int i = 0; i < 50; i++) {
        CHECK_PTR(join(spawn(check_not_owner, lock)), lock);
        CHECK_PTR(join_foreign(spawn_foreign(check_not_owner, lock)), lock);
    }
    check_not_owner(lock);
    CHECK_STATUS(threading_rlock_at_fork_reinit(lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    free_lock(lock);
}

static void library_owner_that_exited(void)
{
    owner_that_exited(false);
}

static void foreign_owner_that_exited(void)
{
    owner_that_exited(true);
}

static void *try_acquire_in_timer(void *lock)
{
    return threading_rlock_try_acquire(lock) == THREADING_OK ? lock : NULL;
}

static void run_timer(threading_target function, threading_rlock *lock)
{
    CHECK_PTR(join_timer_and_free(timer_start(0, function, lock)), lock);
}

static void timers_are_distinct_owners(void)
{
    threading_rlock *lock = new_lock();
    run_timer(try_acquire_in_timer, lock);
    for (int i = 0; i < 20; i++)
        run_timer(check_not_owner, lock);
    free_lock(lock);
}

static void held_may_be_freed(void)
{
    threading_rlock *lock = new_held_lock();
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_rlock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(lock), THREADING_ERR_HANDLE);
    lock = new_lock();
    CHECK_RESULT(in_another_thread(acquire, lock), THREADING_OK);
    free_lock(lock);
}

static void busy_while_blocked(void)
{
    threading_rlock *lock = new_held_lock();
    struct call call;
    CHECK_PTR(threading_rlock_ref(lock), lock);
    call_blocked(&call, acquire_and_release, lock);
    CHECK_STATUS(threading_rlock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_free(lock), THREADING_ERR_BUSY);
    CHECK_STATUS(threading_rlock_free(lock), THREADING_ERR_BUSY);
    CHECK(threading_rlock_is_owned(lock));
    CHECK_STATUS(threading_rlock_release(lock), THREADING_OK);
    CHECK_CALL(&call, THREADING_OK);
    free_lock(lock);
    CHECK_STATUS(threading_rlock_free(lock), THREADING_ERR_HANDLE);
}

static void reinit_unlocks(void)
{
    threading_rlock *lock = new_held_lock();
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_rlock_at_fork_reinit(lock), THREADING_OK);
    CHECK(!threading_rlock_locked(lock));
    CHECK_INT(threading_rlock_recursion_count(lock), 0);
    CHECK_STATUS(threading_rlock_release(lock), THREADING_ERR_NOT_OWNER);
    CHECK_RESULT(in_another_thread(acquire_and_release, lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_INT(threading_rlock_recursion_count(lock), 1);
    free_lock(lock);
}

/* Each thread adds to a plain counter at every recursion count; no other thread may change it in between. */
static void *contend(void *arg)
{
    struct contest *contest = arg;
    unsigned turn = 0;
    for (long i = 0; i < CONTEST_TURNS; turn++) {
        size_t depth = 1 + turn % 4;
        long before;
        if (acquire_by_turns(contest->lock, turn) != THREADING_OK)
            continue;
        before = contest->counter;
        for (size_t level = 1; level < depth; level++) {
            contest->counter++;
            CHECK_STATUS(threading_rlock_acquire(contest->lock), THREADING_OK);
        }
        CHECK_INT(threading_rlock_recursion_count(contest->lock), depth);
        for (size_t level = 1; level < depth; level++)
            CHECK_STATUS(threading_rlock_release(contest->lock), THREADING_OK);
        CHECK_INT(contest->counter, before + (long)depth - 1);
        contest->counter = before + 1;
        i++;
        CHECK_STATUS(threading_rlock_release(contest->lock), THREADING_OK);
    }
    return NULL;
}

/* The cost of a call must not grow with the number of rlocks that the thread holds. */
static void many_acquired_twice(void)
{
    enum { MANY = 200000 };
    const size_t many = (size_t)test_many(MANY);
    threading_rlock **locks = malloc(many * sizeof *locks);
    double begin;
    CHECK(locks != NULL);
    for (size_t i = 0; i < many; i++)
        CHECK((locks[i] = threading_rlock_new()) != NULL);
    begin = now();
    for (size_t i = 0; i < many; i++) {
        CHECK_INT(threading_rlock_acquire(locks[i]), THREADING_OK);
        CHECK_INT(threading_rlock_acquire(locks[i]), THREADING_OK);
    }
    for (size_t i = 0; i < many; i += 1000)
        CHECK_INT(threading_rlock_recursion_count(locks[i]), 2);
    /* Every second rlock is released first, so that the others are looked up among removed entries. */
    for (size_t start = 0; start < 2; start++) {
        for (size_t i = start; i < many; i += 2) {
            CHECK_INT(threading_rlock_release(locks[i]), THREADING_OK);
            CHECK_INT(threading_rlock_recursion_count(locks[i]), 1);
            CHECK_INT(threading_rlock_release(locks[i]), THREADING_OK);
        }
        for (size_t i = 1; i < many; i += 1000)
            CHECK_INT(threading_rlock_recursion_count(locks[i]), start == 0 ? 2 : 0);
    }
    CHECK(now() - begin < TEST_LIMIT);
    for (size_t i = 0; i < many; i++)
        CHECK_INT(threading_rlock_free(locks[i]), THREADING_OK);
    free(locks);
}

static const struct test_case cases[] = {
    {"a new rlock is unlocked; acquire makes the caller its owner, release unlocks it", new_is_unlocked},
    {"the owner may acquire an rlock again; other threads can after as many releases", owner_acquires_again},
    {"the owner can acquire an rlock a hundred thousand times", deep_recursion},
    {"a thread that is not the owner can neither acquire nor release a held rlock", other_threads_are_not_owners},
    {"a release of an unlocked rlock is ERR_NOT_OWNER", release_of_unlocked},
    {"acquire_timeout does not time out early", timeout_is_not_early},
    {"an invalid timeout is an error, also for the owner", invalid_timeouts},
    {"acquire and the timeouts FOREVER, infinity and TIMEOUT_MAX wait until the last release", unlimited_waits},
    {"an rlock whose owner exited stays locked, and no other thread is its owner", library_owner_that_exited},
    {"an rlock whose foreign owner exited stays locked, and no other thread is its owner", foreign_owner_that_exited},
    {"an rlock that a timer acquired is not owned by later timers", timers_are_distinct_owners},
    {"a held rlock may be freed", held_may_be_freed},
    {"a free of an rlock on which a thread is blocked is ERR_BUSY and has no effect", busy_while_blocked},
    {"an rlock may be freed right after the release that wakes its waiter", release_then_free},
    {"at_fork_reinit unlocks a held rlock", reinit_unlocks},
    {"threads exclude each other at every recursion count", excludes},
    {"200,000 rlocks acquired twice each cost no more per call than one", many_acquired_twice},
};

TEST_MAIN(cases)
