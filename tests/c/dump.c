/* Dumps: the text, which says what each thread waits for and what it owns. Deadlocks are in dump_deadlock.c, the hang
 * hook in dump_hang.c, and dumps that a signal makes in dump_on_signal.c. */
#include "dump.h"

#include <limits.h>
#include <sys/resource.h>

#include "../broadcasts.h"

/* ---------------------------------------------------------------------------------------------- the threads */

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

static void *wait_barrier(void *arg)
{
    threading_barrier_wait(arg, NULL);
    return arg;
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

/* ---------------------------------------------------------------------------------------------------- waits */

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

static void *wait_event_with_timeout(void *arg)
{
    CHECK_STATUS(threading_event_wait_timeout(arg, 3600), THREADING_OK);
    return arg;
}

static void *sleep_outside(void *arg)
{
    struct timespec hour = {.tv_sec = 3600};
    CHECK_INT(nanosleep(&hour, NULL), 0);
    return arg;
}

/* After a stop, the kernel restarts calls with a timeout by a system call of their own. */
static void after_a_stop(void)
{
    const char *const restarted = "\"sleeper\" #  running outside this library, in restart_syscall(2)\n";
    objects_new();
    start_named("sleeper", sleep_outside, NULL);
    start_named("waiter", wait_event_with_timeout, event);
    while (strstr(masked_dump(), "nanosleep(2)\n\"waiter\" #  waits for event \"stop\"") == NULL)
        sleep_for(0.001);
    pid_t stopper = fork();
    CHECK(stopper >= 0);
    if (stopper == 0) {
        kill(getppid(), SIGSTOP);
        sleep_for(0.05);
        kill(getppid(), SIGCONT);
        _exit(0);
    }
    CHECK_INT(waitpid(stopper, NULL, 0), stopper);
    const char *dump;
    while (strstr(dump = masked_dump(), restarted) == NULL)
        sleep_for(0.001);
    CHECK(strstr(dump, "\"waiter\" #  waits for event \"stop\" (not set), for # s, for at most # s more\n") != NULL);
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

/* -------------------------------------------------------------------------------- names, owners, contention */

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

/* ------------------------------------------------------------------------- signal handlers and cancellation */

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

/* ----------------------------------------------------------------------------- the cases in child processes */

IN_CHILD(main_alone)

static void each_kind_of_wait_case(void)
{
    if (is_emulated())
        SKIP("the system shows the system calls of an emulator");
    run_in_child(each_kind_of_wait);
}

static void after_a_stop_case(void)
{
    if (is_emulated())
        SKIP("the system shows the system calls of an emulator");
    run_in_child(after_a_stop);
}

IN_CHILD(notified_waiter)
IN_CHILD(notified_together)
IN_CHILD(notified_before_it_parks)
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
IN_CHILD(on_a_small_stack)
IN_CHILD(not_cancelled)
IN_CHILD(beside_load)

static const struct test_case cases[] = {
    {"a dump shows the main thread of a program without other threads", main_alone_case},
    {"a dump shows each kind of wait, and the owned locks", each_kind_of_wait_case},
    {"calls and waits that go on after a stop of the process are shown", after_a_stop_case},
    {"a notified waiter waits for the condition's lock", notified_waiter_case},
    {"a waiter that parks together with others waits for the lock from the notify on", notified_together_case},
    {"the same for one that was notified before it parked", notified_before_it_parks_case},
    {"a dump shows the main thread after a shutdown, and what it owns", after_shutdown_case},
    {"a child of fork shows locks of the parent's threads", after_a_fork_case},
    {"a child of fork that another thread than main has forked shows its own main thread",
     after_a_fork_by_another_thread_case},
    {"invalid arguments and failing writes are errors", errors_case},
    {"names can be set and removed, and are cut", names_case},
    {"the owner of a lock is the thread that has acquired it, also after its end", owners_case},
    {"waits are counted while the statistics of contention are on", contention_case},
    {"a dump fits on an alternate signal stack of 8 KiB", on_a_small_stack_case},
    {"a dump is not a cancellation point", not_cancelled_case},
    {"dumps beside threads that use all kinds of objects show no deadlock", beside_load_case},
};

TEST_MAIN(cases)
