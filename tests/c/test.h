/* A small harness for the test programs of libthreading.
 *
 * A program is a table of named cases. `main` runs all of them, or those named in argv, and prints one line
 * for each. A failed check, in whichever thread, ends its case with file, line, expression and both values.
 * What such a case leaves behind (threads, held locks) must not spoil the others: the program then replaces
 * itself by a fresh run of the cases that are still to come. Include this header before any other. */
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

/* How many times longer everything takes than on a machine of its own: what runs the tests under a tool that is slow
 * says so in TEST_SLOWNESS. */
static inline int test_slowness(void)
{
    const char *slowness = getenv("TEST_SLOWNESS");
    return slowness == NULL || atoi(slowness) < 1 ? 1 : atoi(slowness);
}

/* So many of something whose number tells nothing but how hard a test tries; fewer where all is slow. */
static inline int test_many(int many)
{
    return many < test_slowness() ? 1 : many / test_slowness();
}

/* No state that a test waits for may take longer than this. */
#define TEST_LIMIT (20.0 * test_slowness())

/* Whether a sanitizer of addresses or threads watches: it has mappings, stacks and limits of its own. */
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

#define TEST_COUNT(array) (sizeof(array) / sizeof((array)[0]))

struct test_case {
    const char *name; /* a sentence: what holds if the case passes */
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

/* Replaces the process by one that runs the cases after the current one. */
_Noreturn static inline void test_go_on_afresh(void)
{
    size_t left = test_state.count - test_state.current - 1;
    char **argv = calloc(left + 3, sizeof *argv);
    char counts[80];
    sigset_t none;
    if (left > 0 && argv != NULL) {
        snprintf(counts, sizeof counts, "--counts=%zu,%zu,%zu", test_state.passed, test_state.failed,
                 test_state.skipped);
        argv[0] = test_state.argv[0];
        argv[1] = counts;
        for (size_t i = 0; i < left; i++)
            argv[2 + i] = (char *)test_state.chosen[test_state.current + 1 + i]->name;
        /* A timer and a signal mask would outlive exec. */
        alarm(0);
        sigemptyset(&none);
        pthread_sigmask(SIG_SETMASK, &none, NULL);
        execvp(argv[0], argv);
        printf("%zu cases not run: the program cannot start itself again\n", left);
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
        for (;;) /* another thread failed first and is about to replace the process */
            pause();
    printf("FAILED\n    %s:%d: ", file, line);
    va_start(values, format);
    vprintf(format, values);
    va_end(values);
    putchar('\n');
    fflush(stdout);
    if (getpid() != test_state.pid) /* a child process: its parent sees the status */
        _exit(1);
    test_state.failed++;
    test_go_on_afresh();
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
        /* The name goes out first, so that the log of a case that hangs or crashes tells which it was. */
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

/* Leaves a case that cannot be run here; only in the case's own function. */
#define SKIP(reason)                                                                                    \
    do {                                                                                                \
        test_state.skip_reason = (reason);                                                              \
        return;                                                                                         \
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

/* The status, and for an error that threading_last_error() tells the same. */
#define CHECK_STATUS(expr, status)                                                                      \
    ((status) < 0 ? threading_clear_last_error() : (void)0,                                             \
     test_check_status(__FILE__, __LINE__, #expr, (expr), (status)))

/* A status that was got before or by another thread. */
#define CHECK_RESULT(got, status) test_check_result(__FILE__, __LINE__, #got, (got), (status))

#define CHECK_LAST_ERROR(status) test_check_last_error(__FILE__, __LINE__, (status))

/* A success or an outcome, and that it leaves an earlier error alone. */
#define CHECK_STATUS_KEEPS_ERROR(expr, status)                                                          \
    do {                                                                                                \
        (void)threading_event_set(NULL);                                                                \
        test_check_status(__FILE__, __LINE__, #expr, (expr), (status));                                 \
        test_check_last_error(__FILE__, __LINE__, THREADING_ERR_HANDLE);                                \
        threading_clear_last_error();                                                                   \
    } while (0)

/* A bad answer (NULL, 0, false) of a function without status, and why. */
#define CHECK_REFUSED(expr, status)                                                                     \
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

/* Timeouts that every call refuses, also when it need not wait. */
static const struct {
    double seconds;
    threading_status status;
} test_bad_timeouts[] = {
    {NAN, THREADING_ERR_VALUE},        {-INFINITY, THREADING_ERR_VALUE},  {-1.5, THREADING_ERR_VALUE},
    {-0.999, THREADING_ERR_VALUE},     {-1e-10, THREADING_ERR_VALUE},     {-1e300, THREADING_ERR_VALUE},
    {9223372037., THREADING_ERR_OVERFLOW}, {1e19, THREADING_ERR_OVERFLOW}, {1e300, THREADING_ERR_OVERFLOW},
};

/* Makes the call, which names its timeout `seconds`, with each of them. */
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

/* Polls until the predicate holds, at most TEST_LIMIT seconds. */
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
         : test_fail(__FILE__, __LINE__, "%s(%s) did not come true", #predicate, #arg))

/* For wait_until: an atomic_int that is no longer 0. */
static inline bool is_nonzero(void *flag)
{
    return atomic_load((atomic_int *)flag) != 0;
}

/* --------------------------------------------------------------------------------------------- threads */

/* The names in lower case below are macros, so that a failure tells the line of the case. */

/* A started thread of the library; to be given to join. */
#define spawn(target, arg) test_spawn(__FILE__, __LINE__, (target), (arg))

static inline threading_thread *test_spawn(const char *file, int line, threading_target target, void *arg)
{
    threading_thread *thread = threading_thread_new(target, arg);
    test_check_status(file, line, "spawn", thread == NULL ? threading_last_error() : THREADING_OK,
                      THREADING_OK);
    test_check_status(file, line, "spawn", threading_thread_start(thread), THREADING_OK);
    return thread;
}

/* Joins, frees the handle and returns the thread's result. */
#define join(thread) test_join(__FILE__, __LINE__, (thread))

static inline void *test_join(const char *file, int line, threading_thread *thread)
{
    void *result;
    test_check_status(file, line, "join", threading_thread_join_timeout(thread, TEST_LIMIT), THREADING_OK);
    result = threading_thread_result(thread);
    test_check_status(file, line, "free", threading_thread_free(thread), THREADING_OK);
    return result;
}

static inline void *return_arg(void *arg)
{
    return arg;
}

/* An event, and a target that waits for it. */
static inline threading_event *event_new(void)
{
    threading_event *event = threading_event_new();
    CHECK(event != NULL);
    return event;
}

static inline void *wait_for_event(void *event)
{
    CHECK_STATUS(threading_event_wait_timeout(event, TEST_LIMIT), THREADING_OK);
    return event;
}

/* A started timer. */
static inline threading_timer *timer_start(double interval, threading_target function, void *arg)
{
    threading_timer *timer = threading_timer_new(interval, function, arg);
    CHECK(timer != NULL);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    return timer;
}

/* With the portable backend, a child of fork has the table of the parent's sleeping threads, which it does not have. */
static inline bool fork_keeps_sleepers(void)
{
    const char *park = getenv("THREADING_PARK");
    return park != NULL && strcmp(park, "portable") == 0;
}

/* A thread that the library knows nothing of; to be given to join_foreign. */
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

/* Where a thread says which it is just before a call that is to block, as a thread blocked on a lock can be
 * seen from outside only by the system's account of it. */
typedef atomic_long test_blocker;

static inline void about_to_block(test_blocker *blocker)
{
#if defined(__linux__)
    atomic_store(blocker, syscall(SYS_gettid));
#else
    atomic_store(blocker, 1);
#endif
}

/* Does the thread sleep in the kernel? How often it has slept so far goes to *sleeps. */
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

/* Waits until the thread that said about_to_block is blocked: asleep in 10 looks, a millisecond apart, with
 * no step in between. */
static inline bool test_wait_until_blocked(test_blocker *blocker)
{
    double end = now() + TEST_LIMIT;
    long last = -1;
    for (int steady = 0; steady < 10 && now() < end;) {
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
                                      : test_fail(__FILE__, __LINE__, "%s did not come to block", #blocker))

/* A call made by a thread of its own; it must outlive that thread. */
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

/* Comes back when the call is blocked. */
#define call_blocked(call, function, arg)                                                               \
    (call_start((call), (function), (arg)), wait_until_blocked(&(call)->blocker),                       \
     CHECK(!atomic_load(&(call)->returned)))

/* Is it blocked yet? An answer that comes too early errs on the passing side. */
static inline bool call_still_blocked(struct call *call)
{
    sleep_for(0.03);
    return !atomic_load(&call->returned);
}

#define call_result(call) (join((call)->thread), (call)->status)

/* What a call made by another thread came to. */
#define CHECK_CALL(call, status) CHECK_RESULT(call_result(call), (status))

#endif
