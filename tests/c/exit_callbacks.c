/* The callbacks that threading_atexit registers: process exit and shutdown run them before they wait for threads. */
#include "scenario.h"

/* ---------------------------------------------------------------------------------------------------- order */

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

/* ------------------------------------------------------------ callbacks that run in another thread, or fork */

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

static const struct scenario scenarios[] = {
    {"handlers run before the callbacks if registered after the first threading_atexit, else after them",
     handlers_around_a_callback, 0,
     "late\ncallback\nearly\n", 0, 0},
    {"callbacks run in reverse order, before the joins and with the main thread alive", callbacks, 0,
     "third\nsecond\nstarted in a callback\nfirst\nworker done\n", 0, 0},
    {"exit in a callback runs the remaining callbacks and waits for non-daemon threads", exit_in_a_callback, 8,
     "second\nfirst\nworker done\nearly\n", 0, 0},
    {"shutdown waits for callbacks that another thread runs, until its timeout", shutdown_while_a_callback_runs, 0,
     "callback\ncallback done\nmain has ended\nshut down\n", 0, 0},
    {"fork and shutdown in a callback are OK while another thread waits for the callbacks",
     fork_and_shutdown_in_a_callback, 2,
     "callback\ncallback done\nanother callback\nchild done\nanother callback\nshut down in the callback\n", 0, 0},
    {"shutdown in a child does not wait for callbacks that another thread of the parent runs",
     fork_while_a_callback_runs, 5,
     "callback\ncallback done\n", 0, 0},
};

SCENARIO_MAIN(scenarios)
