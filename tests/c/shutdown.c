/* threading_shutdown: it runs the callbacks and waits for threads, as process exit does. After it, nothing starts. */
#include "scenario.h"

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

static const struct scenario scenarios[] = {
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
};

SCENARIO_MAIN(scenarios)
