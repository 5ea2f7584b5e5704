/* Process exit: what it waits for, and in which order it runs handlers. Registered callbacks are in exit_callbacks.c,
 * threads that call exit at the same time in exit_lock.c, and exits in timers in timer_exit.c. */
#include "scenario.h"

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

/* ------------------------------------------------ daemons that are busy, and threads that detach themselves */

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
    {"_exit waits for no thread and runs no callbacks", main_calls__exit, 4, "", 0, 0},
    {"quick_exit waits for no thread and runs no callbacks", main_calls_quick_exit, 6, "", 0, 0},
    {"handlers run before the joins if registered after the first start, else after the joins",
     handlers_around_a_start, 0,
     "late\nworker done\nearly\n", 0, 0},
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
    {"a return from main succeeds whatever daemons are doing", busy_daemons, 9, "", 30, 0},
};

SCENARIO_MAIN(scenarios)
