/* The end of threads: threads that no caller joins, joiners that do not run, threads that the user detaches or joins by
 * pthread. */
#include "test.h"

#include <errno.h>

static void *exit_with_arg(void *arg)
{
    pthread_exit(arg);
}

/* ------------------------------------------------------------------------------- threads that no one joins */

enum { STACKS_KEPT = 128, THREADS = 600, DESTRUCTOR_ROUNDS = 4 };

/* The system threads of this process and its mappings. False if the system does not tell. */
static bool process_counts(long *threads, long *mappings)
{
    char line[512];
    FILE *status = fopen("/proc/self/status", "r"), *maps = fopen("/proc/self/maps", "r");
    bool known = status != NULL && maps != NULL;
    *threads = *mappings = 0;
    while (known && fgets(line, sizeof line, status) != NULL)
        (void)sscanf(line, "Threads: %ld", threads);
    while (known && fgets(line, sizeof line, maps) != NULL)
        *mappings += strchr(line, '\n') != NULL;
    if (status != NULL)
        fclose(status);
    if (maps != NULL)
        fclose(maps);
    return known;
}

static long threads_before;

static bool all_have_ended(void *arg)
{
    long threads, mappings;
    (void)arg;
    return process_counts(&threads, &mappings) && threads <= threads_before;
}

static struct {
    threading_event *go;
    atomic_int running, slow, slow_may_end;
    threading_target leave;
    pthread_key_t key;
    bool are_slow;
} crowd;

/* In the last round of destructors, after the library's own, a slow thread waits. */
static void end_slowly(void *rounds)
{
    if ((intptr_t)rounds < DESTRUCTOR_ROUNDS) {
        CHECK_INT(pthread_setspecific(crowd.key, (void *)((intptr_t)rounds + 1)), 0);
        return;
    }
    atomic_fetch_add(&crowd.slow, 1);
    while (!atomic_load(&crowd.slow_may_end))
        sleep_for(0.001);
}

static void *crowd_member(void *arg)
{
    volatile char used[64 * 1024];
    for (size_t i = 0; i < sizeof used; i += 1024)
        used[i] = 1;
    if (arg != NULL)
        CHECK_INT(pthread_setspecific(crowd.key, (void *)(intptr_t)1), 0);
    atomic_fetch_add(&crowd.running, 1);
    CHECK_STATUS(threading_event_wait_timeout(crowd.go, TEST_LIMIT), THREADING_OK);
    return crowd.leave(NULL);
}

static bool crowd_runs(void *wanted)
{
    return atomic_load(&crowd.running) == *(int *)wanted;
}

static bool crowd_is_slow(void *wanted)
{
    return atomic_load(&crowd.slow) == *(int *)wanted;
}

/* Starts threads, the first of which are slow to end, and frees their handles. */
static void crowd_begins(int threads, int slow, threading_target leave)
{
    long mappings;
    crowd.go = event_new();
    crowd.leave = leave;
    atomic_store(&crowd.running, 0);
    atomic_store(&crowd.slow, 0);
    atomic_store(&crowd.slow_may_end, 0);
    CHECK(process_counts(&threads_before, &mappings));
    for (int i = 0; i < threads; i++)
        CHECK_STATUS(threading_thread_free(spawn(crowd_member, i < slow ? &crowd : NULL)), THREADING_OK);
    wait_until(crowd_runs, &threads);
}

/* From here on the library is not called, but by the threads as they end. */
static void crowd_ends(int slow)
{
    CHECK_STATUS(threading_event_set(crowd.go), THREADING_OK);
    threads_before += slow;
    wait_until(all_have_ended, NULL);
    threads_before -= slow;
    wait_until(crowd_is_slow, &slow);
}

static void check_mappings(long before, long stacks)
{
    long threads, mappings;
    CHECK(process_counts(&threads, &mappings));
    /* Each stack has a guard, which is a mapping, too. A few come from elsewhere. */
    CHECK_AT_LEAST((double)(before + 2 * stacks + 40), (double)mappings);
}

static bool knows_mappings(long *mappings)
{
    long threads;
    /* The key is younger than the library's, and its destructor comes later in each round. */
    join(spawn(return_arg, NULL));
    if (!crowd.are_slow)
        CHECK_INT(pthread_key_create(&crowd.key, end_slowly), 0);
    crowd.are_slow = true;
    return !TEST_SANITIZED && process_counts(&threads, mappings);
}

static void stacks_of_unjoined_threads(void)
{
    static const threading_target leave[] = {return_arg, exit_with_arg};
    long before;
    if (!knows_mappings(&before))
        SKIP("the mappings of the process are not known here");
    for (size_t i = 0; i < TEST_COUNT(leave); i++) {
        crowd_begins(THREADS, 0, leave[i]);
        crowd_ends(0);
        check_mappings(before, STACKS_KEPT);
        CHECK_INT(threading_active_count(), 1);
        CHECK_STATUS(threading_event_free(crowd.go), THREADING_OK);
    }
}

static void slow_end_beside_others(void)
{
    enum { SLOW = 3 };
    long before;
    if (!knows_mappings(&before))
        SKIP("the mappings of the process are not known here");
    crowd_begins(THREADS, SLOW, return_arg);
    crowd_ends(SLOW);
    check_mappings(before, STACKS_KEPT + SLOW);
    atomic_store(&crowd.slow_may_end, 1);
    wait_until(all_have_ended, NULL);
    check_mappings(before, STACKS_KEPT);
    CHECK_STATUS(threading_event_free(crowd.go), THREADING_OK);
}

static void all_end_slowly(void)
{
    static const threading_target leave[] = {return_arg, exit_with_arg};
    long before;
    if (!knows_mappings(&before))
        SKIP("the mappings of the process are not known here");
    for (size_t i = 0; i < TEST_COUNT(leave); i++) {
        int slow = THREADS;
        crowd_begins(THREADS, THREADS, leave[i]);
        CHECK_STATUS(threading_event_set(crowd.go), THREADING_OK);
        wait_until(crowd_is_slow, &slow);
        CHECK_INT(threading_active_count(), 1);
        atomic_store(&crowd.slow_may_end, 1);
        wait_until(all_have_ended, NULL);
        check_mappings(before, STACKS_KEPT);
        CHECK_STATUS(threading_event_free(crowd.go), THREADING_OK);
    }
}

static void handles_kept_but_not_joined(void)
{
    static threading_thread *threads[THREADS];
    long before, mappings;
    if (!knows_mappings(&before))
        SKIP("the mappings of the process are not known here");
    CHECK(process_counts(&threads_before, &mappings));
    for (int i = 0; i < THREADS; i++)
        threads[i] = spawn(i % 2 == 0 ? return_arg : exit_with_arg, &threads[i]);
    wait_until(all_have_ended, NULL);
    check_mappings(before, STACKS_KEPT);
    for (int i = 0; i < THREADS; i++) {
        CHECK(!threading_thread_is_alive(threads[i]));
        CHECK_PTR(threading_thread_result(threads[i]), &threads[i]);
        CHECK_PTR(join(threads[i]), &threads[i]);
    }
}

/* ---------------------------------------------------------------------------------- joiners that do not run */

/* A joiner that a signal handler keeps from running, as another thread of higher priority would. */
static struct {
    threading_thread *thread;
    atomic_int joins, is_held, may_run;
    void *result;
} held;

static void hold(int number)
{
    int saved = errno;
    (void)number;
    atomic_store(&held.is_held, 1);
    while (!atomic_load(&held.may_run))
        sleep_for(0.001);
    errno = saved;
}

static void *join_held(void *arg)
{
    (void)arg;
    atomic_store(&held.joins, 1);
    CHECK_STATUS(threading_thread_join(held.thread), THREADING_OK);
    held.result = threading_thread_result(held.thread);
    return NULL;
}

struct leaver {
    threading_event *event;
    threading_target leave;
};

static void *leave_on_event(void *arg)
{
    struct leaver *leaver = arg;
    CHECK_STATUS(threading_event_wait_timeout(leaver->event, TEST_LIMIT), THREADING_OK);
    return leaver->leave(leaver);
}

static void *join_and_tell(void *arg)
{
    CHECK_STATUS(threading_thread_join(held.thread), THREADING_OK);
    CHECK(!threading_thread_is_alive(held.thread));
    return threading_thread_result(held.thread) == arg ? arg : NULL;
}

static void answers_beside_a_held_joiner(threading_target leave, int others)
{
    struct sigaction action = {.sa_handler = hold};
    struct leaver leaver = {event_new(), leave};
    threading_thread *ours[4];
    pthread_t joiner;
    CHECK_INT(sigaction(SIGUSR1, &action, NULL), 0);
    atomic_store(&held.joins, 0);
    atomic_store(&held.is_held, 0);
    atomic_store(&held.may_run, 0);
    held.thread = spawn(leave_on_event, &leaver);
    joiner = spawn_foreign(join_held, NULL);
    wait_until(is_nonzero, &held.joins);
    sleep_for(0.02); /* until it sleeps; that it does not yet, changes no result */
    for (int i = 0; i < others; i++)
        ours[i] = spawn(join_and_tell, &leaver);
    CHECK_INT(pthread_kill(joiner, SIGUSR1), 0);
    wait_until(is_nonzero, &held.is_held);
    CHECK(threading_thread_is_alive(held.thread));
    CHECK_STATUS(threading_thread_join_timeout(held.thread, 0), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_event_set(leaver.event), THREADING_OK);
    CHECK_STATUS(threading_thread_join_timeout(held.thread, TEST_LIMIT), THREADING_OK);
    CHECK(!threading_thread_is_alive(held.thread));
    CHECK_PTR(threading_thread_result(held.thread), &leaver);
    CHECK_STATUS(threading_thread_join_timeout(held.thread, 0), THREADING_OK);
    CHECK_STATUS(threading_thread_join(held.thread), THREADING_OK);
    for (int i = 0; i < others; i++)
        CHECK_PTR(join(ours[i]), &leaver);
    CHECK_INT(threading_active_count(), 1);
    atomic_store(&held.may_run, 1);
    join_foreign(joiner);
    CHECK_PTR(held.result, &leaver);
    CHECK_STATUS(threading_thread_free(held.thread), THREADING_OK);
    CHECK_STATUS(threading_event_free(leaver.event), THREADING_OK);
}

static void joiner_that_does_not_run(void)
{
#if defined(__SANITIZE_THREAD__)
    SKIP("ThreadSanitizer handles signals late");
#else
    for (int others = 0; others <= 4; others += 2) {
        answers_beside_a_held_joiner(return_arg, others);
        answers_beside_a_held_joiner(exit_with_arg, others);
    }
#endif
}

/* Without a join or a wait: the questions alone find the end. */
static bool has_ended(void *thread)
{
    return !threading_thread_is_alive(thread);
}

static void questions_find_the_end(void)
{
    static const threading_target leave[] = {return_arg, exit_with_arg};
    int arg;
    for (int i = 0; i < test_many(200); i++) {
        threading_thread *thread = spawn(leave[i % 2], &arg);
        wait_until(has_ended, thread);
        CHECK_PTR(threading_thread_result(thread), &arg);
        CHECK_STATUS(threading_thread_join_timeout(thread, 0), THREADING_OK);
        CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    }
}

static void *join_in_steps(void *thread)
{
    for (double limit = now() + TEST_LIMIT; now() < limit;)
        if (threading_thread_join_timeout(thread, 0.0001) == THREADING_OK)
            return thread;
    return NULL;
}

static void *join_once(void *thread)
{
    return threading_thread_join(thread) == THREADING_OK ? thread : NULL;
}

static void joiners_of_all_kinds(void)
{
    enum { JOINERS = 6 };
    for (int i = 0; i < test_many(300); i++) {
        struct leaver leaver = {event_new(), i % 2 == 0 ? return_arg : exit_with_arg};
        threading_thread *thread = spawn(leave_on_event, &leaver), *joiners[JOINERS];
        for (int j = 0; j < JOINERS; j++)
            joiners[j] = spawn(j % 2 == 0 ? join_in_steps : join_once, thread);
        if (i % 3 == 0)
            sleep_for(0.0005);
        CHECK_STATUS(threading_event_set(leaver.event), THREADING_OK);
        for (int j = 0; j < JOINERS; j++)
            CHECK_PTR(join(joiners[j]), thread);
        CHECK_PTR(join(thread), &leaver);
        CHECK_STATUS(threading_event_free(leaver.event), THREADING_OK);
    }
}

/* Two threads that join each other: one is told, or both are, and then both end. */
static struct {
    _Atomic(threading_thread *) threads[2];
    atomic_int deadlocks;
} pair;

static void *join_the_other(void *arg)
{
    int me = *(int *)arg;
    threading_thread *other;
    threading_status status;
    while ((other = atomic_load(&pair.threads[1 - me])) == NULL)
        sleep_for(0.0001);
    status = threading_thread_join(other);
    CHECK(status == THREADING_OK || status == THREADING_ERR_DEADLOCK);
    atomic_fetch_add(&pair.deadlocks, status == THREADING_ERR_DEADLOCK);
    return arg;
}

static void joined_by_each_other(void)
{
    static int numbers[] = {0, 1};
    for (int i = 0; i < test_many(200); i++) {
        threading_thread *threads[2];
        atomic_store(&pair.deadlocks, 0);
        for (int j = 0; j < 2; j++)
            atomic_store(&pair.threads[j], NULL);
        for (int j = 0; j < 2; j++)
            threads[j] = spawn(join_the_other, &numbers[j]);
        for (int j = 0; j < 2; j++)
            atomic_store(&pair.threads[j], threads[j]);
        for (int j = 0; j < 2; j++)
            CHECK_PTR(join(threads[j]), &numbers[j]);
        CHECK_AT_LEAST(atomic_load(&pair.deadlocks), 1);
    }
}

/* -------------------------------------------------------------------- threads that pthread is asked to end */

static void *detach_itself(void *arg)
{
    pthread_detach(pthread_self());
    sleep_for(0.005);
    return arg;
}

static void *detach_itself_and_exit(void *arg)
{
    pthread_detach(pthread_self());
    pthread_detach(pthread_self());
    pthread_exit(arg);
}

#if defined(__GLIBC__) && !defined(__SANITIZE_THREAD__)
#define MAY_USE_PTHREAD 1
#else
#define MAY_USE_PTHREAD 0
#endif
static const char no_pthread[] = "a race detector knows of each thread who joins it";

static void detached_threads(void)
{
    enum { MANY = 200 };
    static threading_thread *threads[MANY];
    int arg;
    if (!MAY_USE_PTHREAD)
        SKIP(no_pthread);
    for (int size = 0; size < 2; size++) {
        threading_thread *thread = threading_thread_new(detach_itself, &arg);
        CHECK(thread != NULL);
        CHECK_STATUS(threading_thread_set_stack_size(thread, size == 0 ? 0 : 65536), THREADING_OK);
        CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
        CHECK(threading_thread_is_alive(thread));
        CHECK_PTR(join(thread), &arg);
    }
    for (int i = 0; i < MANY; i++)
        threads[i] = spawn(i % 2 == 0 ? detach_itself : detach_itself_and_exit, &arg);
    for (int i = 0; i < MANY; i++) {
        CHECK_STATUS(threading_thread_join_timeout(threads[i], TEST_LIMIT), THREADING_OK);
        CHECK(!threading_thread_is_alive(threads[i]));
        CHECK_PTR(threading_thread_result(threads[i]), &arg);
        CHECK_STATUS(threading_thread_free(threads[i]), THREADING_OK);
    }
    CHECK_INT(threading_active_count(), 1);
}

struct known {
    _Atomic pthread_t thread;
    atomic_int runs, asked;
    threading_event *event;
    threading_target leave;
};

static void *become_known(void *arg)
{
    struct known *known = arg;
    atomic_store(&known->thread, pthread_self());
    atomic_store(&known->runs, 1);
    CHECK_STATUS(threading_event_wait_timeout(known->event, TEST_LIMIT), THREADING_OK);
    return known->leave(known);
}

/* The system's threads are detached, so that both calls fail. */
static void *join_by_pthread(void *arg)
{
    struct known *known = arg;
    CHECK_INT(pthread_join(atomic_load(&known->thread), NULL), EINVAL);
    atomic_store(&known->asked, 1);
    return arg;
}

static void *detach_by_pthread(void *arg)
{
    struct known *known = arg;
    CHECK_INT(pthread_detach(atomic_load(&known->thread)), EINVAL);
    atomic_store(&known->asked, 1);
    return arg;
}

static void pthread_beside_our_joiners(threading_target by_pthread, threading_target leave, bool join_first)
{
    struct known known = {.event = event_new(), .leave = leave};
    threading_thread *thread = spawn(become_known, &known), *joiners[2];
    pthread_t other;
    wait_until(is_nonzero, &known.runs);
    if (join_first)
        for (int i = 0; i < 2; i++)
            joiners[i] = spawn(join_once, thread);
    other = spawn_foreign(by_pthread, &known);
    wait_until(is_nonzero, &known.asked);
    if (!join_first)
        for (int i = 0; i < 2; i++)
            joiners[i] = spawn(join_once, thread);
    CHECK(threading_thread_is_alive(thread));
    CHECK_STATUS(threading_event_set(known.event), THREADING_OK);
    for (int i = 0; i < 2; i++)
        CHECK_PTR(join(joiners[i]), thread);
    CHECK_PTR(join_foreign(other), &known);
    CHECK(!threading_thread_is_alive(thread));
    CHECK_PTR(threading_thread_result(thread), &known);
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_event_free(known.event), THREADING_OK);
}

static void joined_or_detached_by_pthread(void)
{
    static const threading_target by[] = {join_by_pthread, detach_by_pthread};
    static const threading_target leave[] = {return_arg, exit_with_arg};
    int arg;
    if (!MAY_USE_PTHREAD)
        SKIP(no_pthread);
    for (int i = 0; i < 8; i++)
        pthread_beside_our_joiners(by[i % 2], leave[i / 2 % 2], i / 4 != 0);
    CHECK_INT(threading_active_count(), 1);
    /* What such threads leave is no danger to later ones. */
    for (int i = 0; i < test_many(300); i++)
        CHECK_PTR(join(spawn(return_arg, &arg)), &arg);
}

static const struct test_case cases[] = {
    {"of threads that no one joins at most 128 stacks stay mapped", stacks_of_unjoined_threads},
    {"a thread that is slow to end holds up no others", slow_end_beside_others},
    {"nor do hundreds of them", all_end_slowly},
    {"nor do the stacks stay if the handles are kept", handles_kept_but_not_joined},
    {"a joiner that does not run changes no other caller's answer", joiner_that_does_not_run},
    {"is_alive and result find the end by themselves", questions_find_the_end},
    {"joins with and without timeout end together", joiners_of_all_kinds},
    {"of two threads that join each other one is told", joined_by_each_other},
    {"a thread that detaches itself is a thread like any other", detached_threads},
    {"pthread joins and detaches no thread of the library", joined_or_detached_by_pthread},
};

TEST_MAIN(cases)
