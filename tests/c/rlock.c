/* RLock: owned by a thread, recursive, released by its owner alone. */
#define LOCKABLE rlock
#define CONTEST_TURNS 10000
#include "lockable.h"

/* Acquires and releases, so that the lock is free again when the thread ends. */
static threading_status take_turn(void *lock)
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

/* What another thread gets. */
static threading_status elsewhere(threading_status (*function)(void *), threading_rlock *lock)
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
        CHECK_RESULT(elsewhere(try_acquire, lock), THREADING_WOULD_BLOCK);
        CHECK_STATUS(threading_rlock_release(lock), THREADING_OK);
    }
    CHECK_RESULT(elsewhere(take_turn, lock), THREADING_OK);
    free_lock(lock);
}

static void recursion_is_deep(void)
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

static void *see_not_owner(void *lock)
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

static void others_do_not_own_it(void)
{
    threading_rlock *lock = new_held_lock();
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_PTR(join(spawn(see_not_owner, lock)), lock);
    CHECK_PTR(join_foreign(spawn_foreign(see_not_owner, lock)), lock);
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
    CHECK_RESULT(elsewhere(take_turn, lock), THREADING_OK);
    free_lock(lock);
}

static void timeout_is_not_shortened(void)
{
    threading_rlock *lock = new_lock();
    CHECK_RESULT(elsewhere(acquire, lock), THREADING_OK);
    check_timeouts(lock);
    free_lock(lock);
}

static void bad_timeouts(void)
{
    threading_rlock *lock = new_lock();
    CHECK_BAD_TIMEOUTS(threading_rlock_acquire_timeout(lock, seconds));
    CHECK(!threading_rlock_locked(lock));
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_BAD_TIMEOUTS(threading_rlock_acquire_timeout(lock, seconds));
    CHECK_INT(threading_rlock_recursion_count(lock), 1);
    free_lock(lock);
    lock = new_lock();
    CHECK_RESULT(elsewhere(acquire, lock), THREADING_OK);
    CHECK_BAD_TIMEOUTS(threading_rlock_acquire_timeout(lock, seconds));
    free_lock(lock);
}

static void waits_for_ever(void)
{
    threading_status (*const calls[])(void *) = {acquire, acquire_infinity, acquire_forever, acquire_max};
    for (size_t i = 0; i < TEST_COUNT(calls); i++) {
        threading_rlock *lock = new_held_lock();
        struct call call;
        CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
        call_blocked(&call, calls[i], lock);
        CHECK_STATUS(threading_rlock_release(lock), THREADING_OK);
        CHECK(call_still_blocked(&call)); /* one level is left */
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

/* No thread after the owner's end may pass for it, were it to get the same stack or system's number. */
static void owner_that_ended(bool foreign)
{
    threading_rlock *lock = new_lock();
    if (foreign)
        join_foreign(spawn_foreign(acquire_twice, lock));
    else
        join(spawn(acquire_twice, lock));
    for (int i = 0; i < 50; i++) {
        CHECK_PTR(join(spawn(see_not_owner, lock)), lock);
        CHECK_PTR(join_foreign(spawn_foreign(see_not_owner, lock)), lock);
    }
    see_not_owner(lock);
    CHECK_STATUS(threading_rlock_at_fork_reinit(lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    free_lock(lock);
}

static void library_owner_that_ended(void)
{
    owner_that_ended(false);
}

static void foreign_owner_that_ended(void)
{
    owner_that_ended(true);
}

static void *timer_owner(void *lock)
{
    return threading_rlock_try_acquire(lock) == THREADING_OK ? lock : NULL;
}

static void run_timer(threading_target function, threading_rlock *lock)
{
    threading_timer *timer = threading_timer_new(0, function, lock);
    threading_thread *thread = threading_timer_thread(timer);
    CHECK(timer != NULL && thread != NULL);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    CHECK_STATUS(threading_thread_join_timeout(thread, TEST_LIMIT), THREADING_OK);
    CHECK_PTR(threading_thread_result(thread), lock);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
}

static void timers_own_for_themselves(void)
{
    threading_rlock *lock = new_lock();
    run_timer(timer_owner, lock);
    for (int i = 0; i < 20; i++)
        run_timer(see_not_owner, lock);
    free_lock(lock);
}

static void frees_while_held(void)
{
    threading_rlock *lock = new_held_lock();
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_rlock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(lock), THREADING_ERR_HANDLE);
    lock = new_lock();
    CHECK_RESULT(elsewhere(acquire, lock), THREADING_OK);
    free_lock(lock);
}

static void busy_while_blocked(void)
{
    threading_rlock *lock = new_held_lock();
    struct call call;
    CHECK_PTR(threading_rlock_ref(lock), lock);
    call_blocked(&call, take_turn, lock);
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
    CHECK_RESULT(elsewhere(take_turn, lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_INT(threading_rlock_recursion_count(lock), 1);
    free_lock(lock);
}

/* Each thread adds to a plain counter at every level of its recursion, and must be alone all the way. */
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

/* Each call takes as long as it does with one lock. */
static void many_held_twice(void)
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
    /* Each second one goes first, so that the others are found among gaps. */
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
    {"a new rlock is unlocked, acquire makes the caller its owner, release frees it", new_is_unlocked},
    {"its owner acquires an rlock again, others get it after as many releases", owner_acquires_again},
    {"an rlock can be acquired a hundred thousand levels deep", recursion_is_deep},
    {"a thread that does not own a held rlock can neither take nor release it", others_do_not_own_it},
    {"a release of an rlock that nobody holds is NOT_OWNER", release_of_unlocked},
    {"an acquire times out not before its time", timeout_is_not_shortened},
    {"a bad timeout is refused, also for the owner", bad_timeouts},
    {"acquire, FOREVER, infinity and TIMEOUT_MAX wait until the last release", waits_for_ever},
    {"an rlock whose owner ended stays locked and belongs to nobody", library_owner_that_ended},
    {"an rlock whose foreign owner ended stays locked and belongs to nobody", foreign_owner_that_ended},
    {"each timer owns an rlock for itself", timers_own_for_themselves},
    {"a held rlock may be freed", frees_while_held},
    {"freeing an rlock that a thread is blocked on is BUSY and frees nothing", busy_while_blocked},
    {"an rlock may be freed right after the release that wakes its waiter", release_then_free},
    {"at_fork_reinit makes a held rlock as new", reinit_unlocks},
    {"threads exclude each other at every level of recursion", excludes},
    {"200,000 RLocks held twice cost no more each than one does", many_held_twice},
};

TEST_MAIN(cases)
