/* Threads that are never joined: most of their stacks are unmapped. */
#include "child.h"

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

static const struct test_case cases[] = {
    {"the exit of 600 threads that are never joined leaves at most 128 stacks mapped", stacks_of_threads_never_joined},
    {"threads that exit slowly do not delay the unmapping of other stacks", slow_exit_of_some},
    {"the exit of 600 slow threads leaves at most 128 stacks mapped", slow_exit_of_all},
    {"the exit of 600 threads whose handles are kept leaves at most 128 stacks mapped", handles_kept_but_not_joined},
};

TEST_MAIN(cases)
