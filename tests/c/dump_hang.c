/* The hang hook: it is called once for a deadlock, and for a process exit or a shutdown that waits. */
#include "dump.h"

#include <limits.h>
#include <sys/resource.h>

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

static const struct test_case cases[] = {
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
};

TEST_MAIN(cases)
