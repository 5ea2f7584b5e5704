/* Dumps, the hang hook and the statistics of contention, beside all other calls. */
#ifndef MISUSE_DUMPS_H
#define MISUSE_DUMPS_H

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>

#include "module.h"

#define CLOSED_FILE 9999
#define DUMP_SIGNAL SIGUSR2

/* Returns a file that accepts all text. */
static inline int null_file(void)
{
    static atomic_int file = -1;
    int known = atomic_load(&file), none = -1;
    if (known != -1)
        return known;
    known = open("/dev/null", O_WRONLY | O_CLOEXEC);
    ASSERT(known >= 0);
    return atomic_compare_exchange_strong(&file, &none, known) ? known : none;
}

static bool call_dump(struct actor *a)
{
    static const int invalid[] = {-1, INT32_MIN};
    uint8_t byte = next_byte(&a->bytes);
    choose_no_object(a);
    switch (byte % 8) {
    case 0: /* not more often, because a dump takes as long as many other calls */
        check_status(a, threading_dump(null_file()), ONE(THREADING_OK));
        return true;
    case 1:
        check_status(a, threading_dump(CLOSED_FILE), ONE(THREADING_ERR_SYSTEM));
        return true;
    default:
        check_status(a, threading_dump(invalid[byte / 8 % COUNT(invalid)]), ONE(THREADING_ERR_VALUE));
        return true;
    }
}

/* Traces are started and ended by several threads. A start with a file that cannot be written ends the trace, too. */
static bool call_trace(struct actor *a)
{
    static const int invalid[] = {-2, INT32_MIN};
    uint8_t byte = next_byte(&a->bytes);
    choose_no_object(a);
    switch (byte % 4) {
    case 0:
        check_status(a, threading_trace(null_file()), ONE(THREADING_OK));
        return true;
    case 1:
        check_status(a, threading_trace(-1), ONE(THREADING_OK));
        return true;
    case 2:
        check_status(a, threading_trace(CLOSED_FILE), ONE(THREADING_ERR_SYSTEM));
        return true;
    default:
        check_status(a, threading_trace(invalid[byte / 4 % COUNT(invalid)]), ONE(THREADING_ERR_VALUE));
        return true;
    }
}

/* The statistics are in notes, which are created and freed beside those of names. */
static bool call_set_contention(struct actor *a)
{
    bool on = next_byte(&a->bytes) & 1;
    choose_no_object(a);
    check_status(a, threading_set_contention(on), ONE(THREADING_OK));
    return true;
}

static void ignore_dump_signal(void)
{
    ASSERT(signal(DUMP_SIGNAL, SIG_IGN) != SIG_ERR);
}

/* The signal is ignored while it makes no dump, so that it can be sent at any time. */
static bool call_dump_on_signal(struct actor *a)
{
    static const int invalid[] = {0, -1, INT32_MIN, INT32_MAX, 65, 1000, SIGKILL, SIGSTOP};
    uint8_t byte = next_byte(&a->bytes);
    choose_no_object(a);
    if (byte % 4 != 0) {
        int signum = invalid[byte / 4 % COUNT(invalid)];
        check_status(a, threading_dump_on_signal(signum, null_file()), ONE(THREADING_ERR_VALUE));
        return true;
    }
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    ASSERT(pthread_once(&once, ignore_dump_signal) == 0);
    check_status(a, threading_dump_on_signal(DUMP_SIGNAL, byte & 4 ? -1 : null_file()), ONE(THREADING_OK));
    ASSERT(raise(DUMP_SIGNAL) == 0);
    return true;
}

/* ------------------------------------------------------------------------------------------------- the hang hook */

static unsigned hang_args[HOOKS];

static void check_report(unsigned which, int kind, const char *report, void *arg)
{
    static const char beginning[] = "threading: process ";
    ASSERT(arg == &hang_args[which]);
    ASSERT(kind == THREADING_HANG_DEADLOCK || kind == THREADING_HANG_EXIT);
    ASSERT(strncmp(report, beginning, strlen(beginning)) == 0 && report[strlen(report) - 1] == '\n');
}

static void first_hang_hook(int kind, const char *report, void *arg)
{
    check_report(0, kind, report, arg);
}

static void second_hang_hook(int kind, const char *report, void *arg)
{
    check_report(1, kind, report, arg);
}

/* Never the default hook, because it prints. A thread that waits for its own lock, which another thread will release,
 * is reported, too. */
static bool call_set_hang_hook(struct actor *a)
{
    static const threading_hang_hook hang_hooks[HOOKS] = {first_hang_hook, second_hang_hook};
    struct seconds seconds = next_seconds(&a->bytes, true);
    unsigned which = next_byte(&a->bytes) % HOOKS;
    choose_no_object(a);
    check_status(a, threading_set_hang_hook(seconds.value, hang_hooks[which], &hang_args[which]),
                 seconds.error != NONE ? seconds.error : ONE(THREADING_OK));
    return true;
}

#endif
