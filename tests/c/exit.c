/* Process exit: what exit waits for, and in which order it runs handlers and callbacks. Each case is a scenario, which
 * runs as the main function of a process. */
#include "child.h"

#include <fcntl.h>
#include <poll.h>
#if defined(__GLIBC__)
#include <gnu/libc-version.h>
#endif

struct scenario {
    const char *name;
    int (*main)(void);
    int status;         /* the expected exit status */
    const char *output; /* the expected output */
    int times;          /* how often the scenario runs; 0 is once */
    int needs;          /* one of the following, or 0 */
};

enum {
    TWO_EXITS = 1, /* two threads can call handlers of exit at the same time */
    ONE_EXIT,      /* if they cannot, the library finds threads that are blocked in exit */
    BLOCKED        /* the library finds threads that are blocked in libc */
};

/* Since glibc 2.41, exit blocks while another thread is in exit, so that the library does not learn of that call. */
static bool has_one_exit(void)
{
#if defined(__GLIBC__)
    int major = 0, minor = 0;
    CHECK_INT(sscanf(gnu_get_libc_version(), "%d.%d", &major, &minor), 2);
    return major > 2 || minor >= 41;
#else
    return false;
#endif
}

/* The library finds threads that are blocked in exit by such a file, which some systems and sandboxes do not have. */
static bool shows_system_calls(void)
{
    char number[20], text[sizeof number] = "";
    int fd = open("/proc/self/syscall", O_RDONLY | O_CLOEXEC), length;
    if (fd < 0)
        return false;
    length = snprintf(number, sizeof number, "%ld ", (long)SYS_read);
    CHECK(read(fd, text, sizeof text - 1) >= 0);
    close(fd);
    return strncmp(text, number, (size_t)length) == 0;
}

/* Unbuffered: _exit does not flush stdio, so buffered output would be lost. */
static void print_line(const char *line)
{
    char text[100];
    int length = snprintf(text, sizeof text, "%s\n", line);
    CHECK(write(STDOUT_FILENO, text, (size_t)length) == length);
}

static threading_event *may_work; /* workers and slow callbacks wait for it, if the scenario creates it */

static void release_workers(void)
{
    CHECK_STATUS(threading_event_set(may_work), THREADING_OK);
}

/* Slow enough that a process that does not wait for the worker exits first. */
static void *work(void *arg)
{
    if (may_work != NULL)
        CHECK_STATUS(threading_event_wait(may_work), THREADING_OK);
    sleep_for(0.1);
    print_line("worker done");
    return arg;
}

static void *sleep_forever(void *arg)
{
    CHECK_STATUS(threading_sleep(arg == NULL ? THREADING_FOREVER : INFINITY), THREADING_OK);
    print_line("slept");
    return NULL;
}

static void start_worker(threading_target target, int daemon)
{
    threading_thread *thread = threading_thread_new(target, NULL);
    CHECK(thread != NULL);
    CHECK_STATUS(threading_thread_set_daemon(thread, daemon), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
}

static threading_timer *start_timer(double interval, threading_target function, int daemon)
{
    threading_timer *timer = threading_timer_new(interval, function, NULL);
    CHECK(timer != NULL);
    CHECK_STATUS(threading_thread_set_daemon(threading_timer_thread(timer), daemon), THREADING_OK);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    return timer;
}

/* Starts a worker that waits until exit has begun: a handler that is registered after the first start runs before the
 * joins. */
static void start_worker_released_at_exit(void)
{
    may_work = event_new();
    start_worker(work, 0);
    CHECK_INT(atexit(release_workers), 0);
}

static void print_callback(void *line)
{
    print_line(line);
}

static void print_early(void)
{
    print_line("early");
}

static void print_late(void)
{
    print_line("late");
}

static void print_destroyed(void *value)
{
    CHECK_PTR(threading_current_thread(), threading_main_thread());
    print_line(value);
}

/* ------------------------------------------------------------------------------------ what exit waits for */

static int main_returns(void)
{
    start_worker_released_at_exit();
    print_line("main returns");
    return 7;
}

static int main_exits(void)
{
    start_worker_released_at_exit();
    print_line("main returns");
    exit(3);
}

static int pending_timer(void)
{
    threading_timer *cancelled = start_timer(3600, work, 0);
    may_work = event_new();
    CHECK_INT(atexit(release_workers), 0);
    CHECK_STATUS(threading_timer_free(start_timer(0.15, work, 0)), THREADING_OK);
    CHECK_STATUS(threading_timer_free(start_timer(3600, work, 1)), THREADING_OK);
    CHECK_STATUS(threading_timer_cancel(cancelled), THREADING_OK);
    CHECK_STATUS(threading_timer_free(cancelled), THREADING_OK);
    print_line("main returns");
    return 0;
}

static void *run_foreign(void *arg)
{
    CHECK(threading_current_thread() != NULL);
    atomic_store((atomic_int *)arg, 1);
    return sleep_forever(arg);
}

static int daemons_and_foreign_threads(void)
{
    static atomic_int is_running;
    may_work = event_new();
    start_worker(sleep_forever, 1);
    start_worker(work, 1);
    CHECK_STATUS(threading_timer_free(start_timer(INFINITY, work, 1)), THREADING_OK);
    CHECK_INT(pthread_detach(spawn_foreign(run_foreign, &is_running)), 0);
    wait_until(is_nonzero, &is_running);
    sleep_for(0.1);
    return 0;
}

static void *call_exit(void *arg)
{
    (void)arg;
    print_line("exit");
    exit(5);
}

static int exit_in_a_worker(void)
{
    start_worker_released_at_exit();
    start_worker(call_exit, 0);
    CHECK_STATUS(threading_event_wait(event_new()), THREADING_OK);
    return 0;
}

static int exit_in_a_daemon(void)
{
    start_worker_released_at_exit();
    start_worker(call_exit, 1);
    CHECK_STATUS(threading_event_wait(event_new()), THREADING_OK);
    return 0;
}

static int exit_in_a_timer(void)
{
    start_worker_released_at_exit();
    CHECK_STATUS(threading_timer_free(start_timer(0.01, call_exit, 0)), THREADING_OK);
    CHECK_STATUS(threading_event_wait(event_new()), THREADING_OK);
    return 0;
}

/* ---------------------------------------------------------------------------- in an argument's destructor */

static void exit_in_destructor(void *arg)
{
    (void)arg;
    print_line("destructor exits");
    exit(5);
}

static threading_timer *timer_with_destructor(double interval, threading_target function,
                                              threading_destructor destroy)
{
    threading_timer *timer = threading_timer_new(interval, function, &may_work);
    CHECK(timer != NULL);
    CHECK_STATUS(threading_thread_set_arg_destructor(threading_timer_thread(timer), destroy), THREADING_OK);
    return timer;
}

static threading_timer *pending_with_destructor(threading_destructor destroy)
{
    threading_timer *timer = timer_with_destructor(3600, return_arg, destroy);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    return timer;
}

static int exit_in_a_destructor_by_cancel(void)
{
    start_worker_released_at_exit();
    threading_timer_cancel(pending_with_destructor(exit_in_destructor));
    return 1;
}

static void *cancel(void *timer)
{
    threading_timer_cancel(timer);
    return NULL;
}

static int exit_in_a_destructor_in_a_worker(void)
{
    start_worker_released_at_exit();
    CHECK_STATUS(threading_thread_join(spawn(cancel, pending_with_destructor(exit_in_destructor))), THREADING_OK);
    return 1;
}

static int exit_in_a_destructor_in_a_foreign_thread(void)
{
    start_worker_released_at_exit();
    join_foreign(spawn_foreign(cancel, pending_with_destructor(exit_in_destructor)));
    return 1;
}

/* Returns a cancelled timer whose argument's destructor calls exit. The destructor is set after the cancel and has not
 * been called. */
static threading_timer *cancelled_with_destructor(void)
{
    threading_timer *timer = threading_timer_new(3600, return_arg, &may_work);
    CHECK(timer != NULL);
    CHECK_STATUS(threading_timer_cancel(timer), THREADING_OK);
    CHECK_STATUS(threading_thread_set_arg_destructor(threading_timer_thread(timer), exit_in_destructor),
                 THREADING_OK);
    return timer;
}

static int exit_in_a_destructor_by_start(void)
{
    start_worker_released_at_exit();
    threading_timer_start(cancelled_with_destructor());
    return 1;
}

static int exit_in_a_destructor_by_start_of_the_thread(void)
{
    start_worker_released_at_exit();
    threading_thread_start(threading_timer_thread(cancelled_with_destructor()));
    return 1;
}

static int exit_in_a_destructor_by_free(void)
{
    start_worker_released_at_exit();
    threading_timer_free(timer_with_destructor(3600, return_arg, exit_in_destructor));
    return 1;
}

static int exit_in_a_destructor_after_the_function(void)
{
    start_worker_released_at_exit();
    CHECK_STATUS(threading_timer_start(timer_with_destructor(0, return_arg, exit_in_destructor)), THREADING_OK);
    CHECK_STATUS(threading_event_wait(event_new()), THREADING_OK);
    return 1;
}

static threading_timer *inner_timer;

static void cancel_inner_timer(void *arg)
{
    (void)arg;
    print_line("outer destructor");
    threading_timer_cancel(inner_timer);
}

static int exit_in_a_destructor_in_another(void)
{
    start_worker_released_at_exit();
    inner_timer = pending_with_destructor(exit_in_destructor);
    threading_timer_cancel(pending_with_destructor(cancel_inner_timer));
    return 1;
}

/* The second of two calls releases the workers. */
static void exit_in_one_of_two_destructors(void *arg)
{
    static atomic_int calls;
    (void)arg;
    print_line("destructor exits");
    if (atomic_fetch_add(&calls, 1) == 1)
        release_workers();
    exit(5);
}

static int exit_in_two_destructors(void)
{
    may_work = event_new();
    start_worker(work, 0);
    for (int i = 0; i < 2; i++)
        CHECK_STATUS(threading_thread_start(threading_thread_new(
                         cancel, pending_with_destructor(exit_in_one_of_two_destructors))), THREADING_OK);
    CHECK_STATUS(threading_event_wait(event_new()), THREADING_OK);
    return 1;
}

static void *join_timer(void *timer)
{
    CHECK_STATUS(threading_thread_join(threading_timer_thread(timer)), THREADING_OK);
    print_line("timer ended");
    return NULL;
}

static int exit_in_a_destructor_with_a_joiner(void)
{
    threading_timer *timer = pending_with_destructor(exit_in_destructor);
    spawn(join_timer, timer);
    sleep_for(0.05); /* for the joiner to block */
    threading_timer_cancel(timer);
    return 1;
}

static void *call_exit_when_released(void *arg)
{
    CHECK_STATUS(threading_event_wait(may_work), THREADING_OK);
    return call_exit(arg);
}

static int exit_in_a_function_with_a_joiner(void)
{
    may_work = event_new();
    threading_timer *timer = start_timer(0.1, call_exit_when_released, 0);
    spawn(join_timer, timer);
    release_workers();
    CHECK_STATUS(threading_event_wait(event_new()), THREADING_OK);
    return 1;
}

static void do_nothing(void *arg)
{
    (void)arg;
}

static void exit_thread_once(void)
{
    static bool has_exited;
    print_line("handler");
    if (!has_exited) {
        has_exited = true;
        pthread_exit(NULL);
    }
}

/* A timer's function calls exit, and an atexit handler that runs before the library's calls pthread_exit. */
static int pthread_exit_in_a_handler(void)
{
    CHECK_STATUS(threading_atexit(do_nothing, NULL), THREADING_OK);
    CHECK_INT(atexit(exit_thread_once), 0);
    threading_timer *timer = start_timer(0.05, call_exit, 0);
    CHECK_STATUS(threading_thread_join_timeout(threading_timer_thread(timer), TEST_LIMIT), THREADING_OK);
    sleep_for(0.1);
    return 1;
}

static threading_timer *cancelled;

static void join_in_destructor(void *arg)
{
    (void)arg;
    CHECK_STATUS(threading_thread_join(threading_timer_thread(cancelled)), THREADING_ERR_DEADLOCK);
    CHECK_STATUS(threading_thread_join_timeout(threading_timer_thread(cancelled), 0.01), THREADING_ERR_DEADLOCK);
    CHECK(threading_thread_is_alive(threading_timer_thread(cancelled)));
    print_line("no join in the destructor");
}

static void shut_down_in_destructor(void *arg)
{
    (void)arg;
    CHECK_STATUS(threading_shutdown_timeout(TEST_LIMIT), THREADING_OK);
    CHECK(threading_thread_is_alive(threading_timer_thread(cancelled)));
    CHECK_STATUS(threading_shutdown(), THREADING_OK);
    print_line("shut down in the destructor");
}

static void time_out_in_destructor(void *arg)
{
    (void)arg;
    CHECK_STATUS(threading_shutdown_timeout(0.01), THREADING_TIMED_OUT);
    release_workers();
}

static void fork_in_destructor(void *arg)
{
    (void)arg;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        print_line("child exits");
        exit(6);
    }
    CHECK_INT(child_status(pid), 6);
}

static int join_fork_and_shutdown_in_a_destructor(void)
{
    static const threading_destructor destroy[] = {join_in_destructor, fork_in_destructor,
                                                   time_out_in_destructor, shut_down_in_destructor};
    threading_timer *timers[TEST_COUNT(destroy)];
    may_work = event_new();
    for (size_t i = 0; i < TEST_COUNT(destroy); i++)
        timers[i] = pending_with_destructor(destroy[i]);
    start_worker(work, 0);
    for (size_t i = 0; i < TEST_COUNT(destroy); i++) {
        cancelled = timers[i];
        CHECK_STATUS(threading_timer_cancel(cancelled), THREADING_OK);
        CHECK_STATUS(threading_thread_join(threading_timer_thread(cancelled)), THREADING_OK);
        CHECK(!threading_thread_is_alive(threading_timer_thread(cancelled)));
    }
    return 0;
}

/* ----------------------------------------------------------------------------------- _exit and quick_exit */

static int main_calls__exit(void)
{
    start_worker(sleep_forever, 0);
    CHECK_STATUS(threading_atexit(print_callback, "callback"), THREADING_OK);
    _exit(4);
}

static int main_calls_quick_exit(void)
{
    start_worker(sleep_forever, 0);
    CHECK_STATUS(threading_atexit(print_callback, "callback"), THREADING_OK);
    quick_exit(6);
}

/* -------------------------------------------------------------------------------------------------- order */

static int handlers_around_a_start(void)
{
    CHECK_INT(atexit(print_early), 0);
    start_worker_released_at_exit();
    CHECK_INT(atexit(print_late), 0);
    return 0;
}

static int handlers_around_a_callback(void)
{
    CHECK_INT(atexit(print_early), 0);
    CHECK_STATUS(threading_atexit(print_callback, "callback"), THREADING_OK);
    CHECK_INT(atexit(print_late), 0);
    return 0;
}

static void *print_started(void *arg)
{
    print_line("started in a callback");
    return arg;
}

static void first_callback(void *arg)
{
    print_line(arg);
    release_workers();
}

static void second_callback(void *arg)
{
    CHECK_PTR(threading_current_thread(), threading_main_thread());
    CHECK(threading_thread_is_alive(threading_main_thread()));
    CHECK_INT(threading_active_count(), 2);
    CHECK_STATUS(threading_atexit(print_callback, "too late"), THREADING_ERR_SHUTDOWN);
    print_line(arg);
    join(spawn(print_started, NULL));
}

static int callbacks(void)
{
    may_work = event_new();
    start_worker(work, 0);
    CHECK_STATUS(threading_atexit(first_callback, "first"), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_atexit(second_callback, "second"), THREADING_OK);
    CHECK_STATUS(threading_atexit(print_callback, "third"), THREADING_OK);
    return 0;
}

static void call_exit_in_callback(void *line)
{
    print_line(line);
    exit(8);
}

static int exit_in_a_callback(void)
{
    CHECK_INT(atexit(print_early), 0);
    may_work = event_new();
    start_worker(work, 0);
    CHECK_STATUS(threading_atexit(first_callback, "first"), THREADING_OK);
    CHECK_STATUS(threading_atexit(call_exit_in_callback, "second"), THREADING_OK);
    return 0;
}

static threading_local *local_with_value(void)
{
    threading_local *local = threading_local_new(print_destroyed);
    CHECK(local != NULL);
    CHECK_STATUS(threading_local_set(local, "value destroyed"), THREADING_OK);
    return local;
}

static threading_local *local;

static void read_local(void)
{
    CHECK_STR(threading_local_get(local), "value destroyed");
    print_line("late");
}

static int locals_of_main(void)
{
    CHECK_INT(atexit(print_early), 0);
    local = local_with_value();
    start_worker_released_at_exit();
    CHECK_INT(atexit(read_local), 0);
    return 0;
}

static int attribute_of_main(void)
{
    CHECK_INT(atexit(print_early), 0);
    local = threading_local_new(print_destroyed);
    CHECK(local != NULL);
    CHECK_STATUS(threading_local_set_attr(local, "name", "value destroyed"), THREADING_OK);
    CHECK_INT(atexit(print_late), 0);
    return 0;
}

static void *join_main_and_work(void *arg)
{
    CHECK_STATUS(threading_thread_join(threading_main_thread()), THREADING_OK);
    CHECK(!threading_thread_is_alive(threading_main_thread()));
    print_line("main ended");
    return work(arg);
}

static int join_of_main(void)
{
    start_worker(join_main_and_work, 0);
    CHECK_STATUS(threading_atexit(print_callback, "callback"), THREADING_OK);
    sleep_for(0.05); /* a join that did not wait for the main thread would return before the callback runs */
    return 0;
}

static int main_ends_by_pthread_exit(void)
{
    CHECK_INT(atexit(print_early), 0);
    local = local_with_value();
    start_worker(sleep_forever, 1);
    start_worker(join_main_and_work, 0);
    CHECK_STATUS(threading_atexit(print_callback, "callback"), THREADING_OK);
    pthread_exit("no status");
}

static void *start_after_main(void *arg)
{
    sleep_for(0.2);
    print_line("main has ended");
    start_worker(work, 0);
    return arg;
}

static int main_ends_before_the_first_start(void)
{
    CHECK(threading_current_thread() != NULL);
    CHECK_INT(pthread_detach(spawn_foreign(start_after_main, NULL)), 0);
    pthread_exit("no status");
}

static void *start_a_timer_later(void *arg)
{
    sleep_for(0.05);
    CHECK_STATUS(threading_timer_free(start_timer(0.05, work, 0)), THREADING_OK);
    return arg;
}

static void *join_main_and_start(void *arg)
{
    CHECK_STATUS(threading_thread_join(threading_main_thread()), THREADING_OK);
    sleep_for(0.05);
    start_worker(start_a_timer_later, 0);
    return arg;
}

static int started_while_exit_waits(void)
{
    start_worker(join_main_and_start, 0);
    return 0;
}

/* ----------------------------------------------------------------------------------------------- shutdown */

static threading_thread *unstarted;

static void check_nothing_starts(void)
{
    threading_timer *timer = threading_timer_new(0, NULL, NULL);
    CHECK(timer != NULL);
    CHECK_STATUS(threading_thread_start(unstarted), THREADING_ERR_SHUTDOWN);
    CHECK(!threading_thread_is_alive(unstarted));
    CHECK_INT(threading_thread_ident(unstarted), 0);
    CHECK_STATUS(threading_thread_join(unstarted), THREADING_ERR_NOT_STARTED);
    CHECK_STATUS(threading_thread_set_daemon(unstarted, 1), THREADING_OK);
    CHECK_STATUS(threading_thread_start(unstarted), THREADING_ERR_SHUTDOWN);
    CHECK_STATUS(threading_timer_start(timer), THREADING_ERR_SHUTDOWN);
    CHECK(!threading_thread_is_alive(threading_timer_thread(timer)));
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    CHECK_STATUS(threading_atexit(print_callback, "too late"), THREADING_ERR_SHUTDOWN);
    CHECK_STATUS(threading_shutdown(), THREADING_OK);
    CHECK_STATUS(threading_shutdown_timeout(0), THREADING_OK);
    CHECK_STATUS(threading_shutdown_timeout(NAN), THREADING_ERR_VALUE);
    CHECK_PTR(threading_current_thread(), threading_main_thread());
    CHECK(!threading_thread_is_alive(threading_main_thread()));
    print_line("nothing starts");
}

static void new_unstarted(void)
{
    unstarted = threading_thread_new(NULL, NULL);
    CHECK(unstarted != NULL);
}

static int shutdown_by_main(void)
{
    may_work = event_new();
    new_unstarted();
    start_worker(work, 0);
    start_worker(sleep_forever, 1);
    CHECK_STATUS(threading_atexit(first_callback, "callback"), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_shutdown(), THREADING_OK);
    print_line("shut down");
    check_nothing_starts();
    return 0;
}

static int shutdown_with_timeout(void)
{
    double start = now();
    may_work = event_new();
    new_unstarted();
    start_worker(work, 0);
    CHECK_STATUS(threading_atexit(print_callback, "callback"), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_shutdown_timeout(0.1), THREADING_TIMED_OUT);
    CHECK_AT_LEAST(now() - start, 0.1);
    CHECK_STATUS(threading_shutdown_timeout(0), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_atexit(print_callback, "too late"), THREADING_ERR_SHUTDOWN);
    release_workers();
    CHECK_STATUS(threading_shutdown_timeout(TEST_LIMIT), THREADING_OK);
    print_line("shut down");
    check_nothing_starts();
    return 0;
}

static int start_after_the_joins(void)
{
    new_unstarted();
    CHECK_INT(atexit(check_nothing_starts), 0);
    start_worker(work, 0);
    return 0;
}

static void *shut_down(void *arg)
{
    CHECK_STATUS(threading_shutdown(), THREADING_OK);
    return arg;
}

static int shutdown_by_a_worker(void)
{
    new_unstarted();
    start_worker(work, 0);
    join(spawn(shut_down, NULL));
    print_line("shut down");
    check_nothing_starts();
    return 0;
}

static void *wait_and_shut_down(void *barrier)
{
    CHECK_STATUS(threading_barrier_wait(barrier, NULL), THREADING_OK);
    return shut_down(barrier);
}

static int shutdown_by_several(void)
{
    threading_barrier *barrier = threading_barrier_new(4, NULL, NULL);
    threading_thread *threads[3];
    CHECK(barrier != NULL);
    start_worker(work, 0);
    for (int i = 0; i < 3; i++)
        threads[i] = spawn(wait_and_shut_down, barrier);
    CHECK_PTR(wait_and_shut_down(barrier), barrier);
    for (int i = 0; i < 3; i++)
        CHECK_PTR(join(threads[i]), barrier);
    print_line("shut down");
    return 0;
}

static void *join_main(void *arg)
{
    CHECK_STATUS(threading_thread_join(threading_main_thread()), THREADING_OK);
    print_line("main has ended");
    return arg;
}

static void slow_callback(void *started)
{
    print_line("callback");
    CHECK_STATUS(threading_event_set(started), THREADING_OK);
    if (may_work != NULL)
        CHECK_STATUS(threading_event_wait(may_work), THREADING_OK);
    sleep_for(0.1);
    print_line("callback done");
}

static int shutdown_while_a_callback_runs(void)
{
    threading_event *started = event_new();
    may_work = event_new();
    start_worker(join_main, 0);
    CHECK_STATUS(threading_atexit(slow_callback, started), THREADING_OK);
    start_worker(shut_down, 0);
    CHECK_STATUS(threading_event_wait(started), THREADING_OK);
    CHECK_STATUS(threading_shutdown_timeout(0.01), THREADING_TIMED_OUT);
    release_workers();
    CHECK_STATUS(threading_shutdown(), THREADING_OK);
    print_line("shut down");
    return 0;
}

/* In the parent another thread waits for the callbacks. The child has only the thread that runs them. */
static void fork_callback(void *started)
{
    slow_callback(started);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK_STATUS(threading_shutdown(), THREADING_OK);
        print_line("child done");
        _exit(0);
    }
    CHECK_INT(child_status(pid), 0);
    CHECK_STATUS(threading_shutdown(), THREADING_OK);
    print_line("shut down in the callback");
}

static int fork_and_shutdown_in_a_callback(void)
{
    threading_event *started = event_new();
    CHECK_STATUS(threading_atexit(print_callback, "another callback"), THREADING_OK);
    CHECK_STATUS(threading_atexit(fork_callback, started), THREADING_OK);
    start_worker(shut_down, 0);
    CHECK_STATUS(threading_event_wait(started), THREADING_OK);
    exit(2);
}

/* The forking thread does not run the callbacks, and its child must not wait for them. */
static int fork_while_a_callback_runs(void)
{
    threading_event *started = event_new();
    CHECK_STATUS(threading_atexit(slow_callback, started), THREADING_OK);
    start_worker(shut_down, 0);
    CHECK_STATUS(threading_event_wait(started), THREADING_OK);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK_STATUS(threading_shutdown_timeout(TEST_LIMIT), THREADING_OK);
        _exit(5);
    }
    return child_status(pid);
}

/* ------------------------------------------------------------------- busy daemons and a detached worker */

static threading_lock *lock;
static threading_condition *condition;
static threading_semaphore *semaphore;

/* Never returns. Exit must succeed whichever call it interrupts. */
static void *use_everything(void *arg)
{
    while (lock != NULL) {
        threading_thread *thread = threading_thread_new(return_arg, NULL);
        threading_timer *timer = threading_timer_new(0.001, return_arg, NULL);
        if (threading_thread_start(thread) == THREADING_OK)
            threading_thread_join(thread);
        threading_timer_start(timer);
        threading_thread_free(thread);
        threading_timer_free(timer);
        for (int i = 0; i < 20; i++) {
            threading_lock_acquire(lock);
            threading_local_set(local, &thread);
            threading_lock_release(lock);
            threading_condition_acquire(condition);
            threading_condition_wait_timeout(condition, 0.0001);
            threading_condition_notify_all(condition);
            threading_condition_release(condition);
            threading_semaphore_release(semaphore);
            threading_semaphore_acquire(semaphore);
        }
        threading_thread_list_free(threading_enumerate());
    }
    return arg;
}

static int busy_daemons(void)
{
    lock = threading_lock_new();
    condition = threading_condition_new();
    semaphore = threading_semaphore_new(0);
    local = threading_local_new(NULL);
    CHECK(lock != NULL && condition != NULL && semaphore != NULL && local != NULL);
    for (int i = 0; i < 4; i++)
        start_worker(use_everything, 1);
    sleep_for(0.03);
    return 9;
}

/* A worker that detaches itself through pthread. */
static void *work_detached(void *arg)
{
    (void)pthread_detach(pthread_self());
    return work(arg);
}

static int main_returns_with_a_detached_worker(void)
{
    may_work = event_new();
    start_worker(work_detached, 0);
    CHECK_INT(atexit(release_workers), 0);
    print_line("main returns");
    return 7;
}

/* ----------------------------------------------------------------- exit in a thread for which another exit waits */

static threading_event *has_begun; /* the exit of the main thread has */

static void begin_exit(void)
{
    CHECK_STATUS(threading_event_set(has_begun), THREADING_OK);
}

/* With glibc 2.41 and newer, this exit blocks until that of the main thread is complete. */
static void *exit_after_main(void *arg)
{
    CHECK_STATUS(threading_event_wait(has_begun), THREADING_OK);
    sleep_for(0.1);
    print_line("worker exits");
    (void)arg;
    exit(0);
}

static int exit_in_a_worker_while_main_exits(void)
{
    has_begun = event_new();
    start_worker(exit_after_main, 0);
    CHECK_INT(atexit(begin_exit), 0);
    return 0;
}

static int exit_in_a_timer_while_main_exits(void)
{
    has_begun = event_new();
    start_timer(0, exit_after_main, 0);
    CHECK_INT(atexit(begin_exit), 0);
    return 0;
}

static threading_event *callback_runs;
static void (*in_callback)(void), (*before_exit)(void);

static void block_in_callback(void *arg)
{
    (void)arg;
    CHECK_STATUS(threading_event_set(callback_runs), THREADING_OK);
    CHECK_STATUS(threading_event_wait(has_begun), THREADING_OK);
    sleep_for(0.1);
    in_callback();
}

static void *exit_while_callback_runs(void *arg)
{
    (void)arg;
    CHECK_STATUS(threading_event_wait(callback_runs), THREADING_OK);
    CHECK_INT(atexit(begin_exit), 0);
    if (before_exit != NULL)
        before_exit();
    exit(3);
}

/* Main's shutdown calls a callback that blocks when the worker is in exit. */
static int callback_while_a_worker_exits(void)
{
    has_begun = event_new();
    callback_runs = event_new();
    CHECK_STATUS(threading_atexit(print_callback, "another callback"), THREADING_OK);
    CHECK_STATUS(threading_atexit(block_in_callback, NULL), THREADING_OK);
    start_worker(exit_while_callback_runs, 0);
    CHECK_STATUS(threading_shutdown(), THREADING_OK);
    sleep_for(TEST_LIMIT);
    return 0;
}

static void exit_from_callback(void)
{
    print_line("callback exits");
    exit(3);
}

static int exit_in_a_callback_while_a_worker_exits(void)
{
    in_callback = exit_from_callback;
    return callback_while_a_worker_exits();
}

#if defined(__GLIBC__)
static void lock_stdout(void)
{
    flockfile(stdout);
}

static void wait_for_stdout_in_callback(void)
{
    print_line("callback blocks");
    flockfile(stdout);
}

static int a_callback_waits_for_a_lock_of_libc(void)
{
    in_callback = wait_for_stdout_in_callback;
    before_exit = lock_stdout;
    return callback_while_a_worker_exits();
}

/* As glibc 2.41 does in exit, this blocks until the thread that exits has done so. */
static void *wait_for_stdout(void *arg)
{
    CHECK_STATUS(threading_event_wait(has_begun), THREADING_OK);
    print_line("worker blocks");
    flockfile(stdout);
    funlockfile(stdout);
    return arg;
}

static int main_exits_with_a_lock_of_libc(void)
{
    has_begun = event_new();
    start_worker(wait_for_stdout, 0);
    start_timer(0, wait_for_stdout, 0);
    CHECK_INT(atexit(begin_exit), 0);
    flockfile(stdout);
    return 6;
}

static int shutdown_with_a_lock_of_libc(void)
{
    has_begun = event_new();
    start_worker(wait_for_stdout, 0);
    flockfile(stdout);
    begin_exit();
    CHECK_STATUS(threading_shutdown_timeout(0.2), THREADING_TIMED_OUT);
    funlockfile(stdout);
    CHECK_STATUS(threading_shutdown(), THREADING_OK);
    print_line("shut down");
    return 0;
}
#endif

static const struct scenario scenarios[] = {
    {"a return from main waits for non-daemon threads", main_returns, 7, "main returns\nworker done\n", 0, 0},
    {"a return from main waits for a thread that has detached itself", main_returns_with_a_detached_worker, 7,
     "main returns\nworker done\n", 0, 0},
    {"exit in main waits for non-daemon threads", main_exits, 3, "main returns\nworker done\n", 0, 0},
    {"a return from main waits for a pending timer, unless it is a daemon or cancelled", pending_timer, 0,
     "main returns\nworker done\n", 0, 0},
    {"a return from main does not wait for daemons and foreign threads", daemons_and_foreign_threads, 0, "", 0, 0},
    {"exit in a worker waits for other threads, not for itself", exit_in_a_worker, 5, "exit\nworker done\n", 0, 0},
    {"exit in a daemon waits for other threads, not for itself", exit_in_a_daemon, 5, "exit\nworker done\n", 0, 0},
    {"exit in a timer's function waits for other threads, not for itself",
     exit_in_a_timer, 5, "exit\nworker done\n", 0, 0},
    {"exit in a destructor that a timer's cancel calls does not wait for that timer", exit_in_a_destructor_by_cancel, 5,
     "destructor exits\nworker done\n", 0, 0},
    {"exit in a destructor that a cancel in a worker calls does not wait for that timer",
     exit_in_a_destructor_in_a_worker, 5,
     "destructor exits\nworker done\n", 0, 0},
    {"exit in a destructor that a cancel in a foreign thread calls does not wait for that timer",
     exit_in_a_destructor_in_a_foreign_thread, 5, "destructor exits\nworker done\n", 0, 0},
    {"exit in a destructor that the start of a cancelled timer calls does not wait for that timer",
     exit_in_a_destructor_by_start, 5,
     "destructor exits\nworker done\n", 0, 0},
    {"exit in a destructor that the start of a cancelled timer's thread calls does not wait for that timer",
     exit_in_a_destructor_by_start_of_the_thread, 5, "destructor exits\nworker done\n", 0, 0},
    {"exit in a destructor that a timer's last free calls does not wait for that timer",
     exit_in_a_destructor_by_free, 5,
     "destructor exits\nworker done\n", 0, 0},
    {"exit in a destructor that runs after a timer's function does not wait for that timer",
     exit_in_a_destructor_after_the_function, 5,
     "destructor exits\nworker done\n", 0, 0},
    {"exit in a destructor that a cancel in another destructor calls waits for neither timer",
     exit_in_a_destructor_in_another, 5,
     "outer destructor\ndestructor exits\nworker done\n", 0, 0},
    {"exit in the destructors of two timers waits for neither timer", exit_in_two_destructors, 5,
     "destructor exits\ndestructor exits\nworker done\n", 0, TWO_EXITS},
    {"a join of a timer returns when the timer's destructor calls exit", exit_in_a_destructor_with_a_joiner, 5,
     "destructor exits\ntimer ended\n", 0, 0},
    {"a join of a timer returns when the timer's function calls exit", exit_in_a_function_with_a_joiner, 5,
     "exit\ntimer ended\n", 0, 0},
    {"a join in a timer's destructor is ERR_DEADLOCK, and fork, exit and shutdown there do not wait for that timer",
     join_fork_and_shutdown_in_a_destructor, 0,
     "no join in the destructor\nchild exits\nworker done\nshut down in the destructor\n", 0, 0},
    {"pthread_exit in a handler of an exit in a timer's function ends that thread only", pthread_exit_in_a_handler,
     1, "exit\nhandler\n", 0, TWO_EXITS},
    {"_exit waits for no thread and runs no callbacks", main_calls__exit, 4, "", 0, 0},
    {"quick_exit waits for no thread and runs no callbacks", main_calls_quick_exit, 6, "", 0, 0},
    {"handlers run before the joins if registered after the first start, else after the joins",
     handlers_around_a_start, 0,
     "late\nworker done\nearly\n", 0, 0},
    {"handlers run before the callbacks if registered after the first threading_atexit, else after them",
     handlers_around_a_callback, 0,
     "late\ncallback\nearly\n", 0, 0},
    {"callbacks run in reverse order, before the joins and with the main thread alive", callbacks, 0,
     "third\nsecond\nstarted in a callback\nfirst\nworker done\n", 0, 0},
    {"exit in a callback runs the remaining callbacks and waits for non-daemon threads", exit_in_a_callback, 8,
     "second\nfirst\nworker done\nearly\n", 0, 0},
    {"the main thread's values are destroyed after the joins", locals_of_main, 0,
     "late\nworker done\nvalue destroyed\nearly\n", 0, 0},
    {"the main thread's attributes are destroyed after later handlers and before earlier ones",
     attribute_of_main, 0, "late\nvalue destroyed\nearly\n", 0, 0},
    {"a join of the main thread returns after the callbacks and before the joins", join_of_main, 0,
     "callback\nmain ended\nworker done\n", 0, 0},
    {"pthread_exit in main does what exit does, with status 0", main_ends_by_pthread_exit, 0,
     "callback\nmain ended\nworker done\nvalue destroyed\nearly\n", 0, 0},
    {"pthread_exit in main ends only the main thread if no thread has been started", main_ends_before_the_first_start,
     0, "main has ended\nworker done\n", 0, 0},
    {"a return from main waits for threads and timers that start while it waits",
     started_while_exit_waits, 0, "worker done\n", 0, 0},
    {"shutdown runs the callbacks and waits for threads, and exit does not repeat that", shutdown_by_main, 0,
     "callback\nworker done\nshut down\nnothing starts\n", 0, 0},
    {"a shutdown after one that timed out is OK and repeats no callback", shutdown_with_timeout, 0,
     "callback\nworker done\nshut down\nnothing starts\n", 0, 0},
    {"a start in a handler after the joins is ERR_SHUTDOWN",
     start_after_the_joins, 0, "worker done\nnothing starts\n", 0, 0},
    {"shutdown in a worker waits for other threads, not for itself", shutdown_by_a_worker, 0,
     "worker done\nshut down\nnothing starts\n", 0, 0},
    {"concurrent shutdowns do not wait for each other's threads",
     shutdown_by_several, 0, "worker done\nshut down\n", 0, 0},
    {"shutdown waits for callbacks that another thread runs, until its timeout", shutdown_while_a_callback_runs, 0,
     "callback\ncallback done\nmain has ended\nshut down\n", 0, 0},
    {"fork and shutdown in a callback are OK while another thread waits for the callbacks",
     fork_and_shutdown_in_a_callback, 2,
     "callback\ncallback done\nanother callback\nchild done\nanother callback\nshut down in the callback\n", 0, 0},
    {"shutdown in a child does not wait for callbacks that another thread of the parent runs",
     fork_while_a_callback_runs, 5,
     "callback\ncallback done\n", 0, 0},
    {"exit does not wait for a thread that calls exit at the same time", exit_in_a_worker_while_main_exits, 0,
     "worker exits\n", 0, ONE_EXIT},
    {"exit does not wait for a timer whose function calls exit at the same time", exit_in_a_timer_while_main_exits, 0,
     "worker exits\n", 0, ONE_EXIT},
    {"if a callback of a shutdown calls exit during another exit, that one runs the remaining callbacks",
     exit_in_a_callback_while_a_worker_exits, 3,
     "callback exits\nanother callback\n", 0, ONE_EXIT},
#if defined(__GLIBC__)
    {"exit does not wait for threads that wait for a lock of libc which the exiting thread holds",
     main_exits_with_a_lock_of_libc, 6, "worker blocks\nworker blocks\n", 0, BLOCKED},
    {"exit runs the callbacks that are left by a thread which waits for a lock of libc that the exiting thread holds",
     a_callback_waits_for_a_lock_of_libc, 3, "callback blocks\nanother callback\n", 0, BLOCKED},
    {"shutdown waits for a thread that waits for a lock of libc which the calling thread holds",
     shutdown_with_a_lock_of_libc, 0, "worker blocks\nshut down\n", 0, 0},
#endif
    {"a return from main succeeds whatever daemons are doing", busy_daemons, 9, "", 30, 0},
};

/* ---------------------------------------------------------------------------------- running the scenarios */

/* Reads the output until the process closes its end of the pipe, which it does at its exit. Returns its wait status. */
static int read_until_end(int fd, pid_t pid, char *output, size_t size)
{
    double end = now() + TEST_LIMIT;
    size_t length = 0;
    int status;
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        ssize_t got;
        if (now() > end) {
            kill(pid, SIGKILL);
            output[length] = '\0';
            test_fail(__FILE__, __LINE__, "the process does not exit; its output is \"%s\"", output);
        }
        if (poll(&ready, 1, 100) <= 0)
            continue;
        got = read(fd, output + length, size - 1 - length);
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    output[length] = '\0';
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR);
    return status;
}

static void run_scenario(const struct scenario *scenario)
{
    char output[4096];
    int fds[2], status;
    pid_t pid;
    CHECK_INT(pipe(fds), 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        execlp(test_state.argv[0], test_state.argv[0], "--scenario", scenario->name, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    status = read_until_end(fds[0], pid, output, sizeof output);
    close(fds[0]);
    CHECK_STR(output, scenario->output);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), scenario->status);
}

static const struct scenario *find_scenario(const char *name)
{
    for (size_t i = 0; i < TEST_COUNT(scenarios); i++)
        if (strcmp(scenarios[i].name, name) == 0)
            return &scenarios[i];
    return NULL;
}

static void run_case(void)
{
    const struct scenario *scenario = find_scenario(test_state.chosen[test_state.current]->name);
    int times = scenario->times > 0 ? scenario->times : 1;
    if (scenario->needs == TWO_EXITS && has_one_exit())
        SKIP("exit of this libc blocks while another thread is in exit");
    if ((scenario->needs == BLOCKED || (scenario->needs == ONE_EXIT && has_one_exit())) && !shows_system_calls())
        SKIP("the system does not show in which system call a thread is blocked");
    for (int i = 0; i < times; i++)
        run_scenario(scenario);
}

int main(int argc, char **argv)
{
    struct test_case cases[TEST_COUNT(scenarios)];
    if (argc == 3 && strcmp(argv[1], "--scenario") == 0)
        return find_scenario(argv[2])->main();
    for (size_t i = 0; i < TEST_COUNT(scenarios); i++)
        cases[i] = (struct test_case){scenarios[i].name, run_case};
    return test_run(argc, argv, cases, TEST_COUNT(cases));
}
