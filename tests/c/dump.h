/* Dumps whose whole text is compared, with numbers masked, and threads that wait for named objects and own them. Each
 * case runs in a child process, which ends with its threads still waiting. */
#ifndef TEST_DUMP_H
#define TEST_DUMP_H

#include "child.h"

#include <ctype.h>
#include <sys/mman.h>

/* ------------------------------------------------------------------------------------------------ the text */

enum { TEXT_SIZE = 65536 };

static inline bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* Returns whether the text before this place ends so. */
static inline bool is_after(const char *text, const char *place, const char *end)
{
    size_t length = strlen(end);
    return (size_t)(place - text) >= length && memcmp(place - length, end, length) == 0;
}

/* Copies the text, with # in place of IDs of processes and threads, times and handles. */
static inline void mask(const char *whole, char *masked)
{
    const char *text = whole;
    while (*text != '\0') {
        bool is_number = isdigit((unsigned char)*text) != 0;
        size_t length = strspn(text, "0123456789");
        bool is_handle = starts_with(text, "0x");
        bool is_time = text[length] == '.' && (starts_with(text + length + 2, " s") ||
                                               starts_with(text + length + 2, " ms"));
        /* In a new PID namespace, the IDs are small: that of a process, of a thread with a name, and of one without. */
        bool is_id = length >= 3 || is_after(whole, text, "process ") || is_after(whole, text, "\" ") ||
                     is_after(whole, text, "thread ");
        if (is_handle) {
            *masked++ = '#';
            text += 2 + strspn(text + 2, "0123456789abcdef");
        } else if (is_number && is_time) {
            *masked++ = '#';
            text += length + 2;
            /* The unit of the times of waits depends on how long they are. */
            if (starts_with(text, " s in total") || starts_with(text, " s the longest")) {
                *masked++ = ' ';
                *masked++ = 'm';
                text++;
            }
        } else if (is_number && is_id) {
            *masked++ = '#';
            text += length;
        } else {
            *masked++ = *text++;
        }
    }
    *masked = '\0';
}

/* Returns the masked text of a file. */
static const char *read_masked(int fd)
{
    static _Thread_local char text[TEXT_SIZE], masked[TEXT_SIZE];
    ssize_t length = pread(fd, text, sizeof text - 1, 0);
    CHECK(length >= 0);
    text[length] = '\0';
    mask(text, masked);
    return masked;
}

/* Sanitizers and Valgrind need memory, and handle signals, faults and the ends of threads in their own ways. */
static inline void skip_under_tools(void)
{
    if (TEST_SANITIZED || test_slowness() != 1)
        _exit(CHILD_SKIPPED);
}

static inline int text_file(void)
{
    int fd = memfd_create("dump", 0);
    CHECK(fd >= 0);
    return fd;
}

static const char *masked_dump(void)
{
    int fd = text_file();
    CHECK_STATUS(threading_dump(fd), THREADING_OK);
    const char *masked = read_masked(fd);
    CHECK_INT(close(fd), 0);
    return masked;
}

/* Repeats dumps until one is this text, with "#" for each number. Fails with the last one after the time limit. */
#define check_dump(...) test_check_dump(__FILE__, __LINE__, (__VA_ARGS__))

static inline void test_check_dump(const char *file, int line, const char *expected)
{
    const double end = now() + TEST_LIMIT;
    const char *masked;
    while (strcmp(masked = masked_dump(), expected) != 0) {
        if (now() > end)
            test_fail(file, line, "the dump is\n%s, expected\n%s", masked, expected);
        sleep_for(0.001);
    }
}

/* ---------------------------------------------------------------------------------------------- the threads */

static threading_lock *accounts, *journal;
static threading_rlock *rlock;
static threading_condition *condition;
static threading_semaphore *semaphore;
static threading_event *event;
static threading_barrier *barrier;

static inline void objects_new(void)
{
    accounts = threading_lock_new();
    journal = threading_lock_new();
    rlock = threading_rlock_new();
    condition = threading_condition_new();
    semaphore = threading_semaphore_new_bounded(2);
    event = threading_event_new();
    barrier = threading_barrier_new(3, NULL, NULL);
    CHECK(accounts != NULL && journal != NULL && rlock != NULL && condition != NULL && semaphore != NULL);
    CHECK(event != NULL && barrier != NULL);
    CHECK_STATUS(threading_lock_set_name(accounts, "accounts"), THREADING_OK);
    CHECK_STATUS(threading_lock_set_name(journal, "journal"), THREADING_OK);
    CHECK_STATUS(threading_rlock_set_name(rlock, "log"), THREADING_OK);
    CHECK_STATUS(threading_condition_set_name(condition, "queue"), THREADING_OK);
    CHECK_STATUS(threading_semaphore_set_name(semaphore, "connections"), THREADING_OK);
    CHECK_STATUS(threading_event_set_name(event, "stop"), THREADING_OK);
    CHECK_STATUS(threading_barrier_set_name(barrier, "phase"), THREADING_OK);
}

static inline threading_thread *start_named(const char *name, threading_target target, void *arg)
{
    threading_thread *thread = threading_thread_new(target, arg);
    CHECK(thread != NULL);
    CHECK_STATUS(threading_thread_set_name(thread, name), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    return thread;
}

static inline void *acquire_lock(void *lock)
{
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    return lock;
}

static inline void *wait_event(void *arg)
{
    CHECK_STATUS(threading_event_wait(arg), THREADING_OK);
    return arg;
}

static inline void *wait_condition(void *arg)
{
    CHECK_STATUS(threading_condition_acquire(arg), THREADING_OK);
    CHECK_STATUS(threading_condition_wait(arg), THREADING_OK);
    return arg;
}

static inline void *join_thread(void *thread)
{
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    return thread;
}

/* ---------------------------------------------------------------------------------- a deadlock of two locks */

static inline void *acquire_both(void *second)
{
    threading_lock *first = second == accounts ? journal : accounts;
    CHECK_STATUS(threading_lock_acquire(first), THREADING_OK);
    CHECK_STATUS(threading_event_wait(event), THREADING_OK);
    CHECK_STATUS(threading_lock_acquire(second), THREADING_OK);
    return second;
}

static inline void start_deadlock(void)
{
    objects_new();
    start_named("one", acquire_both, journal);
    start_named("two", acquire_both, accounts);
    check_dump("threading: process #, 3 threads\n"
               "\"MainThread\" #  makes this dump\n"
               "\"one\" #  waits for event \"stop\" (not set), for # s\n"
               "    owns lock \"accounts\"\n"
               "\"two\" #  waits for event \"stop\" (not set), for # s\n"
               "    owns lock \"journal\"\n");
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
}

#define DEADLOCK                                                                                             \
    "  \"one\" waits for lock \"journal\", owned by \"two\", for # s\n"                                      \
    "  \"two\" waits for lock \"accounts\", owned by \"one\", for # s\n"
#define DEADLOCKED_THREADS                                                                                   \
    "\"one\" #  waits for lock \"journal\", owned by \"two\", for # s\n"                                     \
    "    owns lock \"accounts\" (1 waiter)\n"                                                                \
    "\"two\" #  waits for lock \"accounts\", owned by \"one\", for # s\n"                                    \
    "    owns lock \"journal\" (1 waiter)\n"

static inline threading_thread *start_observer(threading_target observe)
{
    threading_thread *observer = threading_thread_new(observe, NULL);
    CHECK(observer != NULL);
    CHECK_STATUS(threading_thread_set_name(observer, "observer"), THREADING_OK);
    CHECK_STATUS(threading_thread_set_daemon(observer, true), THREADING_OK);
    CHECK_STATUS(threading_thread_start(observer), THREADING_OK);
    return observer;
}

/* --------------------------------------------------------------------------------- cases in child processes */

#define IN_CHILD(check)                                                                                      \
    static void check##_case(void)                                                                           \
    {                                                                                                        \
        run_in_child(check);                                                                                 \
    }

#endif
