/* Joins: their errors and timeouts, several joiners, threads that join each other, and threads that the program detaches
 * or joins through pthread. */
#include "child.h"
#include "thread.h"

#include <errno.h>

/* -------------------------------------------------------------------- errors, timeouts and concurrent joins */

static void *join_itself(void *arg)
{
    threading_thread *self = threading_current_thread();
    CHECK_STATUS(threading_thread_join(self), THREADING_ERR_DEADLOCK);
    CHECK_STATUS(threading_thread_join_timeout(self, 0), THREADING_ERR_DEADLOCK);
    CHECK_STATUS(threading_thread_join_timeout(self, NAN), THREADING_ERR_VALUE);
    return arg;
}

static void dummy_is_not_joinable(threading_thread *dummy)
{
    CHECK_STATUS(threading_thread_join(dummy), THREADING_ERR_NOT_JOINABLE);
    CHECK_STATUS(threading_thread_join_timeout(dummy, 0.01), THREADING_ERR_NOT_JOINABLE);
    CHECK_STATUS(threading_thread_join_timeout(dummy, -2.0), THREADING_ERR_VALUE);
}

static void *join_main_with_timeouts(void *arg)
{
    double begin = now();
    CHECK_STATUS(threading_thread_join_timeout(threading_main_thread(), 0), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_thread_join_timeout(threading_main_thread(), 0.05), THREADING_TIMED_OUT);
    CHECK_AT_LEAST(now() - begin, 0.05);
    return arg;
}

static void invalid_joins(void)
{
    threading_thread *thread = thread_new(NULL, NULL);
    CHECK_STATUS(threading_thread_join(thread), THREADING_ERR_NOT_STARTED);
    CHECK_STATUS(threading_thread_join_timeout(thread, 0), THREADING_ERR_NOT_STARTED);
    CHECK_STATUS(threading_thread_join_timeout(thread, THREADING_FOREVER), THREADING_ERR_NOT_STARTED);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_join(threading_main_thread()), THREADING_ERR_DEADLOCK);
    join(spawn(join_itself, NULL));
    with_dummy(dummy_is_not_joinable);
    join(spawn(join_main_with_timeouts, NULL));
    join_foreign(spawn_foreign(join_main_with_timeouts, NULL));
}

static void check_invalid_timeouts(threading_thread *thread)
{
    CHECK_STATUS(threading_thread_join_timeout(thread, NAN), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_thread_join_timeout(thread, -INFINITY), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_thread_join_timeout(thread, -0.5), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_thread_join_timeout(thread, 9223372037.0), THREADING_ERR_OVERFLOW);
}

static void join_timeouts(void)
{
    threading_event *event = event_new();
    threading_thread *thread = thread_new(wait_for_event, event);
    double begin;
    check_invalid_timeouts(thread);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    check_invalid_timeouts(thread);
    CHECK_STATUS_KEEPS_ERROR(threading_thread_join_timeout(thread, 0), THREADING_TIMED_OUT);
    begin = now();
    CHECK_STATUS(threading_thread_join_timeout(thread, 0.1), THREADING_TIMED_OUT);
    CHECK_AT_LEAST(now() - begin, 0.1);
    CHECK(threading_thread_is_alive(thread));
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_thread_join_timeout(thread, THREADING_FOREVER), THREADING_OK);
    check_invalid_timeouts(thread);
    CHECK_STATUS(threading_thread_join_timeout(thread, 0), THREADING_OK);
    CHECK_STATUS(threading_thread_join_timeout(thread, THREADING_TIMEOUT_MAX), THREADING_OK);
    CHECK_STATUS(threading_thread_join_timeout(thread, INFINITY), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_thread_join(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

struct joiner {
    threading_thread *thread;
    test_blocker blocker;
    double timeout;
};

static void *join_blocking(void *arg)
{
    struct joiner *joiner = arg;
    about_to_block(&joiner->blocker);
    CHECK_STATUS(threading_thread_join_timeout(joiner->thread, joiner->timeout), THREADING_OK);
    CHECK(!threading_thread_is_alive(joiner->thread));
    return threading_thread_result(joiner->thread);
}

static void concurrent_joins(void)
{
    const double timeouts[] = {THREADING_FOREVER, TEST_LIMIT, INFINITY, THREADING_TIMEOUT_MAX};
    threading_event *event = event_new();
    threading_thread *thread = spawn(wait_for_event, event), *ours[4];
    struct joiner joiners[8] = {{0}};
    pthread_t foreign[4];
    for (int i = 0; i < 8; i++) {
        joiners[i].thread = thread;
        joiners[i].timeout = timeouts[i / 2];
        if (i % 2 == 0)
            ours[i / 2] = spawn(join_blocking, &joiners[i]);
        else
            foreign[i / 2] = spawn_foreign(join_blocking, &joiners[i]);
    }
    for (int i = 0; i < 8; i++)
        wait_until_blocked(&joiners[i].blocker);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    for (int i = 0; i < 4; i++) {
        CHECK_PTR(join(ours[i]), event);
        CHECK_PTR(join_foreign(foreign[i]), event);
    }
    CHECK_PTR(join(thread), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

/* A destructor that the system calls after the target has returned: of a pthread key or of a C++ thread_local. */
static struct {
    pthread_key_t key;
    atomic_int begun, may_end, ended;
} late_destructor;

static void destroy_late(void *arg)
{
    (void)arg;
    atomic_store(&late_destructor.begun, 1);
    wait_until(is_nonzero, &late_destructor.may_end);
    sleep_for(0.02); /* so that a join that does not wait fails the test */
    atomic_store(&late_destructor.ended, 1);
}

static void *destroy_late_by_key(void *arg)
{
    CHECK_INT(pthread_setspecific(late_destructor.key, arg), 0);
    return arg;
}

#if defined(__GLIBC__)
/* C++ compilers register the destructor of a thread_local with it. */
int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *dso);
extern void *__dso_handle;

static void *destroy_late_by_thread_local(void *arg)
{
    CHECK_INT(__cxa_thread_atexit_impl(destroy_late, arg, &__dso_handle), 0);
    return arg;
}
#endif

static void join_waits_for_destructors(void)
{
    static const threading_target targets[] = {
        destroy_late_by_key,
#if defined(__GLIBC__)
        destroy_late_by_thread_local,
#endif
    };
    int arg;
    CHECK_INT(pthread_key_create(&late_destructor.key, destroy_late), 0);
    for (size_t i = 0; i < TEST_COUNT(targets); i++) {
        threading_thread *thread = spawn(targets[i], &arg);
        wait_until(is_nonzero, &late_destructor.begun);
        CHECK(threading_thread_is_alive(thread));
        CHECK_STATUS(threading_thread_join_timeout(thread, 0.02), THREADING_TIMED_OUT);
        atomic_store(&late_destructor.may_end, 1);
        CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
        CHECK_INT(atomic_load(&late_destructor.ended), 1);
        CHECK(!threading_thread_is_alive(thread));
        CHECK_PTR(join(thread), &arg);
        atomic_store(&late_destructor.begun, 0);
        atomic_store(&late_destructor.may_end, 0);
        atomic_store(&late_destructor.ended, 0);
    }
    CHECK_INT(pthread_key_delete(late_destructor.key), 0);
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
    if (TEST_SANITIZED)
        SKIP("ThreadSanitizer handles signals late");
    for (int more = 0; more <= 4; more += 2) {
        check_with_a_stopped_joiner(return_arg, more);
        check_with_a_stopped_joiner(exit_with_arg, more);
    }
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

/* ----------------------------------------------------------------------------- threads that join each other */

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

#if defined(__GLIBC__) && !TEST_SANITIZED
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
    SKIP_THREADS_IN_CHILD_IF_EMULATED();
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
    {"a join of an unstarted thread, of the caller or of a Dummy is an error; other threads may join main",
     invalid_joins},
    {"join_timeout does not time out early, and checks its timeout in any state", join_timeouts},
    {"several threads may join a thread concurrently and repeatedly", concurrent_joins},
    {"join waits for the destructors of pthread keys and of thread_local objects", join_waits_for_destructors},
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
