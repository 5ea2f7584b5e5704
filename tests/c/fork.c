/* Fork: the state of threads and objects in a child process, and that objects work there, whether they were created
 * before or after the fork. */
#include "child.h"
#include "destructors.h"

#include <sched.h>

#define WAIT_LIMIT TEST_LIMIT
#include "../objects.h"

static long name_number(threading_thread *thread)
{
    long number;
    CHECK_INT(sscanf(threading_thread_name(thread), "Thread-%ld", &number), 1);
    return number;
}

/* ------------------------------------------------------------------------------------- the forking thread */

/* The child's only thread is its main thread. It keeps its name, ident and daemon flag. */
static void check_forking_thread(void *arg)
{
    check_is_only_thread(arg);
    CHECK_PTR(join(spawn(return_arg, arg)), arg);
    CHECK_PTR(join_foreign(spawn_foreign(return_arg, arg)), arg);
}

static threading_thread *main_of_parent;

static void check_forking_thread_and_main(void *arg)
{
    check_forking_thread(arg);
    CHECK(!threading_thread_is_alive(main_of_parent));
    CHECK_STATUS(threading_thread_join(main_of_parent), THREADING_OK);
    CHECK_STATUS(threading_thread_start(main_of_parent), THREADING_ERR_ALREADY_STARTED);
}

static void *fork_here(void *name)
{
    struct identity identity = own_identity();
    CHECK_STR(identity.name, name);
    run_in_child_with(check_forking_thread_and_main, &identity);
    CHECK_INT(threading_thread_ident(identity.self), identity.ident);
    CHECK_INT(threading_get_ident(), identity.ident);
    return NULL;
}

static void *fork_in_foreign(void *arg)
{
    struct identity identity = {NULL, "MainThread", threading_get_ident(), false};
    run_in_child_with(check_forking_thread, &identity);
    return arg;
}

static void *fork_in_dummy(void *arg)
{
    CHECK(strncmp(threading_thread_name(threading_current_thread()), "Dummy-", 6) == 0);
    return fork_in_foreign(arg);
}

static void forking_thread_is_main(void)
{
    threading_event *event = event_new();
    threading_thread *other = spawn(wait_for_event, event), *daemon = threading_thread_new(fork_here, "W");
    threading_timer *pending = threading_timer_new(3600, NULL, NULL);
    threading_timer *timer = threading_timer_new(0, fork_here, "the timer");
    struct identity identity;
    CHECK(daemon != NULL && pending != NULL && timer != NULL);
    CHECK_STATUS(threading_timer_start(pending), THREADING_OK);
    CHECK_STATUS(threading_thread_set_name(threading_main_thread(), "renamed"), THREADING_OK);
    identity = own_identity();
    CHECK_STR(identity.name, "renamed");
    run_in_child_with(check_forking_thread, &identity);
    CHECK_STATUS(threading_thread_set_name(identity.self, "MainThread"), THREADING_OK);
    main_of_parent = threading_thread_ref(identity.self);
    CHECK_STATUS(threading_thread_set_daemon(daemon, 1), THREADING_OK);
    CHECK_STATUS(threading_thread_set_name(daemon, "W"), THREADING_OK);
    CHECK_STATUS(threading_thread_start(daemon), THREADING_OK);
    join(daemon);
    CHECK_STATUS(threading_thread_set_name(threading_timer_thread(timer), "the timer"), THREADING_OK);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    CHECK_STATUS(threading_thread_join(threading_timer_thread(timer)), THREADING_OK);
    CHECK_STATUS(threading_thread_free(main_of_parent), THREADING_OK);
    join_foreign(spawn_foreign(fork_in_foreign, NULL));
    join_foreign(spawn_foreign(fork_in_dummy, NULL));
    CHECK_INT(threading_active_count(), 3);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    join(other);
    CHECK_STATUS(threading_timer_cancel(pending), THREADING_OK);
    CHECK_STATUS(threading_timer_free(pending), THREADING_OK);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

/* -------------------------------------------------------------------------- threads that end in the child */

struct state {
    threading_event *event;
    threading_local *local;
    threading_thread *blocked, *daemon, *unstarted, *done;
    threading_timer *pending, *never, *running, *untouched, *fired;
    double pending_until; /* the pending timer is not due before */
    atomic_int started, calls;
};

static void *set_values_and_wait(void *arg)
{
    struct state *state = arg;
    CHECK_STATUS(threading_local_set(state->local, arg), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(state->local, "name", arg), THREADING_OK);
    atomic_fetch_add(&state->started, 1);
    return wait_for_event(state->event);
}

static void *count_call(void *arg)
{
    struct state *state = arg;
    atomic_fetch_add(&state->calls, 1);
    return arg;
}

static bool three_have_started(void *arg)
{
    return atomic_load(&((struct state *)arg)->started) == 3;
}

static void free_timer_then_thread(threading_timer *timer)
{
    threading_thread *thread = threading_thread_ref(threading_timer_thread(timer));
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    check_has_ended(thread);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_ERR_HANDLE);
}

static void check_all_in_child(void *arg)
{
    struct state *state = arg;
    if (now() >= state->pending_until)
        return; /* the fork was delayed so long that the timer may have run before it */
    check_has_ended(state->blocked);
    check_has_ended(state->daemon);
    check_has_ended(state->done);
    CHECK_PTR(threading_thread_result(state->blocked), NULL);
    CHECK_PTR(threading_thread_result(state->done), state);
    check_has_ended(threading_timer_thread(state->pending));
    check_has_ended(threading_timer_thread(state->never));
    check_has_ended(threading_timer_thread(state->running));
    check_has_ended(threading_timer_thread(state->fired));
    CHECK_STATUS(threading_timer_cancel(state->pending), THREADING_OK);
    CHECK_STATUS(threading_timer_cancel(state->never), THREADING_OK);
    CHECK_STATUS(threading_timer_cancel(state->running), THREADING_TOO_LATE);
    CHECK_STATUS(threading_timer_cancel(state->fired), THREADING_TOO_LATE);
    sleep_for(1.2); /* until after the pending timer's deadline */
    CHECK_INT(atomic_load(&state->calls), 2);

    /* Arguments and values of the ended threads are not destroyed; the forking thread's own value is. */
    CHECK_PTR(threading_local_get(state->local), &destroyed);
    CHECK_STATUS(threading_thread_free(state->blocked), THREADING_OK);
    CHECK_STATUS(threading_thread_free(state->daemon), THREADING_OK);
    CHECK_STATUS(threading_timer_free(state->running), THREADING_OK);
    free_timer_then_thread(state->pending);
    free_timer_then_thread(state->never);
    CHECK_INT(atomic_load(&destroyed), 0);
    CHECK_STATUS(threading_local_free(state->local), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed), 1);

    /* Unstarted threads and timers can be started, and their arguments are destroyed as usual. */
    CHECK_STATUS(threading_thread_start(state->unstarted), THREADING_OK);
    CHECK_PTR(join(state->unstarted), state);
    CHECK_STATUS(threading_timer_start(state->untouched), THREADING_OK);
    CHECK_STATUS(threading_thread_join(threading_timer_thread(state->untouched)), THREADING_OK);
    CHECK_PTR(threading_thread_result(threading_timer_thread(state->untouched)), state);
    CHECK_STATUS(threading_timer_free(state->untouched), THREADING_OK);
    CHECK_INT(atomic_load(&state->calls), 4);
    CHECK_INT(atomic_load(&destroyed), 3);
}

static void started_threads_have_ended(void)
{
    struct state state = {.event = event_new(), .local = threading_local_new(count_destroyed)};
    CHECK(state.local != NULL);
    state.blocked = counted_thread_new(set_values_and_wait, &state);
    state.daemon = counted_thread_new(set_values_and_wait, &state);
    state.unstarted = counted_thread_new(count_call, &state);
    state.done = spawn(count_call, &state);
    state.running = counted_timer_new(0, set_values_and_wait, &state);
    state.pending = counted_timer_new(1, count_call, &state);
    state.never = counted_timer_new(INFINITY, count_call, &state);
    state.untouched = counted_timer_new(0, count_call, &state);
    state.fired = threading_timer_new(0, count_call, &state);
    CHECK(state.fired != NULL);
    CHECK_STATUS(threading_thread_set_daemon(state.daemon, 1), THREADING_OK);
    CHECK_STATUS(threading_thread_start(state.blocked), THREADING_OK);
    CHECK_STATUS(threading_thread_start(state.daemon), THREADING_OK);
    CHECK_STATUS(threading_timer_start(state.running), THREADING_OK);
    CHECK_STATUS(threading_timer_start(state.fired), THREADING_OK);
    CHECK_STATUS(threading_thread_join(state.done), THREADING_OK);
    CHECK_STATUS(threading_thread_join(threading_timer_thread(state.fired)), THREADING_OK);
    CHECK_STATUS(threading_local_set(state.local, &destroyed), THREADING_OK);
    wait_until(three_have_started, &state);
    atomic_store(&destroyed, 0);
    CHECK_STATUS(threading_timer_start(state.never), THREADING_OK);
    state.pending_until = now() + 1;
    CHECK_STATUS(threading_timer_start(state.pending), THREADING_OK);
    run_in_child_with(check_all_in_child, &state);

    /* The parent's threads and timers are not affected. */
    CHECK_STATUS(threading_event_set(state.event), THREADING_OK);
    CHECK_PTR(join(state.blocked), state.event);
    CHECK_PTR(join(state.daemon), state.event);
    CHECK_PTR(join(state.done), &state);
    CHECK_STATUS(threading_thread_start(state.unstarted), THREADING_OK);
    CHECK_PTR(join(state.unstarted), &state);
    CHECK_STATUS(threading_timer_start(state.untouched), THREADING_OK);
    CHECK_PTR(join_timer_and_free(state.untouched), &state);
    CHECK_PTR(join_timer_and_free(state.pending), &state);
    CHECK_STATUS(threading_timer_cancel(state.never), THREADING_OK);
    CHECK_PTR(join_timer_and_free(state.never), NULL);
    CHECK_PTR(join_timer_and_free(state.running), state.event);
    CHECK_PTR(join_timer_and_free(state.fired), &state);
    CHECK_INT(atomic_load(&state.calls), 5);
    CHECK_INT(atomic_load(&destroyed), 7 + 6); /* arguments, and two values of each of three threads */
    CHECK_STATUS(threading_local_free(state.local), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed), 14);
    CHECK_STATUS(threading_event_free(state.event), THREADING_OK);
}

static void check_names(void *arg)
{
    threading_thread *not_started = threading_thread_new(NULL, NULL), *started = spawn(return_arg, arg);
    CHECK(not_started != NULL);
    CHECK_INT(name_number(started), name_number(arg) + 1);
    CHECK_INT(name_number(not_started), name_number(arg) + 2);
    CHECK_PTR(join(started), arg);
    CHECK_STATUS(threading_thread_free(not_started), THREADING_OK);
}

static void numbers_in_names_continue(void)
{
    threading_thread *thread = threading_thread_new(NULL, NULL);
    CHECK(thread != NULL);
    name_number(thread);
    run_in_child_with(check_names, thread);
    check_names(thread);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
}

/* ------------------------------------------------------------------------------------------------ objects */

/* The locks are held by a thread that the child does not have, until they are reinitialized. */
static void check_held_by_another(void *arg)
{
    struct objects *objects = arg;
    check_locks_held(objects);
    CHECK_INT(threading_semaphore_value(objects->semaphore), 2);
    CHECK(threading_event_is_set(objects->event));
    CHECK(threading_barrier_broken(objects->barrier));
    objects_reinit(objects);
    acquire_locks(objects);
    CHECK_PTR(join(spawn(check_locks_held, objects)), objects);
}

/* The locks are held by the forking thread. */
static void check_held_by_forking_thread(void *arg)
{
    struct objects *objects = arg;
    CHECK_PTR(join(spawn(check_locks_held, objects)), objects);
    release_locks(objects);
    CHECK_PTR(join(spawn(acquire_locks, objects)), objects);
    check_locks_held(objects);
}

static void objects_keep_state(void)
{
    struct objects objects;
    objects_new(&objects, 2);
    CHECK_STATUS(threading_semaphore_release_n(objects.semaphore, 2), THREADING_OK);
    CHECK_STATUS(threading_event_set(objects.event), THREADING_OK);
    CHECK_STATUS(threading_barrier_abort(objects.barrier), THREADING_OK);
    CHECK_PTR(join(spawn(acquire_locks, &objects)), &objects);
    run_in_child_with(check_held_by_another, &objects);
    objects_free(&objects);

    objects_new(&objects, 2);
    acquire_locks(&objects);
    run_in_child_with(check_held_by_forking_thread, &objects);
    CHECK(threading_lock_locked(objects.lock));
    CHECK_INT(threading_rlock_recursion_count(objects.rlock), 2);
    objects_free(&objects);
}

enum { WAITERS = 9 };

struct waiter {
    struct objects *objects;
    test_blocker blocker;
    threading_thread *thread;
};

static void *wait_for_lock(void *arg)
{
    struct waiter *waiter = arg;
    about_to_block(&waiter->blocker);
    CHECK_STATUS(threading_lock_acquire(waiter->objects->lock), THREADING_OK);
    CHECK_STATUS(threading_lock_release(waiter->objects->lock), THREADING_OK);
    return NULL;
}

static void *wait_for_rlock(void *arg)
{
    struct waiter *waiter = arg;
    about_to_block(&waiter->blocker);
    CHECK_STATUS(threading_rlock_acquire(waiter->objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(waiter->objects->rlock), THREADING_OK);
    return NULL;
}

static void *wait_for_notify(void *arg)
{
    struct waiter *waiter = arg;
    CHECK_STATUS(threading_condition_acquire(waiter->objects->condition), THREADING_OK);
    about_to_block(&waiter->blocker);
    CHECK_STATUS(threading_condition_wait_timeout(waiter->objects->condition, TEST_LIMIT), THREADING_OK);
    CHECK_STATUS(threading_condition_release(waiter->objects->condition), THREADING_OK);
    return NULL;
}

static void *wait_for_unit(void *arg)
{
    struct waiter *waiter = arg;
    about_to_block(&waiter->blocker);
    CHECK_STATUS(threading_semaphore_acquire(waiter->objects->semaphore), THREADING_OK);
    return NULL;
}

static void *wait_for_set(void *arg)
{
    struct waiter *waiter = arg;
    about_to_block(&waiter->blocker);
    CHECK_STATUS(threading_event_wait(waiter->objects->event), THREADING_OK);
    return NULL;
}

static void *wait_at_barrier(void *arg)
{
    struct waiter *waiter = arg;
    size_t index = SIZE_MAX;
    about_to_block(&waiter->blocker);
    CHECK_STATUS(threading_barrier_wait_timeout(waiter->objects->barrier, TEST_LIMIT, &index), THREADING_OK);
    CHECK(index < 3);
    return NULL;
}

static const threading_target waits[WAITERS] = {
    wait_for_lock, wait_for_rlock, wait_for_notify, wait_for_notify, wait_for_notify,
    wait_for_unit, wait_for_set,   wait_at_barrier, wait_at_barrier,
};

static struct waiter waiters[WAITERS];

static void *join_first_waiter(void *arg)
{
    struct waiter *waiter = arg;
    about_to_block(&waiter->blocker);
    CHECK_STATUS(threading_thread_join(waiters[0].thread), THREADING_OK);
    return NULL;
}

static void check_objects_can_be_freed(void *arg)
{
    objects_free(arg);
    CHECK_STATUS(threading_thread_free(waiters[0].thread), THREADING_OK);
}

/* The parent's waiters are removed from the wait queues: releases and notifies reach threads of the child only. */
static void check_waiters_removed(void *arg)
{
    struct objects *objects = arg;
    struct waiter new_waiters[3] = {{.objects = objects}, {.objects = objects}, {.objects = objects}};
    CHECK_STATUS(threading_condition_notify(objects->condition, 1), THREADING_OK);
    CHECK_STATUS(threading_condition_release(objects->condition), THREADING_OK);
    CHECK_STATUS(threading_lock_release(objects->lock), THREADING_OK);
    CHECK_STATUS(threading_lock_try_acquire(objects->lock), THREADING_OK);
    CHECK_STATUS(threading_lock_release(objects->lock), THREADING_OK);
    join(spawn(wait_for_lock, &new_waiters[0]));
    CHECK_STATUS(threading_rlock_release(objects->rlock), THREADING_OK);
    join(spawn(wait_for_rlock, &new_waiters[0]));

    new_waiters[0].thread = spawn(wait_for_notify, &new_waiters[0]);
    wait_until_blocked(&new_waiters[0].blocker);
    CHECK_STATUS(threading_condition_acquire(objects->condition), THREADING_OK);
    CHECK_STATUS(threading_condition_notify(objects->condition, 1), THREADING_OK);
    CHECK_STATUS(threading_condition_release(objects->condition), THREADING_OK);
    join(new_waiters[0].thread);

    CHECK_INT(threading_semaphore_value(objects->semaphore), 0);
    CHECK_STATUS(threading_semaphore_release(objects->semaphore), THREADING_OK);
    CHECK_INT(threading_semaphore_value(objects->semaphore), 1);
    CHECK_STATUS(threading_semaphore_try_acquire(objects->semaphore), THREADING_OK);
    CHECK_STATUS(threading_event_wait_timeout(objects->event, 0), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_event_set(objects->event), THREADING_OK);
    CHECK_STATUS(threading_event_wait(objects->event), THREADING_OK);

    CHECK_INT(threading_barrier_n_waiting(objects->barrier), 0);
    CHECK(!threading_barrier_broken(objects->barrier));
    for (int i = 0; i < 2; i++) {
        atomic_store(&new_waiters[i].blocker, 0);
        new_waiters[i].thread = spawn(wait_at_barrier, &new_waiters[i]);
    }
    for (int i = 0; i < 2; i++)
        wait_until_blocked(&new_waiters[i].blocker);
    CHECK_INT(threading_barrier_n_waiting(objects->barrier), 2);
    wait_at_barrier(&new_waiters[2]);
    for (int i = 0; i < 2; i++)
        join(new_waiters[i].thread);

    CHECK_STATUS(threading_thread_join(waiters[0].thread), THREADING_OK);
    check_objects_can_be_freed(objects);
}

static void waiters_are_removed(void)
{
    struct objects objects;
    struct waiter joiner = {.blocker = 0};
    objects_new(&objects, 3);
    CHECK_STATUS(threading_lock_acquire(objects.lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(objects.rlock), THREADING_OK);
    for (int i = 0; i < WAITERS; i++) {
        waiters[i].objects = &objects;
        waiters[i].thread = spawn(waits[i], &waiters[i]);
    }
    joiner.thread = spawn(join_first_waiter, &joiner);
    for (int i = 0; i < WAITERS; i++)
        wait_until_blocked(&waiters[i].blocker);
    wait_until_blocked(&joiner.blocker);
    run_in_child_with(check_objects_can_be_freed, &objects);

    /* One of the condition's waiters has been notified and waits for the lock. */
    CHECK_STATUS(threading_condition_acquire(objects.condition), THREADING_OK);
    CHECK_STATUS(threading_condition_notify(objects.condition, 1), THREADING_OK);
    run_in_child_with(check_waiters_removed, &objects);

    /* The parent's waiters still wait. */
    CHECK_INT(threading_barrier_n_waiting(objects.barrier), 2);
    CHECK_STATUS(threading_condition_notify_all(objects.condition), THREADING_OK);
    CHECK_STATUS(threading_condition_release(objects.condition), THREADING_OK);
    CHECK_STATUS(threading_lock_release(objects.lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(objects.rlock), THREADING_OK);
    CHECK_STATUS(threading_semaphore_release(objects.semaphore), THREADING_OK);
    CHECK_STATUS(threading_event_set(objects.event), THREADING_OK);
    wait_at_barrier(&(struct waiter){.objects = &objects});
    join(joiner.thread);
    for (int i = 0; i < WAITERS; i++)
        join(waiters[i].thread);
    objects_free(&objects);
}

/* -------------------------------------------------------------------------------------- exit of the child */

static int output = -1; /* the pipe that the callback and the worker write to, or -1 */
static threading_event *callback_has_run;

static void write_letter(char letter)
{
    if (output >= 0)
        CHECK_INT(write(output, &letter, 1), 1);
}

static void callback(void *arg)
{
    (void)arg;
    write_letter('c');
    if (callback_has_run != NULL)
        CHECK_STATUS(threading_event_set(callback_has_run), THREADING_OK);
}

static void *work_after_callback(void *arg)
{
    wait_for_event(callback_has_run);
    sleep_for(0.05);
    write_letter('w');
    return arg;
}

static void start_worker(void)
{
    callback_has_run = event_new();
    CHECK_STATUS(threading_thread_free(spawn(work_after_callback, NULL)), THREADING_OK);
}

static void *fork_and_return(void *arg)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid > 0)
        *(pid_t *)arg = pid;
    else
        start_worker();
    return arg;
}

static void check_output(const int fds[2], pid_t pid, int status, const char *expected)
{
    char letters[8] = "";
    CHECK_INT(child_status(pid), status);
    CHECK_INT(read(fds[0], letters, sizeof letters - 1), strlen(expected));
    CHECK_STR(letters, expected);
}

static void exit_of_the_child(void)
{
    int fds[2];
    pid_t pid;
    CHECK_STATUS(threading_atexit(callback, NULL), THREADING_OK);
    CHECK_INT(pipe(fds), 0);
    output = fds[1];
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        start_worker();
        exit(3);
    }
    check_output(fds, pid, 3, "cw");

    /* The main thread of this child is a thread of the library. When its target returns, the process ends as after
     * pthread_exit in main. */
    join(spawn(fork_and_return, &pid));
    check_output(fds, pid, 0, "cw");
    output = -1;
    close(fds[0]);
    close(fds[1]);
}

/* ------------------------------------------------------------------------------------------- every object */

static atomic_int stop;

static void *use_objects_until_stopped(void *arg)
{
    while (!atomic_load(&stop)) {
        threading_thread *thread = spawn(return_arg, arg);
        threading_timer *timer = timer_start(0.0001, return_arg, arg);
        for (int i = 0; i < 20; i++)
            use_shared_objects(arg, thread, 0.0002);
        CHECK_STATUS(threading_thread_list_free(threading_enumerate()), THREADING_OK);
        CHECK_PTR(join(thread), arg);
        threading_timer_cancel(timer);
        CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    }
    return arg;
}

static void check_old_and_new(void *arg)
{
    CHECK_INT(threading_active_count(), 1);
    use_new_objects();
    objects_reinit(arg);
    use_objects(arg, 1);
    objects_free(arg);
    CHECK_INT(threading_active_count(), 1);
}

static void *fork_often(void *arg)
{
    for (int i = 0; i < test_many(150); i++)
        run_in_child_with(check_old_and_new, arg);
    return arg;
}

static void forks_while_objects_are_used(void)
{
    struct objects objects;
    threading_thread *threads[3], *forking;
    objects_new(&objects, 2);
    atomic_store(&stop, 0);
    spawn_all(threads, use_objects_until_stopped, &objects);
    fork_often(&objects);
    forking = spawn(fork_often, &objects);
    CHECK_STATUS(threading_thread_join(forking), THREADING_OK); /* it may take longer than join() waits */
    CHECK_STATUS(threading_thread_free(forking), THREADING_OK);
    atomic_store(&stop, 1);
    for (int i = 0; i < 3; i++)
        CHECK_PTR(join(threads[i]), &objects);
    if (threading_barrier_broken(objects.barrier))
        CHECK_STATUS(threading_barrier_reset(objects.barrier), THREADING_OK);
    objects_free(&objects);
}

static void *fork_again(void *arg)
{
    run_in_child_with(check_old_and_new, arg);
    return arg;
}

static void check_grandchild(void *arg)
{
    threading_thread *thread = spawn(fork_again, arg);
    run_in_child_with(check_old_and_new, arg);
    CHECK_PTR(join(thread), arg);
    check_old_and_new(arg);
}

static void children_of_a_child(void)
{
    struct objects objects;
    objects_new(&objects, 2);
    acquire_locks(&objects);
    run_in_child_with(check_grandchild, &objects);
    run_in_child_with(check_grandchild, &objects);
    objects_free(&objects);
}

/* ------------------------------------------------------------------------------------- forks in callbacks */

static pid_t forked = -1;

static void *sleep_50_ms(void *arg)
{
    sleep_for(0.05);
    return arg;
}

/* An exit callback forks, and the child, which also is in threading_shutdown(), starts a thread. */
static void fork_and_start(void *arg)
{
    forked = fork();
    CHECK(forked >= 0);
    if (forked == 0)
        CHECK_STATUS(threading_thread_start(threading_thread_new(sleep_50_ms, arg)), THREADING_OK);
}

static void check_fork_in_an_exit_callback(void *arg)
{
    CHECK_STATUS(threading_atexit(fork_and_start, arg), THREADING_OK);
    CHECK_STATUS(threading_shutdown(), THREADING_OK);
    if (forked == 0)
        _exit(CHILD_PASSED);
    CHECK_INT(child_status(forked), CHILD_PASSED);
}

static void fork_in_an_exit_callback(void)
{
    run_in_child_with(check_fork_in_an_exit_callback, NULL);
}

static void *join_thread(void *thread)
{
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    return NULL;
}

/* In the child, new threads reuse the stack of a thread of the parent that was joining another. */
static void check_new_joins(void *joined)
{
    threading_thread *threads[3];
    CHECK_STATUS(threading_thread_free(joined), THREADING_OK);
    for (int i = 0; i < 3; i++) {
        threads[i] = start_daemon(sleep_50_ms, NULL);
        CHECK_STATUS(threading_thread_join(start_daemon(join_thread, threads[i])), THREADING_OK);
    }
}

static void stacks_of_joiners(void)
{
    threading_event *event = event_new();
    threading_thread *joined = start_daemon(wait_for_event, event);
    threading_thread *joiner = start_daemon(join_thread, joined);
    sleep_for(0.05);
    run_in_child_with(check_new_joins, joined);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_STATUS(threading_thread_join(joiner), THREADING_OK);
    CHECK_STATUS(threading_thread_free(joiner), THREADING_OK);
    CHECK_STATUS(threading_thread_free(joined), THREADING_OK);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

struct action {
    threading_barrier *barrier;
    atomic_int calls;
};

static void *wait_during_action(void *arg)
{
    struct action *action = arg;
    threading_barrier_wait(action->barrier, NULL);
    return NULL;
}

/* In the child, the action continues: another thread waits for its end before it arrives. */
static void check_action_continues(void *arg)
{
    struct action *action = arg;
    start_daemon(wait_during_action, action);
    sleep_for(0.05);
    CHECK_INT(threading_barrier_n_waiting(action->barrier), 1);
    CHECK_INT(atomic_load(&action->calls), 1);
}

static int fork_in_action(void *arg)
{
    struct action *action = arg;
    if (atomic_fetch_add(&action->calls, 1) == 0)
        run_in_child_with(check_action_continues, action);
    return 0;
}

static void fork_in_a_barrier_action(void)
{
    struct action action = {0};
    action.barrier = threading_barrier_new(1, fork_in_action, &action);
    CHECK_STATUS(threading_barrier_wait(action.barrier, NULL), THREADING_OK);
    CHECK_STATUS(threading_barrier_free(action.barrier), THREADING_OK);
}

/* --------------------------------------------------------------------------------- the parent's pending timers */

enum { MOST_PENDING_TIMERS = 5000 };
static threading_timer *pending_timers[MOST_PENDING_TIMERS];
static int pending_timer_count;
static atomic_int position[2];

/* Two threads cancel each timer at the same time. If each shares a CPU with another process, each timer takes them a time
 * slice: after MEETING_SECONDS, they no longer wait for each other. */
static const double MEETING_SECONDS = 0.5;

static void *cancel_beside_another(void *arg)
{
    size_t self = arg != NULL;
    double end = now() + MEETING_SECONDS;
    for (int i = 0; i < pending_timer_count; i++) {
        atomic_store(&position[self], i + 1);
        while (atomic_load(&position[!self]) <= i && now() < end)
            sched_yield();
        CHECK_STATUS(threading_timer_cancel(pending_timers[i]), THREADING_OK);
    }
    return arg;
}

static void check_concurrent_cancels(void *arg)
{
    threading_thread *other = spawn(cancel_beside_another, arg);
    cancel_beside_another(NULL);
    CHECK_PTR(join(other), arg);
    CHECK_INT(threading_active_count(), 1);
    CHECK_STATUS(threading_shutdown_timeout(TEST_LIMIT), THREADING_OK);
}

static void concurrent_cancels(void)
{
    pending_timer_count = test_many(MOST_PENDING_TIMERS);
    for (int i = 0; i < pending_timer_count; i++) {
        pending_timers[i] = threading_timer_new(3600, return_arg, NULL);
        CHECK(pending_timers[i] != NULL);
        CHECK_STATUS(threading_timer_start(pending_timers[i]), THREADING_OK);
    }
    for (int i = 0; i < test_many(20); i++)
        run_in_child_with(check_concurrent_cancels, &position);
    for (int i = 0; i < pending_timer_count; i++) {
        CHECK_STATUS(threading_timer_cancel(pending_timers[i]), THREADING_OK);
        CHECK_STATUS(threading_timer_free(pending_timers[i]), THREADING_OK);
    }
}

#define WITH_SLEEPING_THREADS(check)                                                                         \
    static void check##_case(void)                                                                           \
    {                                                                                                        \
        SKIP_FORK_IF_PORTABLE();                                                                             \
        check();                                                                                             \
    }

WITH_SLEEPING_THREADS(forking_thread_is_main)
WITH_SLEEPING_THREADS(started_threads_have_ended)
WITH_SLEEPING_THREADS(waiters_are_removed)
WITH_SLEEPING_THREADS(children_of_a_child)
WITH_SLEEPING_THREADS(forks_while_objects_are_used)
WITH_SLEEPING_THREADS(stacks_of_joiners)
WITH_SLEEPING_THREADS(concurrent_cancels)

static const struct test_case cases[] = {
    {"the forking thread is the main and only thread of the child", forking_thread_is_main_case},
    {"the parent's started threads and timers have ended in the child; unstarted ones can be started",
     started_threads_have_ended_case},
    {"the numbers in names continue in the child", numbers_in_names_continue},
    {"objects keep their state in the child, and locks their owners", objects_keep_state},
    {"the parent's waiters do not wait in the child", waiters_are_removed_case},
    {"exit in a child runs the callbacks and waits for the child's threads", exit_of_the_child},
    {"every object works in a child of a child", children_of_a_child_case},
    {"a fork in an exit callback leaves a child whose shutdown waits for the threads that it starts",
     fork_in_an_exit_callback},
    {"a barrier's action that forks continues in the child", fork_in_a_barrier_action},
    {"a thread of the child on the stack of a joiner of the parent can be joined", stacks_of_joiners_case},
    {"every object works in hundreds of children that are forked while other threads use the objects",
     forks_while_objects_are_used_case},
    {"two threads of the child can cancel the parent's pending timers at the same time", concurrent_cancels_case},
};

TEST_MAIN(cases)
