/* Floating point: every function that takes seconds judges and converts them by their bits. No call raises a
 * floating-point exception, not for a signalling NaN or a subnormal number, in whatever mode the caller has set. */
#include "test.h"

#include <fenv.h>
#include <float.h>
#if defined(__x86_64__) || defined(__SSE2__)
#include <xmmintrin.h>
#endif

/* What a number of seconds is. */
enum kind { ZERO, SHORT, LONG, ENDLESS, NEGATIVE, NOT_A_NUMBER, TOO_LONG };

#define TIMEOUT_MAX_BITS UINT64_C(0x42012e0be8200000) /* 9223372036.0 */

static const struct {
    uint64_t bits;
    enum kind kind;
    const char *name;
} numbers[] = {
    {UINT64_C(0x0000000000000000), ZERO, "0"},
    {UINT64_C(0x8000000000000000), ZERO, "-0"},
    {UINT64_C(0x0000000000000001), SHORT, "the smallest subnormal"},
    {UINT64_C(0x000fffffffffffff), SHORT, "the largest subnormal"},
    {UINT64_C(0x0010000000000000), SHORT, "the smallest normal"},
    {UINT64_C(0x3d719799812dea11), SHORT, "1e-12"},
    {UINT64_C(0x3e112e0be826d695), SHORT, "1e-9"},
    {UINT64_C(0x3f50624dd2f1a9fc), SHORT, "0.001"},
    {UINT64_C(0x3f50624dd2f1a9fd), SHORT, "a little more than 0.001"},
    {UINT64_C(0x3ff8000000000000), LONG, "1.5"},
    {TIMEOUT_MAX_BITS - 1, LONG, "a little less than THREADING_TIMEOUT_MAX"},
    {TIMEOUT_MAX_BITS, LONG, "THREADING_TIMEOUT_MAX"},
    {TIMEOUT_MAX_BITS + 1, TOO_LONG, "a little more than THREADING_TIMEOUT_MAX"},
    {UINT64_C(0x7fefffffffffffff), TOO_LONG, "the largest number"},
    {UINT64_C(0x7ff0000000000000), ENDLESS, "infinity"},
    {UINT64_C(0xbff0000000000000), ENDLESS, "THREADING_FOREVER"},
    {UINT64_C(0xbff0000000000001), NEGATIVE, "a little less than THREADING_FOREVER"},
    {UINT64_C(0xbfefffffffffffff), NEGATIVE, "a little more than THREADING_FOREVER"},
    {UINT64_C(0x8000000000000001), NEGATIVE, "the smallest negative subnormal"},
    {UINT64_C(0x8010000000000000), NEGATIVE, "the smallest negative normal"},
    {UINT64_C(0xfff0000000000000), NEGATIVE, "-infinity"},
    {UINT64_C(0x7ff8000000000000), NOT_A_NUMBER, "NaN"},
    {UINT64_C(0xfff8000000000000), NOT_A_NUMBER, "-NaN"},
    {UINT64_C(0x7fffffffffffffff), NOT_A_NUMBER, "NaN with all bits"},
    {UINT64_C(0x7ff0000000000001), NOT_A_NUMBER, "a signalling NaN"},
    {UINT64_C(0xfff0000000000001), NOT_A_NUMBER, "a negative signalling NaN"},
    {UINT64_C(0x7ff7ffffffffffff), NOT_A_NUMBER, "a signalling NaN with many bits"},
};

static double number(uint64_t bits)
{
    double result;
    memcpy(&result, &bits, sizeof result);
    return result;
}

/* ------------------------------------------------------------------------------------------------ functions */

/* One of each, free for the caller or not. */
static struct {
    threading_lock *lock;
    threading_rlock *rlock;
    threading_condition *condition; /* its lock is the caller's */
    threading_condition *held;      /* its lock may be another thread's */
    threading_semaphore *semaphore;
    threading_event *event;
    threading_barrier *barrier;
    threading_thread *thread;
} objects;

static int is_true(void *answer)
{
    return answer != NULL;
}

static threading_status lock(double seconds, bool free)
{
    threading_status status = threading_lock_acquire_timeout(objects.lock, seconds);
    if (free && status == THREADING_OK)
        threading_lock_release(objects.lock);
    return status;
}

static threading_status rlock(double seconds, bool free)
{
    threading_status status = threading_rlock_acquire_timeout(objects.rlock, seconds);
    if (free && status == THREADING_OK)
        threading_rlock_release(objects.rlock);
    return status;
}

static threading_status condition_acquire(double seconds, bool free)
{
    threading_status status = threading_condition_acquire_timeout(objects.held, seconds);
    if (free && status == THREADING_OK)
        threading_condition_release(objects.held);
    return status;
}

static threading_status condition_wait(double seconds, bool free)
{
    (void)free;
    return threading_condition_wait_timeout(objects.condition, seconds);
}

static threading_status condition_wait_for(double seconds, bool free)
{
    return threading_condition_wait_for_timeout(objects.condition, is_true, free ? &objects : NULL, seconds);
}

static threading_status semaphore(double seconds, bool free)
{
    threading_status status = threading_semaphore_acquire_timeout(objects.semaphore, seconds);
    if (free && status == THREADING_OK)
        threading_semaphore_release(objects.semaphore);
    return status;
}

static threading_status event(double seconds, bool free)
{
    (void)free;
    return threading_event_wait_timeout(objects.event, seconds);
}

static threading_status barrier(double seconds, bool free)
{
    threading_status status = threading_barrier_wait_timeout(objects.barrier, seconds, NULL);
    if (!free)
        threading_barrier_reset(objects.barrier);
    return status == THREADING_ERR_BROKEN_BARRIER ? THREADING_TIMED_OUT : status;
}

static threading_status barrier_default(double seconds, bool free)
{
    threading_status status = threading_barrier_set_timeout(objects.barrier, seconds);
    if (status == THREADING_OK)
        status = threading_barrier_wait(objects.barrier, NULL);
    if (!free)
        threading_barrier_reset(objects.barrier);
    return status == THREADING_ERR_BROKEN_BARRIER ? THREADING_TIMED_OUT : status;
}

static threading_status thread_join(double seconds, bool free)
{
    (void)free;
    return threading_thread_join_timeout(objects.thread, seconds);
}

static threading_status module_sleep(double seconds, bool free)
{
    threading_status status = threading_sleep(seconds);
    return !free && status == THREADING_OK ? THREADING_TIMED_OUT : status;
}

static threading_status shutdown_for(double seconds, bool free)
{
    (void)free;
    return threading_shutdown_timeout(seconds);
}

static const struct function {
    const char *name;
    threading_status (*call)(double seconds, bool free);
    bool waits_always;
} functions[] = {
    {"threading_lock_acquire_timeout", lock, false},
    {"threading_rlock_acquire_timeout", rlock, false},
    {"threading_condition_acquire_timeout", condition_acquire, false},
    {"threading_condition_wait_timeout", condition_wait, true},
    {"threading_condition_wait_for_timeout", condition_wait_for, false},
    {"threading_semaphore_acquire_timeout", semaphore, false},
    {"threading_event_wait_timeout", event, false},
    {"threading_barrier_wait_timeout", barrier, false},
    {"threading_barrier_set_timeout", barrier_default, false},
    {"threading_thread_join_timeout", thread_join, false},
    {"threading_sleep", module_sleep, true},
    {"threading_shutdown_timeout", shutdown_for, false},
};

/* ---------------------------------------------------------------------------------------------------- modes */

static const int roundings[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};

static struct {
    const char *function, *number;
} making;

static void trapped(int signal)
{
    (void)signal;
    test_fail(__FILE__, __LINE__, "SIGFPE in %s of %s", making.function, making.number);
}

/* All exceptions end in trapped(); subnormal numbers count as zero, if that is possible. */
static void enter_mode(int rounding, bool flushes)
{
    CHECK_INT(fesetround(rounding), 0);
#if defined(__x86_64__) || defined(__SSE2__)
    if (flushes)
        _mm_setcsr(_mm_getcsr() | 0x8040);
#else
    (void)flushes;
#endif
    feclearexcept(FE_ALL_EXCEPT);
#if defined(__GLIBC__)
    feenableexcept(FE_ALL_EXCEPT);
#endif
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() & ~0x0102U); /* and so does a subnormal operand, which fenv.h does not know */
#endif
}

static void leave_mode(void)
{
#if defined(__x86_64__)
    unsigned raised = _mm_getcsr() & 0x3f;
#else
    int raised = fetestexcept(FE_ALL_EXCEPT);
#endif
    fesetenv(FE_DFL_ENV);
    if (raised != 0)
        test_fail(__FILE__, __LINE__, "%s of %s has raised %#x", making.function, making.number,
                  (unsigned)raised);
}

/* ---------------------------------------------------------------------------------------------------- cases */

static threading_status expected(enum kind kind, bool free)
{
    switch (kind) {
    case NEGATIVE:
    case NOT_A_NUMBER:
        return THREADING_ERR_VALUE;
    case TOO_LONG:
        return THREADING_ERR_OVERFLOW;
    default:
        return free ? THREADING_OK : THREADING_TIMED_OUT;
    }
}

static void try_all(const struct function *function, bool free)
{
    for (size_t i = 0; i < TEST_COUNT(numbers); i++)
        for (size_t mode = 0; mode < 2 * TEST_COUNT(roundings); mode++) {
            double seconds = number(numbers[i].bits);
            bool waits = !free || function->waits_always;
            threading_status status, wanted;
            if (waits && (numbers[i].kind == LONG || numbers[i].kind == ENDLESS))
                continue;
            making.function = function->name;
            making.number = numbers[i].name;
            enter_mode(roundings[mode / 2], mode % 2 != 0);
            status = function->call(seconds, free);
            leave_mode();
            wanted = expected(numbers[i].kind, free && (!function->waits_always || function->call == module_sleep));
            if (status != wanted)
                test_fail(__FILE__, __LINE__, "%s of %s is %s, expected %s", function->name, numbers[i].name,
                          threading_status_name(status), threading_status_name(wanted));
        }
}

static void *wait_for_end(void *end)
{
    CHECK_STATUS(threading_event_wait(end), THREADING_OK);
    return NULL;
}

/* Holds everything until the event. */
static void *hold(void *arg)
{
    threading_event **events = arg;
    CHECK_STATUS(threading_lock_acquire(objects.lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(objects.rlock), THREADING_OK);
    CHECK_STATUS(threading_condition_acquire(objects.held), THREADING_OK);
    CHECK_STATUS(threading_event_set(events[0]), THREADING_OK);
    CHECK_STATUS(threading_event_wait(events[1]), THREADING_OK);
    CHECK_STATUS(threading_lock_release(objects.lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(objects.rlock), THREADING_OK);
    CHECK_STATUS(threading_condition_release(objects.held), THREADING_OK);
    return NULL;
}

static void in_all_modes(void)
{
    threading_event *events[2] = {threading_event_new(), threading_event_new()};
    threading_thread *holder;
    CHECK(signal(SIGFPE, trapped) != SIG_ERR);
    CHECK((objects.lock = threading_lock_new()) != NULL && (objects.rlock = threading_rlock_new()) != NULL);
    CHECK((objects.held = threading_condition_new()) != NULL);
    CHECK((objects.condition = threading_condition_new()) != NULL);
    CHECK_STATUS(threading_condition_acquire(objects.condition), THREADING_OK);
    CHECK((objects.thread = threading_thread_new(wait_for_end, events[1])) != NULL);
    CHECK_STATUS(threading_thread_start(objects.thread), THREADING_OK);
    CHECK((objects.semaphore = threading_semaphore_new(0)) != NULL);
    CHECK((objects.event = threading_event_new()) != NULL);
    CHECK((objects.barrier = threading_barrier_new(2, NULL, NULL)) != NULL);
    holder = spawn(hold, events);
    CHECK_STATUS(threading_event_wait_timeout(events[0], TEST_LIMIT), THREADING_OK);
    for (size_t i = 0; i < TEST_COUNT(functions); i++)
        try_all(&functions[i], false);

    CHECK_STATUS(threading_event_set(events[1]), THREADING_OK);
    join(holder);
    CHECK_STATUS(threading_thread_join_timeout(objects.thread, TEST_LIMIT), THREADING_OK);
    CHECK_STATUS(threading_semaphore_release(objects.semaphore), THREADING_OK);
    CHECK_STATUS(threading_event_set(objects.event), THREADING_OK);
    CHECK_STATUS(threading_barrier_free(objects.barrier), THREADING_OK);
    CHECK((objects.barrier = threading_barrier_new(1, NULL, NULL)) != NULL);
    for (size_t i = 0; i < TEST_COUNT(functions); i++)
        if (functions[i].call != shutdown_for) /* after which nothing starts any more */
            try_all(&functions[i], true);
}

static void *fire(void *event)
{
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    return NULL;
}

static void timers_in_all_modes(void)
{
    threading_event *fired = threading_event_new();
    CHECK(signal(SIGFPE, trapped) != SIG_ERR && fired != NULL);
    for (size_t i = 0; i < TEST_COUNT(numbers); i++)
        for (size_t mode = 0; mode < 2 * TEST_COUNT(roundings); mode++) {
            double seconds = number(numbers[i].bits), interval = 0;
            enum kind kind = numbers[i].bits == UINT64_C(0xbff0000000000000) ? NEGATIVE : numbers[i].kind;
            threading_status started = THREADING_OK, last;
            threading_timer *timer;
            making.function = "threading_timer_new";
            making.number = numbers[i].name;
            threading_clear_last_error();
            enter_mode(roundings[mode / 2], mode % 2 != 0);
            timer = threading_timer_new(seconds, fire, fired);
            last = threading_last_error();
            if (timer != NULL) {
                interval = threading_timer_interval(timer);
                started = threading_timer_start(timer);
            }
            leave_mode();
            if (kind == NOT_A_NUMBER || kind == TOO_LONG) {
                CHECK_PTR(timer, NULL);
                CHECK_INT(last, expected(kind, true));
                continue;
            }
            CHECK(timer != NULL && memcmp(&interval, &seconds, sizeof interval) == 0);
            CHECK_RESULT(started, THREADING_OK);
            if (kind == LONG || kind == ENDLESS) {
                CHECK_STATUS(threading_timer_cancel(timer), THREADING_OK);
            } else {
                CHECK_STATUS(threading_event_wait_timeout(fired, TEST_LIMIT), THREADING_OK);
                CHECK_STATUS(threading_event_clear(fired), THREADING_OK);
            }
            CHECK_STATUS(threading_thread_join_timeout(threading_timer_thread(timer), TEST_LIMIT), THREADING_OK);
            CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
        }
    CHECK_STATUS(threading_event_free(fired), THREADING_OK);
}

static int64_t nanoseconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

/* In each mode a wait is as long as was asked for. */
static void waits_are_as_long(void)
{
    threading_event *event = threading_event_new();
    CHECK(signal(SIGFPE, trapped) != SIG_ERR && event != NULL);
    making.function = "threading_event_wait_timeout";
    making.number = "0.02";
    for (size_t mode = 0; mode < 2 * TEST_COUNT(roundings); mode++) {
        threading_status status;
        int64_t begin, end;
        enter_mode(roundings[mode / 2], mode % 2 != 0);
        begin = nanoseconds();
        status = threading_event_wait_timeout(event, 0.02);
        end = nanoseconds();
        leave_mode();
        CHECK_RESULT(status, THREADING_TIMED_OUT);
        CHECK(end - begin >= 20000000);
    }
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

static const struct test_case cases[] = {
    {"timers take any interval without a floating-point exception, and return its bits", timers_in_all_modes},
    {"a wait lasts as long as was asked for in all rounding modes", waits_are_as_long},
    {"all functions take any seconds without a floating-point exception, in all modes", in_all_modes},
};

TEST_MAIN(cases)
