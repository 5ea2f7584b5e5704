/* Dumps and checks of hangs in processes with thousands of threads and locks: their CPU time is proportional to the
 * number of these. */
#include "dump.h"

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

/* All threads of the chain check at about the same time. If each followed all joins before its own, this would take
 * several seconds. */
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

static void *dump_to_null(void *arg)
{
    const int null = open("/dev/null", O_WRONLY);
    CHECK(null >= 0);
    for (int i = 0; i < 3; i++)
        CHECK_STATUS(threading_dump(null), THREADING_OK);
    CHECK_INT(close(null), 0);
    return arg;
}

/* Only one dump at a time has the index. */
static void dumps_at_the_same_time(void)
{
    enum { DUMPERS = 4 };
    threading_thread *dumpers[DUMPERS];
    skip_under_tools();
    objects_new();
    start_chain(1500, join_or_wait, NULL);
    double before = cpu_time();
    for (int i = 0; i < DUMPERS; i++)
        dumpers[i] = start_named("dumper", dump_to_null, NULL);
    for (int i = 0; i < DUMPERS; i++)
        CHECK_STATUS(threading_thread_join(dumpers[i]), THREADING_OK);
    CHECK_AT_LEAST(before + 2.0, cpu_time());
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

static threading_lock *many_locks[12 * 2048];

/* Acquires new locks, and starts threads that wait at one barrier. Returns the CPU time of a dump. */
static double dump_time_with_locks(int threads, int first, int end)
{
    for (int i = first; i < end; i++) {
        many_locks[i] = threading_lock_new();
        CHECK_STATUS(threading_lock_acquire(many_locks[i]), THREADING_OK);
    }
    return dump_time_at_barrier(threads);
}

/* The index is in static memory up to 2048 locks, and in mapped memory if there are more. */
static void dump_of_many_locks(void)
{
    double few, many;
    skip_under_tools();
    barrier = threading_barrier_new(100000, NULL, NULL);
    few = dump_time_with_locks(1500, 0, 2000);
    many = dump_time_with_locks(0, 2000, TEST_COUNT(many_locks));
    CHECK_AT_LEAST(12 * few + 0.01, many);
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

/* ----------------------------------------------------------------------------- the cases in child processes */

IN_CHILD(hang_hook_and_long_chain)
IN_CHILD(dumps_at_the_same_time)
IN_CHILD(dump_of_a_crowded_barrier)
IN_CHILD(dump_of_many_locks)

static const struct test_case cases[] = {
    {"the hang hook costs little if 1,500 threads join each other in a chain", hang_hook_and_long_chain_case},
    {"dumps that several threads make at the same time cost as much as one after the other",
     dumps_at_the_same_time_case},
    {"the time of a dump is proportional to the number of threads at a barrier", dump_of_a_crowded_barrier_case},
    {"a dump finds the owners of more locks than its static index has room for", dump_of_many_locks_case},
};

TEST_MAIN(cases)
