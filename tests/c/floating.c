/* Floating point: functions that take seconds inspect and convert the bits of the number. No call raises a
 * floating-point exception, even for a signalling NaN or a subnormal number, in any rounding mode and with any traps
 * enabled. */
#include "test.h"

#include <fenv.h>
#include <float.h>
#include <sys/mman.h>
#if defined(__x86_64__) || defined(__SSE2__)
#include <xmmintrin.h>
#endif

/* The category of a number of seconds, which decides what a call returns. */
enum category { ZERO, SHORT, LONG, INFINITE, NEGATIVE, NOT_A_NUMBER, TOO_LONG };

#define TIMEOUT_MAX_BITS UINT64_C(0x42012e0be8200000) /* 9223372036.0 */

static const struct {
    uint64_t bits;
    enum category category;
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
    {UINT64_C(0x7ff0000000000000), INFINITE, "infinity"},
    {UINT64_C(0xbff0000000000000), INFINITE, "THREADING_FOREVER"},
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

/* One object of each kind. The main thread can acquire or wait for all of them without blocking, or for none. */
static struct {
    threading_lock *lock;
    threading_rlock *rlock;
    threading_condition *condition; /* the main thread holds its lock */
    threading_condition *held;      /* another thread may hold its lock */
    threading_semaphore *semaphore;
    threading_event *event;
    threading_barrier *barrier;
    threading_thread *thread;
} objects;

static int is_not_null(void *pointer)
{
    return pointer != NULL;
}

#define ACQUIRE(name, kind, object)                                                                     \
    static threading_status name(double seconds, bool available)                                        \
    {                                                                                                   \
        threading_status status = threading_##kind##_acquire_timeout(objects.object, seconds);          \
        if (available && status == THREADING_OK)                                                        \
            threading_##kind##_release(objects.object);                                                 \
        return status;                                                                                  \
    }
ACQUIRE(lock, lock, lock)
ACQUIRE(rlock, rlock, rlock)
ACQUIRE(condition_acquire, condition, held)
ACQUIRE(semaphore, semaphore, semaphore)

static threading_status condition_wait(double seconds, bool available)
{
    (void)available;
    return threading_condition_wait_timeout(objects.condition, seconds);
}

static threading_status condition_wait_for(double seconds, bool available)
{
    return threading_condition_wait_for_timeout(objects.condition, is_not_null, available ? &objects : NULL, seconds);
}

static threading_status event(double seconds, bool available)
{
    (void)available;
    return threading_event_wait_timeout(objects.event, seconds);
}

static threading_status barrier(double seconds, bool available)
{
    threading_status status = threading_barrier_wait_timeout(objects.barrier, seconds, NULL);
    if (!available)
        threading_barrier_reset(objects.barrier);
    return status == THREADING_ERR_BROKEN_BARRIER ? THREADING_TIMED_OUT : status;
}

static threading_status barrier_default(double seconds, bool available)
{
    threading_status status = threading_barrier_set_timeout(objects.barrier, seconds);
    if (status == THREADING_OK)
        status = threading_barrier_wait(objects.barrier, NULL);
    if (!available)
        threading_barrier_reset(objects.barrier);
    return status == THREADING_ERR_BROKEN_BARRIER ? THREADING_TIMED_OUT : status;
}

static threading_status thread_join(double seconds, bool available)
{
    (void)available;
    return threading_thread_join_timeout(objects.thread, seconds);
}

static threading_status module_sleep(double seconds, bool available)
{
    threading_status status = threading_sleep(seconds);
    return !available && status == THREADING_OK ? THREADING_TIMED_OUT : status;
}

static threading_status shutdown_for(double seconds, bool available)
{
    (void)available;
    return threading_shutdown_timeout(seconds);
}

static void ignore_hang(int kind, const char *report, void *arg)
{
    (void)kind, (void)report, (void)arg;
}

static threading_status hang_hook(double seconds, bool available)
{
    threading_status status = threading_set_hang_hook(seconds, ignore_hang, NULL);
    return !available && status == THREADING_OK ? THREADING_TIMED_OUT : status;
}

static const struct function {
    const char *name;
    threading_status (*call)(double seconds, bool available);
    bool always_waits;
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
    {"threading_set_hang_hook", hang_hook, false},
};

/* ---------------------------------------------------------------------------------------------------- modes */

static const int roundings[] = {FE_TONEAREST, FE_UPWARD, FE_DOWNWARD, FE_TOWARDZERO};

static struct {
    const char *function, *number;
} current;

static void fail_at_sigfpe(int signal)
{
    (void)signal;
    test_fail(__FILE__, __LINE__, "SIGFPE in %s(%s)", current.function, current.number);
}

/* Sets the rounding mode and enables the traps of all exceptions, where possible. With `flush_subnormals` the CPU
 * treats subnormal numbers as zero. */
static void enter_mode(int rounding, bool flush_subnormals)
{
    CHECK_INT(fesetround(rounding), 0);
#if defined(__x86_64__) || defined(__SSE2__)
    if (flush_subnormals)
        _mm_setcsr(_mm_getcsr() | 0x8040);
#else
    (void)flush_subnormals;
#endif
    feclearexcept(FE_ALL_EXCEPT);
#if defined(__GLIBC__)
    feenableexcept(FE_ALL_EXCEPT);
#endif
#if defined(__x86_64__)
    _mm_setcsr(_mm_getcsr() & ~0x0102U); /* also trap subnormal operands, which fenv.h does not cover */
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
        test_fail(__FILE__, __LINE__, "%s(%s) raised %#x", current.function, current.number,
                  (unsigned)raised);
}

/* ---------------------------------------------------------------------------------------------------- cases */

static threading_status expected(enum category category, bool available)
{
    switch (category) {
    case NEGATIVE:
    case NOT_A_NUMBER:
        return THREADING_ERR_VALUE;
    case TOO_LONG:
        return THREADING_ERR_OVERFLOW;
    default:
        return available ? THREADING_OK : THREADING_TIMED_OUT;
    }
}

static void call_with_all_numbers(const struct function *function, bool available)
{
    for (size_t i = 0; i < TEST_COUNT(numbers); i++)
        for (size_t mode = 0; mode < 2 * TEST_COUNT(roundings); mode++) {
            double seconds = number(numbers[i].bits);
            bool waits = !available || function->always_waits;
            threading_status status, wanted;
            if (waits && (numbers[i].category == LONG || numbers[i].category == INFINITE))
                continue;
            current.function = function->name;
            current.number = numbers[i].name;
            enter_mode(roundings[mode / 2], mode % 2 != 0);
            status = function->call(seconds, available);
            leave_mode();
            wanted = expected(numbers[i].category,
                              available && (!function->always_waits || function->call == module_sleep));
            if (status != wanted)
                test_fail(__FILE__, __LINE__, "%s(%s) is %s, expected %s", function->name, numbers[i].name,
                          threading_status_name(status), threading_status_name(wanted));
        }
}

static void *wait_until_set(void *end)
{
    CHECK_STATUS(threading_event_wait(end), THREADING_OK);
    return NULL;
}

/* Holds all locks, sets events[0], and releases the locks when events[1] is set. */
static void *hold_locks(void *arg)
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

static void calls_in_all_modes(void)
{
    threading_event *events[2] = {threading_event_new(), threading_event_new()};
    threading_thread *holder;
    CHECK(signal(SIGFPE, fail_at_sigfpe) != SIG_ERR);
    CHECK((objects.lock = threading_lock_new()) != NULL && (objects.rlock = threading_rlock_new()) != NULL);
    CHECK((objects.held = threading_condition_new()) != NULL);
    CHECK((objects.condition = threading_condition_new()) != NULL);
    CHECK_STATUS(threading_condition_acquire(objects.condition), THREADING_OK);
    CHECK((objects.thread = threading_thread_new(wait_until_set, events[1])) != NULL);
    CHECK_STATUS(threading_thread_start(objects.thread), THREADING_OK);
    CHECK((objects.semaphore = threading_semaphore_new(0)) != NULL);
    CHECK((objects.event = threading_event_new()) != NULL);
    CHECK((objects.barrier = threading_barrier_new(2, NULL, NULL)) != NULL);
    holder = spawn(hold_locks, events);
    CHECK_STATUS(threading_event_wait_timeout(events[0], TEST_LIMIT), THREADING_OK);
    for (size_t i = 0; i < TEST_COUNT(functions); i++)
        call_with_all_numbers(&functions[i], false);

    CHECK_STATUS(threading_event_set(events[1]), THREADING_OK);
    join(holder);
    CHECK_STATUS(threading_thread_join_timeout(objects.thread, TEST_LIMIT), THREADING_OK);
    CHECK_STATUS(threading_semaphore_release(objects.semaphore), THREADING_OK);
    CHECK_STATUS(threading_event_set(objects.event), THREADING_OK);
    CHECK_STATUS(threading_barrier_free(objects.barrier), THREADING_OK);
    CHECK((objects.barrier = threading_barrier_new(1, NULL, NULL)) != NULL);
    for (size_t i = 0; i < TEST_COUNT(functions); i++)
        if (functions[i].call != shutdown_for) /* no thread can start after a shutdown */
            call_with_all_numbers(&functions[i], true);
}

static void timers_in_all_modes(void)
{
    threading_event *fired = threading_event_new();
    CHECK(signal(SIGFPE, fail_at_sigfpe) != SIG_ERR && fired != NULL);
    for (size_t i = 0; i < TEST_COUNT(numbers); i++)
        for (size_t mode = 0; mode < 2 * TEST_COUNT(roundings); mode++) {
            double seconds = number(numbers[i].bits), interval = 0;
            enum category category = numbers[i].bits == UINT64_C(0xbff0000000000000) ? NEGATIVE : numbers[i].category;
            threading_status started = THREADING_OK, last;
            threading_timer *timer;
            current.function = "threading_timer_new";
            current.number = numbers[i].name;
            threading_clear_last_error();
            enter_mode(roundings[mode / 2], mode % 2 != 0);
            timer = threading_timer_new(seconds, set_event, fired);
            last = threading_last_error();
#if !defined(__i386__)
            if (timer != NULL)
                interval = threading_timer_interval(timer);
#endif
            if (timer != NULL)
                started = threading_timer_start(timer);
            leave_mode();
#if defined(__i386__)
            /* The result is in a register of the x87. Storing it raises exceptions that no callee can prevent. */
            if (timer != NULL)
                interval = threading_timer_interval(timer);
#endif
            if (category == NOT_A_NUMBER || category == TOO_LONG) {
                CHECK_PTR(timer, NULL);
                CHECK_INT(last, expected(category, true));
                continue;
            }
            CHECK(timer != NULL && memcmp(&interval, &seconds, sizeof interval) == 0);
            CHECK_RESULT(started, THREADING_OK);
            if (category == LONG || category == INFINITE) {
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

/* Dumps contain times. */
static void dumps_in_all_modes(void)
{
    int fd = memfd_create("dump", 0);
    threading_lock *lock = threading_lock_new();
    CHECK(signal(SIGFPE, fail_at_sigfpe) != SIG_ERR && fd >= 0 && lock != NULL);
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    current.number = "";
    for (size_t mode = 0; mode < 2 * TEST_COUNT(roundings); mode++) {
        enum { CALLS = 5 };
        threading_status statuses[CALLS];
        uint64_t owner;
        current.function = "threading_dump and others";
        enter_mode(roundings[mode / 2], mode % 2 != 0);
        statuses[0] = threading_set_contention(true);
        statuses[1] = threading_lock_set_name(lock, "lock");
        statuses[2] = threading_lock_acquire_timeout(lock, 0.001);
        statuses[3] = threading_dump(fd);
        statuses[4] = threading_set_contention(false);
        owner = threading_lock_owner(lock);
        leave_mode();
        for (size_t i = 0; i < CALLS; i++)
            CHECK_RESULT(statuses[i], i == 2 ? THREADING_TIMED_OUT : THREADING_OK);
        CHECK(owner == threading_get_ident());
    }
    CHECK_INT(close(fd), 0);
}

static int64_t nanoseconds(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (int64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

static void waits_in_all_modes(void)
{
    threading_event *event = threading_event_new();
    CHECK(signal(SIGFPE, fail_at_sigfpe) != SIG_ERR && event != NULL);
    current.function = "threading_event_wait_timeout";
    current.number = "0.02";
    for (size_t mode = 0; mode < 2 * TEST_COUNT(roundings); mode++) {
        threading_status status;
        int64_t start, end;
        enter_mode(roundings[mode / 2], mode % 2 != 0);
        start = nanoseconds();
        status = threading_event_wait_timeout(event, 0.02);
        end = nanoseconds();
        leave_mode();
        CHECK_RESULT(status, THREADING_TIMED_OUT);
        CHECK(end - start >= 20000000);
    }
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

static const struct test_case cases[] = {
    {"a timer with any interval raises no floating-point exception and returns the interval's bits",
     timers_in_all_modes},
    {"a dump in any rounding mode raises no floating-point exception", dumps_in_all_modes},
    {"a wait in any rounding mode does not time out early", waits_in_all_modes},
    {"a call with any seconds in any rounding mode raises no floating-point exception", calls_in_all_modes},
};

TEST_MAIN(cases)
