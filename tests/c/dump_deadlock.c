/* Dumps: the deadlocks, which are listed before the threads. */
#include "dump.h"

#include "../broadcasts.h"

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

IN_CHILD(two_locks)
IN_CHILD(forming_deadlocks)
IN_CHILD(own_lock)
IN_CHILD(lock_and_join)
IN_CHILD(condition_and_join)
IN_CHILD(condition_and_join_together)
IN_CHILD(freed_condition)
IN_CHILD(lock_and_shutdown)
IN_CHILD(join_and_shutdown)

static const struct test_case cases[] = {
    {"a deadlock of two locks is found", two_locks_case},
    {"a deadlock that forms during a dump is shown whole or not at all", forming_deadlocks_case},
    {"a thread that acquires its own lock is deadlocked", own_lock_case},
    {"a deadlock of a lock and a join is found", lock_and_join_case},
    {"a deadlock of a notified waiter, which had a timeout, and a join is found", condition_and_join_case},
    {"the same for a waiter that parks together with others", condition_and_join_together_case},
    {"a notified waiter waits for the lock of a freed condition", freed_condition_case},
    {"a deadlock of a lock and a shutdown is found", lock_and_shutdown_case},
    {"a thread that joins main in a shutdown is not deadlocked", join_and_shutdown_case},
};

TEST_MAIN(cases)
