/* Waits where the system does not permit threads to park. */
#include "sandbox.h"

#if defined(HAS_FILTERS)
static void *pause_forever(void *arg)
{
    for (;;)
        pause();
    return arg;
}

static void check_waits_without_futex(void)
{
    const double seconds = 0.02;
    threading_lock *lock = threading_lock_new();
    threading_condition *condition = threading_condition_new();
    threading_semaphore *semaphore = threading_semaphore_new(0);
    threading_event *event = threading_event_new();
    threading_barrier *barrier = threading_barrier_new(2, NULL, NULL);
    threading_thread *thread = threading_thread_new(pause_forever, NULL);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    block_system_call(SYS_futex);
    for (int i = 0; i < 2; i++) {
        double start = now();
        CHECK_STATUS(threading_lock_acquire_timeout(lock, seconds), THREADING_TIMED_OUT);
        CHECK_STATUS(threading_condition_wait_timeout(condition, seconds), THREADING_TIMED_OUT);
        CHECK_STATUS(threading_semaphore_acquire_timeout(semaphore, seconds), THREADING_TIMED_OUT);
        CHECK_STATUS(threading_event_wait_timeout(event, seconds), THREADING_TIMED_OUT);
        CHECK_STATUS(threading_barrier_wait_timeout(barrier, seconds, NULL), THREADING_ERR_BROKEN_BARRIER);
        CHECK_STATUS(threading_barrier_reset(barrier), THREADING_OK);
        CHECK_STATUS(threading_thread_join_timeout(thread, seconds), THREADING_TIMED_OUT);
        CHECK_STATUS(threading_sleep(seconds), THREADING_OK);
        CHECK(now() - start >= 7 * seconds);
    }
}
#endif

static void waits_without_futex(void)
{
#if defined(HAS_FILTERS)
    if (TEST_SANITIZED || test_slowness() != 1 || is_portable_backend())
        SKIP("the tool, or the portable backend, needs its system calls");
    if (run_in_child(check_waits_without_futex))
        return;
#endif
    SKIP("the system has no filters of system calls");
}

static const struct test_case cases[] = {
    {"a timed wait ends at its deadline where the system does not permit threads to park", waits_without_futex},
};

TEST_MAIN(cases)
