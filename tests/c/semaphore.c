/* Semaphore: a value that acquire decrements and release increments. */
#include "stepwise.h"
#include "test.h"

static threading_semaphore *new_semaphore(int64_t value)
{
    threading_semaphore *semaphore = threading_semaphore_new(value);
    CHECK(semaphore != NULL);
    return semaphore;
}

static threading_semaphore *new_bounded(int64_t value)
{
    threading_semaphore *semaphore = threading_semaphore_new_bounded(value);
    CHECK(semaphore != NULL);
    return semaphore;
}

static void free_semaphore(threading_semaphore *semaphore)
{
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
}

static threading_status acquire(void *semaphore)
{
    return threading_semaphore_acquire(semaphore);
}

static threading_status acquire_infinity(void *semaphore)
{
    return threading_semaphore_acquire_timeout(semaphore, INFINITY);
}

static threading_status acquire_forever(void *semaphore)
{
    return threading_semaphore_acquire_timeout(semaphore, THREADING_FOREVER);
}

static threading_status acquire_max(void *semaphore)
{
    return threading_semaphore_acquire_timeout(semaphore, THREADING_TIMEOUT_MAX);
}

static threading_status acquire_shortly(void *semaphore)
{
    return threading_semaphore_acquire_timeout(semaphore, 0.01);
}

static void initial_value_in_range(void)
{
    static const int64_t good[] = {0, 1, 5, THREADING_SEMAPHORE_MAX};
    for (size_t i = 0; i < TEST_COUNT(good); i++) {
        threading_semaphore *plain = new_semaphore(good[i]), *bounded = new_bounded(good[i]);
        CHECK_INT(threading_semaphore_value(plain), good[i]);
        CHECK_INT(threading_semaphore_value(bounded), good[i]);
        free_semaphore(plain);
        free_semaphore(bounded);
    }
}

static void initial_value_out_of_range(void)
{
    CHECK_INT(THREADING_SEMAPHORE_MAX, 2147483647);
    CHECK_FAILS(threading_semaphore_new(-1), THREADING_ERR_VALUE);
    CHECK_FAILS(threading_semaphore_new(INT64_MIN), THREADING_ERR_VALUE);
    CHECK_FAILS(threading_semaphore_new_bounded(-1), THREADING_ERR_VALUE);
    CHECK_FAILS(threading_semaphore_new_bounded(INT64_MIN), THREADING_ERR_VALUE);
    CHECK_FAILS(threading_semaphore_new((int64_t)THREADING_SEMAPHORE_MAX + 1), THREADING_ERR_OVERFLOW);
    CHECK_FAILS(threading_semaphore_new(INT64_C(1) << 32), THREADING_ERR_OVERFLOW);
    CHECK_FAILS(threading_semaphore_new(INT64_MAX), THREADING_ERR_OVERFLOW);
    CHECK_FAILS(threading_semaphore_new_bounded((int64_t)THREADING_SEMAPHORE_MAX + 1),
                  THREADING_ERR_OVERFLOW);
    CHECK_FAILS(threading_semaphore_new_bounded(INT64_MAX), THREADING_ERR_OVERFLOW);
}

static void acquire_and_release(void)
{
    threading_semaphore *semaphore = new_semaphore(3);
    CHECK_STATUS_KEEPS_ERROR(threading_semaphore_acquire(semaphore), THREADING_OK);
    CHECK_INT(threading_semaphore_value(semaphore), 2);
    CHECK_STATUS_KEEPS_ERROR(threading_semaphore_try_acquire(semaphore), THREADING_OK);
    CHECK_INT(threading_semaphore_value(semaphore), 1);
    CHECK_STATUS_KEEPS_ERROR(threading_semaphore_acquire_timeout(semaphore, 0), THREADING_OK);
    threading_clear_last_error();
    CHECK_INT(threading_semaphore_value(semaphore), 0);
    CHECK_LAST_ERROR(THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_semaphore_release(semaphore), THREADING_OK);
    CHECK_INT(threading_semaphore_value(semaphore), 1);
    CHECK_STATUS_KEEPS_ERROR(threading_semaphore_release_n(semaphore, 5), THREADING_OK);
    CHECK_INT(threading_semaphore_value(semaphore), 6);
    free_semaphore(semaphore);
}

static void acquire_at_zero(void)
{
    threading_semaphore *kinds[] = {new_semaphore(0), new_bounded(0)};
    for (size_t i = 0; i < TEST_COUNT(kinds); i++) {
        CHECK_STATUS_KEEPS_ERROR(threading_semaphore_try_acquire(kinds[i]), THREADING_WOULD_BLOCK);
        CHECK_STATUS_KEEPS_ERROR(threading_semaphore_acquire_timeout(kinds[i], 0), THREADING_TIMED_OUT);
        CHECK_STATUS(threading_semaphore_acquire_timeout(kinds[i], 5e-324), THREADING_TIMED_OUT);
        CHECK_INT(threading_semaphore_value(kinds[i]), 0);
        free_semaphore(kinds[i]);
    }
}

static void timeout_is_not_early(void)
{
    static const double seconds[] = {1e-9, 0.0005, 0.02, 0.15};
    threading_semaphore *semaphore = new_semaphore(0);
    for (size_t i = 0; i < TEST_COUNT(seconds); i++) {
        double start = now();
        CHECK_STATUS_KEEPS_ERROR(threading_semaphore_acquire_timeout(semaphore, seconds[i]),
                                 THREADING_TIMED_OUT);
        CHECK_AT_LEAST(now() - start, seconds[i]);
    }
    free_semaphore(semaphore);
}

static void invalid_timeouts(void)
{
    threading_semaphore *semaphore = new_semaphore(1);
    CHECK_BAD_TIMEOUTS(threading_semaphore_acquire_timeout(semaphore, seconds));
    CHECK_INT(threading_semaphore_value(semaphore), 1);
    CHECK_STATUS(threading_semaphore_acquire(semaphore), THREADING_OK);
    CHECK_BAD_TIMEOUTS(threading_semaphore_acquire_timeout(semaphore, seconds));
    CHECK_INT(threading_semaphore_value(semaphore), 0);
    free_semaphore(semaphore);
}

static void unlimited_waits(void)
{
    threading_status (*const calls[])(void *) = {acquire, acquire_infinity, acquire_forever, acquire_max};
    for (size_t i = 0; i < TEST_COUNT(calls); i++) {
        threading_semaphore *semaphore = new_semaphore(0);
        struct call call;
        call_blocked(&call, calls[i], semaphore);
        CHECK(call_still_blocked(&call));
        CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_OK);
        CHECK_CALL(&call, THREADING_OK);
        CHECK_INT(threading_semaphore_value(semaphore), 0);
        free_semaphore(semaphore);
    }
}

static void release_of_less_than_one(void)
{
    threading_semaphore *kinds[] = {new_semaphore(2), new_bounded(2)};
    for (size_t i = 0; i < TEST_COUNT(kinds); i++) {
        CHECK_STATUS(threading_semaphore_acquire(kinds[i]), THREADING_OK);
        CHECK_STATUS(threading_semaphore_release_n(kinds[i], 0), THREADING_ERR_VALUE);
        CHECK_STATUS(threading_semaphore_release_n(kinds[i], -1), THREADING_ERR_VALUE);
        CHECK_STATUS(threading_semaphore_release_n(kinds[i], INT64_MIN), THREADING_ERR_VALUE);
        /* -2**32 + 1, which is 1 if truncated to 32 bits. */
        CHECK_STATUS(threading_semaphore_release_n(kinds[i], -INT64_C(4294967295)), THREADING_ERR_VALUE);
        CHECK_INT(threading_semaphore_value(kinds[i]), 1);
        free_semaphore(kinds[i]);
    }
}

static void release_past_the_maximum(void)
{
    threading_semaphore *semaphore = new_semaphore(THREADING_SEMAPHORE_MAX - 1);
    CHECK_STATUS(threading_semaphore_release_n(semaphore, 2), THREADING_ERR_OVERFLOW);
    CHECK_STATUS(threading_semaphore_release_n(semaphore, THREADING_SEMAPHORE_MAX), THREADING_ERR_OVERFLOW);
    CHECK_STATUS(threading_semaphore_release_n(semaphore, INT64_C(1) << 32), THREADING_ERR_OVERFLOW);
    CHECK_STATUS(threading_semaphore_release_n(semaphore, INT64_MAX), THREADING_ERR_OVERFLOW);
    CHECK_INT(threading_semaphore_value(semaphore), THREADING_SEMAPHORE_MAX - 1);
    CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_OK);
    CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_ERR_OVERFLOW);
    CHECK_INT(threading_semaphore_value(semaphore), THREADING_SEMAPHORE_MAX);
    CHECK_STATUS(threading_semaphore_acquire(semaphore), THREADING_OK);
    CHECK_INT(threading_semaphore_value(semaphore), THREADING_SEMAPHORE_MAX - 1);
    free_semaphore(semaphore);
}

static void over_release_of_bounded(void)
{
    threading_semaphore *semaphore = new_bounded(4);
    CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_ERR_OVER_RELEASED);
    CHECK_INT(threading_semaphore_value(semaphore), 4);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(threading_semaphore_acquire(semaphore), THREADING_OK);
    CHECK_STATUS(threading_semaphore_release_n(semaphore, 4), THREADING_ERR_OVER_RELEASED);
    CHECK_STATUS(threading_semaphore_release_n(semaphore, 1000), THREADING_ERR_OVER_RELEASED);
    CHECK_INT(threading_semaphore_value(semaphore), 1);
    CHECK_STATUS(threading_semaphore_release_n(semaphore, 3), THREADING_OK);
    CHECK_INT(threading_semaphore_value(semaphore), 4);
    free_semaphore(semaphore);
    semaphore = new_bounded(0);
    CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_ERR_OVER_RELEASED);
    CHECK_INT(threading_semaphore_value(semaphore), 0);
    free_semaphore(semaphore);
}

static void failed_release_wakes_none(void)
{
    threading_semaphore *semaphore = new_bounded(1);
    struct call call;
    CHECK_STATUS(threading_semaphore_acquire(semaphore), THREADING_OK);
    call_blocked(&call, acquire, semaphore);
    CHECK_STATUS(threading_semaphore_release_n(semaphore, 2), THREADING_ERR_OVER_RELEASED);
    CHECK_STATUS(threading_semaphore_release_n(semaphore, 0), THREADING_ERR_VALUE);
    CHECK(call_still_blocked(&call));
    CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_OK);
    CHECK_CALL(&call, THREADING_OK);
    CHECK_INT(threading_semaphore_value(semaphore), 0);
    free_semaphore(semaphore);
}

static size_t count_returned(struct call *calls, size_t count)
{
    size_t returned = 0;
    for (size_t i = 0; i < count; i++)
        returned += (size_t)atomic_load(&calls[i].returned);
    return returned;
}

/* Waits until n of the calls have returned, and checks that no further one does. */
static void check_returned(struct call *calls, size_t count, size_t n)
{
    double end = now() + TEST_LIMIT;
    while (count_returned(calls, count) < n && now() < end)
        sleep_for(0.001);
    sleep_for(0.03);
    CHECK_INT(count_returned(calls, count), n);
}

static void release_n_admits_n(void)
{
    threading_semaphore *semaphore = new_semaphore(0);
    struct call calls[6];
    for (size_t i = 0; i < TEST_COUNT(calls); i++)
        call_blocked(&calls[i], acquire, semaphore);
    CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_OK);
    check_returned(calls, TEST_COUNT(calls), 1);
    CHECK_STATUS(threading_semaphore_release_n(semaphore, 3), THREADING_OK);
    check_returned(calls, TEST_COUNT(calls), 4);
    CHECK_INT(threading_semaphore_value(semaphore), 0);
    CHECK_STATUS(threading_semaphore_release_n(semaphore, 5), THREADING_OK);
    check_returned(calls, TEST_COUNT(calls), 6);
    for (size_t i = 0; i < TEST_COUNT(calls); i++)
        CHECK_CALL(&calls[i], THREADING_OK);
    CHECK_INT(threading_semaphore_value(semaphore), 3);
    free_semaphore(semaphore);
}

static void *foreign_release(void *semaphore)
{
    CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_OK);
    return NULL;
}

static void any_thread_may_release(void)
{
    threading_semaphore *semaphore = new_bounded(2);
    CHECK_STATUS(threading_semaphore_acquire(semaphore), THREADING_OK);
    CHECK_STATUS(threading_semaphore_acquire(semaphore), THREADING_OK);
    join(spawn(foreign_release, semaphore));
    join_foreign(spawn_foreign(foreign_release, semaphore));
    CHECK_INT(threading_semaphore_value(semaphore), 2);
    free_semaphore(semaphore);
}

static void timed_out_waiters_are_gone(void)
{
    threading_semaphore *semaphore = new_semaphore(0);
    struct call calls[8];
    for (size_t i = 0; i < TEST_COUNT(calls); i++)
        call_start(&calls[i], acquire_shortly, semaphore);
    for (size_t i = 0; i < TEST_COUNT(calls); i++)
        CHECK_CALL(&calls[i], THREADING_TIMED_OUT);
    CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_OK);
    CHECK_INT(threading_semaphore_value(semaphore), 1);
    CHECK_STATUS(threading_semaphore_try_acquire(semaphore), THREADING_OK);
    free_semaphore(semaphore);
}

static void busy_while_blocked(void)
{
    threading_semaphore *semaphore = new_semaphore(0);
    struct call call;
    CHECK_PTR(threading_semaphore_ref(semaphore), semaphore);
    call_blocked(&call, acquire, semaphore);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_ERR_BUSY);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_ERR_BUSY);
    CHECK_INT(threading_semaphore_value(semaphore), 0);
    CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_OK);
    CHECK_CALL(&call, THREADING_OK);
    free_semaphore(semaphore);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_ERR_HANDLE);
}

static void release_then_free(void)
{
    for (int i = 0; i < 20; i++) {
        threading_semaphore *semaphore = new_semaphore(0);
        struct call calls[3];
        for (size_t k = 0; k < TEST_COUNT(calls); k++)
            call_blocked(&calls[k], acquire, semaphore);
        CHECK_STATUS(threading_semaphore_release_n(semaphore, 3), THREADING_OK);
        CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
        for (size_t k = 0; k < TEST_COUNT(calls); k++)
            CHECK_CALL(&calls[k], THREADING_OK);
        CHECK_FAILS(threading_semaphore_value(semaphore), THREADING_ERR_HANDLE);
    }
}

/* When the generations of all slots of a block have been used, the library returns the block's memory to the system. A
 * woken waiter must not access it. */
static void release_then_free_in_last_slots(void)
{
    enum { OBJECTS = 64300 }; /* a block serves 1023 * 63 objects in its lifetime */
    const int rounds = test_many(300);
    for (int i = 0; i < OBJECTS; i++)
        CHECK_STATUS(threading_semaphore_free(new_semaphore(0)), THREADING_OK);
    for (int i = 0; i < rounds; i++) {
        threading_semaphore *semaphore = new_semaphore(0);
        struct call call;
        call_blocked(&call, acquire, semaphore);
        CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_OK);
        CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
        CHECK_CALL(&call, THREADING_OK);
    }
}

/* Threads acquire and release permits with each of the calls; `inside` is the number of threads that hold a permit. */
struct holders {
    threading_semaphore *semaphore;
    atomic_int inside;
    int limit, turns;
};

static void *hold_permits(void *arg)
{
    struct holders *holders = arg;
    unsigned turn = 0;
    for (int i = 0; i < holders->turns; turn++) {
        threading_semaphore *s = holders->semaphore;
        threading_status status = turn % 3 == 0   ? threading_semaphore_acquire(s)
                                  : turn % 3 == 1 ? threading_semaphore_try_acquire(s)
                                                  : threading_semaphore_acquire_timeout(s, 1e-5);
        if (status != THREADING_OK) {
            CHECK_RESULT(status, turn % 3 == 1 ? THREADING_WOULD_BLOCK : THREADING_TIMED_OUT);
            continue;
        }
        CHECK(atomic_fetch_add(&holders->inside, 1) < holders->limit);
        i++;
        atomic_fetch_sub(&holders->inside, 1);
        if (turn % 2 == 0)
            CHECK_STATUS(threading_semaphore_release(holders->semaphore), THREADING_OK);
        else
            CHECK_STATUS(threading_semaphore_release_n(holders->semaphore, 1), THREADING_OK);
    }
    return NULL;
}

static void holders_never_exceed_value(void)
{
    for (int limit = 1; limit <= 3; limit++) {
        struct holders holders = {.semaphore = new_bounded(limit), .limit = limit, .turns = 10000};
        threading_thread *threads[5];
        pthread_t foreign = spawn_foreign(hold_permits, &holders);
        spawn_all(threads, hold_permits, &holders);
        join_all(threads);
        join_foreign(foreign);
        CHECK_INT(threading_semaphore_value(holders.semaphore), limit);
        free_semaphore(holders.semaphore);
    }
}

/* One thread releases permits in portions, and the others acquire each permit once. Writes before a release are visible
 * after the acquire of a permit that it released. */
struct stream {
    threading_semaphore *semaphore;
    atomic_long acquired;
    long total;
    unsigned char written[50000];
};

static void *consume_permits(void *arg)
{
    struct stream *stream = arg;
    for (;;) {
        long permit;
        CHECK_STATUS(threading_semaphore_acquire(stream->semaphore), THREADING_OK);
        permit = atomic_fetch_add_explicit(&stream->acquired, 1, memory_order_acq_rel);
        if (permit >= stream->total)
            return NULL;
        CHECK_INT(stream->written[permit], 1);
    }
}

static void each_permit_is_acquired_once(void)
{
    static struct stream stream;
    threading_thread *threads[4];
    stream = (struct stream){.semaphore = new_semaphore(0), .total = sizeof stream.written};
    spawn_all(threads, consume_permits, &stream);
    for (long given = 0, portion = 1; given < stream.total; given += portion, portion = 1 + given % 7) {
        if (portion > stream.total - given)
            portion = stream.total - given;
        memset(stream.written + given, 1, (size_t)portion);
        CHECK_STATUS(threading_semaphore_release_n(stream.semaphore, portion), THREADING_OK);
    }
    CHECK_STATUS(threading_semaphore_release_n(stream.semaphore, TEST_COUNT(threads)), THREADING_OK);
    join_all(threads);
    CHECK_INT(threading_semaphore_value(stream.semaphore), 0);
    free_semaphore(stream.semaphore);
}

#ifdef STEPWISE
static threading_lock *shared_lock;

static void *semaphore_for_waking_call(void)
{
    return threading_semaphore_new(0);
}

static threading_status release_for_waking_call(void *semaphore)
{
    return threading_semaphore_release(semaphore);
}

static threading_status free_for_waking_call(void *semaphore)
{
    return threading_semaphore_free(semaphore);
}

static void *condition_with_shared_lock(void)
{
    return threading_condition_new_with_lock(shared_lock);
}

static void check_and_free_condition(void *condition)
{
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
    CHECK_STATUS(threading_condition_free(condition), THREADING_OK);
}

static void freed_during_a_release(void)
{
    shared_lock = threading_lock_new();
    check_freed_during_waking_call(&(struct waking_call){
        semaphore_for_waking_call, acquire, release_for_waking_call, free_for_waking_call, condition_with_shared_lock,
        check_and_free_condition});
    CHECK_STATUS(threading_lock_free(shared_lock), THREADING_OK);
}
#endif

static const struct test_case cases[] = {
    {"the initial value may be any value from 0 to the maximum", initial_value_in_range},
    {"an initial value below 0 is ERR_VALUE, one above the maximum is ERR_OVERFLOW", initial_value_out_of_range},
    {"acquire decrements the value, release and release_n increment it", acquire_and_release},
    {"at value 0, try_acquire is WOULD_BLOCK and a timeout of 0 is TIMED_OUT", acquire_at_zero},
    {"acquire_timeout does not time out early", timeout_is_not_early},
    {"an invalid timeout is an error, whether the value is 0 or not", invalid_timeouts},
    {"acquire and the timeouts FOREVER, infinity and TIMEOUT_MAX wait until the release", unlimited_waits},
    {"a release of less than one permit is ERR_VALUE", release_of_less_than_one},
    {"a release past the maximum is ERR_OVERFLOW and leaves the value unchanged", release_past_the_maximum},
    {"a release past the bound is ERR_OVER_RELEASED and leaves the value unchanged", over_release_of_bounded},
    {"a release that fails wakes no waiter", failed_release_wakes_none},
    {"release_n admits n waiters", release_n_admits_n},
    {"any thread may release a semaphore", any_thread_may_release},
    {"waiters that timed out do not consume a release", timed_out_waiters_are_gone},
    {"a free of a semaphore on which a thread is blocked is ERR_BUSY and has no effect", busy_while_blocked},
    {"a semaphore may be freed right after the release that wakes its waiters", release_then_free},
    {"a semaphore may be freed right after the release even if its block is returned to the system",
     release_then_free_in_last_slots},
    {"the number of threads that hold a permit never exceeds the initial value", holders_never_exceed_value},
    {"each released permit is acquired once, and writes before the release are visible", each_permit_is_acquired_once},
#ifdef STEPWISE
    {"a release does not write to the memory of a semaphore that is freed during the call", freed_during_a_release},
#endif
};

TEST_MAIN(cases)
