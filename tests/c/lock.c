/* Lock: not owned, not recursive, released by any thread. */
#define LOCKABLE lock
#define CONTEST_TURNS 25000
#include "lockable.h"

static threading_status acquire_shortly(void *lock)
{
    return threading_lock_acquire_timeout(lock, 0.01);
}

static threading_status release(void *lock)
{
    return threading_lock_release(lock);
}

static void new_is_unlocked(void)
{
    threading_lock *lock = new_lock();
    threading_clear_last_error();
    CHECK(!threading_lock_locked(lock));
    CHECK_LAST_ERROR(THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_lock_acquire(lock), THREADING_OK);
    CHECK(threading_lock_locked(lock));
    CHECK_STATUS_KEEPS_ERROR(threading_lock_release(lock), THREADING_OK);
    CHECK(!threading_lock_locked(lock));
    free_lock(lock);
}

static void try_of_locked(void)
{
    threading_lock *lock = new_lock();
    struct call call;
    CHECK_STATUS_KEEPS_ERROR(threading_lock_try_acquire(lock), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_lock_try_acquire(lock), THREADING_WOULD_BLOCK);
    call_start(&call, acquire_shortly, lock);
    CHECK_CALL(&call, THREADING_TIMED_OUT);
    CHECK(threading_lock_locked(lock));
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_try_acquire(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    free_lock(lock);
}

static void not_recursive(void)
{
    threading_lock *lock = new_held_lock();
    struct call call;
    CHECK_STATUS(threading_lock_acquire_timeout(lock, 0.01), THREADING_TIMED_OUT);
    /* One release is enough: the second acquire has not counted. */
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    CHECK(!threading_lock_locked(lock));
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    call_blocked(&call, acquire, lock);
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    CHECK_CALL(&call, THREADING_OK);
    CHECK(threading_lock_locked(lock));
    free_lock(lock);
}

static void timeout_zero_tries_once(void)
{
    threading_lock *lock = new_lock();
    CHECK_STATUS_KEEPS_ERROR(threading_lock_acquire_timeout(lock, 0), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_lock_acquire_timeout(lock, 0), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_lock_acquire_timeout(lock, -0.0), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_lock_acquire_timeout(lock, 5e-324), THREADING_TIMED_OUT);
    free_lock(lock);
}

static void timeout_is_not_shortened(void)
{
    threading_lock *lock = new_held_lock();
    check_timeouts(lock);
    free_lock(lock);
}

static void bad_timeouts(void)
{
    threading_lock *lock = new_lock();
    CHECK_BAD_TIMEOUTS(threading_lock_acquire_timeout(lock, seconds));
    CHECK(!threading_lock_locked(lock));
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    CHECK_BAD_TIMEOUTS(threading_lock_acquire_timeout(lock, seconds));
    CHECK(threading_lock_locked(lock));
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    free_lock(lock);
}

static void waits_for_ever(void)
{
    threading_status (*const calls[])(void *) = {acquire, acquire_infinity, acquire_forever, acquire_max};
    for (size_t i = 0; i < TEST_COUNT(calls); i++) {
        threading_lock *lock = new_held_lock();
        struct call call;
        call_blocked(&call, calls[i], lock);
        CHECK(call_still_blocked(&call));
        CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
        CHECK_CALL(&call, THREADING_OK);
        CHECK(threading_lock_locked(lock));
        free_lock(lock);
    }
}

static void release_of_unlocked(void)
{
    threading_lock *lock = new_lock();
    CHECK_STATUS(threading_lock_release(lock), THREADING_ERR_NOT_ACQUIRED);
    CHECK(!threading_lock_locked(lock));
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_release(lock), THREADING_ERR_NOT_ACQUIRED);
    CHECK_STATUS(threading_lock_try_acquire(lock), THREADING_OK);
    free_lock(lock);
}

static void *foreign_release(void *lock)
{
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    return lock;
}

static void released_by_any_thread(void)
{
    threading_lock *lock = new_held_lock();
    struct call call;
    call_start(&call, release, lock);
    CHECK_CALL(&call, THREADING_OK);
    CHECK(!threading_lock_locked(lock));
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    CHECK_PTR(join_foreign(spawn_foreign(foreign_release, lock)), lock);
    /* The lock that a thread took is still locked when the thread has ended. */
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    free_lock(lock);
}

static void one_release_admits_one(void)
{
    threading_lock *lock = new_held_lock();
    struct call calls[4];
    for (size_t i = 0; i < TEST_COUNT(calls); i++)
        call_blocked(&calls[i], acquire, lock);
    for (size_t round = 1; round <= TEST_COUNT(calls); round++) {
        double end = now() + TEST_LIMIT;
        size_t returned;
        CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
        do {
            sleep_for(0.005);
            returned = 0;
            for (size_t i = 0; i < TEST_COUNT(calls); i++)
                returned += (size_t)atomic_load(&calls[i].returned);
            CHECK(now() < end);
        } while (returned < round);
        CHECK_INT(returned, round);
    }
    for (size_t i = 0; i < TEST_COUNT(calls); i++)
        CHECK_CALL(&calls[i], THREADING_OK);
    free_lock(lock);
}

static void frees_while_held(void)
{
    threading_lock *lock = new_held_lock();
    CHECK_STATUS_KEEPS_ERROR(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_release(lock), THREADING_ERR_HANDLE);
}

static void busy_while_blocked(void)
{
    threading_lock *lock = new_held_lock();
    struct call call;
    CHECK_PTR(threading_lock_ref(lock), lock);
    call_blocked(&call, acquire, lock);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_free(lock), THREADING_ERR_BUSY);
    CHECK_STATUS(threading_lock_free(lock), THREADING_ERR_BUSY);
    CHECK(threading_lock_locked(lock));
    CHECK(call_still_blocked(&call));
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    CHECK_CALL(&call, THREADING_OK);
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    free_lock(lock);
    CHECK_STATUS(threading_lock_free(lock), THREADING_ERR_HANDLE);
}

struct latecomer {
    threading_lock *lock;
    threading_event *comes;
};

static void *come_late(void *arg)
{
    struct latecomer *latecomer = arg;
    CHECK_STATUS(threading_event_set(latecomer->comes), THREADING_OK);
    threading_status status = threading_lock_acquire(latecomer->lock);
    CHECK(status == THREADING_OK || status == THREADING_ERR_HANDLE);
    return NULL;
}

/* Whether the waiter has come, been woken, or been handed the lock: nobody is blocked after the release. */
static void release_then_free_at_once(void)
{
    for (int i = 0; i < 300; i++) {
        struct latecomer latecomer = {.lock = new_held_lock(), .comes = threading_event_new()};
        CHECK(latecomer.comes != NULL);
        threading_thread *thread = spawn(come_late, &latecomer);
        CHECK_STATUS(threading_event_wait(latecomer.comes), THREADING_OK);
        CHECK_STATUS(threading_sleep(i % 3 * 5e-5), THREADING_OK);
        CHECK_STATUS(threading_lock_release(latecomer.lock), THREADING_OK);
        CHECK_STATUS(threading_lock_free(latecomer.lock), THREADING_OK);
        join(thread);
        CHECK_STATUS(threading_event_free(latecomer.comes), THREADING_OK);
    }
}

/* One thread takes the lock again and again; the others come by all the same. */
struct rush {
    threading_lock *lock;
    atomic_bool over;
};

static void *hog(void *arg)
{
    struct rush *rush = arg;
    while (!atomic_load(&rush->over)) {
        CHECK_STATUS(threading_lock_acquire(rush->lock), THREADING_OK);
        CHECK_STATUS(threading_lock_release(rush->lock), THREADING_OK);
    }
    return NULL;
}

static void nobody_is_left_behind(void)
{
    struct rush rush = {.lock = new_lock()};
    threading_thread *hogs[3];
    for (size_t i = 0; i < TEST_COUNT(hogs); i++)
        hogs[i] = spawn(hog, &rush);
    for (int i = 0; i < 100; i++) {
        CHECK_STATUS(threading_lock_acquire_timeout(rush.lock, TEST_LIMIT), THREADING_OK);
        CHECK_STATUS(threading_lock_release(rush.lock), THREADING_OK);
    }
    atomic_store(&rush.over, true);
    for (size_t i = 0; i < TEST_COUNT(hogs); i++)
        join(hogs[i]);
    CHECK(!threading_lock_locked(rush.lock));
    free_lock(rush.lock);
}

static void timed_out_waiters_are_gone(void)
{
    threading_lock *lock = new_held_lock();
    struct call calls[8];
    for (size_t i = 0; i < TEST_COUNT(calls); i++)
        call_start(&calls[i], acquire_shortly, lock);
    for (size_t i = 0; i < TEST_COUNT(calls); i++)
        CHECK_CALL(&calls[i], THREADING_TIMED_OUT);
    /* Nothing of them may take the release, nor make the lock busy. */
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    CHECK(!threading_lock_locked(lock));
    CHECK_STATUS(threading_lock_try_acquire(lock), THREADING_OK);
    free_lock(lock);
}

static void reinit_unlocks(void)
{
    threading_lock *lock = new_held_lock();
    CHECK_STATUS_KEEPS_ERROR(threading_lock_at_fork_reinit(lock), THREADING_OK);
    CHECK(!threading_lock_locked(lock));
    CHECK_STATUS(threading_lock_release(lock), THREADING_ERR_NOT_ACQUIRED);
    CHECK_STATUS(threading_lock_try_acquire(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_at_fork_reinit(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_try_acquire(lock), THREADING_OK);
    free_lock(lock);
}

struct cancelled {
    threading_lock *lock;
    test_blocker blocker;
    atomic_int got;
};

static void *acquire_and_be_cancelled(void *arg)
{
    struct cancelled *c = arg;
    about_to_block(&c->blocker);
    atomic_store(&c->got, threading_lock_acquire(c->lock));
    pthread_testcancel();
    return NULL;
}

static void no_cancel_point(void)
{
    struct cancelled c = {.lock = new_held_lock(), .got = 99};
    pthread_t thread = spawn_foreign(acquire_and_be_cancelled, &c);
    wait_until_blocked(&c.blocker);
    CHECK_INT(pthread_cancel(thread), 0);
    sleep_for(0.03);
    CHECK_INT(atomic_load(&c.got), 99);
    CHECK_STATUS(threading_lock_release(c.lock), THREADING_OK);
    CHECK_PTR(join_foreign(thread), PTHREAD_CANCELED);
    CHECK_INT(atomic_load(&c.got), THREADING_OK);
    CHECK(threading_lock_locked(c.lock));
    free_lock(c.lock);
}

static void *contend(void *arg)
{
    struct contest *contest = arg;
    unsigned turn = 0;
    for (long i = 0; i < CONTEST_TURNS; turn++) {
        if (acquire_by_turns(contest->lock, turn) != THREADING_OK)
            continue;
        contest->counter++;
        i++;
        CHECK_STATUS(threading_lock_release(contest->lock), THREADING_OK);
    }
    return NULL;
}

/* What was written before a release by one thread is seen after the acquire by another. */
struct relay {
    threading_lock *there, *back;
    long value;
};

static void *relay(void *arg)
{
    struct relay *r = arg;
    for (long i = 0; i < 5000; i++) {
        CHECK_STATUS(threading_lock_acquire(r->there), THREADING_OK);
        CHECK_INT(r->value, 2 * i + 1);
        r->value++;
        CHECK_STATUS(threading_lock_release(r->back), THREADING_OK);
    }
    return NULL;
}

static void orders_memory(void)
{
    struct relay r = {.there = new_held_lock(), .back = new_held_lock()};
    threading_thread *thread = spawn(relay, &r);
    for (long i = 0; i < 5000; i++) {
        CHECK_INT(r.value, 2 * i);
        r.value++;
        CHECK_STATUS(threading_lock_release(r.there), THREADING_OK);
        CHECK_STATUS(threading_lock_acquire(r.back), THREADING_OK);
    }
    join(thread);
    free_lock(r.there);
    free_lock(r.back);
}

static const struct test_case cases[] = {
    {"a new lock is unlocked, acquire locks it and release unlocks it", new_is_unlocked},
    {"a try of a locked lock is WOULD_BLOCK", try_of_locked},
    {"a second acquire by the holder blocks", not_recursive},
    {"a timeout of 0 tries once", timeout_zero_tries_once},
    {"an acquire times out not before its time", timeout_is_not_shortened},
    {"a bad timeout is refused, whether the lock is free or not", bad_timeouts},
    {"acquire, FOREVER, infinity and TIMEOUT_MAX wait until the release", waits_for_ever},
    {"a release of an unlocked lock is NOT_ACQUIRED", release_of_unlocked},
    {"any thread may release a lock", released_by_any_thread},
    {"one release admits one of several waiting threads", one_release_admits_one},
    {"a held lock may be freed", frees_while_held},
    {"freeing a lock that a thread is blocked on is BUSY and frees nothing", busy_while_blocked},
    {"a lock may be freed right after the release that wakes its waiter", release_then_free},
    {"a lock may be freed right after a release, whoever is on the way to it", release_then_free_at_once},
    {"threads that take the lock again and again let the others have it", nobody_is_left_behind},
    {"waiters that timed out leave nothing behind", timed_out_waiters_are_gone},
    {"at_fork_reinit makes a held lock as new", reinit_unlocks},
    {"a blocked acquire is no cancellation point", no_cancel_point},
    {"threads exclude each other under contention", excludes},
    {"what happens before a release is seen after the next acquire", orders_memory},
};

TEST_MAIN(cases)
