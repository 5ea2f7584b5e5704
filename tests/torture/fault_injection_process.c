/* Fault injection during process exit and fork, and in all calls that need no resources. */
#include "fault_injection_scenarios.h"

#include <sys/wait.h>

/* ----------------------------------------------------------------------------------------------- process exit */

static int callbacks_called;

static void callback(void *arg)
{
    CHECK(callbacks_called++ == *(int *)arg);
}

static int indices[16];

static void prepare_callbacks(void)
{
    for (int i = 0; i < scenario->parameter; i++) {
        indices[i] = scenario->parameter - i;
        OK(threading_atexit(callback, &indices[i]));
    }
    indices[scenario->parameter] = 0;
}

static threading_status call_atexit(void)
{
    return threading_atexit(callback, &indices[scenario->parameter]);
}

static void finish_atexit(void)
{
    OK(threading_shutdown());
    CHECK(callbacks_called == scenario->parameter + 1);
    STATUS(threading_atexit(callback, NULL), THREADING_ERR_SHUTDOWN);
}

static void prepare_shutdown(void)
{
    prepare_running();
    indices[0] = 0;
    OK(threading_atexit(callback, &indices[0]));
}

static threading_status call_shutdown(void)
{
    STATUS(threading_shutdown_timeout(0), THREADING_TIMED_OUT);
    OK(threading_event_set(event));
    return threading_shutdown();
}

static void finish_shutdown(void)
{
    CHECK(threading_thread_result(object) == event);
    release_last(THREAD, object);
    release_last(EVENT, event);
    CHECK(callbacks_called == 1);
}

/* The library works in the child and in the parent. */
static threading_status call_fork(void)
{
    int status;
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        stop_faults();
        CHECK(threading_main_thread() == threading_current_thread());
        CHECK(threading_active_count() == 1);
        use_everything();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    return THREADING_OK;
}

/* ---------------------------------------------------------------------------- calls that need no resources */

static threading_thread *unstarted_thread, *finished_thread;
static threading_condition *condition;
static threading_semaphore *semaphore;
static threading_barrier *barrier;
static threading_rlock *rlock;
static threading_lock *lock;
static threading_thread_list *list;

static int no_action(void *arg)
{
    (void)arg;
    return 0;
}

static void prepare_all(void)
{
    lock = create(LOCK);
    rlock = create(RLOCK);
    condition = create(CONDITION);
    semaphore = create(SEMAPHORE);
    barrier = threading_barrier_new(1, no_action, NULL);
    OK(status_of(barrier));
    OK(threading_barrier_wait(barrier, NULL)); /* allocates the thread's wait record */
    prepare_running();
    unstarted_thread = create(THREAD);
    finished_thread = create(THREAD);
    OK(threading_thread_start(finished_thread));
    OK(threading_thread_join(finished_thread));
    timers[0] = create(TIMER);
    OK(threading_timer_start(timers[0]));
    timers[1] = create(TIMER);
    local = create(LOCAL);
    OK(threading_local_set(local, &local));
    OK(threading_local_set_attr(local, "name", &local));
    list = create(LIST);
    CHECK(threading_current_thread() != NULL && threading_main_thread() != NULL);
}

#define LIBRARY                                                                                                        \
    "version version_number status_name status_message last_error last_error_message clear_last_error "                \
    "current_thread main_thread active_count get_ident get_native_id stack_size set_stack_size sleep "                 \
    "set_excepthook get_excepthook report_exception thread_list_len thread_list_get thread_list_free"

static threading_status call_library(void)
{
    void *arg = NULL;
    CHECK(threading_version_number() != 0 && threading_version() != NULL);
    CHECK(threading_status_name(-1) != NULL && threading_status_message(-14) != NULL);
    threading_clear_last_error();
    OK(threading_last_error());
    CHECK(threading_last_error_message()[0] == '\0');
    CHECK(threading_current_thread() != NULL && threading_main_thread() != NULL);
    CHECK(threading_active_count() >= 3);
    CHECK(threading_get_ident() != 0 && threading_get_native_id() != 0);
    OK(threading_set_stack_size(1 << 20));
    CHECK(threading_stack_size() == 1 << 20);
    OK(threading_set_stack_size(0));
    OK(threading_sleep(SHORT_TIMEOUT));
    threading_set_excepthook(hook, &hook_calls);
    CHECK(threading_get_excepthook(&arg) == hook && arg == &hook_calls);
    OK(threading_report_exception("Type", "message"));
    threading_set_excepthook(NULL, NULL);
    CHECK(threading_thread_list_len(list) >= 3);
    CHECK(threading_thread_list_get(list, 0) == threading_main_thread());
    OK(threading_thread_list_free(list));
    return THREADING_OK;
}

#define THREADS                                                                                                        \
    "thread_ref thread_free thread_set_daemon thread_is_daemon thread_set_stack_size "                                 \
    "thread_set_arg_destructor thread_set_run thread_run thread_join thread_join_timeout thread_is_alive "             \
    "thread_ident thread_native_id thread_result thread_arg thread_name timer_ref timer_free timer_thread "            \
    "timer_cancel timer_interval"

static void *overridden_run(threading_thread *thread, void *arg)
{
    (void)thread;
    return arg;
}

static threading_status call_threads(void)
{
    CHECK(threading_thread_ref(unstarted_thread) == unstarted_thread);
    OK(threading_thread_free(unstarted_thread));
    OK(threading_thread_set_daemon(unstarted_thread, 1));
    CHECK(threading_thread_is_daemon(unstarted_thread));
    OK(threading_thread_set_stack_size(unstarted_thread, 1 << 20));
    OK(threading_thread_set_arg_destructor(unstarted_thread, count_destroyed));
    OK(threading_thread_set_run(unstarted_thread, overridden_run));
    CHECK(threading_thread_run(unstarted_thread) == &thread_arg);
    CHECK(threading_thread_arg(unstarted_thread) == &thread_arg);
    STATUS(threading_thread_join(unstarted_thread), THREADING_ERR_NOT_STARTED);
    OK(threading_thread_join(finished_thread));
    OK(threading_thread_join_timeout(finished_thread, SHORT_TIMEOUT));
    STATUS(threading_thread_join_timeout(object, SHORT_TIMEOUT), THREADING_TIMED_OUT);
    CHECK(!threading_thread_is_alive(finished_thread) && threading_thread_is_alive(object));
    CHECK(threading_thread_ident(finished_thread) != 0 && threading_thread_native_id(finished_thread) != 0);
    CHECK(threading_thread_result(finished_thread) == &thread_arg && threading_thread_result(object) == NULL);
    CHECK(threading_thread_name(object) == name);
    CHECK(threading_timer_ref(timers[0]) == timers[0] && threading_timer_thread(timers[0]) != NULL);
    CHECK(threading_timer_interval(timers[0]) == 3600);
    OK(threading_timer_free(timers[0]));
    OK(threading_timer_cancel(timers[0]));
    OK(threading_thread_join(threading_timer_thread(timers[0])));
    OK(threading_timer_cancel(timers[1]));
    OK(threading_timer_free(timers[1]));
    OK(threading_thread_free(unstarted_thread));
    CHECK(destructor_calls == 1);
    OK(threading_thread_free(finished_thread));
    return THREADING_OK;
}

#define OBJECTS                                                                                                        \
    "lock_ref lock_free lock_acquire lock_try_acquire lock_acquire_timeout lock_release lock_locked "                  \
    "lock_at_fork_reinit rlock_ref rlock_free rlock_acquire rlock_try_acquire rlock_acquire_timeout "                  \
    "rlock_release rlock_locked rlock_is_owned rlock_recursion_count rlock_at_fork_reinit condition_ref "              \
    "condition_free condition_acquire condition_try_acquire condition_acquire_timeout condition_release "              \
    "condition_locked condition_is_owned condition_notify condition_notify_all condition_at_fork_reinit "              \
    "semaphore_ref semaphore_free semaphore_acquire semaphore_try_acquire semaphore_acquire_timeout "                  \
    "semaphore_release semaphore_release_n semaphore_value event_ref event_free event_is_set event_set "               \
    "event_clear event_wait event_wait_timeout event_at_fork_reinit barrier_ref barrier_free "                         \
    "barrier_set_timeout barrier_wait barrier_wait_timeout barrier_reset barrier_abort barrier_parties "               \
    "barrier_n_waiting barrier_broken local_ref local_free local_set local_get local_lookup local_del "                \
    "local_get_attr local_del_attr"

static threading_status call_objects(void)
{
    size_t index;
    void *value;
    CHECK(threading_lock_ref(lock) == lock);
    OK(threading_lock_acquire(lock));
    STATUS(threading_lock_try_acquire(lock), THREADING_WOULD_BLOCK);
    STATUS(threading_lock_acquire_timeout(lock, 0), THREADING_TIMED_OUT);
    CHECK(threading_lock_locked(lock));
    OK(threading_lock_release(lock));
    OK(threading_lock_at_fork_reinit(lock));
    OK(threading_lock_free(lock));
    CHECK(threading_rlock_ref(rlock) == rlock);
    OK(threading_rlock_acquire(rlock));
    OK(threading_rlock_try_acquire(rlock));
    OK(threading_rlock_acquire_timeout(rlock, SHORT_TIMEOUT));
    CHECK(threading_rlock_locked(rlock) && threading_rlock_is_owned(rlock));
    CHECK(threading_rlock_recursion_count(rlock) == 3);
    OK(threading_rlock_release(rlock));
    OK(threading_rlock_at_fork_reinit(rlock));
    OK(threading_rlock_free(rlock));
    CHECK(threading_condition_ref(condition) == condition);
    OK(threading_condition_acquire(condition));
    OK(threading_condition_try_acquire(condition));
    OK(threading_condition_acquire_timeout(condition, SHORT_TIMEOUT));
    CHECK(threading_condition_locked(condition) && threading_condition_is_owned(condition));
    OK(threading_condition_notify(condition, 1));
    OK(threading_condition_notify_all(condition));
    OK(threading_condition_release(condition));
    OK(threading_condition_at_fork_reinit(condition));
    OK(threading_condition_free(condition));
    CHECK(threading_semaphore_ref(semaphore) == semaphore);
    OK(threading_semaphore_acquire(semaphore));
    STATUS(threading_semaphore_try_acquire(semaphore), THREADING_WOULD_BLOCK);
    STATUS(threading_semaphore_acquire_timeout(semaphore, SHORT_TIMEOUT), THREADING_TIMED_OUT);
    OK(threading_semaphore_release(semaphore));
    OK(threading_semaphore_release_n(semaphore, 2));
    CHECK(threading_semaphore_value(semaphore) == 3);
    OK(threading_semaphore_free(semaphore));
    CHECK(threading_event_ref(event) == event);
    STATUS(threading_event_wait_timeout(event, SHORT_TIMEOUT), THREADING_TIMED_OUT);
    OK(threading_event_set(event));
    CHECK(threading_event_is_set(event));
    OK(threading_event_wait(event));
    OK(threading_event_free(event));
    CHECK(threading_barrier_ref(barrier) == barrier);
    OK(threading_barrier_set_timeout(barrier, 5));
    OK(threading_barrier_wait(barrier, &index));
    OK(threading_barrier_wait_timeout(barrier, SHORT_TIMEOUT, &index));
    OK(threading_barrier_abort(barrier));
    CHECK(threading_barrier_broken(barrier));
    OK(threading_barrier_reset(barrier));
    CHECK(threading_barrier_parties(barrier) == 1 && threading_barrier_n_waiting(barrier) == 0);
    OK(threading_barrier_free(barrier));
    CHECK(threading_local_ref(local) == local);
    OK(threading_local_set(local, &value));
    CHECK(threading_local_get(local) == &value);
    OK(threading_local_lookup(local, &value));
    OK(threading_local_del(local));
    OK(threading_local_get_attr(local, "name", &value));
    OK(threading_local_del_attr(local, "name"));
    OK(threading_local_free(local));
    return THREADING_OK;
}

static void finish_all(void)
{
    if (scenario->call != call_threads) {
        OK(threading_timer_cancel(timers[0]));
        release_last(TIMER, timers[1]);
        release_last(THREAD, unstarted_thread);
        release_last(THREAD, finished_thread);
    }
    release_last(TIMER, timers[0]);
    if (scenario->call != call_library)
        release_last(LIST, list);
    OK(threading_event_set(event));
    OK(threading_thread_join(object));
    release_last(THREAD, object);
    if (scenario->call == call_objects) {
        OK(threading_event_clear(event));
        OK(threading_event_at_fork_reinit(event));
    }
    release_last(EVENT, event);
    release_last(LOCK, lock);
    release_last(RLOCK, rlock);
    release_last(CONDITION, condition);
    release_last(SEMAPHORE, semaphore);
    release_last(BARRIER, barrier);
    release_last(LOCAL, local);
}

const struct scenario process_scenarios[] = {
    {"the first callback", "atexit", prepare_callbacks, call_atexit, NO_MEMORY, NULL, finish_atexit, 0, false, true},
    {"the fifth callback", "atexit", prepare_callbacks, call_atexit, NO_MEMORY, NULL, finish_atexit, 4, false, true},
    {"a shutdown", "shutdown shutdown_timeout", prepare_shutdown, call_shutdown, 0, NULL, finish_shutdown, 0, false,
     true},
    {"a fork", "", do_nothing, call_fork, 0, NULL, NULL, 0, false, false},

    {"functions of the library need no resources", LIBRARY, prepare_all, call_library, 0, NULL, finish_all, 0, false,
     false},
    {"functions of threads need no resources", THREADS, prepare_all, call_threads, 0, NULL, finish_all, 0, false,
     false},
    {"functions of objects need no resources", OBJECTS, prepare_all, call_objects, 0, NULL, finish_all, 0, false,
     false},
};

const size_t process_scenarios_count = COUNT(process_scenarios);
