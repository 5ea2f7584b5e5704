/* Refusals while threads and timers start, run and end. */
#include "fault_injection_scenarios.h"

#include <dirent.h>
#include <stdint.h>

/* --------------------------------------------------------------------------------------------------- threads */

static void check_unstarted(threading_thread *thread)
{
    CHECK(!threading_thread_is_alive(thread));
    CHECK(threading_thread_ident(thread) == 0);
    CHECK(threading_thread_native_id(thread) == 0);
    STATUS(threading_thread_join(thread), THREADING_ERR_NOT_STARTED);
    OK(threading_thread_set_daemon(thread, 0));
    CHECK(destroyed == 0);
    as_many_alive();
}

static void unstarted(void)
{
    check_unstarted(object);
}

static void prepare_sized(void)
{
    prepare_thread();
    OK(threading_thread_set_stack_size(object, (size_t)scenario->parameter));
}

/* Waits until the system has so many threads of this process left. */
static void wait_for_tasks(size_t rest)
{
    for (size_t count = SIZE_MAX; count > rest;) {
        DIR *tasks = opendir("/proc/self/task");
        CHECK(tasks != NULL);
        count = 0;
        for (const struct dirent *task; (task = readdir(tasks)) != NULL;)
            count += task->d_name[0] != '.';
        CHECK(closedir(tasks) == 0);
        usleep(100);
    }
}

/* With stacks and the like at hand; some of those that have ended nobody has joined yet. */
static void prepare_used(void)
{
    threading_thread *threads[4];
    event = make(EVENT);
    for (size_t i = 0; i < COUNT(threads); i++) {
        OK(made(threads[i] = threading_thread_new(wait_for, event)));
        OK(threading_thread_start(threads[i]));
    }
    OK(threading_event_set(event));
    for (int i = 0; i < (int)COUNT(threads); i++) {
        if (i < scenario->parameter)
            OK(threading_thread_join(threads[i]));
        OK(threading_thread_free(threads[i]));
    }
    wait_for_tasks(threading_current_thread() == threading_main_thread() ? 1 : 2);
    OK(threading_event_free(event));
    count_alive();
    prepare_thread();
}

static threading_status call_start(void)
{
    return threading_thread_start(object);
}

static threading_status call_start_and_join(void)
{
    threading_status status = threading_thread_start(object);
    if (status == THREADING_OK)
        OK(threading_thread_join(object));
    return status;
}

static void done_start(void)
{
    OK(threading_thread_join(object));
    CHECK(threading_thread_result(object) == &of_lock);
    CHECK(destroyed == 1);
    give_back(THREAD, object);
    CHECK(destroyed == 1);
}

/* What a thread does that is refused things from its beginning to its end. Values whose end the system cannot
 * announce are refused, not lost. */
static void *use_local(void *arg)
{
    threading_status status = threading_local_set(local, arg);
    void *value = threading_local_get(local);
    if (status == THREADING_OK)
        CHECK(value == arg);
    else
        CHECK(value == NULL && (status == THREADING_ERR_NO_MEMORY || status == THREADING_ERR_SYSTEM));
    if (status == THREADING_OK)
        atomic_fetch_add(&destroyed, -1);
    if (threading_local_set_attr(local, "name", arg) == THREADING_OK)
        atomic_fetch_add(&destroyed, -1);
    return arg;
}

static void prepare_user(void)
{
    local = threading_local_new(count_destroyed);
    object = threading_thread_new(use_local, &of_lock);
    OK(made(local));
    OK(made(object));
}

static void done_user(void)
{
    CHECK(threading_thread_result(object) == &of_lock);
    give_back(THREAD, object);
    give_back(LOCAL, local);
    CHECK(destroyed == 0);
}

static threading_status call_join_timeout(void)
{
    return expect_timeout(threading_thread_join_timeout(object, MOMENT));
}

static threading_status call_join(void)
{
    OK(threading_event_set(event));
    return threading_thread_join(object);
}

static void done_running(void)
{
    OK(threading_event_set(event));
    OK(threading_thread_join(object));
    CHECK(threading_thread_result(object) == event);
    give_back(THREAD, object);
    give_back(EVENT, event);
}

/* ---------------------------------------------------------------------------------------------------- timers */

static void prepare_timer(void)
{
    start_timers();
    object = threading_timer_new(0, return_arg, &of_lock);
    OK(made(object));
    OK(threading_thread_set_arg_destructor(threading_timer_thread(object), count_destroyed));
}

static threading_status call_timer_start(void)
{
    return threading_timer_start(object);
}

static threading_status call_timer_start_and_join(void)
{
    threading_status status = threading_timer_start(object);
    if (status == THREADING_OK)
        OK(threading_thread_join(threading_timer_thread(object)));
    return status;
}

static threading_status call_timer_start_by_thread(void)
{
    return threading_thread_start(threading_timer_thread(object));
}

static void timer_unstarted(void)
{
    check_unstarted(threading_timer_thread(object));
}

static void done_timer(void)
{
    threading_thread *thread = threading_timer_thread(object);
    OK(threading_thread_join(thread));
    CHECK(threading_thread_result(thread) == &of_lock);
    STATUS(threading_timer_cancel(object), THREADING_TOO_LATE);
    CHECK(destroyed == 1);
    give_back(TIMER, object);
    cancel_timers();
}

/* Its thread alone is kept: the timer is made anew at the start. */
static void prepare_orphan(void)
{
    prepare_timer();
    threading_thread *thread = threading_thread_ref(threading_timer_thread(object));
    OK(threading_timer_free(object));
    object = thread;
}

static void done_orphan(void)
{
    done_start();
    cancel_timers();
}

/* The memory for pending timers shrinks meanwhile. */
static threading_status call_cancel(void)
{
    cancel_timers();
    return THREADING_OK;
}

/* The functions of many timers run, some of which take their time. */
static void *run_timer(void *arg)
{
    if ((threading_timer **)arg == &timers[0])
        usleep(2000);
    return use_local(arg);
}

static void prepare_runs(void)
{
    local = threading_local_new(count_destroyed);
    OK(made(local));
    count_alive();
    for (int i = 0; i < scenario->parameter; i++)
        OK(made(timers[i] = threading_timer_new(0.0002, run_timer, &timers[i])));
}

static threading_status call_runs(void)
{
    threading_status last = THREADING_OK;
    for (int i = 0; i < scenario->parameter; i++) {
        threading_thread *thread = threading_timer_thread(timers[i]);
        threading_status status =
            threading_thread_ident(thread) == 0 ? threading_timer_start(timers[i]) : THREADING_OK;
        if (status != THREADING_OK)
            last = status;
    }
    for (int i = 0; i < scenario->parameter; i++) {
        threading_thread *thread = threading_timer_thread(timers[i]);
        if (threading_thread_ident(thread) != 0)
            OK(threading_thread_join(thread));
    }
    return last;
}

static void done_runs(void)
{
    for (int i = 0; i < scenario->parameter; i++) {
        CHECK(threading_thread_result(threading_timer_thread(timers[i])) == &timers[i]);
        give_back(TIMER, timers[i]);
    }
    give_back(LOCAL, local);
    CHECK(destroyed == 0);
    as_many_alive();
}

const struct scenario thread_scenarios[] = {
    {"the first start", "thread_start", prepare_thread, call_start, NO_MEMORY | SYSTEM, unstarted, done_start,
     0, false, false},
    {"the first start, and what runs", "thread_start", prepare_thread, call_start_and_join,
     NO_MEMORY | SYSTEM, unstarted, done_start, 0, true, false},
    {"a start on a small stack", "thread_start", prepare_sized, call_start, NO_MEMORY | SYSTEM, unstarted,
     done_start, 64 * 1024, false, false},
    {"a start on a large stack", "thread_start", prepare_sized, call_start, NO_MEMORY | SYSTEM, unstarted,
     done_start, 64 << 20, false, false},
    {"a start on a stack that was kept", "thread_start", prepare_used, call_start, NO_MEMORY | SYSTEM,
     unstarted, done_start, 4, false, false},
    {"a start when others have not been joined", "thread_start", prepare_used, call_start, NO_MEMORY | SYSTEM,
     unstarted, done_start, 0, false, false},
    {"a thread that uses a local", "thread_start local_set local_set_attr", prepare_user, call_start_and_join,
     NO_MEMORY | SYSTEM, NULL, done_user, 0, true, false},
    {"a join", "thread_join", prepare_running, call_join, 0, NULL, done_running, 0, false, false},
    {"a join that is early", "thread_join_timeout", prepare_running, call_join_timeout, 0, NULL, done_running,
     0, false, false},
    {"a join, and the thread's end", "thread_join", prepare_running, call_join, 0, NULL, done_running, 0, true,
     false},

    {"the first start of a timer", "timer_start", prepare_timer, call_timer_start, NO_MEMORY | SYSTEM,
     timer_unstarted, done_timer, 0, false, false},
    {"the first start of a timer, and its function", "timer_start", prepare_timer, call_timer_start_and_join,
     NO_MEMORY | SYSTEM, timer_unstarted, done_timer, 0, true, false},
    {"the first start of a timer, by its thread", "thread_start", prepare_timer, call_timer_start_by_thread,
     NO_MEMORY | SYSTEM, timer_unstarted, done_timer, 0, false, false},
    {"a start beside 32 timers", "timer_start", prepare_timer, call_timer_start, NO_MEMORY | SYSTEM,
     timer_unstarted, done_timer, 32, false, false},
    {"a start beside 64 timers", "timer_start", prepare_timer, call_timer_start, NO_MEMORY | SYSTEM,
     timer_unstarted, done_timer, 64, false, false},
    {"a start beside 288 timers", "timer_start", prepare_timer, call_timer_start_by_thread, NO_MEMORY | SYSTEM,
     timer_unstarted, done_timer, 288, false, false},
    {"the start of a timer that was freed", "thread_start", prepare_orphan, call_start, NO_MEMORY | SYSTEM,
     unstarted, done_orphan, 0, false, false},
    {"many timers cancelled", "timer_cancel", start_timers, call_cancel, 0, NULL, NULL, MANY, false, false},
    {"two timers' functions", "timer_start", prepare_runs, call_runs, NO_MEMORY | SYSTEM, NULL, done_runs, 2,
     true, false},
    {"many timers' functions", "timer_start", prepare_runs, call_runs, NO_MEMORY | SYSTEM, NULL, done_runs,
     200, true, false},
};

const size_t thread_scenarios_count = COUNT(thread_scenarios);
