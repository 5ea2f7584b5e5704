/* Exhaustion of threads: a start that fails because the system creates no thread changes nothing, and can be repeated.
 * Timers run with the threads that there are. Each case runs in its own child process. */
#include "destructors.h"
#include "exhaustion.h"

#include <dlfcn.h>

enum { STACKS = 64 };

static void start_until_no_more_stacks(void)
{
    threading_event *event = threading_event_new();
    threading_thread *threads[STACKS], *failed = NULL;
    int started = 0, arg;
    CHECK(event != NULL);
    limit_memory((size_t)160 << 20);
    CHECK_STATUS(threading_set_stack_size((size_t)16 << 20), THREADING_OK);
    while (failed == NULL) {
        threading_thread *thread = counted_thread_new(wait_for_event, event);
        threading_status status = threading_thread_start(thread);
        CHECK(started < STACKS);
        if (status == THREADING_OK) {
            threads[started++] = thread;
            continue;
        }
        CHECK_RESULT(status, THREADING_ERR_SYSTEM);
        CHECK_LAST_ERROR(THREADING_ERR_SYSTEM);
        CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
        failed = counted_thread_new(return_arg, &arg);
    }
    CHECK(started > 0);
    CHECK_INT(atomic_load(&destroyed), 1);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(threading_thread_start(failed), THREADING_ERR_SYSTEM);
        check_unstarted(failed);
        CHECK_INT(threading_active_count(), started + 1);
    }
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    for (int i = 0; i < started; i++)
        CHECK_PTR(join(threads[i]), event);
    CHECK_INT(atomic_load(&destroyed), started + 1);
    CHECK_STATUS(threading_thread_start(failed), THREADING_OK);
    CHECK_PTR(join(failed), &arg);
    CHECK_INT(atomic_load(&destroyed), started + 2);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    limit(RLIMIT_AS, RLIM_INFINITY);
    use_everything();
}

static void start_without_stack_memory(void)
{
    if (!run_in_child(start_until_no_more_stacks))
        SKIP("the size of the process is not known here");
}

/* Forbids the process to create threads. RLIMIT_NPROC does not apply to the superuser. */
static void forbid_threads(void)
{
    if (!drop_privileges())
        _exit(CHILD_SKIPPED);
    limit(RLIMIT_NPROC, 0);
}

static void *sleep_briefly(void *arg)
{
    sleep_for(0.1);
    return arg;
}

static void start_without_threads(void)
{
    int arg;
    threading_thread *thread = counted_thread_new(return_arg, &arg);
    threading_timer *timer = counted_timer_new(0, return_arg, &arg);
    threading_timer *pending = counted_timer_new(3600, return_arg, NULL);
    threading_timer *timers[8];
    pthread_t none;
    forbid_threads();
    if (pthread_create(&none, NULL, return_arg, NULL) == 0)
        _exit(CHILD_SKIPPED);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(threading_thread_start(thread), THREADING_ERR_SYSTEM);
        check_unstarted(thread);
        CHECK_STATUS(threading_timer_start(timer), THREADING_ERR_SYSTEM);
        check_unstarted(threading_timer_thread(timer));
        CHECK_INT(threading_active_count(), 1);
    }
    CHECK_INT(atomic_load(&destroyed), 0);
    limit(RLIMIT_NPROC, RLIM_INFINITY);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_PTR(join(thread), &arg);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    CHECK_PTR(join_timer_and_free(timer), &arg);
    CHECK_INT(atomic_load(&destroyed), 2);

    /* The timers have one thread and cannot create a second: due timers wait for each other, but all run. */
    CHECK_STATUS(threading_timer_start(pending), THREADING_OK);
    limit(RLIMIT_NPROC, 0);
    for (int i = 0; i < 8; i++) {
        timers[i] = counted_timer_new(0.001, i == 0 ? sleep_briefly : return_arg, &timers[i]);
        CHECK_STATUS(threading_timer_start(timers[i]), THREADING_OK);
    }
    for (int i = 0; i < 8; i++)
        CHECK_PTR(join_timer_and_free(timers[i]), &timers[i]);
    limit(RLIMIT_NPROC, RLIM_INFINITY);
    CHECK_STATUS(threading_timer_cancel(pending), THREADING_OK);
    CHECK_STATUS(threading_timer_free(pending), THREADING_OK);
    use_everything();
}

static void start_when_no_thread_can_be_created(void)
{
    if (!run_in_child(start_without_threads))
        SKIP("the number of threads cannot be limited here");
}

/* How many more calls of pthread_create succeed; -1 is no limit. */
static atomic_int threads_left = -1;
static atomic_int thread_failures;

#if defined(__GLIBC__) && !TEST_SANITIZED
#define HAVE_SCARCE_THREADS 1

/* Replaces the C library's function, for the library as well. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *arg)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    int remaining = atomic_load(&threads_left);
    while (remaining > 0 && !atomic_compare_exchange_weak(&threads_left, &remaining, remaining - 1))
        continue;
    if (remaining == 0) {
        atomic_fetch_add(&thread_failures, 1);
        return EAGAIN;
    }
    if (real == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "pthread_create");
        memcpy(&real, &symbol, sizeof real);
    }
    return real(thread, attributes, start, arg);
}
#else
#define HAVE_SCARCE_THREADS 0
#endif

static threading_timer *counted_timer_start(double interval, threading_target function, void *arg)
{
    threading_timer *timer = counted_timer_new(interval, function, arg);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    return timer;
}

static bool is_set(void *event)
{
    return threading_event_is_set(event);
}

static bool three_threads_have_failed(void *arg)
{
    (void)arg;
    return atomic_load(&thread_failures) >= 3;
}

/* A timer's function blocks until another timer's function runs, and for a while the timers cannot create a second
 * thread. The main thread does not call the library during that time. */
static void second_thread_fails_for_a_while(void)
{
    threading_event *event = event_new();
    atomic_store(&threads_left, 1);
    double begin = now();
    threading_timer *blocked = counted_timer_start(0.01, wait_for_event, event);
    threading_timer *setter = counted_timer_start(0.02, set_event, event);
    wait_until(three_threads_have_failed, NULL);
    CHECK(!is_set(event));
    atomic_store(&threads_left, -1);
    /* After one second, the timers run the first function without a second thread, and only a join creates that. */
    if (now() - begin > 0.8)
        _exit(CHILD_SKIPPED);
    sleep_for(0.5);
    wait_until(is_set, event);
    CHECK_PTR(join_timer_and_free(setter), event);
    CHECK_PTR(join_timer_and_free(blocked), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    use_everything();
}

/* After a while the timers run functions without a follower that takes over when one blocks. A join creates the missing
 * thread. */
static void join_creates_missing_thread(void)
{
    threading_event *event = event_new();
    atomic_store(&threads_left, 2);
    threading_timer *blocked = counted_timer_start(0.01, wait_for_event, event);
    threading_timer *later = counted_timer_start(0.02, wait_for_event, event);
    threading_timer *setter = counted_timer_start(0.03, set_event, event);
    sleep_for(1.6);
    CHECK(!is_set(event));
    atomic_store(&threads_left, -1);
    CHECK_PTR(join_timer_and_free(setter), event);
    CHECK_PTR(join_timer_and_free(later), event);
    CHECK_PTR(join_timer_and_free(blocked), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    use_everything();
}

static atomic_int may_join;

static void *join_timer(void *timer)
{
    wait_until(is_nonzero, &may_join);
    return join_timer_and_free(timer);
}

/* The joiner is blocked already when the timers begin to run functions without a follower. */
static void blocked_join_creates_missing_thread(void)
{
    threading_event *event = event_new();
    pthread_t joiner;
    threading_timer *blocked = counted_timer_new(0.1, wait_for_event, event);
    threading_timer *setter = counted_timer_new(0.12, set_event, event);
    counted_timer_start(3600, NULL, NULL); /* creates the timers' first thread */
    joiner = spawn_foreign(join_timer, blocked);
    atomic_store(&threads_left, 0);
    CHECK_STATUS(threading_timer_start(blocked), THREADING_OK);
    CHECK_STATUS(threading_timer_start(setter), THREADING_OK);
    atomic_store(&may_join, 1);
    sleep_for(1.7);
    CHECK(!is_set(event));
    atomic_store(&threads_left, -1);
    sleep_for(0.5);
    CHECK_PTR(join_foreign(joiner), event);
    CHECK_PTR(join_timer_and_free(setter), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    _exit(0); /* not exit(), which would wait for the pending timer */
}

/* The timers do not wait indefinitely for a second thread. */
static void only_one_thread(void)
{
    enum { TIMERS = 50 };
    threading_timer *timers[TIMERS];
    atomic_store(&threads_left, 1);
    for (int i = 0; i < TIMERS; i++)
        timers[i] = counted_timer_start(0.001 * i, return_arg, &timers[i]);
    for (int i = 0; i < TIMERS; i++)
        CHECK_PTR(join_timer_and_free(timers[i]), &timers[i]);
    atomic_store(&threads_left, -1);
    use_everything();
}

/* A function exits the timers' only thread, and another cannot be created. */
static void replacement_of_an_exited_thread(void)
{
    threading_event *event = event_new();
    atomic_store(&threads_left, 1);
    threading_timer *exiting = counted_timer_start(0.01, exit_with_arg, event);
    threading_timer *setter = counted_timer_start(0.02, set_event, event);
    CHECK_PTR(join_timer_and_free(exiting), NULL);
    sleep_for(0.2);
    CHECK(!is_set(event));
    atomic_store(&threads_left, -1);
    sleep_for(0.5);
    wait_until(is_set, event);
    CHECK_PTR(join_timer_and_free(setter), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    use_everything();
}

/* Several functions block, and each needs one more thread. Only one can be created every 20 ms. */
static void threads_one_at_a_time(void)
{
    enum { BLOCKED = 8 };
    threading_event *event = threading_event_new();
    threading_timer *blocked[BLOCKED];
    CHECK(event != NULL);
    atomic_store(&threads_left, 1);
    for (int i = 0; i < BLOCKED; i++)
        blocked[i] = counted_timer_start(0.001 * i, wait_for_event, event);
    threading_timer *setter = counted_timer_start(0.05, set_event, event);
    while (!is_set(event)) {
        sleep_for(0.02);
        CHECK(atomic_load(&thread_failures) < 100000);
        atomic_store(&threads_left, 1);
    }
    atomic_store(&threads_left, -1);
    CHECK_PTR(join_timer_and_free(setter), event);
    for (int i = 0; i < BLOCKED; i++)
        CHECK_PTR(join_timer_and_free(blocked[i]), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    use_everything();
}

/* While no timer is due, the library does not try to create a thread. */
static void no_thread_while_no_timer_is_due(void)
{
    atomic_store(&threads_left, 1);
    threading_timer *pending = counted_timer_start(3600, return_arg, &pending);
    threading_timer *soon = counted_timer_start(0.001, return_arg, &soon);
    CHECK_PTR(join_timer_and_free(soon), &soon);
    sleep_for(0.1);
    int before = atomic_load(&thread_failures);
    CHECK(before > 0);
    sleep_for(0.5);
    CHECK_INT(atomic_load(&thread_failures), before);
    CHECK_STATUS(threading_timer_cancel(pending), THREADING_OK);
    CHECK_STATUS(threading_timer_free(pending), THREADING_OK);
    atomic_store(&threads_left, -1);
    use_everything();
}

#define SCARCE_THREADS(child)                                                                                \
    static void child##_case(void)                                                                           \
    {                                                                                                        \
        if (!HAVE_SCARCE_THREADS)                                                                            \
            SKIP("pthread_create cannot be replaced here");                                                  \
        run_in_child(child);                                                                                 \
    }

SCARCE_THREADS(join_creates_missing_thread)
SCARCE_THREADS(blocked_join_creates_missing_thread)
SCARCE_THREADS(only_one_thread)
SCARCE_THREADS(replacement_of_an_exited_thread)
SCARCE_THREADS(threads_one_at_a_time)
SCARCE_THREADS(no_thread_while_no_timer_is_due)

static void second_thread_fails_for_a_while_case(void)
{
    int tries = 0;
    if (!HAVE_SCARCE_THREADS)
        SKIP("pthread_create cannot be replaced here");
    while (!run_in_child(second_thread_fails_for_a_while))
        CHECK(++tries < 8); /* a busy machine may delay a child for so long, but hardly each of eight */
}

static const struct test_case cases[] = {
    {"a start without memory for a stack is ERR_SYSTEM and can be repeated", start_without_stack_memory},
    {"a start of a thread or timer when no thread can be created is ERR_SYSTEM and can be repeated",
     start_when_no_thread_can_be_created},
    {"timers behind a blocking function run after some failures to create a second thread",
     second_thread_fails_for_a_while_case},
    {"a join creates a timer thread that could not be created for a long time", join_creates_missing_thread_case},
    {"a join that blocked before creates a timer thread that could not be created for a long time",
     blocked_join_creates_missing_thread_case},
    {"all timers run if only one thread can be created for them", only_one_thread_case},
    {"a timer thread that exits by pthread_exit is replaced when a thread can be created",
     replacement_of_an_exited_thread_case},
    {"many blocking functions all run if threads can be created one at a time", threads_one_at_a_time_case},
    {"no thread is created while no timer is due", no_thread_while_no_timer_is_due_case},
};

TEST_MAIN(cases)
