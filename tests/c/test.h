/* The harness of libthreading's C tests.
 *
 * A test program is a table of named cases. `main` runs all of them, or those named in argv, and prints one line for
 * each. A failed check, in any thread, prints file, line, expression and both values, and ends its case. That case may
 * leave running threads and held locks behind, so the program then re-executes itself to run the remaining cases.
 * Include this header before any other. */
#ifndef TEST_H
#define TEST_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <inttypes.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <time.h>
#include <unistd.h>
#if defined(__linux__)
#include <sys/syscall.h>
#endif

#include <threading.h>

#include "../clock.h"

/* The factor by which all code runs slower than usual. tests/sanitizers/run sets TEST_SLOWNESS for slow tools. */
static inline int test_slowness(void)
{
    const char *slowness = getenv("TEST_SLOWNESS");
    return slowness == NULL || atoi(slowness) < 1 ? 1 : atoi(slowness);
}

/* The factor by which the counts that only set how thorough a test is are smaller. tests/platforms/run --short sets
 * TEST_FEWER, because the tests of this machine's platform run with all. */
static inline int test_fewer(void)
{
    const char *fewer = getenv("TEST_FEWER");
    return fewer == NULL || atoi(fewer) < 1 ? 1 : atoi(fewer);
}

/* An iteration count that only sets how thorough a test is, divided by the slowness and by TEST_FEWER. */
static inline int test_many(int many)
{
    int divisor = test_slowness() * test_fewer();
    return many < divisor ? 1 : many / divisor;
}

/* The longest time, in seconds, that a test waits for an expected state. */
#define TEST_LIMIT (20.0 * test_slowness())

/* 1 under AddressSanitizer and ThreadSanitizer, which change the mappings, stacks and limits of a process. */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define TEST_SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define TEST_SANITIZED 1
#endif
#endif
#ifndef TEST_SANITIZED
#define TEST_SANITIZED 0
#endif

/* The smallest stack size that the library accepts. */
static inline size_t test_smallest_stack(void)
{
    long smallest = sysconf(_SC_THREAD_STACK_MIN);
    return smallest < 32768 ? 32768 : (size_t)smallest;
}

#define TEST_COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct test_case {
    const char *name; /* a sentence that is true if the case passes */
    void (*run)(void);
};

static struct {
    const struct test_case **chosen;
    size_t count, current;
    size_t passed, failed, skipped;
    char **argv;
    pid_t pid;
    const char *skip_reason;
    atomic_flag failing;
} test_state = {.failing = ATOMIC_FLAG_INIT};

/* --------------------------------------------------------------------------------------------- running */

static inline void test_summary(void)
{
    printf("%zu passed, %zu failed", test_state.passed, test_state.failed);
    if (test_state.skipped > 0)
        printf(", %zu skipped", test_state.skipped);
    putchar('\n');
    fflush(stdout);
}

/* Re-executes the program to run the cases after the current one. */
_Noreturn static inline void test_exec_remaining(void)
{
    size_t remaining = test_state.count - test_state.current - 1;
    char **argv = calloc(remaining + 3, sizeof *argv);
    char counts[80];
    sigset_t none;
    if (remaining > 0 && argv != NULL) {
        snprintf(counts, sizeof counts, "--counts=%zu,%zu,%zu", test_state.passed, test_state.failed,
                 test_state.skipped);
        argv[0] = test_state.argv[0];
        argv[1] = counts;
        for (size_t i = 0; i < remaining; i++)
            argv[2 + i] = (char *)test_state.chosen[test_state.current + 1 + i]->name;
        /* alarm() and the signal mask survive execve(). */
        alarm(0);
        sigemptyset(&none);
        pthread_sigmask(SIG_SETMASK, &none, NULL);
        execvp(argv[0], argv);
        printf("%zu cases not run: execvp failed\n", remaining);
    }
    test_summary();
    _exit(1);
}

_Noreturn static inline void test_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

_Noreturn static inline void test_fail(const char *file, int line, const char *format, ...)
{
    va_list values;
    if (atomic_flag_test_and_set(&test_state.failing))
        for (;;) /* another thread failed first and is about to re-execute the program */
            pause();
    printf("FAILED\n    %s:%d: ", file, line);
    va_start(values, format);
    vprintf(format, values);
    va_end(values);
    putchar('\n');
    fflush(stdout);
    if (getpid() != test_state.pid) /* a child process; its parent checks the exit status */
        _exit(1);
    test_state.failed++;
    test_exec_remaining();
}

#include "keeps_errno.h"

static inline int test_run(int argc, char **argv, const struct test_case *cases, size_t count)
{
    int first = 1;
    test_state.argv = argv;
    test_state.pid = getpid();
    if (argc > 1 && strncmp(argv[1], "--counts=", 9) == 0) {
        sscanf(argv[1], "--counts=%zu,%zu,%zu", &test_state.passed, &test_state.failed, &test_state.skipped);
        first = 2;
    }
    test_state.chosen = calloc(count + (size_t)argc, sizeof *test_state.chosen);
    if (test_state.chosen == NULL)
        return 2;
    if (first == argc)
        for (size_t i = 0; i < count; i++)
            test_state.chosen[test_state.count++] = &cases[i];
    for (int i = first; i < argc; i++) {
        size_t k = 0;
        while (k < count && strcmp(argv[i], cases[k].name) != 0)
            k++;
        if (k == count) {
            fprintf(stderr, "%s: no case is named \"%s\"\n", argv[0], argv[i]);
            free(test_state.chosen);
            return 2;
        }
        test_state.chosen[test_state.count++] = &cases[k];
    }
    for (; test_state.current < test_state.count; test_state.current++) {
        /* Printed before the case runs: if it hangs or crashes, the log names it. */
        printf("%s ... ", test_state.chosen[test_state.current]->name);
        fflush(stdout);
        test_state.skip_reason = NULL;
        test_state.chosen[test_state.current]->run();
        if (test_state.skip_reason != NULL) {
            test_state.skipped++;
            printf("skipped: %s\n", test_state.skip_reason);
        } else {
            test_state.passed++;
            printf("ok\n");
        }
        fflush(stdout);
    }
    test_summary();
    free(test_state.chosen);
    return test_state.failed > 0;
}

#define TEST_MAIN(cases)                                                                                \
    int main(int argc, char **argv)                                                                     \
    {                                                                                                   \
        return test_run(argc, argv, cases, TEST_COUNT(cases));                                          \
    }

/* Returns from a case that cannot run on this system. For use in the case's own function only. */
#define SKIP(reason)                                                                                    \
    do {                                                                                                \
        test_state.skip_reason = (reason);                                                              \
        return;                                                                                         \
    } while (0)

static inline bool is_portable_backend(void)
{
    const char *park = getenv("THREADING_PARK");
    return park != NULL && strcmp(park, "portable") == 0;
}

/* For a case that forks while threads sleep. With the portable backend, the child inherits the parking table, with
 * entries for threads that it does not have. */
#define SKIP_FORK_IF_PORTABLE()                                                                         \
    do {                                                                                                \
        if (is_portable_backend())                                                                      \
            SKIP("the portable backend does not survive a fork while threads sleep");                   \
    } while (0)

/* ---------------------------------------------------------------------------------------------- checks */

static inline void test_check_result(const char *file, int line, const char *expr, threading_status got,
                                     threading_status expected)
{
    if (got != expected)
        test_fail(file, line, "%s is %s, expected %s", expr, threading_status_name(got),
                  threading_status_name(expected));
}

static inline void test_check_status(const char *file, int line, const char *expr, threading_status got,
                                     threading_status expected)
{
    test_check_result(file, line, expr, got, expected);
    if (got < 0 && threading_last_error() != got)
        test_fail(file, line, "%s is %s, but the last error is %s", expr, threading_status_name(got),
                  threading_status_name(threading_last_error()));
}

static inline void test_check_last_error(const char *file, int line, threading_status expected)
{
    if (threading_last_error() != expected)
        test_fail(file, line, "the last error is %s, expected %s",
                  threading_status_name(threading_last_error()), threading_status_name(expected));
    if ((threading_last_error_message()[0] == '\0') != (expected == THREADING_OK))
        test_fail(file, line, "the last error is %s with the message \"%s\"", threading_status_name(expected),
                  threading_last_error_message());
}

static inline void test_check_int(const char *file, int line, const char *expr, intmax_t got,
                                  intmax_t expected)
{
    if (got != expected)
        test_fail(file, line, "%s is %" PRIdMAX ", expected %" PRIdMAX, expr, got, expected);
}

static inline void test_check_ptr(const char *file, int line, const char *expr, const void *got,
                                  const void *expected)
{
    if (got != expected)
        test_fail(file, line, "%s is %p, expected %p", expr, (void *)(uintptr_t)got,
                  (void *)(uintptr_t)expected);
}

static inline void test_check_str(const char *file, int line, const char *expr, const char *got,
                                  const char *expected)
{
    if (got == NULL || expected == NULL ? got != expected : strcmp(got, expected) != 0)
        test_fail(file, line, "%s is \"%s\", expected \"%s\"", expr, got == NULL ? "(null)" : got,
                  expected == NULL ? "(null)" : expected);
}

static inline void test_check_at_least(const char *file, int line, const char *expr, double got, double least)
{
    if (!(got >= least))
        test_fail(file, line, "%s is %.9f, expected at least %.9f", expr, got, least);
}

#define CHECK(cond) ((cond) ? (void)0 : test_fail(__FILE__, __LINE__, "%s does not hold", #cond))

/* Checks the returned status and, if it is an error, that threading_last_error() returns the same. */
#define CHECK_STATUS(expr, status)                                                                      \
    ((status) < 0 ? threading_clear_last_error() : (void)0,                                             \
     test_check_status(__FILE__, __LINE__, #expr, (expr), (status)))

/* Checks a status that was returned earlier or to another thread. */
#define CHECK_RESULT(got, status) test_check_result(__FILE__, __LINE__, #got, (got), (status))

#define CHECK_LAST_ERROR(status) test_check_last_error(__FILE__, __LINE__, (status))

/* Checks a status that is not an error, and that the call does not change the thread's last error. */
#define CHECK_STATUS_KEEPS_ERROR(expr, status)                                                          \
    do {                                                                                                \
        (void)threading_event_set(NULL);                                                                \
        test_check_status(__FILE__, __LINE__, #expr, (expr), (status));                                 \
        test_check_last_error(__FILE__, __LINE__, THREADING_ERR_HANDLE);                                \
        threading_clear_last_error();                                                                   \
    } while (0)

/* Checks that a function that returns no status fails: it returns NULL, 0 or false and sets the last error. */
#define CHECK_FAILS(expr, status)                                                                       \
    do {                                                                                                \
        threading_clear_last_error();                                                                   \
        if (expr)                                                                                       \
            test_fail(__FILE__, __LINE__, "%s is not NULL, 0 or false", #expr);                         \
        test_check_last_error(__FILE__, __LINE__, (status));                                            \
    } while (0)

#define CHECK_INT(expr, expected)                                                                       \
    test_check_int(__FILE__, __LINE__, #expr, (intmax_t)(expr), (intmax_t)(expected))
#define CHECK_PTR(expr, expected) test_check_ptr(__FILE__, __LINE__, #expr, (expr), (expected))
#define CHECK_STR(expr, expected) test_check_str(__FILE__, __LINE__, #expr, (expr), (expected))
#define CHECK_AT_LEAST(expr, least) test_check_at_least(__FILE__, __LINE__, #expr, (expr), (least))

/* Timeouts that are errors in every call, even in one that does not have to wait. */
static const struct {
    double seconds;
    threading_status status;
} test_bad_timeouts[] = {
    {NAN, THREADING_ERR_VALUE},        {-INFINITY, THREADING_ERR_VALUE},  {-1.5, THREADING_ERR_VALUE},
    {-0.999, THREADING_ERR_VALUE},     {-1e-10, THREADING_ERR_VALUE},     {-1e300, THREADING_ERR_VALUE},
    {9223372037., THREADING_ERR_OVERFLOW}, {1e19, THREADING_ERR_OVERFLOW}, {1e300, THREADING_ERR_OVERFLOW},
};

/* Evaluates `call`, in which the timeout is named `seconds`, with each of test_bad_timeouts. */
#define CHECK_BAD_TIMEOUTS(call)                                                                        \
    for (size_t test_i = 0; test_i < TEST_COUNT(test_bad_timeouts); test_i++) {                         \
        double seconds = test_bad_timeouts[test_i].seconds;                                             \
        threading_status test_got = (call);                                                             \
        if (test_got != test_bad_timeouts[test_i].status || threading_last_error() != test_got)         \
            test_fail(__FILE__, __LINE__, "%s with %g seconds is %s, expected %s", #call, seconds,      \
                      threading_status_name(test_got),                                                  \
                      threading_status_name(test_bad_timeouts[test_i].status));                         \
    }

/* ------------------------------------------------------------------------------------------------ time */

/* Polls until the predicate returns true. Returns false after TEST_LIMIT seconds. */
static inline bool test_wait_until(bool (*predicate)(void *arg), void *arg)
{
    double end = now() + TEST_LIMIT;
    while (!predicate(arg)) {
        if (now() > end)
            return false;
        sleep_for(0.001);
    }
    return true;
}

#define wait_until(predicate, arg)                                                                      \
    (test_wait_until((predicate), (arg))                                                                \
         ? (void)0                                                                                      \
         : test_fail(__FILE__, __LINE__, "%s(%s) did not become true", #predicate, #arg))

/* A predicate for wait_until: the atomic_int is not 0. */
static inline bool is_nonzero(void *flag)
{
    return atomic_load((atomic_int *)flag) != 0;
}

/* --------------------------------------------------------------------------------------------- threads */

/* The lower-case macros below pass __FILE__ and __LINE__ on, so that a failure names the line of the case. */

/* Returns a started thread of the library. The caller passes it to join. */
#define spawn(target, arg) test_spawn(__FILE__, __LINE__, (target), (arg))

static inline threading_thread *test_spawn(const char *file, int line, threading_target target, void *arg)
{
    threading_thread *thread = threading_thread_new(target, arg);
    test_check_status(file, line, "spawn", thread == NULL ? threading_last_error() : THREADING_OK,
                      THREADING_OK);
    test_check_status(file, line, "spawn", threading_thread_start(thread), THREADING_OK);
    return thread;
}

/* Joins the thread, frees its handle and returns its result. */
#define join(thread) test_join(__FILE__, __LINE__, (thread))

static inline void *test_join(const char *file, int line, threading_thread *thread)
{
    void *result;
    test_check_status(file, line, "join", threading_thread_join_timeout(thread, TEST_LIMIT), THREADING_OK);
    result = threading_thread_result(thread);
    test_check_status(file, line, "free", threading_thread_free(thread), THREADING_OK);
    return result;
}

/* The same for an array of threads, which all get the same target and argument. */
#define spawn_all(threads, target, arg)                                                                 \
    do {                                                                                                \
        for (size_t test_i = 0; test_i < TEST_COUNT(threads); test_i++)                                 \
            (threads)[test_i] = spawn((target), (arg));                                                 \
    } while (0)

#define join_all(threads)                                                                               \
    do {                                                                                                \
        for (size_t test_i = 0; test_i < TEST_COUNT(threads); test_i++)                                 \
            join((threads)[test_i]);                                                                    \
    } while (0)

/* Targets of threads and functions of timers. */

static inline void *return_arg(void *arg)
{
    return arg;
}

static inline void *exit_with_arg(void *arg)
{
    pthread_exit(arg);
}

static inline void *wait_for_event(void *event)
{
    CHECK_STATUS(threading_event_wait_timeout(event, TEST_LIMIT), THREADING_OK);
    return event;
}

static inline void *set_event(void *event)
{
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    return event;
}

/* A predicate of conditions. */
static inline int return_false(void *arg)
{
    (void)arg;
    return 0;
}

/* A predicate for wait_until. */
static inline bool main_is_alone(void *arg)
{
    (void)arg;
    return threading_active_count() == 1;
}

static inline threading_event *event_new(void)
{
    threading_event *event = threading_event_new();
    CHECK(event != NULL);
    return event;
}

static inline threading_timer *timer_start(double interval, threading_target function, void *arg)
{
    threading_timer *timer = threading_timer_new(interval, function, arg);
    CHECK(timer != NULL);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    return timer;
}

/* Joins the timer's thread, frees the timer and returns the thread's result. */
static inline void *join_timer_and_free(threading_timer *timer)
{
    threading_thread *thread = threading_timer_thread(timer);
    void *result;
    CHECK_STATUS(threading_thread_join_timeout(thread, TEST_LIMIT), THREADING_OK);
    result = threading_thread_result(thread);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    return result;
}

/* A predicate for wait_until: the library holds no reference to the thread any more, and the handle is invalid. */
static inline bool is_gone(void *thread)
{
    return threading_thread_name(thread) == NULL;
}

/* Returns a thread that the library did not create. The caller passes it to join_foreign. */
static inline pthread_t spawn_foreign(void *(*target)(void *), void *arg)
{
    pthread_t thread;
    CHECK_INT(pthread_create(&thread, NULL, target, arg), 0);
    return thread;
}

static inline void *join_foreign(pthread_t thread)
{
    void *result;
    CHECK_INT(pthread_join(thread, &result), 0);
    return result;
}

static inline void *test_wait_for_flag(void *flag)
{
    while (!is_nonzero(flag))
        sleep_for(0.001);
    return NULL;
}

/* Returns whether the process may have this many more threads: a container or RLIMIT_NPROC may limit their number. Under
 * an emulator or a tool, to start them would take long, and is assumed to be possible. */
static inline bool may_start_threads(int count)
{
    if (test_slowness() != 1)
        return true;
    size_t stack_size = test_smallest_stack();
    /* The C library would keep stacks of its own for further threads. */
    char *stacks = malloc((size_t)count * stack_size);
    pthread_t *threads = calloc((size_t)count, sizeof *threads);
    pthread_attr_t attributes;
    atomic_int may_end = 0;
    int started = 0;
    CHECK(stacks != NULL && threads != NULL);
    CHECK_INT(pthread_attr_init(&attributes), 0);
    for (; started < count; started++) {
        CHECK_INT(pthread_attr_setstack(&attributes, stacks + (size_t)started * stack_size, stack_size), 0);
        if (pthread_create(&threads[started], &attributes, test_wait_for_flag, &may_end) != 0)
            break;
    }
    atomic_store(&may_end, 1);
    for (int i = 0; i < started; i++)
        join_foreign(threads[i]);
    CHECK_INT(pthread_attr_destroy(&attributes), 0);
    free(threads);
    free(stacks);
    return started == count;
}

/* The kernel's ID of a thread that is about to block. No call of the library shows that a thread is blocked on a lock;
 * /proc does. */
typedef atomic_long test_blocker;

static inline void about_to_block(test_blocker *blocker)
{
#if defined(__linux__)
    atomic_store(blocker, syscall(SYS_gettid));
#else
    atomic_store(blocker, 1);
#endif
}

/* Returns whether the thread sleeps in the kernel, and stores in *sleeps how often it has slept so far. */
static inline bool test_is_asleep(long tid, long *sleeps)
{
    char path[64], line[128], state = '?';
    FILE *status;
    snprintf(path, sizeof path, "/proc/self/task/%ld/status", tid);
    status = fopen(path, "r");
    if (status == NULL)
        return false;
    while (fgets(line, sizeof line, status) != NULL) {
        sscanf(line, "State: %c", &state);
        sscanf(line, "voluntary_ctxt_switches: %ld", sleeps);
    }
    fclose(status);
    return state == 'S';
}

/* Waits until the thread that called about_to_block is blocked: it sleeps in at least 10 samples, taken a millisecond
 * apart, and does not run between them. */
static inline bool test_wait_until_blocked(test_blocker *blocker)
{
    double end = now() + TEST_LIMIT;
    long last = -1;
    /* A slow tool lets threads wait for each other in locks of its own. */
    int enough = 10 * (test_slowness() < 5 ? test_slowness() : 5);
    for (int steady = 0; steady < enough && now() < end;) {
        long tid = atomic_load(blocker), sleeps = -1;
        sleep_for(0.001);
        if (tid == 0)
            continue;
#if !defined(__linux__)
        sleep_for(0.1);
        return true;
#endif
        if (test_is_asleep(tid, &sleeps) && sleeps == last)
            steady++;
        else
            steady = 0;
        last = sleeps;
    }
    return now() < end;
}

#define wait_until_blocked(blocker)                                                                     \
    (test_wait_until_blocked(blocker) ? (void)0                                                         \
                                      : test_fail(__FILE__, __LINE__, "the thread of %s does not block", #blocker))

/* A call that is made in a new thread. The struct must outlive that thread. */
struct call {
    threading_status (*function)(void *arg);
    void *arg;
    test_blocker blocker;
    atomic_int returned;
    threading_status status;
    threading_thread *thread;
};

static inline void *test_make_call(void *arg)
{
    struct call *call = arg;
    about_to_block(&call->blocker);
    threading_clear_last_error();
    call->status = call->function(call->arg);
    if (call->status < 0)
        CHECK_LAST_ERROR(call->status);
    atomic_store(&call->returned, 1);
    return NULL;
}

#define call_start(call, function, arg) test_call_start(__FILE__, __LINE__, (call), (function), (arg))

static inline void test_call_start(const char *file, int line, struct call *call,
                                   threading_status (*function)(void *arg), void *arg)
{
    *call = (struct call){.function = function, .arg = arg};
    call->thread = test_spawn(file, line, test_make_call, call);
}

/* Starts the call and returns when it is blocked. */
#define call_blocked(call, function, arg)                                                               \
    (call_start((call), (function), (arg)), wait_until_blocked(&(call)->blocker),                       \
     CHECK(!atomic_load(&(call)->returned)))

/* Returns whether the call is still blocked after 30 ms. On a loaded machine a call that wrongly returns may take
 * longer and go unnoticed. */
static inline bool call_still_blocked(struct call *call)
{
    sleep_for(0.03);
    return !atomic_load(&call->returned);
}

#define call_result(call) (join((call)->thread), (call)->status)

/* Waits for the end of the call and checks its status. */
#define CHECK_CALL(call, status) CHECK_RESULT(call_result(call), (status))

#endif
