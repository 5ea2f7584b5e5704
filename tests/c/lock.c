/* Lock: it has no owner, is not recursive, and any thread may release it. */
#define LOCKABLE lock
#define CONTEST_TURNS test_many(25000)
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

static void try_acquire_of_locked(void)
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

static void second_acquire_blocks(void)
{
    threading_lock *lock = new_held_lock();
    struct call call;
    CHECK_STATUS(threading_lock_acquire_timeout(lock, 0.01), THREADING_TIMED_OUT);
    /* One release unlocks it: the acquire that timed out does not count. */
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

static void timeout_is_not_early(void)
{
    threading_lock *lock = new_held_lock();
    check_timeouts(lock);
    free_lock(lock);
}

static void invalid_timeouts(void)
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

static void unlimited_waits(void)
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

static void any_thread_may_release(void)
{
    threading_lock *lock = new_held_lock();
    struct call call;
    call_start(&call, release, lock);
    CHECK_CALL(&call, THREADING_OK);
    CHECK(!threading_lock_locked(lock));
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    CHECK_PTR(join_foreign(spawn_foreign(foreign_release, lock)), lock);
    /* A lock stays locked after the thread that acquired it has exited. */
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

static void held_may_be_freed(void)
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

struct late_acquire {
    threading_lock *lock;
    threading_event *calls_acquire;
};

static void *acquire_late(void *arg)
{
    struct late_acquire *late_acquire = arg;
    CHECK_STATUS(threading_event_set(late_acquire->calls_acquire), THREADING_OK);
    threading_status status = threading_lock_acquire(late_acquire->lock);
    CHECK(status == THREADING_OK || status == THREADING_ERR_HANDLE);
    return NULL;
}

/* The other thread has not yet called acquire, spins, is woken by the release, or is handed the lock. In none of these
 * cases is it blocked on the lock after the release, so the free succeeds. */
static void release_then_free_during_acquire(void)
{
    for (int i = 0; i < 300; i++) {
        struct late_acquire late_acquire = {.lock = new_held_lock(), .calls_acquire = threading_event_new()};
        CHECK(late_acquire.calls_acquire != NULL);
        threading_thread *thread = spawn(acquire_late, &late_acquire);
        CHECK_STATUS(threading_event_wait(late_acquire.calls_acquire), THREADING_OK);
        CHECK_STATUS(threading_sleep(i % 3 * 5e-5), THREADING_OK);
        CHECK_STATUS(threading_lock_release(late_acquire.lock), THREADING_OK);
        CHECK_STATUS(threading_lock_free(late_acquire.lock), THREADING_OK);
        join(thread);
        CHECK_STATUS(threading_event_free(late_acquire.calls_acquire), THREADING_OK);
    }
}

/* Threads that acquire and release the lock in a loop must not starve main. */
struct contention {
    threading_lock *lock;
    atomic_bool stop;
};

static void *acquire_in_a_loop(void *arg)
{
    struct contention *contention = arg;
    while (!atomic_load(&contention->stop)) {
        CHECK_STATUS(threading_lock_acquire(contention->lock), THREADING_OK);
        CHECK_STATUS(threading_lock_release(contention->lock), THREADING_OK);
    }
    return NULL;
}

static void loops_do_not_starve_others(void)
{
    struct contention contention = {.lock = new_lock()};
    threading_thread *threads[3];
    spawn_all(threads, acquire_in_a_loop, &contention);
    for (int i = 0; i < 100; i++) {
        CHECK_STATUS(threading_lock_acquire_timeout(contention.lock, TEST_LIMIT), THREADING_OK);
        CHECK_STATUS(threading_lock_release(contention.lock), THREADING_OK);
    }
    atomic_store(&contention.stop, true);
    join_all(threads);
    CHECK(!threading_lock_locked(contention.lock));
    free_lock(contention.lock);
}

static void timed_out_waiters_are_gone(void)
{
    threading_lock *lock = new_held_lock();
    struct call calls[8];
    for (size_t i = 0; i < TEST_COUNT(calls); i++)
        call_start(&calls[i], acquire_shortly, lock);
    for (size_t i = 0; i < TEST_COUNT(calls); i++)
        CHECK_CALL(&calls[i], THREADING_TIMED_OUT);
    /* The timed-out waiters must not receive the release, nor count as blocked threads. */
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

static void blocked_acquire_is_not_cancelled(void)
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
    const long turns = CONTEST_TURNS;
    unsigned turn = 0;
    for (long i = 0; i < turns; turn++) {
        if (acquire_by_turns(contest->lock, turn) != THREADING_OK)
            continue;
        contest->counter++;
        i++;
        CHECK_STATUS(threading_lock_release(contest->lock), THREADING_OK);
    }
    return NULL;
}

/* Writes before a release by one thread are visible after the next acquire by another. */
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
    {"a new lock is unlocked; acquire locks it and release unlocks it", new_is_unlocked},
    {"try_acquire of a locked lock is WOULD_BLOCK", try_acquire_of_locked},
    {"a second acquire by the thread that locked it blocks", second_acquire_blocks},
    {"acquire_timeout with a timeout of 0 tries once", timeout_zero_tries_once},
    {"acquire_timeout does not time out early", timeout_is_not_early},
    {"an invalid timeout is an error, whether the lock is locked or not", invalid_timeouts},
    {"acquire and the timeouts FOREVER, infinity and TIMEOUT_MAX wait until the release", unlimited_waits},
    {"a release of an unlocked lock is ERR_NOT_ACQUIRED", release_of_unlocked},
    {"any thread may release a lock", any_thread_may_release},
    {"one release admits one of several waiters", one_release_admits_one},
    {"a held lock may be freed", held_may_be_freed},
    {"a free of a lock on which a thread is blocked is ERR_BUSY and has no effect", busy_while_blocked},
    {"a lock may be freed right after the release that wakes its waiter", release_then_free},
    {"a lock may be freed right after a release while another thread acquires it", release_then_free_during_acquire},
    {"threads that acquire a lock in a loop do not starve another", loops_do_not_starve_others},
    {"waiters that timed out neither receive a release nor make the lock busy", timed_out_waiters_are_gone},
    {"at_fork_reinit unlocks a held lock", reinit_unlocks},
    {"a blocked acquire is not a cancellation point", blocked_acquire_is_not_cancelled},
    {"threads exclude each other under contention", excludes},
    {"writes before a release are visible after the next acquire", orders_memory},
};

TEST_MAIN(cases)
