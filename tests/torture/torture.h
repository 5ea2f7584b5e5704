/* What the torture programs share: options, seeded random numbers, progress reports and figures.
 *
 *   int main(int argc, char **argv)
 *   {
 *       torture_begin("stress", argc, argv);
 *       ...start threads that work while torture_running()...
 *       torture_figure("operations", operations);
 *       return torture_end();
 *   }
 *
 * A program runs for --seconds, or until it has done --count operations, whichever comes first. --seed determines
 * its random decisions; only the scheduling differs from run to run. A failure prints the command that repeats the
 * run. Include this header before any other. */
#ifndef TORTURE_H
#define TORTURE_H

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <inttypes.h>
#if defined(__linux__)
#include <malloc.h>
#endif
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <threading.h>

#include "../clock.h"
#include "splitmix64.h"

/* A program that completes no operation for this many seconds is considered hung. */
#define TORTURE_HANG 120.0

static struct {
    const char *name;
    uint64_t seed;
    double seconds; /* maximum duration */
    uint64_t count; /* maximum number of operations; UINT64_MAX for no limit */
    double began;
    _Atomic uint64_t steps; /* completed operations */
    atomic_flag failing;
    pid_t pid;
} torture = {.seconds = 5.0, .count = UINT64_MAX, .failing = ATOMIC_FLAG_INIT};

/* Returns false under sanitizers and Valgrind, whose own memory makes the memory usage of the process meaningless. */
static inline bool torture_measures_memory(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return false;
#else
    return getenv("LD_PRELOAD") == NULL || strstr(getenv("LD_PRELOAD"), "vgpreload") == NULL;
#endif
}

/* Returns the number of bytes that are allocated with malloc; 0 if the C library does not count them. */
static inline size_t torture_allocated(void)
{
#if !defined(__GLIBC__)
    return 0;
#elif __GLIBC_PREREQ(2, 33)
    return mallinfo2().uordblks;
#else
    return (size_t)mallinfo().uordblks;
#endif
}

/* Prints the failure and how to repeat the run, and ends the process. Can be called from any thread and from a
 * forked child. */
_Noreturn static inline void torture_fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

_Noreturn static inline void torture_fail(const char *file, int line, const char *format, ...)
{
    char what[512];
    va_list values;
    if (atomic_flag_test_and_set(&torture.failing))
        for (;;) /* another thread has failed and is about to end the process */
            pause();
    va_start(values, format);
    vsnprintf(what, sizeof what, format, values);
    va_end(values);
    fprintf(stderr, "\n%s: FAILED: %s:%d: %s\n", torture.name, file, line, what);
    fprintf(stderr, "%s: to repeat the run: %s --seconds %g --seed %" PRIu64 "\n", torture.name, torture.name,
            torture.seconds, torture.seed);
    _exit(1);
}

#define TORTURE_CHECK(cond) ((cond) ? (void)0 : torture_fail(__FILE__, __LINE__, "%s does not hold", #cond))

static inline void torture_check_status(const char *file, int line, const char *expr, threading_status got,
                                        threading_status expected)
{
    if (got != expected)
        torture_fail(file, line, "%s is %s, expected %s", expr, threading_status_name(got),
                     threading_status_name(expected));
}

#define TORTURE_STATUS(expr, status) torture_check_status(__FILE__, __LINE__, #expr, (expr), (status))

/* Prints the progress and ends the process if it hangs. Runs in a foreign thread, so that it does not depend on the
 * library under test. */
static inline void *torture_watchdog(void *unused)
{
    uint64_t last = 0;
    double last_progress = now();
    (void)unused;
    for (;;) {
        sleep_for(1);
        uint64_t steps = atomic_load(&torture.steps);
        if (steps != last)
            last_progress = now();
        else if (now() - last_progress > TORTURE_HANG)
            torture_fail(__FILE__, __LINE__, "no progress for %g seconds", TORTURE_HANG);
        last = steps;
        if (isatty(STDERR_FILENO) || (uint64_t)(now() - torture.began) % 10 == 0)
            fprintf(stderr, "%s: %.0f of %.0f s, %" PRIu64 " operations\n", torture.name, now() - torture.began,
                    torture.seconds, steps);
    }
    return NULL;
}

/* Reads --seconds, --count and --seed. The default seed is derived from the clock. */
static inline void torture_begin(const char *name, int argc, char **argv)
{
    torture.name = name;
    torture.pid = getpid();
    torture.began = now();
    torture.seed = (uint64_t)time(NULL) << 16 ^ (uint64_t)getpid();
    for (int i = 1; i < argc; i += 2) {
        char *end = NULL;
        if (i + 1 < argc && strcmp(argv[i], "--seconds") == 0)
            torture.seconds = strtod(argv[i + 1], &end);
        else if (i + 1 < argc && strcmp(argv[i], "--count") == 0)
            torture.count = strtoull(argv[i + 1], &end, 10);
        else if (i + 1 < argc && strcmp(argv[i], "--seed") == 0)
            torture.seed = strtoull(argv[i + 1], &end, 10);
        if (end == NULL || end == argv[i + 1] || *end != '\0') {
            fprintf(stderr, "usage: %s [--seconds S] [--count N] [--seed N]\n", name);
            exit(2);
        }
    }
    setvbuf(stdout, NULL, _IOLBF, 0);
    printf("%s: seed %" PRIu64 "\n", name, torture.seed);
    pthread_t watchdog;
    if (pthread_create(&watchdog, NULL, torture_watchdog, NULL) == 0)
        pthread_detach(watchdog);
}

/* Counts completed operations; can be called from any thread. */
static inline void torture_step(uint64_t operations)
{
    atomic_fetch_add_explicit(&torture.steps, operations, memory_order_relaxed);
}

static inline bool torture_running(void)
{
    return atomic_load_explicit(&torture.steps, memory_order_relaxed) < torture.count &&
           now() - torture.began < torture.seconds;
}

/* Prints a figure of this run; tests/torture/run collects them. */
static inline void torture_figure(const char *what, double figure)
{
    printf("%s: figure: %.17g %s\n", torture.name, figure, what);
}

static inline int torture_end(void)
{
    printf("%s: passed in %.1f s, seed %" PRIu64 "\n", torture.name, now() - torture.began, torture.seed);
    fflush(stdout);
    return 0;
}

/* ---------------------------------------------------------------------------------------- random numbers */

/* A pseudorandom sequence. Each thread has its own. */
struct random {
    uint64_t state;
};

static inline uint64_t random_next(struct random *random)
{
    return splitmix64_next(&random->state);
}

/* Returns sequence `number` of this run, which depends on the seed. */
static inline struct random random_of(uint64_t number)
{
    struct random random = {torture.seed ^ number * 0xd1342543de82ef95};
    random_next(&random);
    return random;
}

/* Returns a number less than n, which must not be 0. */
static inline uint64_t random_below(struct random *random, uint64_t n)
{
    return random_next(random) % n;
}

static inline bool random_one_in(struct random *random, uint64_t n)
{
    return random_below(random, n) == 0;
}

#endif
