/* Code shared by the tests of Lock and RLock. The including file first defines LOCKABLE as lock or rlock, and
 * CONTEST_TURNS as the number of times that each thread of a contest acquires the lock. */
#ifndef TEST_LOCKABLE_H
#define TEST_LOCKABLE_H

#include "test.h"

#define LOCKABLE_JOIN_(a, b, c) a##b##c
#define LOCKABLE_JOIN(a, b, c) LOCKABLE_JOIN_(a, b, c)
/* The function of the kind: LOCKABLE_FUNCTION(_acquire) is threading_lock_acquire or threading_rlock_acquire. */
#define LOCKABLE_FUNCTION(name) LOCKABLE_JOIN(threading_, LOCKABLE, name)

typedef LOCKABLE_FUNCTION() lockable;

static lockable *new_lock(void)
{
    lockable *lock = LOCKABLE_FUNCTION(_new)();
    CHECK(lock != NULL);
    return lock;
}

static lockable *new_held_lock(void)
{
    lockable *lock = new_lock();
    CHECK_STATUS(LOCKABLE_FUNCTION(_acquire)(lock), THREADING_OK);
    return lock;
}

static void free_lock(lockable *lock)
{
    CHECK_STATUS(LOCKABLE_FUNCTION(_free)(lock), THREADING_OK);
}

static threading_status acquire(void *lock)
{
    return LOCKABLE_FUNCTION(_acquire)(lock);
}

static threading_status acquire_infinity(void *lock)
{
    return LOCKABLE_FUNCTION(_acquire_timeout)(lock, INFINITY);
}

static threading_status acquire_forever(void *lock)
{
    return LOCKABLE_FUNCTION(_acquire_timeout)(lock, THREADING_FOREVER);
}

static threading_status acquire_max(void *lock)
{
    return LOCKABLE_FUNCTION(_acquire_timeout)(lock, THREADING_TIMEOUT_MAX);
}

/* Acquires with one of the three functions, chosen by `turn`. */
static threading_status acquire_by_turns(lockable *lock, unsigned turn)
{
    threading_status status = turn % 3 == 0   ? LOCKABLE_FUNCTION(_acquire)(lock)
                              : turn % 3 == 1 ? LOCKABLE_FUNCTION(_try_acquire)(lock)
                                              : LOCKABLE_FUNCTION(_acquire_timeout)(lock, 1e-5);
    if (status != THREADING_OK)
        CHECK_RESULT(status, turn % 3 == 1 ? THREADING_WOULD_BLOCK : THREADING_TIMED_OUT);
    return status;
}

/* The calling thread cannot acquire this lock: each acquire is TIMED_OUT, and not before its timeout. */
static void check_timeouts(lockable *lock)
{
    static const double seconds[] = {1e-9, 0.0005, 0.02, 0.15};
    for (size_t i = 0; i < TEST_COUNT(seconds); i++) {
        double start = now();
        CHECK_STATUS_KEEPS_ERROR(LOCKABLE_FUNCTION(_acquire_timeout)(lock, seconds[i]), THREADING_TIMED_OUT);
        CHECK_AT_LEAST(now() - start, seconds[i]);
    }
}

static void release_then_free(void)
{
    for (int i = 0; i < 20; i++) {
        lockable *lock = new_held_lock();
        struct call call;
        call_blocked(&call, acquire, lock);
        CHECK_STATUS(LOCKABLE_FUNCTION(_release)(lock), THREADING_OK);
        CHECK_STATUS(LOCKABLE_FUNCTION(_free)(lock), THREADING_OK);
        CHECK_CALL(&call, THREADING_OK);
        CHECK_FAILS(LOCKABLE_FUNCTION(_locked)(lock), THREADING_ERR_HANDLE);
    }
}

/* Each thread increments a plain counter while it holds the lock. */
struct contest {
    lockable *lock;
    long counter;
};

static void *contend(void *contest);

static void excludes(void)
{
    struct contest contest = {.lock = new_lock()};
    threading_thread *threads[4];
    pthread_t foreign = spawn_foreign(contend, &contest);
    spawn_all(threads, contend, &contest);
    join_all(threads);
    join_foreign(foreign);
    CHECK_INT(contest.counter, 5L * CONTEST_TURNS);
    CHECK(!LOCKABLE_FUNCTION(_locked)(contest.lock));
    free_lock(contest.lock);
}

#endif
