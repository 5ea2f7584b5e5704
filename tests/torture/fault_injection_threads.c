/* Fault injection while threads and timers start, run and end. */
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
    CHECK(destructor_calls == 0);
    check_alive();
}

static void check_object_unstarted(void)
{
    check_unstarted(object);
}

static void prepare_sized(void)
{
    prepare_thread();
    OK(threading_thread_set_stack_size(object, (size_t)scenario->parameter));
}

/* Waits until the process has at most `limit` OS threads. */
static void wait_for_tasks(size_t limit)
{
    for (size_t count = SIZE_MAX; count > limit;) {
        DIR *tasks = opendir("/proc/self/task");
        CHECK(tasks != NULL);
        count = 0;
        for (const struct dirent *task; (task = readdir(tasks)) != NULL;)
            count += task->d_name[0] != '.';
        CHECK(closedir(tasks) == 0);
        usleep(100);
    }
}

/* The library has kept stacks and other resources of earlier threads, some of which have ended but have not been
 * joined. */
static void prepare_after_others(void)
{
    threading_thread *threads[4];
    event = create(EVENT);
    for (size_t i = 0; i < COUNT(threads); i++) {
        OK(status_of(threads[i] = threading_thread_new(wait_for, event)));
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
    record_alive();
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

static void finish_start(void)
{
    OK(threading_thread_join(object));
    CHECK(threading_thread_result(object) == &thread_arg);
    CHECK(destructor_calls == 1);
    release_last(THREAD, object);
    CHECK(destructor_calls == 1);
}

/* The function of a thread whose calls fail, from its beginning to its end. A value whose destruction cannot be
 * ensured must not be set. */
static void *use_local(void *arg)
{
    threading_status status = threading_local_set(local, arg);
    void *value = threading_local_get(local);
    if (status == THREADING_OK)
        CHECK(value == arg);
    else
        CHECK(value == NULL && (status == THREADING_ERR_NO_MEMORY || status == THREADING_ERR_SYSTEM));
    if (status == THREADING_OK)
        atomic_fetch_add(&destructor_calls, -1);
    if (threading_local_set_attr(local, "name", arg) == THREADING_OK)
        atomic_fetch_add(&destructor_calls, -1);
    return arg;
}

static void prepare_user(void)
{
    local = threading_local_new(count_destroyed);
    object = threading_thread_new(use_local, &thread_arg);
    OK(status_of(local));
    OK(status_of(object));
}

static void finish_user(void)
{
    CHECK(threading_thread_result(object) == &thread_arg);
    release_last(THREAD, object);
    release_last(LOCAL, local);
    CHECK(destructor_calls == 0);
}

static threading_status call_join_timeout(void)
{
    return expect_timeout(threading_thread_join_timeout(object, SHORT_TIMEOUT));
}

static threading_status call_join(void)
{
    OK(threading_event_set(event));
    return threading_thread_join(object);
}

static void finish_running(void)
{
    OK(threading_event_set(event));
    OK(threading_thread_join(object));
    CHECK(threading_thread_result(object) == event);
    release_last(THREAD, object);
    release_last(EVENT, event);
}

/* ---------------------------------------------------------------------------------------------------- timers */

static void prepare_timer(void)
{
    start_timers();
    object = threading_timer_new(0, return_arg, &thread_arg);
    OK(status_of(object));
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

static void check_timer_unstarted(void)
{
    check_unstarted(threading_timer_thread(object));
}

static void finish_timer(void)
{
    threading_thread *thread = threading_timer_thread(object);
    OK(threading_thread_join(thread));
    CHECK(threading_thread_result(thread) == &thread_arg);
    STATUS(threading_timer_cancel(object), THREADING_TOO_LATE);
    CHECK(destructor_calls == 1);
    release_last(TIMER, object);
    cancel_timers();
}

/* Only the thread of the timer is kept; starting it creates the timer again. */
static void prepare_freed_timer(void)
{
    prepare_timer();
    threading_thread *thread = threading_thread_ref(threading_timer_thread(object));
    OK(threading_timer_free(object));
    object = thread;
}

static void finish_freed_timer(void)
{
    finish_start();
    cancel_timers();
}

/* The array of pending timers is made smaller. */
static threading_status call_cancel(void)
{
    cancel_timers();
    return THREADING_OK;
}

/* The functions of many timers; one of them takes long. */
static void *run_timer(void *arg)
{
    if ((threading_timer **)arg == &timers[0])
        usleep(2000);
    return use_local(arg);
}

static void prepare_many(void)
{
    local = threading_local_new(count_destroyed);
    OK(status_of(local));
    record_alive();
    for (int i = 0; i < scenario->parameter; i++)
        OK(status_of(timers[i] = threading_timer_new(0.0002, run_timer, &timers[i])));
}

static threading_status call_many(void)
{
    threading_status last = THREADING_OK;
    for (int i = 0; i < scenario->parameter; i++) {
        threading_thread *thread = threading_timer_thread(timers[i]);
        threading_status status = threading_thread_ident(thread) == 0 ? threading_timer_start(timers[i]) : THREADING_OK;
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

static void finish_many(void)
{
    for (int i = 0; i < scenario->parameter; i++) {
        CHECK(threading_thread_result(threading_timer_thread(timers[i])) == &timers[i]);
        release_last(TIMER, timers[i]);
    }
    release_last(LOCAL, local);
    CHECK(destructor_calls == 0);
    check_alive();
}

const struct scenario thread_scenarios[] = {
    {"the first start", "thread_start", prepare_thread, call_start, NO_MEMORY | SYSTEM, check_object_unstarted,
     finish_start, 0, false, false},
    {"the first start and its thread", "thread_start", prepare_thread, call_start_and_join, NO_MEMORY | SYSTEM,
     check_object_unstarted, finish_start, 0, true, false},
    {"a start on a small stack", "thread_start", prepare_sized, call_start, NO_MEMORY | SYSTEM, check_object_unstarted,
     finish_start, 64 * 1024, false, false},
    {"a start on a large stack", "thread_start", prepare_sized, call_start, NO_MEMORY | SYSTEM, check_object_unstarted,
     finish_start, 64 << 20, false, false},
    {"a start on a cached stack", "thread_start", prepare_after_others, call_start, NO_MEMORY | SYSTEM,
     check_object_unstarted, finish_start, 4, false, false},
    {"a start while other threads have not been joined", "thread_start", prepare_after_others, call_start,
     NO_MEMORY | SYSTEM, check_object_unstarted, finish_start, 0, false, false},
    {"a thread that uses a local", "thread_start local_set local_set_attr", prepare_user, call_start_and_join,
     NO_MEMORY | SYSTEM, NULL, finish_user, 0, true, false},
    {"a join", "thread_join", prepare_running, call_join, 0, NULL, finish_running, 0, false, false},
    {"a join that times out", "thread_join_timeout", prepare_running, call_join_timeout, 0, NULL, finish_running, 0,
     false, false},
    {"a join and the end of the thread", "thread_join", prepare_running, call_join, 0, NULL, finish_running, 0, true,
     false},

    {"the first start of a timer", "timer_start", prepare_timer, call_timer_start, NO_MEMORY | SYSTEM,
     check_timer_unstarted, finish_timer, 0, false, false},
    {"the first start of a timer and its function", "timer_start", prepare_timer, call_timer_start_and_join,
     NO_MEMORY | SYSTEM, check_timer_unstarted, finish_timer, 0, true, false},
    {"the first start of a timer, by its thread", "thread_start", prepare_timer, call_timer_start_by_thread,
     NO_MEMORY | SYSTEM, check_timer_unstarted, finish_timer, 0, false, false},
    {"a start with 32 pending timers", "timer_start", prepare_timer, call_timer_start, NO_MEMORY | SYSTEM,
     check_timer_unstarted, finish_timer, 32, false, false},
    {"a start with 64 pending timers", "timer_start", prepare_timer, call_timer_start, NO_MEMORY | SYSTEM,
     check_timer_unstarted, finish_timer, 64, false, false},
    {"a start with 288 pending timers", "timer_start", prepare_timer, call_timer_start_by_thread, NO_MEMORY | SYSTEM,
     check_timer_unstarted, finish_timer, 288, false, false},
    {"the start of a freed timer by its thread", "thread_start", prepare_freed_timer, call_start, NO_MEMORY | SYSTEM,
     check_object_unstarted, finish_freed_timer, 0, false, false},
    {"cancelling many timers", "timer_cancel", start_timers, call_cancel, 0, NULL, NULL, MAX_OBJECTS, false, false},
    {"functions of two timers", "timer_start", prepare_many, call_many, NO_MEMORY | SYSTEM, NULL, finish_many, 2, true,
     false},
    {"functions of many timers", "timer_start", prepare_many, call_many, NO_MEMORY | SYSTEM, NULL, finish_many, 200,
     true, false},
};

const size_t thread_scenarios_count = COUNT(thread_scenarios);
