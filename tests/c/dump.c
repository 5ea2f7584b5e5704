/* Dumps: what each thread waits for and what it owns, deadlocks, hooks and signals. Whole texts are compared, with
 * numbers masked. Each case runs in a child process, which ends with its threads still waiting. */
#include "child.h"

#include <ctype.h>
#include <fcntl.h>
#include <limits.h>
#include <setjmp.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/time.h>

#include "../broadcasts.h"

/* ------------------------------------------------------------------------------------------------ the text */

enum { TEXT_SIZE = 65536 };

static bool starts_with(const char *text, const char *start)
{
    return strncmp(text, start, strlen(start)) == 0;
}

/* Returns whether the text before this place ends so. */
static bool is_after(const char *text, const char *place, const char *end)
{
    size_t length = strlen(end);
    return (size_t)(place - text) >= length && memcmp(place - length, end, length) == 0;
}

/* Copies the text, with # in place of IDs of processes and threads, times and handles. */
static void mask(const char *whole, char *masked)
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
static void skip_under_tools(void)
{
    if (TEST_SANITIZED || test_slowness() != 1)
        _exit(CHILD_SKIPPED);
}

static int text_file(void)
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

static void test_check_dump(const char *file, int line, const char *expected)
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

static void objects_new(void)
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

static threading_thread *start_named(const char *name, threading_target target, void *arg)
{
    threading_thread *thread = threading_thread_new(target, arg);
    CHECK(thread != NULL);
    CHECK_STATUS(threading_thread_set_name(thread, name), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    return thread;
}

static void *acquire_lock(void *lock)
{
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    return lock;
}

static void *acquire_lock_with_timeout(void *lock)
{
    CHECK_STATUS(threading_lock_acquire_timeout(lock, 1000), THREADING_TIMED_OUT);
    return lock;
}

static void *acquire_rlock(void *arg)
{
    CHECK_STATUS(threading_rlock_acquire(arg), THREADING_OK);
    return arg;
}

static void *acquire_semaphore(void *arg)
{
    CHECK_STATUS(threading_semaphore_acquire(arg), THREADING_OK);
    return arg;
}

static void *wait_event(void *arg)
{
    CHECK_STATUS(threading_event_wait(arg), THREADING_OK);
    return arg;
}

static void *wait_condition(void *arg)
{
    CHECK_STATUS(threading_condition_acquire(arg), THREADING_OK);
    CHECK_STATUS(threading_condition_wait(arg), THREADING_OK);
    return arg;
}

static void *wait_barrier(void *arg)
{
    threading_barrier_wait(arg, NULL);
    return arg;
}

static void *join_thread(void *thread)
{
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    return thread;
}

static void *sleep_long(void *arg)
{
    CHECK_STATUS(threading_sleep(1000), THREADING_OK);
    return arg;
}

static void *read_pipe(void *fds)
{
    char byte;
    CHECK_INT(read(*(int *)fds, &byte, 1), 1);
    return fds;
}

/* ------------------------------------------------------------------------------------------------ the cases */

static void main_alone(void)
{
    objects_new();
    CHECK_STATUS(threading_lock_acquire(accounts), THREADING_OK);
    CHECK_STR(masked_dump(), "threading: process #, 1 thread\n"
                             "\"MainThread\" #  makes this dump\n"
                             "    owns lock \"accounts\"\n");
}

static void each_kind_of_wait(void)
{
    int fds[2];
    objects_new();
    CHECK_INT(pipe(fds), 0);
    CHECK_STATUS(threading_lock_acquire(accounts), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(rlock), THREADING_OK);
    CHECK_STATUS(threading_semaphore_acquire(semaphore), THREADING_OK);
    CHECK_STATUS(threading_semaphore_acquire(semaphore), THREADING_OK);
    threading_thread *a = start_named("a", acquire_lock, accounts);
    check_dump("threading: process #, 2 threads\n"
               "\"MainThread\" #  makes this dump\n"
               "    owns lock \"accounts\" (1 waiter)\n"
               "    owns rlock \"log\"\n"
               "\"a\" #  waits for lock \"accounts\", owned by \"MainThread\", for # s\n");
    start_named("b", acquire_rlock, rlock);
    start_named("c", acquire_semaphore, semaphore);
    start_named("d", wait_event, event);
    start_named("e", wait_condition, condition);
    start_named("f", wait_barrier, barrier);
    start_named("g", join_thread, a);
    start_named("h", sleep_long, NULL);
    start_named("i", acquire_lock_with_timeout, accounts);
    start_named("j", read_pipe, fds);
    check_dump("threading: process #, 11 threads\n"
               "\"MainThread\" #  makes this dump\n"
               "    owns lock \"accounts\" (2 waiters)\n"
               "    owns rlock \"log\" (1 waiter)\n"
               "\"a\" #  waits for lock \"accounts\", owned by \"MainThread\", for # s\n"
               "\"b\" #  waits for rlock \"log\", owned by \"MainThread\", for # s\n"
               "\"c\" #  waits for semaphore \"connections\" (0 of 2 left, 1 waiter), for # s\n"
               "\"d\" #  waits for event \"stop\" (not set), for # s\n"
               "\"e\" #  waits for a notify on condition \"queue\" (rlock free), for # s;"
               " no waiter has been notified since it was created\n"
               "\"f\" #  waits at barrier \"phase\" (1 of 3 arrived), for # s\n"
               "\"g\" #  joins \"a\", for # s\n"
               "\"h\" #  sleeps, for # s, for at most # s more\n"
               "\"i\" #  waits for lock \"accounts\", owned by \"MainThread\", for # s, for at most # s more\n"
               "\"j\" #  running outside this library, in read(2)\n");
}

static void notified_waiter(void)
{
    objects_new();
    start_named("consumer", wait_condition, condition);
    check_dump("threading: process #, 2 threads\n"
               "\"MainThread\" #  makes this dump\n"
               "\"consumer\" #  waits for a notify on condition \"queue\" (rlock free), for # s;"
               " no waiter has been notified since it was created\n");
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    CHECK_STATUS(threading_condition_notify(condition, 1), THREADING_OK);
    check_dump("threading: process #, 2 threads\n"
               "\"MainThread\" #  makes this dump\n"
               "    owns rlock #\n"
               "\"consumer\" #  notified on condition \"queue\", waits for its rlock, owned by \"MainThread\", for # s\n");
}

/* Waiters that park together wait for the lock, too, from the notify on. */
static void notified_together(void)
{
    objects_new();
    expect_broadcasts(condition);
    start_named("consumer", wait_condition, condition);
    check_dump("threading: process #, 2 threads\n"
               "\"MainThread\" #  makes this dump\n"
               "\"consumer\" #  waits for a notify on condition \"queue\" (rlock free), for # s\n");
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    CHECK_STATUS(threading_condition_notify_all(condition), THREADING_OK);
    check_dump("threading: process #, 2 threads\n"
               "\"MainThread\" #  makes this dump\n"
               "    owns rlock #\n"
               "\"consumer\" #  notified on condition \"queue\", waits for its rlock, owned by \"MainThread\", for # s\n");
}

static int begun_waits; /* protected by the condition's lock */

static void *wait_repeatedly(void *arg)
{
    CHECK_STATUS(threading_condition_acquire(arg), THREADING_OK);
    for (begun_waits = 1; begun_waits <= test_many(200); begun_waits++)
        CHECK_STATUS(threading_condition_wait(arg), THREADING_OK);
    CHECK_STATUS(threading_condition_release(arg), THREADING_OK);
    return arg;
}

/* The dump is the same whether the waiter was parked when it was notified or was about to park. */
static void notified_before_it_parks(void)
{
    objects_new();
    threading_thread *waiter = start_named("consumer", wait_repeatedly, condition);
    for (int notifies = 0; notifies < test_many(200);) {
        CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
        if (begun_waits == notifies + 1) {
            CHECK_STATUS(threading_condition_notify(condition, 1), THREADING_OK);
            notifies++;
            check_dump("threading: process #, 2 threads\n"
                       "\"MainThread\" #  makes this dump\n"
                       "    owns rlock #\n"
                       "\"consumer\" #  notified on condition \"queue\", waits for its rlock, owned by \"MainThread\","
                       " for # s\n");
        }
        CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
    }
    CHECK_STATUS(threading_thread_join(waiter), THREADING_OK);
}

static void *acquire_both(void *second)
{
    threading_lock *first = second == accounts ? journal : accounts;
    CHECK_STATUS(threading_lock_acquire(first), THREADING_OK);
    CHECK_STATUS(threading_event_wait(event), THREADING_OK);
    CHECK_STATUS(threading_lock_acquire(second), THREADING_OK);
    return second;
}

static void start_deadlock(void)
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

static void two_locks(void)
{
    start_deadlock();
    check_dump("threading: process #, 3 threads, 2 of them deadlocked:\n" DEADLOCK
               "\"MainThread\" #  makes this dump\n" DEADLOCKED_THREADS);
}

/* The first line and the list of deadlocks agree, also if a deadlock forms while the dump is made. */
static void forming_deadlocks(void)
{
    objects_new();
    for (int round = test_many(500); round > 0; round--) {
        threading_thread *threads[] = {start_named("one", acquire_both, journal),
                                       start_named("two", acquire_both, accounts)};
        while (!threading_lock_locked(accounts) || !threading_lock_locked(journal))
            sleep_for(20e-6);
        CHECK_STATUS(threading_event_set(event), THREADING_OK);
        bool is_shown;
        do {
            const char *dump = masked_dump();
            is_shown = strstr(dump, ", 2 of them deadlocked:\n" DEADLOCK "\"MainThread\" ") != NULL;
            if (!is_shown && (strstr(dump, "deadlocked") != NULL || strstr(dump, "\n  \"") != NULL))
                test_fail(__FILE__, __LINE__, "the dump is\n%s", dump);
        } while (!is_shown);
        /* The locks that the threads wait for; then those that they have acquired. */
        for (int count = 0; count < 2; count++) {
            CHECK_STATUS(threading_lock_release(accounts), THREADING_OK);
            CHECK_STATUS(threading_lock_release(journal), THREADING_OK);
            for (int index = 0; count == 0 && index < 2; index++)
                CHECK_STATUS(threading_thread_join(threads[index]), THREADING_OK);
        }
        CHECK_STATUS(threading_event_clear(event), THREADING_OK);
        for (int index = 0; index < 2; index++)
            CHECK_STATUS(threading_thread_free(threads[index]), THREADING_OK);
    }
}

static void *acquire_twice(void *lock)
{
    acquire_lock(lock);
    return acquire_lock(lock);
}

static void own_lock(void)
{
    objects_new();
    start_named("once more", acquire_twice, accounts);
    check_dump("threading: process #, 2 threads, 1 of them deadlocked:\n"
               "  \"once more\" waits for lock \"accounts\", owned by \"once more\", for # s\n"
               "\"MainThread\" #  makes this dump\n"
               "\"once more\" #  waits for lock \"accounts\", owned by \"once more\", for # s\n"
               "    owns lock \"accounts\" (1 waiter)\n");
}

static void *acquire_and_join(void *thread)
{
    acquire_lock(accounts);
    return join_thread(thread);
}

static void lock_and_join(void)
{
    objects_new();
    CHECK_STATUS(threading_lock_acquire(accounts), THREADING_OK);
    threading_thread *waiter = start_named("waiter", acquire_lock, accounts);
    CHECK_STATUS(threading_lock_release(accounts), THREADING_OK);
    CHECK_STATUS(threading_thread_join(waiter), THREADING_OK);
    CHECK_STATUS(threading_lock_release(accounts), THREADING_OK);
    threading_thread *joined = threading_thread_new(acquire_both, accounts);
    CHECK(joined != NULL);
    CHECK_STATUS(threading_thread_set_name(joined, "joined"), THREADING_OK);
    CHECK_STATUS(threading_thread_start(joined), THREADING_OK);
    start_named("joiner", acquire_and_join, joined);
    check_dump("threading: process #, 3 threads\n"
               "\"MainThread\" #  makes this dump\n"
               "\"joined\" #  waits for event \"stop\" (not set), for # s\n"
               "    owns lock \"journal\"\n"
               "\"joiner\" #  joins \"joined\", for # s\n"
               "    owns lock \"accounts\"\n");
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    check_dump("threading: process #, 3 threads, 2 of them deadlocked:\n"
               "  \"joined\" waits for lock \"accounts\", owned by \"joiner\", for # s\n"
               "  \"joiner\" joins \"joined\", for # s\n"
               "\"MainThread\" #  makes this dump\n"
               "\"joined\" #  waits for lock \"accounts\", owned by \"joiner\", for # s\n"
               "    owns lock \"journal\"\n"
               "\"joiner\" #  joins \"joined\", for # s\n"
               "    owns lock \"accounts\" (1 waiter)\n");
}

static threading_thread *consumer;
static bool frees_condition, parks_together;

static void *wait_condition_with_timeout(void *arg)
{
    CHECK_STATUS(threading_condition_acquire(arg), THREADING_OK);
    CHECK_STATUS(threading_condition_wait_timeout(arg, 1000), THREADING_OK);
    return arg;
}

/* Joins while it owns the condition's lock. */
static void *notify_and_join(void *arg)
{
    CHECK_STATUS(threading_condition_acquire(arg), THREADING_OK);
    CHECK_STATUS(threading_condition_notify_all(arg), THREADING_OK);
    if (frees_condition)
        CHECK_STATUS(threading_condition_free(arg), THREADING_OK);
    return join_thread(consumer);
}

static void notify_while_waits(threading_target wait)
{
    objects_new();
    condition = threading_condition_new_with_rlock(rlock);
    CHECK_STATUS(threading_condition_set_name(condition, "queue"), THREADING_OK);
    if (parks_together)
        expect_broadcasts(condition);
    consumer = start_named("consumer", wait, condition);
    while (strstr(masked_dump(), "\"consumer\" #  waits for a notify on condition \"queue\" (rlock free)") == NULL)
        sleep_for(0.001);
    start_named("notifier", notify_and_join, condition);
}

static void check_condition_and_join(void)
{
    notify_while_waits(wait_condition_with_timeout);
    check_dump("threading: process #, 3 threads, 2 of them deadlocked:\n"
               "  \"consumer\" notified on condition \"queue\", waits for its rlock, owned by \"notifier\", for # s\n"
               "  \"notifier\" joins \"consumer\", for # s\n"
               "\"MainThread\" #  makes this dump\n"
               "\"consumer\" #  notified on condition \"queue\", waits for its rlock, owned by \"notifier\", for # s\n"
               "\"notifier\" #  joins \"consumer\", for # s\n"
               "    owns rlock \"log\"\n");
}

/* A timed wait is part of a deadlock after the notify, because the lock is acquired without a timeout. */
static void condition_and_join(void)
{
    check_condition_and_join();
}

static void condition_and_join_together(void)
{
    parks_together = true;
    check_condition_and_join();
}

static void freed_condition(void)
{
    frees_condition = true;
    notify_while_waits(wait_condition);
    check_dump("threading: process #, 3 threads, 2 of them deadlocked:\n"
               "  \"consumer\" notified on a condition that has been freed, waits for its lock, owned by \"notifier\","
               " for # s\n"
               "  \"notifier\" joins \"consumer\", for # s\n"
               "\"MainThread\" #  makes this dump\n"
               "\"consumer\" #  notified on a condition that has been freed, waits for its lock, owned by \"notifier\","
               " for # s\n"
               "\"notifier\" #  joins \"consumer\", for # s\n"
               "    owns rlock \"log\"\n");
}

static threading_thread *start_observer(threading_target observe)
{
    threading_thread *observer = threading_thread_new(observe, NULL);
    CHECK(observer != NULL);
    CHECK_STATUS(threading_thread_set_name(observer, "observer"), THREADING_OK);
    CHECK_STATUS(threading_thread_set_daemon(observer, true), THREADING_OK);
    CHECK_STATUS(threading_thread_start(observer), THREADING_OK);
    return observer;
}

static void *observe_deadlock_of_shutdown(void *unused)
{
    (void)unused;
    check_dump("threading: process #, 4 threads, 2 of them deadlocked:\n"
               "  \"worker\" waits for lock \"accounts\", owned by \"MainThread\", for # s\n"
               "  \"MainThread\" waits in the process exit or a shutdown for 2 non-daemon threads, for # s\n"
               "\"MainThread\" #  waits in the process exit or a shutdown for 2 non-daemon threads, for # s\n"
               "    owns lock \"accounts\" (1 waiter)\n"
               "\"worker\" #  waits for lock \"accounts\", owned by \"MainThread\", for # s\n"
               "\"observer\" #  makes this dump\n"
               "\"joiner\" #  joins \"worker\", for # s\n");
    _exit(0);
}

static void lock_and_shutdown(void)
{
    objects_new();
    CHECK_STATUS(threading_lock_acquire(accounts), THREADING_OK);
    threading_thread *worker = start_named("worker", acquire_lock, accounts);
    start_observer(observe_deadlock_of_shutdown);
    start_named("joiner", join_thread, worker); /* waits for the deadlock, but is not part of it */
    CHECK_STATUS(threading_shutdown(), THREADING_OK);
    CHECK(false);
}

static atomic_bool is_interrupted;

/* Interrupts the thread that joins main, until main waits for that thread in a shutdown. */
static void dump_in_join(int signal)
{
    (void)signal;
    atomic_store(&is_interrupted, true);
    check_dump("threading: process #, 2 threads\n"
               "\"MainThread\" #  waits in the process exit or a shutdown for 1 non-daemon thread, for # s\n"
               "\"joiner\" #  joins \"MainThread\", for # s\n");
    _exit(0);
}

static void *observe_main_after_shutdown(void *unused)
{
    CHECK_STATUS(threading_event_wait(event), THREADING_OK);
    const char *dump;
    const char *const others = "\n    owns lock \"accounts\" (1 waiter)\n"
                               "\"daemon\" #  waits for lock \"accounts\", owned by \"MainThread\", for # s\n"
                               "\"observer\" #  makes this dump\n";
    while (strstr(dump = masked_dump(), others) == NULL)
        sleep_for(0.001);
    const char *const main_line = "threading: process #, 3 threads\n\"MainThread\" #  running outside this library";
    CHECK(strncmp(dump, main_line, strlen(main_line)) == 0);
    _exit(0);
    return unused;
}

/* For its joiners, main has ended then, but it goes on. */
static void after_shutdown(void)
{
    objects_new();
    CHECK_STATUS(threading_lock_acquire(accounts), THREADING_OK);
    threading_thread *daemon = threading_thread_new(acquire_lock, accounts);
    CHECK(daemon != NULL);
    CHECK_STATUS(threading_thread_set_name(daemon, "daemon"), THREADING_OK);
    CHECK_STATUS(threading_thread_set_daemon(daemon, true), THREADING_OK);
    CHECK_STATUS(threading_thread_start(daemon), THREADING_OK);
    start_observer(observe_main_after_shutdown);
    CHECK_STATUS(threading_shutdown(), THREADING_OK);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    for (;;)
        pause();
}

static void join_and_shutdown(void)
{
    CHECK(signal(SIGUSR1, dump_in_join) != SIG_ERR);
    threading_thread *joiner = start_named("joiner", join_thread, threading_main_thread());
    check_dump("threading: process #, 2 threads\n"
               "\"MainThread\" #  makes this dump\n"
               "\"joiner\" #  joins \"MainThread\", for # s\n");
    CHECK_INT((int)syscall(SYS_tgkill, getpid(), (pid_t)threading_thread_native_id(joiner), SIGUSR1), 0);
    while (!atomic_load(&is_interrupted))
        sleep_for(0.001);
    CHECK_STATUS(threading_shutdown(), THREADING_OK);
    CHECK(false);
}

static void dump_in_a_child(void *arg)
{
    (void)arg;
    check_dump("threading: process #, 1 thread\n"
               "\"MainThread\" #  makes this dump\n");
    start_named("new", acquire_lock, accounts);
    check_dump("threading: process #, 2 threads\n"
               "\"MainThread\" #  makes this dump\n"
               "\"new\" #  waits for lock \"accounts\", owned since before the fork by a thread that does not exist"
               " here, for # s\n");
}

static void after_a_fork(void)
{
    start_deadlock();
    check_dump("threading: process #, 3 threads, 2 of them deadlocked:\n" DEADLOCK
               "\"MainThread\" #  makes this dump\n" DEADLOCKED_THREADS);
    run_in_child_with(dump_in_a_child, NULL);
}

static const char *new_main_name;

static void *observe_exit_of_new_main(void *unused)
{
    char expected[512];
    (void)unused;
    snprintf(expected, sizeof expected,
             "threading: process #, 3 threads\n"
             "\"%s\" #  waits in the process exit or a shutdown for 1 non-daemon thread, for # s\n"
             "\"worker\" #  waits for event \"stop\" (not set), for # s\n"
             "\"observer\" #  makes this dump\n", new_main_name);
    check_dump(expected);
    _exit(0);
}

static void dump_in_a_new_main(void *name)
{
    char expected[128];
    new_main_name = name;
    snprintf(expected, sizeof expected, "threading: process #, 1 thread\n\"%s\" #  makes this dump\n", new_main_name);
    check_dump(expected);
    start_named("worker", wait_event, event);
    start_observer(observe_exit_of_new_main);
    CHECK_STATUS(threading_shutdown(), THREADING_OK);
    CHECK(false);
}

static void *fork_and_dump(void *name)
{
    run_in_child_with(dump_in_a_new_main, name);
    return name;
}

/* The main thread of the parent has an object, and does not exist in the children. */
static void after_a_fork_by_another_thread(void)
{
    pthread_t foreign;
    objects_new();
    start_named("other", wait_event, event);
    CHECK_INT(pthread_create(&foreign, NULL, fork_and_dump, "MainThread"), 0);
    CHECK_INT(pthread_join(foreign, NULL), 0);
    CHECK_STATUS(threading_thread_join(start_named("forking", fork_and_dump, "forking")), THREADING_OK);
}

static void errors(void)
{
    int fd = open("/dev/full", O_WRONLY), ends[2];
    CHECK_STATUS(threading_dump(-1), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_dump(9999), THREADING_ERR_SYSTEM);
    CHECK_STATUS(threading_dump(fd), THREADING_ERR_SYSTEM);
    CHECK_INT(close(fd), 0);
    /* A closed pipe does not kill the process. */
    CHECK_INT(pipe(ends), 0);
    CHECK_INT(close(ends[0]), 0);
    CHECK_STATUS(threading_dump(ends[1]), THREADING_ERR_SYSTEM);
    CHECK_INT(close(ends[1]), 0);
    /* Neither does a file of the size to which the process limits its files. */
    struct rlimit no_file, former;
    CHECK_INT(getrlimit(RLIMIT_FSIZE, &former), 0);
    no_file = (struct rlimit){.rlim_cur = 0, .rlim_max = former.rlim_max};
    fd = open(".", O_TMPFILE | O_WRONLY, 0600);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &no_file), 0);
    CHECK(fd < 0 || threading_dump(fd) == THREADING_ERR_SYSTEM);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &former), 0);
    CHECK_STATUS(threading_dump_on_signal(0, 2), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_dump_on_signal(SIGKILL, 2), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_dump_on_signal(1000, 2), THREADING_ERR_VALUE);
    /* The signal is checked also if there is nothing to restore. */
    CHECK_STATUS(threading_dump_on_signal(SIGKILL, -1), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_dump_on_signal(SIGSTOP, -1), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_dump_on_signal(1000, -1), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_dump_on_signal(SIGUSR1, -2), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_dump_on_signal(SIGUSR1, INT_MIN), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_dump_on_signal(SIGUSR1, -1), THREADING_OK);
    CHECK_STATUS(threading_set_hang_hook(NAN, NULL, NULL), THREADING_ERR_VALUE);
}

/* ----------------------------------------------------------------------------------------------- names, owners */

static void names(void)
{
    objects_new();
    char name[64] = {0};
    CHECK_STATUS(threading_event_set_name(NULL, "name"), THREADING_ERR_HANDLE);
    CHECK_STATUS(threading_event_set_name(event, "\xff"), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_event_set_name(event, NULL), THREADING_OK);
    start_named("a", wait_event, event);
    check_dump("threading: process #, 2 threads\n"
               "\"MainThread\" #  makes this dump\n"
               "\"a\" #  waits for event # (not set), for # s\n");
    start_named("a name that is longer than 64 bytes, and is cut in a report: \xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9\xc3\xa9",
                sleep_long, NULL);
    check_dump("threading: process #, 3 threads\n"
               "\"MainThread\" #  makes this dump\n"
               "\"a\" #  waits for event # (not set), for # s\n"
               "\"a name that is longer than 64 bytes, and is cut in a report: \xc3\xa9\" #  sleeps, for # s, for at most # s"
               " more\n");
    memset(name, 'x', sizeof name - 1);
    CHECK_STATUS(threading_event_set_name(event, name), THREADING_OK);
    check_dump("threading: process #, 3 threads\n"
               "\"MainThread\" #  makes this dump\n"
               "\"a\" #  waits for event \"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\" (not set), for # s\n"
               "\"a name that is longer than 64 bytes, and is cut in a report: \xc3\xa9\" #  sleeps, for # s, for at most # s"
               " more\n");
}

static void *acquire_and_end(void *lock)
{
    acquire_lock(lock);
    return NULL;
}

static void owners(void)
{
    objects_new();
    CHECK_INT(threading_lock_owner(accounts), 0);
    CHECK_STATUS(threading_lock_acquire(accounts), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(rlock), THREADING_OK);
    CHECK_INT(threading_lock_owner(accounts), threading_get_ident());
    CHECK_INT(threading_rlock_owner(rlock), threading_get_ident());
    CHECK_STATUS(threading_lock_release(accounts), THREADING_OK);
    CHECK_INT(threading_lock_owner(accounts), 0);
    threading_thread *ended = start_named("ended", acquire_and_end, accounts);
    CHECK_STATUS(threading_thread_join(ended), THREADING_OK);
    CHECK_INT(threading_lock_owner(accounts), threading_thread_ident(ended));
    CHECK_INT(threading_lock_owner(NULL), 0);
    CHECK_LAST_ERROR(THREADING_ERR_HANDLE);
    CHECK_INT(threading_rlock_owner(NULL), 0);
}

static test_blocker waiter_blocker;

static void *wait_and_end(void *lock)
{
    about_to_block(&waiter_blocker);
    return acquire_and_end(lock);
}

/* Owns the lock until another thread is parked for it. */
static void contend(void)
{
    CHECK_STATUS(threading_lock_acquire(accounts), THREADING_OK);
    atomic_store(&waiter_blocker, 0);
    threading_thread *waiter = start_named("waiter", wait_and_end, accounts);
    wait_until_blocked(&waiter_blocker);
    CHECK_STATUS(threading_lock_release(accounts), THREADING_OK);
    CHECK_STATUS(threading_thread_join(waiter), THREADING_OK);
    CHECK_STATUS(threading_lock_release(accounts), THREADING_OK);
}

static void contention(void)
{
    objects_new();
    contend();
    check_dump("threading: process #, 1 thread\n"
               "\"MainThread\" #  makes this dump\n");
    CHECK_STATUS(threading_set_contention(true), THREADING_OK);
    contend();
    check_dump("threading: process #, 1 thread\n"
               "\"MainThread\" #  makes this dump\n"
               "contention in the last # s:\n"
               "  lock \"accounts\"  1 wait, # ms in total, # ms the longest, owned by \"MainThread\"\n");
    /* A rename keeps what has been counted, even if it removes the name. */
    CHECK_STATUS(threading_lock_set_name(accounts, NULL), THREADING_OK);
    contend();
    check_dump("threading: process #, 1 thread\n"
               "\"MainThread\" #  makes this dump\n"
               "contention in the last # s:\n"
               "  lock #  2 waits, # ms in total, # ms the longest, owned by \"MainThread\"\n");
    CHECK_STATUS(threading_set_contention(false), THREADING_OK);
    check_dump("threading: process #, 1 thread\n"
               "\"MainThread\" #  makes this dump\n");
    /* The next statistics do not contain waits that are older than they are. */
    CHECK_STATUS(threading_set_contention(true), THREADING_OK);
    check_dump("threading: process #, 1 thread\n"
               "\"MainThread\" #  makes this dump\n"
               "contention in the last # s:\n");
    contend();
    check_dump("threading: process #, 1 thread\n"
               "\"MainThread\" #  makes this dump\n"
               "contention in the last # s:\n"
               "  lock #  1 wait, # ms in total, # ms the longest, owned by \"MainThread\"\n");
}

/* --------------------------------------------------------------------------------------------------- signals */

static atomic_int former_calls;

static void count_former(int signal)
{
    (void)signal;
    atomic_fetch_add(&former_calls, 1);
}

static void on_a_signal(void)
{
    struct sigaction handler = {.sa_handler = count_former}, found;
    int fd = text_file();
    start_deadlock();
    check_dump("threading: process #, 3 threads, 2 of them deadlocked:\n" DEADLOCK
               "\"MainThread\" #  makes this dump\n" DEADLOCKED_THREADS);
    CHECK_INT(sigaction(SIGUSR1, &handler, NULL), 0);
    CHECK_STATUS(threading_dump_on_signal(SIGUSR1, fd), THREADING_OK);
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_STR(read_masked(fd), "threading: process #, 3 threads, 2 of them deadlocked:\n" DEADLOCK
                               "\"MainThread\" #  makes this dump\n" DEADLOCKED_THREADS);
    CHECK_INT(atomic_load(&former_calls), 1);
    CHECK_STATUS(threading_dump_on_signal(SIGUSR1, -1), THREADING_OK);
    CHECK_INT(sigaction(SIGUSR1, NULL, &found), 0);
    CHECK(found.sa_handler == count_former);
}

static void count_former_with_info(int signal, siginfo_t *info, void *context)
{
    CHECK(info->si_signo == signal && context != NULL);
    atomic_fetch_add(&former_calls, 1);
}

/* A thread may have received the signal before the former handler was restored, and run the library's handler after it:
 * as if that were still installed. */
static void signal_during_restore(void)
{
    struct sigaction plain = {.sa_handler = count_former};
    struct sigaction with_info = {.sa_sigaction = count_former_with_info, .sa_flags = SA_SIGINFO};
    struct sigaction none = {.sa_handler = SIG_DFL}, *formers[] = {&plain, &with_info, &none}, installed;
    for (int i = 0; i < 3; i++) {
        int fd = text_file();
        atomic_store(&former_calls, 0);
        CHECK_INT(sigaction(SIGUSR1, formers[i], NULL), 0);
        CHECK_STATUS(threading_dump_on_signal(SIGUSR1, fd), THREADING_OK);
        CHECK_INT(sigaction(SIGUSR1, NULL, &installed), 0);
        CHECK_STATUS(threading_dump_on_signal(SIGUSR1, -1), THREADING_OK);
        CHECK_INT(sigaction(SIGUSR1, &installed, NULL), 0);
        CHECK_INT(raise(SIGUSR1), 0);
        CHECK_INT(atomic_load(&former_calls), i < 2);
        CHECK_STR(read_masked(fd), "");
        /* It is not its own former handler. */
        CHECK_STATUS(threading_dump_on_signal(SIGUSR1, fd), THREADING_OK);
        CHECK_INT(raise(SIGUSR1), 0);
        CHECK_INT(atomic_load(&former_calls), i < 2 ? 2 : 0);
        CHECK_STR(read_masked(fd), "threading: process #, 1 thread\n\"MainThread\" #  makes this dump\n");
        CHECK_STATUS(threading_dump_on_signal(SIGUSR1, -1), THREADING_OK);
        CHECK_INT(sigaction(SIGUSR1, NULL, &installed), 0);
        CHECK(i == 1 ? installed.sa_sigaction == count_former_with_info
                     : installed.sa_handler == formers[i]->sa_handler);
        CHECK_INT(close(fd), 0);
    }
}

static atomic_bool all_sent;

static void *send_many_signals(void *receiver)
{
    for (int i = 0; i < test_many(5000); i++) {
        CHECK_INT(pthread_kill(*(pthread_t *)receiver, SIGUSR1), 0);
        sleep_for(50e-6);
    }
    atomic_store(&all_sent, true);
    return NULL;
}

/* Under ThreadSanitizer, the handler runs in the next call of the C library, also in one that this library makes. */
static void during_calls(void)
{
    pthread_t main_thread = pthread_self();
    int fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    threading_event *never_set = threading_event_new();
    CHECK(fd >= 0 && never_set != NULL);
    CHECK_STATUS(threading_dump_on_signal(SIGUSR1, fd), THREADING_OK);
    pthread_t sender = spawn_foreign(send_many_signals, &main_thread);
    while (!atomic_load(&all_sent))
        CHECK_STATUS(threading_event_wait_timeout(never_set, 20e-6), THREADING_TIMED_OUT);
    join_foreign(sender);
    CHECK_STATUS(threading_dump_on_signal(SIGUSR1, -1), THREADING_OK);
    CHECK_STATUS(threading_event_free(never_set), THREADING_OK);
    CHECK_INT(close(fd), 0);
}

/* A thread that has caused a fault repeats it after the handler: the default action must end the process. */
static void cause_fault(void)
{
    const struct rlimit no_core = {0};
    CHECK_INT(setrlimit(RLIMIT_CORE, &no_core), 0);
    CHECK_STATUS(threading_dump_on_signal(SIGSEGV, STDOUT_FILENO), THREADING_OK);
    void *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    *(volatile char *)page = 1;
}

static void after_a_fault(void)
{
    skip_under_tools();
    int ends[2], status;
    char text[TEXT_SIZE], masked[TEXT_SIZE];
    size_t length = 0;
    ssize_t part;
    CHECK_INT(pipe(ends), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_INT(dup2(ends[1], STDOUT_FILENO), STDOUT_FILENO);
        cause_fault();
    }
    CHECK_INT(close(ends[1]), 0);
    while (length < sizeof text - 1 && (part = read(ends[0], text + length, sizeof text - 1 - length)) > 0)
        length += (size_t)part;
    text[length] = '\0';
    CHECK_INT(close(ends[0]), 0);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGSEGV);
    mask(text, masked);
    CHECK_STR(masked, "threading: process #, 1 thread\n\"MainThread\" #  makes this dump\n");
    /* A signal that another process or the program sends ends nothing. */
    int fd = text_file();
    CHECK_STATUS(threading_dump_on_signal(SIGSEGV, fd), THREADING_OK);
    CHECK_INT(raise(SIGSEGV), 0);
    CHECK_INT(raise(SIGSEGV), 0);
}

static sigjmp_buf before_signal;

static void leave_handler(int signal)
{
    (void)signal;
    atomic_fetch_add(&former_calls, 1);
    siglongjmp(before_signal, 1);
}

static void former_flags(void)
{
    skip_under_tools();
    struct sigaction unblocked = {.sa_handler = leave_handler, .sa_flags = SA_NODEFER};
    struct sigaction interrupts = {.sa_handler = count_former};
    struct sigaction once = {.sa_handler = count_former, .sa_flags = SA_RESETHAND}, found;
    /* A signal that arrives before the read is followed by another. */
    const struct itimerval repeated = {{0, 200000}, {0, 200000}}, none = {{0, 0}, {0, 0}};
    int fd = text_file(), ends[2];
    CHECK_INT(sigaction(SIGUSR1, &unblocked, NULL), 0);
    CHECK_STATUS(threading_dump_on_signal(SIGUSR1, fd), THREADING_OK);
    for (volatile int signals = 0; signals < 2; signals++) {
        if (sigsetjmp(before_signal, 0) == 0)
            CHECK_INT(raise(SIGUSR1), 0);
    }
    CHECK_INT(atomic_load(&former_calls), 2);
    /* Without SA_RESTART, the signal ends a read. */
    CHECK_INT(sigaction(SIGALRM, &interrupts, NULL), 0);
    CHECK_STATUS(threading_dump_on_signal(SIGALRM, fd), THREADING_OK);
    CHECK_INT(pipe(ends), 0);
    CHECK_INT(setitimer(ITIMER_REAL, &repeated, NULL), 0);
    CHECK_INT(read(ends[0], &(char){0}, 1), -1);
    CHECK_INT(errno, EINTR);
    CHECK_INT(setitimer(ITIMER_REAL, &none, NULL), 0);
    CHECK_AT_LEAST(atomic_load(&former_calls), 3);
    /* With SA_RESETHAND, the first signal restores the default action. A handler of a fault relies on it to end. */
    CHECK_INT(sigaction(SIGUSR2, &once, NULL), 0);
    CHECK_STATUS(threading_dump_on_signal(SIGUSR2, fd), THREADING_OK);
    int before = atomic_load(&former_calls);
    CHECK_INT(raise(SIGUSR2), 0);
    CHECK_INT(atomic_load(&former_calls), before + 1);
    CHECK_INT(sigaction(SIGUSR2, NULL, &found), 0);
    CHECK(found.sa_handler == SIG_DFL);
    CHECK_STATUS(threading_dump_on_signal(SIGUSR2, fd), THREADING_OK);
    CHECK_INT(raise(SIGUSR2), 0);
    CHECK_INT(atomic_load(&former_calls), before + 1);
}

static struct sigaction replaced_action;

/* A handler of the program that calls the one that it has replaced. */
static void call_replaced(int signal, siginfo_t *info, void *context)
{
    atomic_fetch_add(&former_calls, 10);
    replaced_action.sa_sigaction(signal, info, context);
}

static void replaced_handler(void)
{
    const char *const dump = "threading: process #, 1 thread\n\"MainThread\" #  makes this dump\n";
    struct sigaction plain = {.sa_handler = count_former};
    struct sigaction with_info = {.sa_sigaction = count_former_with_info, .sa_flags = SA_SIGINFO};
    struct sigaction chained = {.sa_sigaction = call_replaced, .sa_flags = SA_SIGINFO}, found;
    for (int rounds = 0; rounds < 10; rounds++) {
        int fd = text_file();
        atomic_store(&former_calls, 0);
        CHECK_INT(sigaction(SIGUSR1, &plain, NULL), 0);
        CHECK_STATUS(threading_dump_on_signal(SIGUSR1, fd), THREADING_OK);
        CHECK_INT(sigaction(SIGUSR1, &with_info, NULL), 0);
        CHECK_STATUS(threading_dump_on_signal(SIGUSR1, fd), THREADING_OK);
        CHECK_INT(raise(SIGUSR1), 0);
        CHECK_INT(atomic_load(&former_calls), 1);
        CHECK_STR(read_masked(fd), dump);
        CHECK_INT(ftruncate(fd, 0), 0);
        CHECK_INT(lseek(fd, 0, SEEK_SET), 0);
        CHECK_INT(sigaction(SIGUSR1, &chained, &replaced_action), 0);
        CHECK_STATUS(threading_dump_on_signal(SIGUSR1, fd), THREADING_OK);
        CHECK_INT(raise(SIGUSR1), 0);
        CHECK_INT(atomic_load(&former_calls), 12);
        CHECK_STR(read_masked(fd), dump);
        /* The program's new handler stays. */
        CHECK_INT(sigaction(SIGUSR1, &plain, NULL), 0);
        CHECK_STATUS(threading_dump_on_signal(SIGUSR1, -1), THREADING_OK);
        CHECK_INT(sigaction(SIGUSR1, NULL, &found), 0);
        CHECK(found.sa_handler == count_former);
        CHECK_INT(close(fd), 0);
    }
}

static int small_stack_file;

static void dump_on_the_small_stack(int signal)
{
    (void)signal;
    CHECK_STATUS(threading_dump(small_stack_file), THREADING_OK);
}

/* An alternate stack of 8 KiB, below which no memory is mapped. */
static void on_a_small_stack(void)
{
    enum { STACK = 8192, GUARD = 65536 };
    struct sigaction handler = {.sa_handler = dump_on_the_small_stack, .sa_flags = SA_ONSTACK};
    char *memory = mmap(NULL, GUARD + STACK, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(memory != MAP_FAILED);
    CHECK_INT(mprotect(memory, GUARD, PROT_NONE), 0);
    CHECK_INT(sigaltstack(&(stack_t){.ss_sp = memory + GUARD, .ss_size = STACK}, NULL), 0);
    small_stack_file = text_file();
    start_deadlock();
    check_dump("threading: process #, 3 threads, 2 of them deadlocked:\n" DEADLOCK
               "\"MainThread\" #  makes this dump\n" DEADLOCKED_THREADS);
    CHECK_INT(sigaction(SIGUSR1, &handler, NULL), 0);
    CHECK_INT(raise(SIGUSR1), 0);
    CHECK_STR(read_masked(small_stack_file), "threading: process #, 3 threads, 2 of them deadlocked:\n" DEADLOCK
                                             "\"MainThread\" #  makes this dump\n" DEADLOCKED_THREADS);
}

static atomic_bool is_dumped;

/* The cancellation is pending when the dump begins, and takes effect after it. */
static void *dump_and_be_cancelled(void *fd)
{
    CHECK_INT(pthread_cancel(pthread_self()), 0);
    CHECK_STATUS(threading_dump(*(int *)fd), THREADING_OK);
    atomic_store(&is_dumped, true);
    pthread_testcancel();
    return NULL;
}

static void not_cancelled(void)
{
    pthread_t thread;
    void *result;
    int fd = text_file();
    objects_new();
    start_named("sleeper", sleep_long, NULL);
    CHECK_INT(pthread_create(&thread, NULL, dump_and_be_cancelled, &fd), 0);
    CHECK_INT(pthread_join(thread, &result), 0);
    CHECK(result == PTHREAD_CANCELED && atomic_load(&is_dumped));
}

/* --------------------------------------------------------------------------------------------------- under load */

static atomic_bool load_ends;

/* Uses the objects, and others that are created, named and freed. The locks are acquired in one order. */
static void *use_objects(void *arg)
{
    while (!atomic_load(&load_ends)) {
        threading_lock *lock = threading_lock_new();
        CHECK_STATUS(threading_lock_set_name(lock, "short-lived"), THREADING_OK);
        CHECK_STATUS(threading_lock_acquire(accounts), THREADING_OK);
        CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
        CHECK_STATUS(threading_rlock_acquire(rlock), THREADING_OK);
        CHECK_STATUS(threading_rlock_set_name(rlock, "log"), THREADING_OK);
        CHECK_STATUS(threading_rlock_release(rlock), THREADING_OK);
        CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
        CHECK_STATUS(threading_lock_release(accounts), THREADING_OK);
        CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
        CHECK_STATUS(threading_semaphore_acquire(semaphore), THREADING_OK);
        CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_OK);
        CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
        CHECK_STATUS(threading_condition_wait_timeout(condition, 0.0001), THREADING_TIMED_OUT);
        CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
        threading_thread *thread = start_named("short-lived", wait_event, event);
        CHECK_STATUS(threading_thread_join_timeout(thread, TEST_LIMIT), THREADING_OK);
        CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    }
    return arg;
}

static void beside_load(void)
{
    enum { WORKERS = 3, DUMPS = 100 };
    threading_thread *workers[WORKERS];
    objects_new();
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_STATUS(threading_set_contention(true), THREADING_OK);
    for (unsigned i = 0; i < WORKERS; i++)
        workers[i] = start_named("worker", use_objects, NULL);
    for (unsigned i = 0; i < DUMPS; i++) {
        const char *masked = masked_dump();
        CHECK(strncmp(masked, "threading: process #, ", 22) == 0 && strstr(masked, "deadlocked") == NULL);
        sleep_for(0.001);
    }
    atomic_store(&load_ends, true);
    for (unsigned i = 0; i < WORKERS; i++)
        CHECK_STATUS(threading_thread_join(workers[i]), THREADING_OK);
}

/* ------------------------------------------------------------------------------------------------- the hang hook */

static struct report {
    pthread_mutex_t mutex; /* race detectors do not know what atomics order */
    int calls;
    int kind;
    char text[TEXT_SIZE];
} reported = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void record_report(int kind, const char *report, void *arg)
{
    struct report *record = arg;
    CHECK_INT(pthread_mutex_lock(&record->mutex), 0);
    record->kind = kind;
    mask(report, record->text);
    record->calls++;
    CHECK_INT(pthread_mutex_unlock(&record->mutex), 0);
}

static int report_calls(void)
{
    CHECK_INT(pthread_mutex_lock(&reported.mutex), 0);
    int calls = reported.calls;
    CHECK_INT(pthread_mutex_unlock(&reported.mutex), 0);
    return calls;
}

static bool is_reported(void *arg)
{
    (void)arg;
    return report_calls() != 0;
}

static void check_reported_once(void)
{
    wait_until(is_reported, NULL);
    CHECK_INT(reported.kind, THREADING_HANG_DEADLOCK);
    CHECK(strncmp(reported.text, "threading: process #, 3 threads, 2 of them deadlocked:\n" DEADLOCK,
                  strlen("threading: process #, 3 threads, 2 of them deadlocked:\n" DEADLOCK)) == 0);
    sleep_for(0.3);
    CHECK_INT(report_calls(), 1);
}

static void deadlock_is_reported(void)
{
    CHECK_STATUS(threading_set_hang_hook(0.1, record_report, &reported), THREADING_OK);
    start_deadlock();
    check_reported_once();
}

static void earlier_deadlock_is_reported(void)
{
    start_deadlock();
    check_dump("threading: process #, 3 threads, 2 of them deadlocked:\n" DEADLOCK
               "\"MainThread\" #  makes this dump\n" DEADLOCKED_THREADS);
    CHECK_STATUS(threading_set_hang_hook(0.1, record_report, &reported), THREADING_OK);
    check_reported_once();
}

static threading_barrier *meeting;
static atomic_bool in_hook;

static bool is_in_hook(void *arg)
{
    (void)arg;
    return atomic_load(&in_hook);
}

static void wait_in_hook(int kind, const char *report, void *arg)
{
    atomic_store(&in_hook, true);
    CHECK_STATUS(threading_barrier_wait(meeting, NULL), THREADING_OK);
    record_report(kind, report, arg);
}

/* The thread that runs the hook is in the queue of a lock, and waits in the queue of a barrier. */
static void hook_may_wait(void)
{
    meeting = threading_barrier_new(2, NULL, NULL);
    CHECK(meeting != NULL);
    CHECK_STATUS(threading_set_hang_hook(0.05, wait_in_hook, &reported), THREADING_OK);
    objects_new();
    threading_thread *one = start_named("one", acquire_both, journal);
    threading_thread *two = start_named("two", acquire_both, accounts);
    while (threading_lock_owner(accounts) == 0 || threading_lock_owner(journal) == 0)
        sleep_for(0.001);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    wait_until(is_in_hook, NULL);
    sleep_for(0.2);
    CHECK_STATUS(threading_barrier_wait(meeting, NULL), THREADING_OK);
    wait_until(is_reported, NULL);
    sleep_for(0.05);
    CHECK(threading_thread_is_alive(one) && threading_thread_is_alive(two));
    CHECK_STATUS(threading_lock_release(accounts), THREADING_OK);
    CHECK_STATUS(threading_lock_release(journal), THREADING_OK);
    CHECK_STATUS(threading_thread_join(one), THREADING_OK);
    CHECK_STATUS(threading_thread_join(two), THREADING_OK);
    CHECK_INT(report_calls(), 1);
    CHECK_STATUS(threading_lock_free(accounts), THREADING_OK);
    CHECK_STATUS(threading_lock_free(journal), THREADING_OK);
}

static atomic_bool sends_signals;

static void do_nothing(int signal)
{
    (void)signal;
}

static void *send_signals(void *threads)
{
    while (atomic_load(&sends_signals)) {
        for (threading_thread **thread = threads; *thread != NULL; thread++)
            CHECK_INT(syscall(SYS_tgkill, getpid(), (long)threading_thread_native_id(*thread), SIGUSR1), 0);
        sleep_for(0.01);
    }
    return NULL;
}

static void signals_do_not_change_reports(void)
{
    struct sigaction handler = {.sa_handler = do_nothing};
    threading_thread *threads[3] = {NULL};
    pthread_t sender;
    CHECK_INT(sigaction(SIGUSR1, &handler, NULL), 0);
    CHECK_STATUS(threading_set_hang_hook(0.1, record_report, &reported), THREADING_OK);
    objects_new();
    threads[0] = start_named("one", acquire_both, journal);
    threads[1] = start_named("two", acquire_both, accounts);
    atomic_store(&sends_signals, true);
    CHECK_INT(pthread_create(&sender, NULL, send_signals, threads), 0);
    while (threading_lock_owner(accounts) == 0 || threading_lock_owner(journal) == 0)
        sleep_for(0.001);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    check_reported_once();
    atomic_store(&sends_signals, false);
    CHECK_INT(pthread_join(sender, NULL), 0);
}

static struct nesting {
    threading_lock *lock;
    threading_rlock *rlock, *other;
    threading_condition *condition;
    atomic_bool waits;
} nesting;

/* Ends the deadlock. */
static void nest_in_hook(int kind, const char *report, void *arg)
{
    for (int i = 0; i < 2; i++)
        CHECK_STATUS(threading_rlock_acquire(nesting.other), THREADING_OK);
    for (int i = 0; i < 2; i++)
        CHECK_STATUS(threading_rlock_release(nesting.other), THREADING_OK);
    record_report(kind, report, arg);
    CHECK_STATUS(threading_lock_release(nesting.lock), THREADING_OK);
}

static void *time_out_and_hang(void *unused)
{
    CHECK_STATUS(threading_lock_acquire(nesting.lock), THREADING_OK);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(threading_rlock_acquire(nesting.rlock), THREADING_OK);
    atomic_store(&nesting.waits, true);
    CHECK_STATUS(threading_condition_wait_timeout(nesting.condition, 0.3), THREADING_TIMED_OUT);
    CHECK_INT(threading_rlock_recursion_count(nesting.rlock), 3);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(threading_rlock_release(nesting.rlock), THREADING_OK);
    if (report_calls() == 0) /* main was too slow: there was no deadlock */
        CHECK_STATUS(threading_lock_release(nesting.lock), THREADING_OK);
    return unused;
}

static bool nesting_thread_waits(void *unused)
{
    (void)unused;
    return atomic_load(&nesting.waits);
}

/* The hook runs in the wait for the condition's lock, whose recursion count the wait has to restore. */
static void hook_may_nest_rlocks(void)
{
    nesting.lock = threading_lock_new();
    nesting.rlock = threading_rlock_new();
    nesting.other = threading_rlock_new();
    nesting.condition = threading_condition_new_with_rlock(nesting.rlock);
    CHECK_STATUS(threading_set_hang_hook(0.1, nest_in_hook, &reported), THREADING_OK);
    threading_thread *thread = start_named("hangs", time_out_and_hang, NULL);
    wait_until(nesting_thread_waits, NULL);
    CHECK_STATUS(threading_rlock_acquire(nesting.rlock), THREADING_OK);
    CHECK_STATUS(threading_lock_acquire(nesting.lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(nesting.rlock), THREADING_OK);
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    CHECK(report_calls() <= 1);
}

/* Main has no OS thread of the library, and waits for the other's end on another futex than other joiners. There are
 * three threads, since two that join each other get an error. */
static void *observe_deadlock_with_main(void *unused)
{
    (void)unused;
    check_dump("threading: process #, 4 threads, 3 of them deadlocked:\n"
               "  \"MainThread\" joins \"worker\", for # s\n"
               "  \"worker\" joins \"joiner\", for # s\n"
               "  \"joiner\" joins \"MainThread\", for # s\n"
               "\"MainThread\" #  joins \"worker\", for # s\n"
               "\"joiner\" #  joins \"MainThread\", for # s\n"
               "\"worker\" #  joins \"joiner\", for # s\n"
               "\"observer\" #  makes this dump\n");
    CHECK_STATUS(threading_set_hang_hook(0.1, record_report, &reported), THREADING_OK);
    wait_until(is_reported, NULL);
    sleep_for(0.3);
    CHECK_INT(report_calls(), 1);
    CHECK_INT(reported.kind, THREADING_HANG_DEADLOCK);
    _exit(0);
}

static void deadlock_with_main_is_reported(void)
{
    threading_thread *joiner = start_named("joiner", join_thread, threading_main_thread());
    threading_thread *worker = start_named("worker", join_thread, joiner);
    start_observer(observe_deadlock_with_main);
    CHECK_STATUS(threading_thread_join(worker), THREADING_OK);
    CHECK(false);
}

static pthread_key_t last_key;
static atomic_bool in_last_destructor;

/* In its last round, the thread has called the destructors of the library. */
static void acquire_in_last_destructor(void *value)
{
    static int rounds;
    if (++rounds < PTHREAD_DESTRUCTOR_ITERATIONS) {
        CHECK_INT(pthread_setspecific(last_key, value), 0);
    } else {
        atomic_store(&in_last_destructor, true);
        CHECK_STATUS(threading_lock_acquire(accounts), THREADING_OK);
    }
}

static void *end_with_destructor(void *value)
{
    CHECK_INT(pthread_setspecific(last_key, value), 0);
    return value;
}

static void *observe_deadlock_of_exiting_thread(void *unused)
{
    wait_until(is_reported, NULL);
    CHECK_INT(reported.kind, THREADING_HANG_DEADLOCK);
    sleep_for(0.3);
    CHECK_INT(report_calls(), 1);
    _exit(0);
    return unused;
}

/* Several threads join a thread that has nearly ended: they poll. */
static void deadlock_with_exiting_thread_is_reported(void)
{
    skip_under_tools();
    objects_new();
    CHECK_STATUS(threading_set_hang_hook(0.1, record_report, &reported), THREADING_OK);
    CHECK_STATUS(threading_lock_acquire(accounts), THREADING_OK);
    CHECK_INT(pthread_key_create(&last_key, acquire_in_last_destructor), 0);
    threading_thread *ends = start_named("ends", end_with_destructor, &last_key);
    while (!atomic_load(&in_last_destructor))
        sleep_for(0.001);
    start_named("joiner", join_thread, ends);
    start_named("joiner", join_thread, ends);
    sleep_for(0.05);
    start_observer(observe_deadlock_of_exiting_thread);
    CHECK_STATUS(threading_thread_join(ends), THREADING_OK);
    CHECK(false);
}

static void deadlock_is_reported_without_memory(void)
{
    skip_under_tools();
    CHECK_STATUS(threading_set_hang_hook(0.1, record_report, &reported), THREADING_OK);
    start_deadlock();
    check_dump("threading: process #, 3 threads, 2 of them deadlocked:\n" DEADLOCK
               "\"MainThread\" #  makes this dump\n" DEADLOCKED_THREADS);
    const struct rlimit limit = {.rlim_cur = 1 << 20, .rlim_max = 1 << 20};
    CHECK_INT(setrlimit(RLIMIT_AS, &limit), 0);
    check_reported_once();
}

static threading_thread *timed_waiter;

/* The waiter has a timeout, but when it has been notified, it waits for the rlock without one. */
static void *wait_after_release(void *unused)
{
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_OK);
    CHECK_STATUS(threading_condition_wait_timeout(condition, 1000), THREADING_OK);
    return unused;
}

static void *notify_timed_waiter(void *unused)
{
    CHECK_STATUS(threading_semaphore_acquire(semaphore), THREADING_OK);
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    CHECK_STATUS(threading_condition_notify_all(condition), THREADING_OK);
    CHECK_STATUS(threading_thread_join(timed_waiter), THREADING_OK);
    return unused;
}

/* The two waits begin in the same tick of the clock as a rule, and the waiter's thread has the higher identifier: so it
 * is the one that reports. */
static void deadlock_with_timed_waiter_is_reported_when(bool is_set_before)
{
    objects_new();
    semaphore = threading_semaphore_new(0);
    timed_waiter = threading_thread_new(wait_after_release, NULL);
    CHECK(semaphore != NULL && timed_waiter != NULL);
    if (is_set_before)
        CHECK_STATUS(threading_set_hang_hook(0.1, record_report, &reported), THREADING_OK);
    start_named("notifier", notify_timed_waiter, NULL);
    CHECK_STATUS(threading_thread_start(timed_waiter), THREADING_OK);
    if (!is_set_before) {
        while (strstr(masked_dump(), "2 of them deadlocked") == NULL)
            sleep_for(0.001);
        CHECK_STATUS(threading_set_hang_hook(0.1, record_report, &reported), THREADING_OK);
    }
    wait_until(is_reported, NULL);
    CHECK_INT(reported.kind, THREADING_HANG_DEADLOCK);
    sleep_for(0.3);
    CHECK_INT(report_calls(), 1);
}

static void deadlock_with_timed_waiter_is_reported(void)
{
    deadlock_with_timed_waiter_is_reported_when(true);
}

static void earlier_deadlock_with_timed_waiter_is_reported(void)
{
    deadlock_with_timed_waiter_is_reported_when(false);
}

static threading_timer *alarm_timer;

/* Records the first report, and ends what the shutdown waits for. */
static void record_and_end_exit(int kind, const char *report, void *arg)
{
    if (report_calls() == 0)
        record_report(kind, report, arg);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_STATUS(threading_timer_cancel(alarm_timer), THREADING_OK);
}

static void exit_is_reported(void)
{
    objects_new();
    start_named("worker", wait_event, event);
    check_dump("threading: process #, 2 threads\n"
               "\"MainThread\" #  makes this dump\n"
               "\"worker\" #  waits for event \"stop\" (not set), for # s\n");
    CHECK_STATUS(threading_set_hang_hook(0.1, record_and_end_exit, &reported), THREADING_OK);
    CHECK_STATUS(threading_shutdown_timeout(0.3), THREADING_TIMED_OUT);
    CHECK_INT(report_calls(), 0); /* with a timeout, it does not hang */
    alarm_timer = timer_start(3600, set_event, event);
    CHECK_STATUS(threading_thread_set_name(threading_timer_thread(alarm_timer), "alarm"), THREADING_OK);
    CHECK_STATUS(threading_shutdown(), THREADING_OK);
    CHECK_INT(report_calls(), 1);
    CHECK_INT(reported.kind, THREADING_HANG_EXIT);
    CHECK_STR(reported.text, "threading: process #, 2 threads\n"
                             "\"MainThread\" #  waits in the process exit or a shutdown for 1 non-daemon thread and 1"
                             " timer, for # s\n"
                             "\"worker\" #  waits for event \"stop\" (not set), for # s\n"
                             "\"alarm\" timer, due in # s\n");
}

static void record_deadlock(int kind, const char *report, void *arg)
{
    if (kind == THREADING_HANG_DEADLOCK)
        record_report(kind, report, arg);
}

static void *acquire_accounts_after_event(void *unused)
{
    CHECK_STATUS(threading_event_wait(event), THREADING_OK);
    CHECK_STATUS(threading_lock_acquire(accounts), THREADING_OK);
    return unused;
}

static void *observe_chain_to_exit(void *unused)
{
    while (strstr(masked_dump(), "\"MainThread\" #  waits in the process exit") == NULL ||
           strstr(masked_dump(), "\"joiner\" #  joins \"daemon\"") == NULL)
        sleep_for(0.001);
    CHECK_STATUS(threading_set_hang_hook(0.05, record_deadlock, &reported), THREADING_OK);
    sleep_for(0.2);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    check_dump("threading: process #, 4 threads, 3 of them deadlocked:\n"
               "  \"joiner\" joins \"daemon\", for # s\n"
               "  \"daemon\" waits for lock \"accounts\", owned by \"MainThread\", for # s\n"
               "  \"MainThread\" waits in the process exit or a shutdown for 1 non-daemon thread, for # s\n"
               "\"MainThread\" #  waits in the process exit or a shutdown for 1 non-daemon thread, for # s\n"
               "    owns lock \"accounts\" (1 waiter)\n"
               "\"daemon\" #  waits for lock \"accounts\", owned by \"MainThread\", for # s\n"
               "\"joiner\" #  joins \"daemon\", for # s\n"
               "\"observer\" #  makes this dump\n");
    wait_until(is_reported, NULL);
    CHECK(strstr(reported.text, "3 of them deadlocked:") != NULL);
    sleep_for(0.2);
    CHECK_INT(report_calls(), 1);
    _exit(0);
    return unused;
}

/* The shutdown waits for the joiner, but not for the daemon, whose wait completes the cycle. */
static void chain_to_exit(void)
{
    objects_new();
    CHECK_STATUS(threading_lock_acquire(accounts), THREADING_OK);
    threading_thread *daemon = threading_thread_new(acquire_accounts_after_event, NULL);
    CHECK(daemon != NULL);
    CHECK_STATUS(threading_thread_set_name(daemon, "daemon"), THREADING_OK);
    CHECK_STATUS(threading_thread_set_daemon(daemon, true), THREADING_OK);
    CHECK_STATUS(threading_thread_start(daemon), THREADING_OK);
    start_named("joiner", join_thread, daemon);
    start_observer(observe_chain_to_exit);
    CHECK_STATUS(threading_shutdown(), THREADING_OK);
    CHECK(false);
}

/* ------------------------------------------------------------------------------------------- many threads */

static double cpu_time(void)
{
    struct timespec time;
    CHECK_INT(clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time), 0);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Starts up to `count` threads. Each has the former one as its argument, and the first one has `arg`. */
static int start_chain(int count, threading_target target, void *arg)
{
    int started = 0;
    for (; started < count; started++) {
        threading_thread *thread = threading_thread_new(target, arg);
        CHECK_STATUS(threading_thread_set_stack_size(thread, test_smallest_stack()), THREADING_OK);
        if (threading_thread_start(thread) != THREADING_OK)
            break; /* the system does not permit more threads */
        arg = thread;
    }
    return started;
}

static void *join_or_wait(void *thread)
{
    CHECK_STATUS(thread == NULL ? threading_event_wait(event) : threading_thread_join(thread), THREADING_OK);
    return thread;
}

static atomic_int hook_calls;

static void count_call(int kind, const char *report, void *arg)
{
    (void)report;
    (void)arg;
    CHECK_INT(kind, THREADING_HANG_DEADLOCK);
    atomic_fetch_add(&hook_calls, 1);
}

/* Each thread of the chain checks whether it hangs, and follows all joins before its own. */
static void hang_hook_and_long_chain(void)
{
    threading_lock *locks[2];
    double before;
    skip_under_tools();
    objects_new();
    CHECK_STATUS(threading_set_hang_hook(0.5, count_call, NULL), THREADING_OK);
    start_chain(1500, join_or_wait, NULL);
    before = cpu_time();
    sleep_for(1.5);
    CHECK_AT_LEAST(before + 0.5, cpu_time());
    CHECK_INT(atomic_load(&hook_calls), 0);
    /* A later deadlock is reported. */
    locks[0] = accounts;
    locks[1] = journal;
    event = event_new();
    for (int i = 0; i < 2; i++)
        spawn(acquire_both, locks[i]);
    while (threading_lock_owner(accounts) == 0 || threading_lock_owner(journal) == 0)
        sleep_for(0.001);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    wait_until(is_nonzero, &hook_calls);
    sleep_for(0.3);
    CHECK_INT(atomic_load(&hook_calls), 1);
}

static void *arrive(void *unused)
{
    CHECK_STATUS(threading_barrier_wait(barrier, NULL), THREADING_OK);
    return unused;
}

/* Starts threads that wait at one barrier. Returns the CPU time of a dump. */
static double dump_time_at_barrier(int threads)
{
    double least = 1e9;
    start_chain(threads, arrive, NULL);
    sleep_for(0.2); /* for most of them to arrive */
    for (int i = 0; i < 5; i++) {
        const int null = open("/dev/null", O_WRONLY);
        double before = cpu_time(), took;
        CHECK_STATUS(threading_dump(null), THREADING_OK);
        took = cpu_time() - before;
        least = took < least ? took : least;
        CHECK_INT(close(null), 0);
    }
    return least;
}

static threading_lock *many_locks[3 * 8192];

/* Acquires new locks, and starts threads that wait at one barrier. Returns the CPU time of a dump. */
static double dump_time_with_locks(int threads, int first, int end)
{
    for (int i = first; i < end; i++) {
        many_locks[i] = threading_lock_new();
        CHECK_STATUS(threading_lock_acquire(many_locks[i]), THREADING_OK);
    }
    return dump_time_at_barrier(threads);
}

/* The index is in static memory up to 8192 locks, and in mapped memory if there are more. */
static void dump_of_many_locks(void)
{
    double few, many;
    skip_under_tools();
    barrier = threading_barrier_new(100000, NULL, NULL);
    few = dump_time_with_locks(1500, 0, 8000);
    many = dump_time_with_locks(0, 8000, TEST_COUNT(many_locks));
    CHECK_AT_LEAST(10 * few + 0.01, many);
}

static void dump_of_a_crowded_barrier(void)
{
    double few, many;
    skip_under_tools();
    barrier = threading_barrier_new(100000, NULL, NULL);
    few = dump_time_at_barrier(500);
    many = dump_time_at_barrier(3500);
    /* 8 times as many threads. If each of them were counted for each, the dump would take 64 times as long. */
    CHECK_AT_LEAST(20 * few + 0.005, many);
}

#define IN_CHILD(check)                                                                                      \
    static void check##_case(void)                                                                           \
    {                                                                                                        \
        run_in_child(check);                                                                                 \
    }

IN_CHILD(main_alone)
static void each_kind_of_wait_case(void)
{
    if (is_emulated())
        SKIP("the system shows the system calls of an emulator");
    run_in_child(each_kind_of_wait);
}

IN_CHILD(notified_waiter)
IN_CHILD(notified_together)
IN_CHILD(notified_before_it_parks)
IN_CHILD(two_locks)
IN_CHILD(forming_deadlocks)
IN_CHILD(own_lock)
IN_CHILD(lock_and_join)
IN_CHILD(condition_and_join)
IN_CHILD(condition_and_join_together)
IN_CHILD(freed_condition)
IN_CHILD(lock_and_shutdown)
IN_CHILD(join_and_shutdown)
IN_CHILD(after_shutdown)

static void after_a_fork_case(void)
{
    SKIP_THREADS_IN_CHILD_IF_EMULATED();
    SKIP_FORK_IF_PORTABLE();
    run_in_child(after_a_fork);
}

static void after_a_fork_by_another_thread_case(void)
{
    SKIP_THREADS_IN_CHILD_IF_EMULATED();
    SKIP_FORK_IF_PORTABLE();
    run_in_child(after_a_fork_by_another_thread);
}

IN_CHILD(errors)
IN_CHILD(names)
IN_CHILD(owners)
IN_CHILD(contention)
IN_CHILD(on_a_signal)
IN_CHILD(signal_during_restore)
IN_CHILD(after_a_fault)
IN_CHILD(former_flags)
IN_CHILD(replaced_handler)
IN_CHILD(on_a_small_stack)
IN_CHILD(not_cancelled)
IN_CHILD(beside_load)
IN_CHILD(deadlock_is_reported)
IN_CHILD(earlier_deadlock_is_reported)
IN_CHILD(deadlock_with_exiting_thread_is_reported)
IN_CHILD(deadlock_is_reported_without_memory)
IN_CHILD(hook_may_wait)
IN_CHILD(hook_may_nest_rlocks)
IN_CHILD(signals_do_not_change_reports)
IN_CHILD(deadlock_with_main_is_reported)
IN_CHILD(deadlock_with_timed_waiter_is_reported)
IN_CHILD(earlier_deadlock_with_timed_waiter_is_reported)
IN_CHILD(exit_is_reported)
IN_CHILD(chain_to_exit)
IN_CHILD(hang_hook_and_long_chain)
IN_CHILD(dump_of_a_crowded_barrier)
IN_CHILD(dump_of_many_locks)

static const struct test_case cases[] = {
    {"a dump shows the main thread of a program without other threads", main_alone_case},
    {"a dump shows each kind of wait, and the owned locks", each_kind_of_wait_case},
    {"a notified waiter waits for the condition's lock", notified_waiter_case},
    {"a waiter that parks together with others waits for the lock from the notify on", notified_together_case},
    {"the same for one that was notified before it parked", notified_before_it_parks_case},
    {"a deadlock of two locks is found", two_locks_case},
    {"a deadlock that forms during a dump is shown whole or not at all", forming_deadlocks_case},
    {"a thread that acquires its own lock is deadlocked", own_lock_case},
    {"a deadlock of a lock and a join is found", lock_and_join_case},
    {"a deadlock of a notified waiter, which had a timeout, and a join is found", condition_and_join_case},
    {"the same for a waiter that parks together with others", condition_and_join_together_case},
    {"a notified waiter waits for the lock of a freed condition", freed_condition_case},
    {"a deadlock of a lock and a shutdown is found", lock_and_shutdown_case},
    {"a thread that joins main in a shutdown is not deadlocked", join_and_shutdown_case},
    {"a dump shows the main thread after a shutdown, and what it owns", after_shutdown_case},
    {"a child of fork shows locks of the parent's threads", after_a_fork_case},
    {"a child of fork that another thread than main has forked shows its own main thread",
     after_a_fork_by_another_thread_case},
    {"invalid arguments and failing writes are errors", errors_case},
    {"names can be set and removed, and are cut", names_case},
    {"the owner of a lock is the thread that has acquired it, also after its end", owners_case},
    {"waits are counted while the statistics of contention are on", contention_case},
    {"a signal makes a dump and calls the former handler", on_a_signal_case},
    {"a signal that arrives while the former handler is restored is passed to it", signal_during_restore_case},
    {"signals make dumps while the thread calls the library", during_calls},
    {"after a dump on a fault, the default action follows", after_a_fault_case},
    {"the former handler gets signals with the flags that it has asked for", former_flags_case},
    {"a handler that has replaced that of the library can be replaced again", replaced_handler_case},
    {"a dump fits on an alternate signal stack of 8 KiB", on_a_small_stack_case},
    {"a dump is not a cancellation point", not_cancelled_case},
    {"dumps beside threads that use all kinds of objects show no deadlock", beside_load_case},
    {"the hang hook is called once for a deadlock", deadlock_is_reported_case},
    {"the hang hook is called for a deadlock that is older than the hook", earlier_deadlock_is_reported_case},
    {"the hang hook is called once for a deadlock with a thread that several threads join while it ends",
     deadlock_with_exiting_thread_is_reported_case},
    {"the hang hook is called if there is no memory for a long report", deadlock_is_reported_without_memory_case},
    {"the hang hook may wait", hook_may_wait_case},
    {"the hang hook may acquire RLocks several times in a wait that restores a recursion count",
     hook_may_nest_rlocks_case},
    {"signals neither defer nor repeat the call of the hang hook", signals_do_not_change_reports_case},
    {"the hang hook is called once for a deadlock with the main thread", deadlock_with_main_is_reported_case},
    {"the hang hook is called once for a deadlock with a notified waiter that had a timeout",
     deadlock_with_timed_waiter_is_reported_case},
    {"the hang hook is called for an earlier deadlock with a notified waiter that had a timeout",
     earlier_deadlock_with_timed_waiter_is_reported_case},
    {"the hang hook is called for a shutdown that waits", exit_is_reported_case},
    {"a deadlock of a shutdown and a thread for which it does not wait is shown whole, and reported",
     chain_to_exit_case},
    {"the hang hook costs little if 1,500 threads join each other in a chain", hang_hook_and_long_chain_case},
    {"the time of a dump is proportional to the number of threads at a barrier", dump_of_a_crowded_barrier_case},
    {"a dump finds the owners of more locks than its static index has room for", dump_of_many_locks_case},
};

TEST_MAIN(cases)
