/* Exit, shutdown, fork and joins in a timer's function and in the destructor of its argument. */
#include "scenario.h"

/* ------------------------------------------------------------------------------------ in a timer's function */

static int exit_in_a_timer(void)
{
    start_worker_released_at_exit();
    CHECK_STATUS(threading_timer_free(start_timer(0.01, call_exit, 0)), THREADING_OK);
    CHECK_STATUS(threading_event_wait(event_new()), THREADING_OK);
    return 0;
}

/* ------------------------------------------------------------------------------ in an argument's destructor */

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

static const struct scenario scenarios[] = {
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
};

SCENARIO_MAIN(scenarios)
