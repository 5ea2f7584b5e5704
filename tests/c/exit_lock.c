/* Exit while other threads are blocked in exit, or by another lock of libc that the exiting thread holds. */
#include "scenario.h"

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
};

SCENARIO_MAIN(scenarios)
