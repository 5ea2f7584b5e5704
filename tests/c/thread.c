/* Thread: settings before the start, arguments, run, start, states, results and references. Names are in
 * thread_names.c, joins in thread_join.c, stacks in stacks.c, and threads that are never joined in thread_reaper.c. */
#include "thread.h"

/* ---------------------------------------------------------------------------------- settings before start */

static void *new_is_daemon(void *arg)
{
    threading_thread *thread = thread_new(NULL, NULL);
    bool daemon = threading_thread_is_daemon(thread);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    return daemon ? arg : NULL;
}

static void dummy_does_not_pass_on_daemon(threading_thread *dummy)
{
    CHECK(threading_thread_is_daemon(dummy));
    CHECK_PTR(new_is_daemon(dummy), NULL);
}

static void *start_arg(void *thread)
{
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK(!threading_thread_is_daemon(thread));
    return NULL;
}

static void daemon_is_inherited(void)
{
    int yes;
    threading_thread *thread = thread_new(new_is_daemon, &yes), *starter;
    CHECK(!threading_thread_is_daemon(threading_main_thread()));
    CHECK(!threading_thread_is_daemon(thread));
    CHECK_STATUS_KEEPS_ERROR(threading_thread_set_daemon(thread, 256), THREADING_OK);
    CHECK(threading_thread_is_daemon(thread));
    CHECK_STATUS(threading_thread_set_daemon(thread, 0), THREADING_OK);
    CHECK(!threading_thread_is_daemon(thread));
    CHECK_STATUS(threading_thread_set_daemon(thread, -1), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_PTR(join(thread), &yes);
    CHECK_PTR(join(spawn(new_is_daemon, &yes)), NULL);
    CHECK_PTR(join_foreign(spawn_foreign(new_is_daemon, &yes)), NULL);
    with_dummy(dummy_does_not_pass_on_daemon);

    /* The daemon flag is inherited from the creating thread, not from the starting one. */
    thread = thread_new(NULL, NULL);
    starter = thread_new(start_arg, thread);
    CHECK_STATUS(threading_thread_set_daemon(starter, 1), THREADING_OK);
    CHECK_STATUS(threading_thread_start(starter), THREADING_OK);
    join(starter);
    join(thread);
}

static void destroy_nothing(void *value)
{
    (void)value;
}

static void *run_nothing(threading_thread *self, void *arg)
{
    (void)self;
    return arg;
}

static void check_already_started(threading_thread *thread)
{
    CHECK_STATUS(threading_thread_set_daemon(thread, 1), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_thread_set_daemon(thread, 0), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_thread_set_stack_size(thread, 0), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_thread_set_stack_size(thread, 1), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_thread_set_arg_destructor(thread, destroy_nothing), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_thread_set_run(thread, run_nothing), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_thread_start(thread), THREADING_ERR_ALREADY_STARTED);
}

static void settings_after_start(void)
{
    threading_event *event = event_new();
    threading_thread *thread = spawn(wait_for_event, event);
    check_already_started(thread);
    CHECK(!threading_thread_is_daemon(thread));
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    check_already_started(thread);
    CHECK_PTR(threading_thread_result(thread), event);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    check_already_started(threading_main_thread());
    with_dummy(check_already_started);
}

/* Uses all but the last 64 KiB of its stack, and stores the size of the stack. */
static void *use_stack(void *arg)
{
    size_t *size = arg, used = *size - 65536;
    volatile char *bytes = __builtin_alloca(used);
    for (size_t i = 0; i < used; i += 4096)
        bytes[i] = 1;
#if defined(__linux__)
    pthread_attr_t attributes;
    void *base;
    CHECK_INT(pthread_getattr_np(pthread_self(), &attributes), 0);
    CHECK_INT(pthread_attr_getstack(&attributes, &base, size), 0);
    pthread_attr_destroy(&attributes);
#endif
    return NULL;
}

static void stack_sizes(void)
{
    size_t wanted = (size_t)32 << 20, got = wanted;
    threading_thread *thread = thread_new(use_stack, &got);
    CHECK_STATUS(threading_thread_set_stack_size(thread, 1), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_thread_set_stack_size(thread, 4096), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_thread_set_stack_size(thread, wanted), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    join(thread);
    CHECK_AT_LEAST((double)got, (double)wanted);

    thread = thread_new(return_arg, &got);
    CHECK_STATUS(threading_thread_set_stack_size(thread, 0), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_thread_set_stack_size(thread, 3 * test_smallest_stack() + 1), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_PTR(join(thread), &got);
}

/* ---------------------------------------------------------------------------------------------- arguments */

static struct {
    atomic_int calls, ran;
    _Atomic(threading_thread *) by;
    _Atomic(void *) value;
} destroyed;

static void reset_destroyed(void)
{
    atomic_store(&destroyed.calls, 0);
    atomic_store(&destroyed.ran, 0);
}

static void destroy(void *value)
{
    atomic_store(&destroyed.by, threading_current_thread());
    atomic_store(&destroyed.value, value);
    CHECK(atomic_load(&destroyed.ran) != -1);
    sleep_for(0.02); /* so that a join that does not wait for the destructor fails the test */
    atomic_fetch_add(&destroyed.calls, 1);
}

/* destroyed.ran is -1 while it runs and 1 after that. */
static void *slow_run(void *arg)
{
    atomic_store(&destroyed.ran, -1);
    sleep_for(0.02);
    atomic_store(&destroyed.ran, 1);
    return arg;
}

static void *run_without_target(threading_thread *self, void *arg)
{
    (void)self;
    return slow_run(arg);
}

static void *exit_in_target(void *arg)
{
    slow_run(arg);
    pthread_exit(arg);
}

static void *cancel_itself(void *arg)
{
    slow_run(arg);
    pthread_cancel(pthread_self());
    pthread_testcancel();
    return arg;
}

static threading_thread *new_with_destructor(threading_target target, void *arg)
{
    threading_thread *thread = thread_new(target, arg);
    reset_destroyed();
    CHECK_STATUS_KEEPS_ERROR(threading_thread_set_arg_destructor(thread, destroy), THREADING_OK);
    return thread;
}

static void arg_destroyed_by_the_thread(void)
{
    static const threading_target targets[] = {slow_run, NULL, exit_in_target, cancel_itself};
    int arg;
    for (size_t i = 0; i <= TEST_COUNT(targets); i++) {
        threading_thread *thread = new_with_destructor(targets[i % TEST_COUNT(targets)], &arg);
        if (i == TEST_COUNT(targets))
            CHECK_STATUS(threading_thread_set_run(thread, run_without_target), THREADING_OK);
        CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
        CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
        CHECK_INT(atomic_load(&destroyed.calls), 1);
        CHECK_PTR(atomic_load(&destroyed.by), thread);
        CHECK_PTR(atomic_load(&destroyed.value), &arg);
        CHECK_PTR(threading_thread_arg(thread), &arg);
        CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
        CHECK_INT(atomic_load(&destroyed.calls), 1);
    }
}

static void arg_destroyed_by_the_last_free(void)
{
    int arg;
    threading_thread *thread = new_with_destructor(slow_run, &arg);
    CHECK_PTR(threading_thread_ref(thread), thread);
    CHECK_PTR(threading_thread_run(thread), &arg); /* a direct call of run does not start the thread */
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed.calls), 0);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed.calls), 1);
    CHECK_PTR(atomic_load(&destroyed.by), threading_current_thread());
    CHECK_PTR(atomic_load(&destroyed.value), &arg);
    CHECK_STATUS(threading_thread_free(thread), THREADING_ERR_HANDLE);
    CHECK_INT(atomic_load(&destroyed.calls), 1);
}

static void null_arg_or_destructor(void)
{
    int arg;
    threading_thread *thread = new_with_destructor(slow_run, NULL);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    thread = new_with_destructor(slow_run, NULL);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    join(thread);
    thread = new_with_destructor(slow_run, &arg);
    CHECK_STATUS(threading_thread_set_arg_destructor(thread, NULL), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed.calls), 0);
}

/* ------------------------------------------------------------------------------------------ run and start */

static void *run_twice(threading_thread *self, void *arg)
{
    int *count = arg;
    CHECK_PTR(self, threading_current_thread());
    CHECK_PTR(threading_thread_run(self), NULL);
    CHECK_PTR(threading_thread_run(self), NULL);
    return *count == 2 ? self : NULL;
}

static void *count_up(void *count)
{
    ++*(int *)count;
    return NULL;
}

static void run_override(void)
{
    int count = 0;
    threading_thread *thread = thread_new(count_up, &count);
    CHECK_STATUS_KEEPS_ERROR(threading_thread_set_run(thread, run_twice), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_PTR(join(thread), thread);
    CHECK_INT(count, 2);

    thread = thread_new(count_up, &count);
    CHECK_STATUS(threading_thread_set_run(thread, run_twice), THREADING_OK);
    CHECK_STATUS(threading_thread_set_run(thread, NULL), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_PTR(join(thread), NULL);
    CHECK_INT(count, 3);
}

static void run_called_directly(void)
{
    int count = 0;
    threading_thread *thread = thread_new(return_arg, &count), *empty = thread_new(NULL, &count);
    CHECK_STATUS(threading_thread_set_run(thread, run_twice), THREADING_OK);
    threading_clear_last_error();
    CHECK_PTR(threading_thread_run(thread), &count);
    CHECK_PTR(threading_thread_run(empty), NULL);
    CHECK_LAST_ERROR(THREADING_OK);
    CHECK_PTR(threading_thread_result(thread), NULL);
    CHECK(!threading_thread_is_alive(thread));
    CHECK_STATUS(threading_thread_start(empty), THREADING_OK);
    CHECK_PTR(join(empty), NULL);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
}

static void *start_together(void *arg)
{
    void **shared = arg;
    CHECK(threading_barrier_wait_timeout(shared[0], TEST_LIMIT, NULL) == THREADING_OK);
    return threading_thread_start(shared[1]) == THREADING_OK ? arg : NULL;
}

static void concurrent_starts(void)
{
    threading_barrier *barrier = threading_barrier_new(4, NULL, NULL);
    CHECK(barrier != NULL);
    for (int round = 0; round < 100; round++) {
        threading_thread *starters[4], *thread = thread_new(return_arg, barrier);
        void *shared[] = {barrier, thread};
        int started = 0;
        for (int i = 0; i < 4; i++)
            starters[i] = spawn(start_together, shared);
        for (int i = 0; i < 4; i++)
            started += join(starters[i]) != NULL;
        CHECK_INT(started, 1);
        CHECK_PTR(join(thread), barrier);
    }
    CHECK_STATUS(threading_barrier_free(barrier), THREADING_OK);
}

static void failed_start(void)
{
    int arg;
    threading_thread *thread = new_with_destructor(return_arg, &arg);
    size_t count = threading_active_count();
    CHECK_STATUS(threading_thread_set_stack_size(thread, TOO_LARGE_STACK), THREADING_OK);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(threading_thread_start(thread), THREADING_ERR_SYSTEM);
        CHECK(!threading_thread_is_alive(thread));
        CHECK_INT(threading_thread_ident(thread), 0);
        CHECK_INT(threading_thread_native_id(thread), 0);
        CHECK_STATUS(threading_thread_join(thread), THREADING_ERR_NOT_STARTED);
        CHECK_INT(threading_active_count(), count);
        CHECK_STATUS(threading_thread_set_daemon(thread, i % 2), THREADING_OK);
    }
    CHECK_INT(atomic_load(&destroyed.calls), 0);
    CHECK_STATUS(threading_thread_set_stack_size(thread, 0), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_PTR(join(thread), &arg);
    CHECK_INT(atomic_load(&destroyed.calls), 1);

    thread = new_with_destructor(return_arg, &arg);
    CHECK_STATUS(threading_thread_set_stack_size(thread, TOO_LARGE_STACK), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_ERR_SYSTEM);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed.calls), 1);
}

/* ------------------------------------------------------------------------------------- states and results */

struct identity {
    uint64_t ident, native_id;
    threading_event *event;
};

static void *store_identity(void *arg)
{
    struct identity *identity = arg;
    identity->ident = threading_get_ident();
    identity->native_id = threading_get_native_id();
    CHECK(threading_thread_is_alive(threading_current_thread()));
    CHECK_INT(threading_thread_ident(threading_current_thread()), identity->ident);
    CHECK_INT(threading_thread_native_id(threading_current_thread()), identity->native_id);
    CHECK_PTR(threading_thread_result(threading_current_thread()), NULL);
    return wait_for_event(identity->event);
}

static void states_over_lifetime(void)
{
    struct identity identity = {0, 0, event_new()};
    threading_thread *thread = thread_new(store_identity, &identity);
    uint64_t ident, native_id;
    threading_clear_last_error();
    CHECK(!threading_thread_is_alive(thread));
    CHECK_INT(threading_thread_ident(thread), 0);
    CHECK_INT(threading_thread_native_id(thread), 0);
    CHECK_PTR(threading_thread_result(thread), NULL);
    CHECK_PTR(threading_thread_arg(thread), &identity);
    CHECK_LAST_ERROR(THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_thread_start(thread), THREADING_OK);
    CHECK(threading_thread_is_alive(thread));
    ident = threading_thread_ident(thread);
    native_id = threading_thread_native_id(thread);
    CHECK(ident != 0 && native_id != 0);
    CHECK_PTR(threading_thread_result(thread), NULL);
    CHECK_STATUS(threading_event_set(identity.event), THREADING_OK);
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    CHECK(!threading_thread_is_alive(thread));
    CHECK_INT(identity.ident, ident);
    CHECK_INT(identity.native_id, native_id);
    CHECK_INT(threading_thread_ident(thread), ident);
    CHECK_INT(threading_thread_native_id(thread), native_id);
    CHECK_PTR(threading_thread_arg(thread), &identity);
    CHECK_PTR(join(thread), identity.event);
    CHECK_STATUS(threading_event_free(identity.event), THREADING_OK);
}

static void *exit_in_run(threading_thread *self, void *arg)
{
    (void)self;
    pthread_exit(arg);
}

static _Atomic pthread_t cancelled;

static void *wait_for_cancel(void *arg)
{
    cancelled = pthread_self();
    atomic_store((atomic_int *)arg, 1);
    while (pause() != 0)
        continue;
    return arg;
}

static void pthread_exit_and_cancel(void)
{
    int arg;
    atomic_int ready = 0;
    threading_thread *thread = spawn(exit_in_target, &arg);
    CHECK_PTR(join(thread), &arg);

    thread = thread_new(NULL, &arg);
    CHECK_STATUS(threading_thread_set_run(thread, exit_in_run), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_PTR(join(thread), &arg);

    thread = spawn(wait_for_cancel, &ready);
    wait_until(is_nonzero, &ready);
    CHECK_INT(pthread_cancel(cancelled), 0);
    CHECK_STATUS(threading_thread_join_timeout(thread, TEST_LIMIT), THREADING_OK);
    CHECK(!threading_thread_is_alive(thread));
    CHECK_PTR(join(thread), PTHREAD_CANCELED);

    CHECK_PTR(join(spawn(NULL, &arg)), NULL);
    CHECK_INT(threading_active_count(), 1);
}

/* --------------------------------------------------------------------------------------------- references */

struct freed {
    threading_event *event;
    atomic_int ended;
};

static void *run_after_free(void *arg)
{
    struct freed *freed = arg;
    wait_for_event(freed->event);
    CHECK(threading_thread_is_alive(threading_current_thread()));
    CHECK_STATUS(threading_thread_free(threading_current_thread()), THREADING_ERR_HANDLE);
    CHECK_STR(threading_thread_name(threading_current_thread()), "freed");
    atomic_store(&freed->ended, 1);
    return NULL;
}

static void free_of_a_running_thread(void)
{
    /* Static, since no join guarantees that the thread no longer accesses it. */
    static struct freed freed;
    threading_thread *thread;
    freed.event = event_new();
    atomic_store(&freed.ended, 0);
    thread = spawn(run_after_free, &freed);
    CHECK_STATUS_KEEPS_ERROR(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_ERR_HANDLE);
    /* A running thread holds a reference to its own object, so the handle stays valid. */
    CHECK(threading_thread_is_alive(thread));
    CHECK_STATUS(threading_thread_set_name(thread, "freed"), THREADING_OK);
    CHECK_INT(atomic_load(&freed.ended), 0);
    CHECK_STATUS(threading_event_set(freed.event), THREADING_OK);
    wait_until(is_nonzero, &freed.ended);
    wait_until(main_is_alone, NULL);
    CHECK_STATUS(threading_event_free(freed.event), THREADING_OK);
}

static void references(void)
{
    threading_thread *thread = thread_new(return_arg, &destroyed);
    for (int i = 0; i < 1000; i++)
        CHECK_PTR(threading_thread_ref(thread), thread);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    for (int i = 0; i < 1000; i++)
        CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    CHECK_PTR(threading_thread_result(thread), &destroyed);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_ERR_HANDLE);
    wait_until(is_gone, thread); /* another exiting thread may still hold a reference */
    CHECK_FAILS(threading_thread_result(thread), THREADING_ERR_HANDLE);
    CHECK_FAILS(threading_thread_ref(thread), THREADING_ERR_HANDLE);
    /* Only the library owns a reference to the main thread. */
    CHECK_STATUS(threading_thread_free(threading_main_thread()), THREADING_ERR_HANDLE);
    CHECK(threading_thread_is_alive(threading_main_thread()));
}

struct message {
    int before[64], after[64];
};

static void *write_reply(void *arg)
{
    struct message *message = arg;
    for (int i = 0; i < 64; i++)
        message->after[i] = message->before[i] + 1;
    return message;
}

static void orders_memory(void)
{
    struct message message;
    for (int round = 0; round < test_many(2000); round++) {
        threading_thread *thread = thread_new(write_reply, &message);
        for (int i = 0; i < 64; i++)
            message.before[i] = round + i;
        CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
        CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
        for (int i = 0; i < 64; i++)
            CHECK_INT(message.after[i], round + i + 1);
        CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    }
}

static atomic_int finished_count;

static void *finish(void *semaphore)
{
    atomic_fetch_add(&finished_count, 1);
    CHECK_STATUS(threading_semaphore_release(semaphore), THREADING_OK);
    return NULL;
}

static void threads_without_join(void)
{
    int threads = test_many(4000);
    threading_semaphore *semaphore = threading_semaphore_new(200);
    CHECK(semaphore != NULL);
    atomic_store(&finished_count, 0);
    for (int i = 0; i < threads; i++) {
        CHECK_STATUS(threading_semaphore_acquire_timeout(semaphore, TEST_LIMIT), THREADING_OK);
        CHECK_STATUS(threading_thread_free(spawn(finish, semaphore)), THREADING_OK);
    }
    wait_until(main_is_alone, NULL);
    CHECK_INT(atomic_load(&finished_count), threads);
    CHECK_INT(threading_semaphore_value(semaphore), 200);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
}

static const struct test_case cases[] = {
    {"the daemon flag is inherited from the creator, unless that is foreign", daemon_is_inherited},
    {"settings after the start, of main and of a Dummy are ERR_ALREADY_STARTED", settings_after_start},
    {"a stack is at least as large as the requested size", stack_sizes},
    {"the thread destroys its argument once, after run and before join returns", arg_destroyed_by_the_thread},
    {"the last free of an unstarted thread destroys its argument", arg_destroyed_by_the_last_free},
    {"with a NULL argument or a NULL destructor nothing is destroyed", null_arg_or_destructor},
    {"a run override receives the thread and the argument, and may call run", run_override},
    {"a direct call of run only calls the target", run_called_directly},
    {"of several concurrent starts one succeeds", concurrent_starts},
    {"a start that fails in the system changes nothing and may be repeated", failed_start},
    {"is_alive, ident, native_id and result are right before, during and after the run", states_over_lifetime},
    {"after pthread_exit and pthread_cancel a thread is joinable and has its result", pthread_exit_and_cancel},
    {"a free of a running thread releases the caller's reference and does not end the thread",
     free_of_a_running_thread},
    {"a thread is freed by the free of its last reference", references},
    {"writes before start are visible to run, and the writes of run after join", orders_memory},
    {"thousands of threads run to their end without a join", threads_without_join},
};

TEST_MAIN(cases)
