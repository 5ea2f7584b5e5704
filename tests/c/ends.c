/* Thread exit: threads that are never joined, joiners that do not get to run, and threads that the program detaches or
 * joins through pthread. */
#include "child.h"

#include <errno.h>

/* ------------------------------------------------------------------------------- threads that are never joined */

enum { STACKS_KEPT = 128, THREADS = 600, DESTRUCTOR_ITERATIONS = 4 /* PTHREAD_DESTRUCTOR_ITERATIONS of Linux */ };

/* Counts the kernel threads and the mappings of this process. Returns false if /proc is not available. */
static bool count_threads_and_mappings(long *threads, long *mappings)
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

/* The kernel threads of the process before the first case has started any. */
static long threads_before;

static bool all_have_exited(void *arg)
{
    long threads, mappings;
    (void)arg;
    return count_threads_and_mappings(&threads, &mappings) && threads <= threads_before;
}

static struct {
    threading_event *go;
    atomic_int running, slow;
    pthread_mutex_t slow_exit; /* locked while the slow threads must not exit; hundreds that polled would load the CPUs */
    threading_target exit_function;
    pthread_key_t key;
    bool has_key;
} crowd = {.slow_exit = PTHREAD_MUTEX_INITIALIZER};

/* A thread-specific data destructor that blocks in the last of its calls, which runs after the library's destructor. */
static void exit_slowly(void *iteration)
{
    if ((intptr_t)iteration < DESTRUCTOR_ITERATIONS) {
        CHECK_INT(pthread_setspecific(crowd.key, (void *)((intptr_t)iteration + 1)), 0);
        return;
    }
    atomic_fetch_add(&crowd.slow, 1);
    CHECK_INT(pthread_mutex_lock(&crowd.slow_exit), 0);
    CHECK_INT(pthread_mutex_unlock(&crowd.slow_exit), 0);
}

static void *run_in_crowd(void *arg)
{
    volatile char used[64 * 1024];
    for (size_t i = 0; i < sizeof used; i += 1024)
        used[i] = 1;
    if (arg != NULL)
        CHECK_INT(pthread_setspecific(crowd.key, (void *)(intptr_t)1), 0);
    atomic_fetch_add(&crowd.running, 1);
    CHECK_STATUS(threading_event_wait_timeout(crowd.go, TEST_LIMIT), THREADING_OK);
    return crowd.exit_function(NULL);
}

static bool crowd_is_running(void *wanted)
{
    return atomic_load(&crowd.running) == *(int *)wanted;
}

static bool slow_threads_block(void *wanted)
{
    return atomic_load(&crowd.slow) == *(int *)wanted;
}

/* Starts threads and frees their handles. The first `slow` threads exit slowly: only when the caller unlocks slow_exit. */
static void start_crowd(int threads, int slow, threading_target exit_function)
{
    crowd.go = event_new();
    crowd.exit_function = exit_function;
    atomic_store(&crowd.running, 0);
    atomic_store(&crowd.slow, 0);
    if (slow > 0)
        CHECK_INT(pthread_mutex_lock(&crowd.slow_exit), 0);
    for (int i = 0; i < threads; i++)
        CHECK_STATUS(threading_thread_free(spawn(run_in_crowd, i < slow ? &crowd : NULL)), THREADING_OK);
    wait_until(crowd_is_running, &threads);
}

/* Lets the threads exit and waits until all but the slow ones have. Only the exiting threads run code of the
 * library. */
static void let_crowd_exit(int slow)
{
    CHECK_STATUS(threading_event_set(crowd.go), THREADING_OK);
    threads_before += slow;
    wait_until(all_have_exited, NULL);
    threads_before -= slow;
    wait_until(slow_threads_block, &slow);
}

static bool has_at_most_mappings(void *most)
{
    long threads, mappings;
    return count_threads_and_mappings(&threads, &mappings) && mappings <= *(long *)most;
}

/* Checks that no more stacks than this stay mapped. A thread of the library may unmap some of them a little later. */
static void check_mappings(long before, long stacks)
{
    /* A stack and its guard page are two mappings. 40 allows for mappings that the C library adds. */
    long threads, mappings, most = before + 2 * stacks + 40;
    (void)test_wait_until(has_at_most_mappings, &most);
    CHECK(count_threads_and_mappings(&threads, &mappings));
    CHECK_AT_LEAST((double)most, (double)mappings);
}

/* Creates the key of the slow threads, after the library has created its own key, so that in each iteration the
 * destructor of the former runs after that of the latter. Stores the number of mappings. Returns the reason if the case
 * cannot run here, or NULL. */
static const char *prepare_crowd(long *mappings)
{
    long threads;
    if (TEST_SANITIZED || !count_threads_and_mappings(&threads, mappings))
        return "the mappings of the process are not known here";
    if (threads_before == 0)
        threads_before = threads;
    if (!may_start_threads(THREADS))
        return "the process may not start 600 threads";
    /* An address space of 4 GiB has no room for the stacks of all threads with a default size of 8 MiB. */
    CHECK_STATUS(threading_set_stack_size(sizeof(void *) < 8 ? 1 << 20 : 0), THREADING_OK);
    join(spawn(return_arg, NULL));
    if (!crowd.has_key)
        CHECK_INT(pthread_key_create(&crowd.key, exit_slowly), 0);
    crowd.has_key = true;
    /* The kernel may still count a thread that has been joined. */
    wait_until(all_have_exited, NULL);
    CHECK(count_threads_and_mappings(&threads, mappings));
    return NULL;
}

static void stacks_of_threads_never_joined(void)
{
    static const threading_target exit_functions[] = {return_arg, exit_with_arg};
    long before;
    const char *reason = prepare_crowd(&before);
    if (reason != NULL)
        SKIP(reason);
    for (size_t i = 0; i < TEST_COUNT(exit_functions); i++) {
        start_crowd(THREADS, 0, exit_functions[i]);
        let_crowd_exit(0);
        check_mappings(before, STACKS_KEPT);
        CHECK_INT(threading_active_count(), 1);
        CHECK_STATUS(threading_event_free(crowd.go), THREADING_OK);
    }
}

static void slow_exit_of_some(void)
{
    enum { SLOW = 3 };
    long before;
    const char *reason = prepare_crowd(&before);
    if (reason != NULL)
        SKIP(reason);
    start_crowd(THREADS, SLOW, return_arg);
    let_crowd_exit(SLOW);
    check_mappings(before, STACKS_KEPT + SLOW);
    CHECK_INT(pthread_mutex_unlock(&crowd.slow_exit), 0);
    wait_until(all_have_exited, NULL);
    check_mappings(before, STACKS_KEPT);
    CHECK_STATUS(threading_event_free(crowd.go), THREADING_OK);
}

static void slow_exit_of_all(void)
{
    static const threading_target exit_functions[] = {return_arg, exit_with_arg};
    long before;
    const char *reason = prepare_crowd(&before);
    if (reason != NULL)
        SKIP(reason);
    for (size_t i = 0; i < TEST_COUNT(exit_functions); i++) {
        int slow = THREADS;
        start_crowd(THREADS, THREADS, exit_functions[i]);
        CHECK_STATUS(threading_event_set(crowd.go), THREADING_OK);
        wait_until(slow_threads_block, &slow);
        CHECK_INT(threading_active_count(), 1);
        CHECK_INT(pthread_mutex_unlock(&crowd.slow_exit), 0);
        wait_until(all_have_exited, NULL);
        check_mappings(before, STACKS_KEPT);
        CHECK_STATUS(threading_event_free(crowd.go), THREADING_OK);
    }
}

static void handles_kept_but_not_joined(void)
{
    static threading_thread *threads[THREADS];
    long before;
    const char *reason = prepare_crowd(&before);
    if (reason != NULL)
        SKIP(reason);
    for (int i = 0; i < THREADS; i++)
        threads[i] = spawn(i % 2 == 0 ? return_arg : exit_with_arg, &threads[i]);
    wait_until(all_have_exited, NULL);
    check_mappings(before, STACKS_KEPT);
    for (int i = 0; i < THREADS; i++) {
        CHECK(!threading_thread_is_alive(threads[i]));
        CHECK_PTR(threading_thread_result(threads[i]), &threads[i]);
        CHECK_PTR(join(threads[i]), &threads[i]);
    }
}

/* ------------------------------------------------------------------------------ joiners that do not get to run */

/* A joiner that a signal handler stops, as a thread of higher priority might. */
static struct {
    threading_thread *thread;
    atomic_int joins, is_stopped, may_run;
    void *result;
} stopped;

static void stop_in_handler(int number)
{
    int saved = errno;
    (void)number;
    atomic_store(&stopped.is_stopped, 1);
    while (!atomic_load(&stopped.may_run))
        sleep_for(0.001);
    errno = saved;
}

static void *join_and_be_stopped(void *arg)
{
    (void)arg;
    atomic_store(&stopped.joins, 1);
    CHECK_STATUS(threading_thread_join(stopped.thread), THREADING_OK);
    stopped.result = threading_thread_result(stopped.thread);
    return NULL;
}

struct exiting {
    threading_event *event;
    threading_target exit_function;
};

static void *exit_on_event(void *arg)
{
    struct exiting *exiting = arg;
    CHECK_STATUS(threading_event_wait_timeout(exiting->event, TEST_LIMIT), THREADING_OK);
    return exiting->exit_function(exiting);
}

static void *join_and_check(void *arg)
{
    CHECK_STATUS(threading_thread_join(stopped.thread), THREADING_OK);
    CHECK(!threading_thread_is_alive(stopped.thread));
    return threading_thread_result(stopped.thread) == arg ? arg : NULL;
}

static void check_with_a_stopped_joiner(threading_target exit_function, int more)
{
    struct sigaction action = {.sa_handler = stop_in_handler};
    struct exiting exiting = {event_new(), exit_function};
    threading_thread *joiners[4];
    pthread_t joiner;
    CHECK_INT(sigaction(SIGUSR1, &action, NULL), 0);
    atomic_store(&stopped.joins, 0);
    atomic_store(&stopped.is_stopped, 0);
    atomic_store(&stopped.may_run, 0);
    stopped.thread = spawn(exit_on_event, &exiting);
    joiner = spawn_foreign(join_and_be_stopped, NULL);
    wait_until(is_nonzero, &stopped.joins);
    sleep_for(0.02); /* for the joiner to block; if it does not yet, the results are the same */
    for (int i = 0; i < more; i++)
        joiners[i] = spawn(join_and_check, &exiting);
    CHECK_INT(pthread_kill(joiner, SIGUSR1), 0);
    wait_until(is_nonzero, &stopped.is_stopped);
    CHECK(threading_thread_is_alive(stopped.thread));
    CHECK_STATUS(threading_thread_join_timeout(stopped.thread, 0), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_event_set(exiting.event), THREADING_OK);
    CHECK_STATUS(threading_thread_join_timeout(stopped.thread, TEST_LIMIT), THREADING_OK);
    CHECK(!threading_thread_is_alive(stopped.thread));
    CHECK_PTR(threading_thread_result(stopped.thread), &exiting);
    CHECK_STATUS(threading_thread_join_timeout(stopped.thread, 0), THREADING_OK);
    CHECK_STATUS(threading_thread_join(stopped.thread), THREADING_OK);
    for (int i = 0; i < more; i++)
        CHECK_PTR(join(joiners[i]), &exiting);
    CHECK_INT(threading_active_count(), 1);
    atomic_store(&stopped.may_run, 1);
    join_foreign(joiner);
    CHECK_PTR(stopped.result, &exiting);
    CHECK_STATUS(threading_thread_free(stopped.thread), THREADING_OK);
    CHECK_STATUS(threading_event_free(exiting.event), THREADING_OK);
}

static void joiner_that_does_not_run(void)
{
#if defined(__SANITIZE_THREAD__)
    SKIP("ThreadSanitizer handles signals late");
#else
    for (int more = 0; more <= 4; more += 2) {
        check_with_a_stopped_joiner(return_arg, more);
        check_with_a_stopped_joiner(exit_with_arg, more);
    }
#endif
}

/* Polls without a join or a wait. */
static bool is_not_alive(void *thread)
{
    return !threading_thread_is_alive(thread);
}

static void is_alive_without_a_join(void)
{
    static const threading_target exit_functions[] = {return_arg, exit_with_arg};
    int arg;
    for (int i = 0; i < test_many(200); i++) {
        threading_thread *thread = spawn(exit_functions[i % 2], &arg);
        wait_until(is_not_alive, thread);
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

static void concurrent_joiners(void)
{
    enum { JOINERS = 6 };
    for (int i = 0; i < test_many(300); i++) {
        struct exiting exiting = {event_new(), i % 2 == 0 ? return_arg : exit_with_arg};
        threading_thread *thread = spawn(exit_on_event, &exiting), *joiners[JOINERS];
        for (int j = 0; j < JOINERS; j++)
            joiners[j] = spawn(j % 2 == 0 ? join_in_steps : join_once, thread);
        if (i % 3 == 0)
            sleep_for(0.0005);
        CHECK_STATUS(threading_event_set(exiting.event), THREADING_OK);
        for (int j = 0; j < JOINERS; j++)
            CHECK_PTR(join(joiners[j]), thread);
        CHECK_PTR(join(thread), &exiting);
        CHECK_STATUS(threading_event_free(exiting.event), THREADING_OK);
    }
}

/* Two threads that join each other: at least one of the joins is ERR_DEADLOCK, and both threads exit. */
static struct {
    _Atomic(threading_thread *) threads[2];
    atomic_int deadlocks;
} pair;

static int numbers[] = {0, 1};

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

static void *join_main(void *arg)
{
    threading_status status = threading_thread_join(threading_main_thread());
    CHECK(status == THREADING_OK || status == THREADING_ERR_DEADLOCK);
    atomic_fetch_add(&pair.deadlocks, status == THREADING_ERR_DEADLOCK);
    return arg;
}

static void pair_reset(void)
{
    atomic_store(&pair.deadlocks, 0);
    for (int j = 0; j < 2; j++)
        atomic_store(&pair.threads[j], NULL);
}

static void join_each_other(void)
{
    for (int i = 0; i < test_many(200); i++) {
        threading_thread *threads[2];
        pair_reset();
        for (int j = 0; j < 2; j++)
            threads[j] = spawn(join_the_other, &numbers[j]);
        for (int j = 0; j < 2; j++)
            atomic_store(&pair.threads[j], threads[j]);
        for (int j = 0; j < 2; j++)
            CHECK_PTR(join(threads[j]), &numbers[j]);
        CHECK_AT_LEAST(atomic_load(&pair.deadlocks), 1);
    }
}

/* The same for main, which joins a thread or that of a timer. A thread that joins main longer is left to _exit(). */
static void join_and_be_joined(void *is_timer)
{
    threading_timer *timer = threading_timer_new(0, join_main, NULL);
    threading_thread *thread = threading_thread_new(join_main, NULL);
    threading_thread *joined = is_timer != NULL ? threading_timer_thread(timer) : thread;
    CHECK(timer != NULL && thread != NULL);
    CHECK_STATUS(threading_thread_start(joined), THREADING_OK);
    threading_status status = threading_thread_join(joined);
    CHECK(status == THREADING_ERR_DEADLOCK || (status == THREADING_OK && atomic_load(&pair.deadlocks) == 1));
}

static void join_main_and_each_other(void)
{
    SKIP_THREADS_IN_CHILD_IF_EMULATED();
    pair_reset();
    for (int i = 0; i < test_many(20); i++) {
        run_in_child_with(join_and_be_joined, NULL);
        run_in_child_with(join_and_be_joined, &numbers[0]);
    }
}

/* The same for the threads of timers, and a thread and that of a timer. */
static void join_each_other_in_timers(void)
{
    for (int i = 0; i < test_many(200); i++) {
        threading_timer *timer = threading_timer_new(0, join_the_other, &numbers[0]), *other = NULL;
        threading_thread *thread;
        CHECK(timer != NULL);
        pair_reset();
        if (i % 2 == 0) {
            other = threading_timer_new(0, join_the_other, &numbers[1]);
            CHECK_STATUS(threading_timer_start(other), THREADING_OK);
            thread = threading_thread_ref(threading_timer_thread(other));
            CHECK_STATUS(threading_timer_free(other), THREADING_OK);
        } else {
            thread = spawn(join_the_other, &numbers[1]);
        }
        CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
        atomic_store(&pair.threads[0], threading_timer_thread(timer));
        atomic_store(&pair.threads[1], thread);
        CHECK_PTR(join_timer_and_free(timer), &numbers[0]);
        CHECK_PTR(join(thread), &numbers[1]);
        CHECK_AT_LEAST(atomic_load(&pair.deadlocks), 1);
    }
}

/* --------------------------------------------------------- threads that are detached or joined through pthread */

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
static const char no_pthread[] =
    "a race detector reports that a thread is detached or joined behind the library's back";

static void threads_that_detach_themselves(void)
{
    enum { MANY = 200 };
    static threading_thread *threads[MANY];
    int arg;
    if (!MAY_USE_PTHREAD)
        SKIP(no_pthread);
    for (int size = 0; size < 2; size++) {
        threading_thread *thread = threading_thread_new(detach_itself, &arg);
        CHECK(thread != NULL);
        CHECK_STATUS(threading_thread_set_stack_size(thread, size == 0 ? 0 : 2 * test_smallest_stack()), THREADING_OK);
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

struct published {
    _Atomic pthread_t thread;
    atomic_int is_running, has_called;
    threading_event *event;
    threading_target exit_function;
};

static void *publish_and_wait(void *arg)
{
    struct published *published = arg;
    atomic_store(&published->thread, pthread_self());
    atomic_store(&published->is_running, 1);
    CHECK_STATUS(threading_event_wait_timeout(published->event, TEST_LIMIT), THREADING_OK);
    return published->exit_function(published);
}

/* The library's pthreads are detached, so both calls fail. */
static void *join_by_pthread(void *arg)
{
    struct published *published = arg;
    CHECK_INT(pthread_join(atomic_load(&published->thread), NULL), EINVAL);
    atomic_store(&published->has_called, 1);
    return arg;
}

static void *detach_by_pthread(void *arg)
{
    struct published *published = arg;
    CHECK_INT(pthread_detach(atomic_load(&published->thread)), EINVAL);
    atomic_store(&published->has_called, 1);
    return arg;
}

static void check_with_pthread_call(threading_target by_pthread, threading_target exit_function, bool join_first)
{
    struct published published = {.event = event_new(), .exit_function = exit_function};
    threading_thread *thread = spawn(publish_and_wait, &published), *joiners[2];
    pthread_t other;
    wait_until(is_nonzero, &published.is_running);
    if (join_first)
        for (int i = 0; i < 2; i++)
            joiners[i] = spawn(join_once, thread);
    other = spawn_foreign(by_pthread, &published);
    wait_until(is_nonzero, &published.has_called);
    if (!join_first)
        for (int i = 0; i < 2; i++)
            joiners[i] = spawn(join_once, thread);
    CHECK(threading_thread_is_alive(thread));
    CHECK_STATUS(threading_event_set(published.event), THREADING_OK);
    for (int i = 0; i < 2; i++)
        CHECK_PTR(join(joiners[i]), thread);
    CHECK_PTR(join_foreign(other), &published);
    CHECK(!threading_thread_is_alive(thread));
    CHECK_PTR(threading_thread_result(thread), &published);
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_event_free(published.event), THREADING_OK);
}

static void pthread_join_and_detach(void)
{
    static const threading_target calls[] = {join_by_pthread, detach_by_pthread};
    static const threading_target exit_functions[] = {return_arg, exit_with_arg};
    int arg;
    if (!MAY_USE_PTHREAD)
        SKIP(no_pthread);
    for (int i = 0; i < 8; i++)
        check_with_pthread_call(calls[i % 2], exit_functions[i / 2 % 2], i / 4 != 0);
    CHECK_INT(threading_active_count(), 1);
    /* Later threads are not affected. */
    for (int i = 0; i < test_many(300); i++)
        CHECK_PTR(join(spawn(return_arg, &arg)), &arg);
}

/* --------------------------------------------------------------------- joins that have ended, and many joiners */

static struct {
    threading_thread *thread;
    pthread_t system_thread;
    atomic_int joins, is_stopped, may_run;
} late;

static void stop_late_joiner(int signum)
{
    (void)signum;
    atomic_store(&late.is_stopped, 1);
    while (!atomic_load(&late.may_run))
        sleep_for(0.001);
}

static void *join_main_and_be_stopped(void *arg)
{
    late.system_thread = pthread_self();
    atomic_store(&late.joins, 1);
    CHECK_STATUS(threading_thread_join(threading_main_thread()), THREADING_OK);
    return arg;
}

static void *let_late_joiner_run(void *arg)
{
    sleep_for(0.05); /* for main to join the late thread */
    atomic_store(&late.may_run, 1);
    return arg;
}

/* The late thread joins main, and is in a signal handler when the shutdown ends its join. */
static void join_a_late_joiner_of_main(void)
{
    struct sigaction action = {.sa_handler = stop_late_joiner};
    CHECK_INT(sigaction(SIGUSR1, &action, NULL), 0);
    late.thread = spawn(join_main_and_be_stopped, NULL);
    wait_until(is_nonzero, &late.joins);
    sleep_for(0.02); /* for the thread to block */
    CHECK_INT(pthread_kill(late.system_thread, SIGUSR1), 0);
    wait_until(is_nonzero, &late.is_stopped);
    CHECK_STATUS(threading_shutdown_timeout(0), THREADING_TIMED_OUT);
    spawn_foreign(let_late_joiner_run, NULL);
    CHECK_STATUS(threading_thread_join(late.thread), THREADING_OK);
}

static void late_joiner_of_main(void)
{
#if defined(__SANITIZE_THREAD__)
    SKIP("ThreadSanitizer handles signals late");
#else
    run_in_child(join_a_late_joiner_of_main);
#endif
}

/* Each of the joiners polls while the thread exits. If they did so often, the thread would hardly run. */
static void thousands_of_joiners(void)
{
    enum { MOST_JOINERS = 6000 };
    static threading_thread *joiners[MOST_JOINERS];
    threading_event *event = event_new();
    threading_thread *thread = spawn(wait_for_event, event);
    double before;
    int count = 0;
    for (; count < test_many(MOST_JOINERS); count++) {
        joiners[count] = threading_thread_new(join_once, thread);
        CHECK_STATUS(threading_thread_set_stack_size(joiners[count], test_smallest_stack()), THREADING_OK);
        if (threading_thread_start(joiners[count]) != THREADING_OK) {
            /* The system does not permit more threads. */
            CHECK_LAST_ERROR(THREADING_ERR_SYSTEM);
            CHECK_STATUS(threading_thread_free(joiners[count]), THREADING_OK);
            break;
        }
    }
    sleep_for(0.5); /* for most of them to block */
    before = now();
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    for (int i = 0; i < count; i++)
        CHECK_PTR(join(joiners[i]), thread);
    CHECK_AT_LEAST(before + TEST_LIMIT / 4, now());
    CHECK_PTR(join(thread), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

/* ------------------------------------------------------------------------------- threads that the system ends */

static void *end_by_system(void *arg)
{
#if defined(__linux__)
    syscall(SYS_exit, 0); /* as a seccomp filter ends a thread that makes a forbidden system call */
#endif
    return arg;
}

static void *wait_at_barrier(void *barrier)
{
    CHECK_STATUS(threading_barrier_wait_timeout(barrier, TEST_LIMIT, NULL), THREADING_OK);
    return barrier;
}

static void end_threads_by_system(void)
{
    enum { THREADS_AFTERWARDS = 4 };
    threading_thread *threads[THREADS_AFTERWARDS];
    threading_barrier *barrier = threading_barrier_new(THREADS_AFTERWARDS + 1, NULL, NULL);
    alarm((unsigned)TEST_LIMIT);
    for (int i = 0; i < 20; i++) {
        threading_thread *thread = spawn(end_by_system, &threads);
        CHECK_STATUS(threading_thread_join_timeout(thread, TEST_LIMIT), THREADING_OK);
        CHECK_PTR(threading_thread_result(thread), NULL);
        CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
        spawn_all(threads, wait_at_barrier, barrier);
        /* libc visits all threads. */
        CHECK_INT(setuid(getuid()), 0);
        wait_at_barrier(barrier);
        join_all(threads);
    }
    /* Threads that are not joined: the exit does not wait for them. */
    spawn(end_by_system, NULL);
    (void)timer_start(0, end_by_system, NULL);
    sleep_for(0.05);
    exit(0);
}

static void threads_ended_by_the_system(void)
{
#if !defined(__GLIBC__)
    SKIP("only glibc tells the library that the system has ended a thread");
#endif
    if (test_slowness() != 1 || TEST_SANITIZED || is_emulated())
        SKIP("tools and emulators do not support threads that the system ends");
    run_in_child(end_threads_by_system);
}

static const struct test_case cases[] = {
    {"the exit of 600 threads that are never joined leaves at most 128 stacks mapped", stacks_of_threads_never_joined},
    {"threads that exit slowly do not delay the unmapping of other stacks", slow_exit_of_some},
    {"the exit of 600 slow threads leaves at most 128 stacks mapped", slow_exit_of_all},
    {"the exit of 600 threads whose handles are kept leaves at most 128 stacks mapped", handles_kept_but_not_joined},
    {"join, is_alive and result are the same while another joiner does not get to run", joiner_that_does_not_run},
    {"is_alive becomes false without a join", is_alive_without_a_join},
    {"concurrent joins with and without timeout all return OK", concurrent_joiners},
    {"of two threads that join each other at least one gets ERR_DEADLOCK", join_each_other},
    {"of main and a thread or a timer that join each other at least one gets ERR_DEADLOCK", join_main_and_each_other},
    {"of two timers, or a timer and a thread, that join each other at least one gets ERR_DEADLOCK",
     join_each_other_in_timers},
    {"a thread that detaches itself through pthread is joined as usual", threads_that_detach_themselves},
    {"pthread_join and pthread_detach of a thread of the library fail and change nothing", pthread_join_and_detach},
    {"main joins a thread whose join of main a shutdown has ended", late_joiner_of_main},
    {"threads that the system ends are joined, and the process goes on", threads_ended_by_the_system},
    {"thousands of threads join one thread without delaying its end", thousands_of_joiners},
};

TEST_MAIN(cases)
