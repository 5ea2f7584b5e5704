/* Fork: what a child process finds, what has ended there, and that everything old and new works in it. */
#include "child.h"

#include <errno.h>

static long number_of(threading_thread *thread)
{
    long number;
    CHECK_INT(sscanf(threading_thread_name(thread), "Thread-%ld", &number), 1);
    return number;
}

static atomic_int destroyed;

static void count_destroyed(void *value)
{
    (void)value;
    atomic_fetch_add(&destroyed, 1);
}

/* ----------------------------------------------------------------------------------- the one that remains */

struct forker {
    threading_thread *self; /* NULL if it need not be the same */
    const char *name;
    uint64_t ident;
    bool daemon;
};

/* The child's only thread is its main thread, and otherwise who it was. */
static void check_forker(void *arg)
{
    const struct forker *forker = arg;
    threading_thread *self = threading_current_thread();
    threading_thread_list *list = threading_enumerate();
    CHECK(self != NULL && list != NULL);
    if (forker->self != NULL)
        CHECK_PTR(self, forker->self);
    CHECK_PTR(threading_main_thread(), self);
    CHECK_STR(threading_thread_name(self), forker->name);
    CHECK_INT(threading_thread_is_daemon(self), forker->daemon);
    CHECK(threading_thread_is_alive(self));
    CHECK_INT(threading_get_ident(), forker->ident);
    CHECK_INT(threading_thread_ident(self), forker->ident);
    CHECK_INT(threading_get_native_id(), getpid());
    CHECK_INT(threading_thread_native_id(self), getpid());
    CHECK_INT(threading_active_count(), 1);
    CHECK_INT(threading_thread_list_len(list), 1);
    CHECK_PTR(threading_thread_list_get(list, 0), self);
    CHECK_STATUS(threading_thread_list_free(list), THREADING_OK);
    CHECK_STATUS(threading_thread_join(self), THREADING_ERR_DEADLOCK);
    CHECK_STATUS(threading_thread_start(self), THREADING_ERR_ALREADY_STARTED);
    CHECK_PTR(join(spawn(return_arg, arg)), arg);
    CHECK_PTR(join_foreign(spawn_foreign(return_arg, arg)), arg);
}

static threading_thread *main_of_parent;

static void check_forker_and_main(void *arg)
{
    check_forker(arg);
    CHECK(!threading_thread_is_alive(main_of_parent));
    CHECK_STATUS(threading_thread_join(main_of_parent), THREADING_OK);
    CHECK_STATUS(threading_thread_start(main_of_parent), THREADING_ERR_ALREADY_STARTED);
}

static void *fork_here(void *arg)
{
    struct forker forker = {threading_current_thread(), arg, threading_get_ident(), false};
    forker.daemon = threading_thread_is_daemon(forker.self);
    run_in_child_with(check_forker_and_main, &forker);
    CHECK_INT(threading_thread_ident(forker.self), forker.ident);
    CHECK_INT(threading_get_ident(), forker.ident);
    return NULL;
}

static void *fork_in_foreign(void *arg)
{
    struct forker forker = {NULL, "MainThread", threading_get_ident(), false};
    run_in_child_with(check_forker, &forker);
    return arg;
}

static void *fork_in_dummy(void *arg)
{
    CHECK(strncmp(threading_thread_name(threading_current_thread()), "Dummy-", 6) == 0);
    return fork_in_foreign(arg);
}

static void forkers(void)
{
    threading_event *event = event_new();
    threading_thread *other = spawn(wait_for_event, event), *daemon = threading_thread_new(fork_here, "W");
    threading_timer *pending = threading_timer_new(3600, NULL, NULL);
    threading_timer *timer = threading_timer_new(0, fork_here, "the timer");
    struct forker forker = {threading_main_thread(), "renamed", threading_get_ident(), false};
    CHECK(daemon != NULL && pending != NULL && timer != NULL);
    CHECK_STATUS(threading_timer_start(pending), THREADING_OK);
    CHECK_STATUS(threading_thread_set_name(forker.self, forker.name), THREADING_OK);
    run_in_child_with(check_forker, &forker);
    CHECK_STATUS(threading_thread_set_name(forker.self, "MainThread"), THREADING_OK);
    main_of_parent = threading_thread_ref(forker.self);
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

/* ----------------------------------------------------------------------------------------- those that end */

struct ended {
    threading_event *event;
    threading_local *local;
    threading_thread *blocked, *daemon, *unstarted, *done;
    threading_timer *pending, *never, *running, *untouched, *fired;
    atomic_int begun, calls;
};

static void *begin_and_wait(void *arg)
{
    struct ended *ended = arg;
    CHECK_STATUS(threading_local_set(ended->local, arg), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(ended->local, "name", arg), THREADING_OK);
    atomic_fetch_add(&ended->begun, 1);
    return wait_for_event(ended->event);
}

static void *count_call(void *arg)
{
    struct ended *ended = arg;
    atomic_fetch_add(&ended->calls, 1);
    return arg;
}

static bool three_have_begun(void *arg)
{
    return atomic_load(&((struct ended *)arg)->begun) == 3;
}

static void has_ended(threading_thread *thread)
{
    CHECK(!threading_thread_is_alive(thread));
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_join_timeout(thread, 0), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_thread_set_daemon(thread, 1), THREADING_ERR_ALREADY_STARTED);
    CHECK(threading_thread_ident(thread) != 0);
}

static void freed_but_for_its_thread(threading_timer *timer)
{
    threading_thread *thread = threading_thread_ref(threading_timer_thread(timer));
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    has_ended(thread);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_ERR_HANDLE);
}

static void check_ended(void *arg)
{
    struct ended *ended = arg;
    has_ended(ended->blocked);
    has_ended(ended->daemon);
    has_ended(ended->done);
    CHECK_PTR(threading_thread_result(ended->blocked), NULL);
    CHECK_PTR(threading_thread_result(ended->done), ended);
    has_ended(threading_timer_thread(ended->pending));
    has_ended(threading_timer_thread(ended->never));
    has_ended(threading_timer_thread(ended->running));
    has_ended(threading_timer_thread(ended->fired));
    CHECK_STATUS(threading_timer_cancel(ended->pending), THREADING_OK);
    CHECK_STATUS(threading_timer_cancel(ended->never), THREADING_OK);
    CHECK_STATUS(threading_timer_cancel(ended->running), THREADING_TOO_LATE);
    CHECK_STATUS(threading_timer_cancel(ended->fired), THREADING_TOO_LATE);
    sleep_for(1.2); /* past the pending timer's deadline */
    CHECK_INT(atomic_load(&ended->calls), 2);

    /* Their arguments and values are left alone, the forker's own value is not. */
    CHECK_PTR(threading_local_get(ended->local), &destroyed);
    CHECK_STATUS(threading_thread_free(ended->blocked), THREADING_OK);
    CHECK_STATUS(threading_thread_free(ended->daemon), THREADING_OK);
    CHECK_STATUS(threading_timer_free(ended->running), THREADING_OK);
    freed_but_for_its_thread(ended->pending);
    freed_but_for_its_thread(ended->never);
    CHECK_INT(atomic_load(&destroyed), 0);
    CHECK_STATUS(threading_local_free(ended->local), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed), 1);

    /* What was never started can be started, and what it owns is destroyed as ever. */
    CHECK_STATUS(threading_thread_start(ended->unstarted), THREADING_OK);
    CHECK_PTR(join(ended->unstarted), ended);
    CHECK_STATUS(threading_timer_start(ended->untouched), THREADING_OK);
    CHECK_STATUS(threading_thread_join(threading_timer_thread(ended->untouched)), THREADING_OK);
    CHECK_PTR(threading_thread_result(threading_timer_thread(ended->untouched)), ended);
    CHECK_STATUS(threading_timer_free(ended->untouched), THREADING_OK);
    CHECK_INT(atomic_load(&ended->calls), 4);
    CHECK_INT(atomic_load(&destroyed), 3);
}

static threading_thread *new_with_destructor(threading_target target, void *arg)
{
    threading_thread *thread = threading_thread_new(target, arg);
    CHECK(thread != NULL);
    CHECK_STATUS(threading_thread_set_arg_destructor(thread, count_destroyed), THREADING_OK);
    return thread;
}

static threading_timer *timer_with_destructor(double interval, threading_target function, void *arg)
{
    threading_timer *timer = threading_timer_new(interval, function, arg);
    CHECK(timer != NULL);
    CHECK_STATUS(threading_thread_set_arg_destructor(threading_timer_thread(timer), count_destroyed),
                 THREADING_OK);
    return timer;
}

static void join_timer_and_free(threading_timer *timer, void *result)
{
    threading_thread *thread = threading_timer_thread(timer);
    CHECK_STATUS(threading_thread_join_timeout(thread, TEST_LIMIT), THREADING_OK);
    CHECK_PTR(threading_thread_result(thread), result);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
}

static void others_end(void)
{
    struct ended ended = {.event = event_new(), .local = threading_local_new(count_destroyed)};
    CHECK(ended.local != NULL);
    ended.blocked = new_with_destructor(begin_and_wait, &ended);
    ended.daemon = new_with_destructor(begin_and_wait, &ended);
    ended.unstarted = new_with_destructor(count_call, &ended);
    ended.done = spawn(count_call, &ended);
    ended.running = timer_with_destructor(0, begin_and_wait, &ended);
    ended.pending = timer_with_destructor(1, count_call, &ended);
    ended.never = timer_with_destructor(INFINITY, count_call, &ended);
    ended.untouched = timer_with_destructor(0, count_call, &ended);
    ended.fired = threading_timer_new(0, count_call, &ended);
    CHECK(ended.fired != NULL);
    CHECK_STATUS(threading_thread_set_daemon(ended.daemon, 1), THREADING_OK);
    CHECK_STATUS(threading_thread_start(ended.blocked), THREADING_OK);
    CHECK_STATUS(threading_thread_start(ended.daemon), THREADING_OK);
    CHECK_STATUS(threading_timer_start(ended.running), THREADING_OK);
    CHECK_STATUS(threading_timer_start(ended.fired), THREADING_OK);
    CHECK_STATUS(threading_thread_join(ended.done), THREADING_OK);
    CHECK_STATUS(threading_thread_join(threading_timer_thread(ended.fired)), THREADING_OK);
    CHECK_STATUS(threading_local_set(ended.local, &destroyed), THREADING_OK);
    wait_until(three_have_begun, &ended);
    atomic_store(&destroyed, 0);
    CHECK_STATUS(threading_timer_start(ended.never), THREADING_OK);
    CHECK_STATUS(threading_timer_start(ended.pending), THREADING_OK);
    run_in_child_with(check_ended, &ended);

    /* In the parent all goes on. */
    CHECK_STATUS(threading_event_set(ended.event), THREADING_OK);
    CHECK_PTR(join(ended.blocked), ended.event);
    CHECK_PTR(join(ended.daemon), ended.event);
    CHECK_PTR(join(ended.done), &ended);
    CHECK_STATUS(threading_thread_start(ended.unstarted), THREADING_OK);
    CHECK_PTR(join(ended.unstarted), &ended);
    CHECK_STATUS(threading_timer_start(ended.untouched), THREADING_OK);
    join_timer_and_free(ended.untouched, &ended);
    join_timer_and_free(ended.pending, &ended);
    CHECK_STATUS(threading_timer_cancel(ended.never), THREADING_OK);
    join_timer_and_free(ended.never, NULL);
    join_timer_and_free(ended.running, ended.event);
    join_timer_and_free(ended.fired, &ended);
    CHECK_INT(atomic_load(&ended.calls), 5);
    CHECK_INT(atomic_load(&destroyed), 7 + 6); /* their arguments, and two values of each of three */
    CHECK_STATUS(threading_local_free(ended.local), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed), 14);
    CHECK_STATUS(threading_event_free(ended.event), THREADING_OK);
}

static void check_names(void *arg)
{
    threading_thread *asked = threading_thread_new(NULL, NULL), *started = spawn(return_arg, arg);
    CHECK(asked != NULL);
    CHECK_INT(number_of(started), number_of(arg) + 1);
    CHECK_INT(number_of(asked), number_of(arg) + 2);
    CHECK_PTR(join(started), arg);
    CHECK_STATUS(threading_thread_free(asked), THREADING_OK);
}

static void names_count_on(void)
{
    threading_thread *thread = threading_thread_new(NULL, NULL);
    CHECK(thread != NULL);
    number_of(thread);
    run_in_child_with(check_names, thread);
    check_names(thread);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
}

/* ------------------------------------------------------------------------------------------------ objects */

struct objects {
    threading_lock *lock, *free_lock;
    threading_rlock *rlock;
    threading_condition *condition;
    threading_semaphore *semaphore;
    threading_event *event;
    threading_barrier *barrier;
    threading_local *local;
};

static void objects_new(struct objects *objects, size_t parties)
{
    objects->lock = threading_lock_new();
    objects->free_lock = threading_lock_new();
    objects->rlock = threading_rlock_new();
    objects->condition = threading_condition_new();
    objects->semaphore = threading_semaphore_new(0);
    objects->event = threading_event_new();
    objects->barrier = threading_barrier_new(parties, NULL, NULL);
    objects->local = threading_local_new(NULL);
    CHECK(objects->lock != NULL && objects->free_lock != NULL && objects->rlock != NULL);
    CHECK(objects->condition != NULL && objects->semaphore != NULL && objects->event != NULL);
    CHECK(objects->barrier != NULL && objects->local != NULL);
}

static void objects_free(struct objects *objects)
{
    CHECK_STATUS(threading_lock_free(objects->lock), THREADING_OK);
    CHECK_STATUS(threading_lock_free(objects->free_lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_free(objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_condition_free(objects->condition), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(objects->semaphore), THREADING_OK);
    CHECK_STATUS(threading_event_free(objects->event), THREADING_OK);
    CHECK_STATUS(threading_barrier_free(objects->barrier), THREADING_OK);
    CHECK_STATUS(threading_local_free(objects->local), THREADING_OK);
}

static void *take_locks(void *arg)
{
    struct objects *objects = arg;
    CHECK_STATUS(threading_lock_acquire(objects->free_lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_condition_acquire(objects->condition), THREADING_OK);
    return arg;
}

static void *find_taken(void *arg)
{
    struct objects *objects = arg;
    CHECK(threading_lock_locked(objects->free_lock));
    CHECK_STATUS(threading_lock_try_acquire(objects->free_lock), THREADING_WOULD_BLOCK);
    CHECK_STATUS(threading_lock_acquire_timeout(objects->free_lock, 0.01), THREADING_TIMED_OUT);
    CHECK(threading_rlock_locked(objects->rlock));
    CHECK(!threading_rlock_is_owned(objects->rlock));
    CHECK_STATUS(threading_rlock_try_acquire(objects->rlock), THREADING_WOULD_BLOCK);
    CHECK_STATUS(threading_rlock_acquire_timeout(objects->rlock, 0.01), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_rlock_release(objects->rlock), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_condition_try_acquire(objects->condition), THREADING_WOULD_BLOCK);
    CHECK_STATUS(threading_condition_notify(objects->condition, 1), THREADING_ERR_NOT_OWNER);
    return arg;
}

/* Held by a thread that the child does not have, until they are made new. */
static void check_held_by_another(void *arg)
{
    struct objects *objects = arg;
    find_taken(objects);
    CHECK_INT(threading_semaphore_value(objects->semaphore), 2);
    CHECK(threading_event_is_set(objects->event));
    CHECK(threading_barrier_broken(objects->barrier));
    CHECK_STATUS(threading_lock_at_fork_reinit(objects->free_lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_at_fork_reinit(objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_condition_at_fork_reinit(objects->condition), THREADING_OK);
    CHECK_STATUS(threading_event_at_fork_reinit(objects->event), THREADING_OK);
    CHECK(!threading_event_is_set(objects->event));
    take_locks(objects);
    CHECK_PTR(join(spawn(find_taken, objects)), objects);
}

/* Held by the forker itself. */
static void check_held_by_forker(void *arg)
{
    struct objects *objects = arg;
    CHECK_PTR(join(spawn(find_taken, objects)), objects);
    CHECK(threading_rlock_is_owned(objects->rlock));
    CHECK_INT(threading_rlock_recursion_count(objects->rlock), 2);
    CHECK_STATUS(threading_lock_release(objects->free_lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(objects->rlock), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_condition_release(objects->condition), THREADING_OK);
    CHECK_PTR(join(spawn(take_locks, objects)), objects);
    find_taken(objects);
}

static void objects_stay(void)
{
    struct objects objects;
    objects_new(&objects, 2);
    CHECK_STATUS(threading_semaphore_release_n(objects.semaphore, 2), THREADING_OK);
    CHECK_STATUS(threading_event_set(objects.event), THREADING_OK);
    CHECK_STATUS(threading_barrier_abort(objects.barrier), THREADING_OK);
    CHECK_PTR(join(spawn(take_locks, &objects)), &objects);
    run_in_child_with(check_held_by_another, &objects);
    objects_free(&objects);

    objects_new(&objects, 2);
    take_locks(&objects);
    CHECK_STATUS(threading_rlock_acquire(objects.rlock), THREADING_OK);
    run_in_child_with(check_held_by_forker, &objects);
    CHECK(threading_lock_locked(objects.free_lock));
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

static void check_freed_at_once(void *arg)
{
    objects_free(arg);
    CHECK_STATUS(threading_thread_free(waiters[0].thread), THREADING_OK);
}

/* Whatever the parent's waiters were waiting for goes to the child's own. */
static void check_waiters_forgotten(void *arg)
{
    struct objects *objects = arg;
    struct waiter fresh[3] = {{.objects = objects}, {.objects = objects}, {.objects = objects}};
    CHECK_STATUS(threading_condition_notify(objects->condition, 1), THREADING_OK);
    CHECK_STATUS(threading_condition_release(objects->condition), THREADING_OK);
    CHECK_STATUS(threading_lock_release(objects->lock), THREADING_OK);
    CHECK_STATUS(threading_lock_try_acquire(objects->lock), THREADING_OK);
    CHECK_STATUS(threading_lock_release(objects->lock), THREADING_OK);
    join(spawn(wait_for_lock, &fresh[0]));
    CHECK_STATUS(threading_rlock_release(objects->rlock), THREADING_OK);
    join(spawn(wait_for_rlock, &fresh[0]));

    fresh[0].thread = spawn(wait_for_notify, &fresh[0]);
    wait_until_blocked(&fresh[0].blocker);
    CHECK_STATUS(threading_condition_acquire(objects->condition), THREADING_OK);
    CHECK_STATUS(threading_condition_notify(objects->condition, 1), THREADING_OK);
    CHECK_STATUS(threading_condition_release(objects->condition), THREADING_OK);
    join(fresh[0].thread);

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
        atomic_store(&fresh[i].blocker, 0);
        fresh[i].thread = spawn(wait_at_barrier, &fresh[i]);
    }
    for (int i = 0; i < 2; i++)
        wait_until_blocked(&fresh[i].blocker);
    CHECK_INT(threading_barrier_n_waiting(objects->barrier), 2);
    wait_at_barrier(&fresh[2]);
    for (int i = 0; i < 2; i++)
        join(fresh[i].thread);

    CHECK_STATUS(threading_thread_join(waiters[0].thread), THREADING_OK);
    check_freed_at_once(objects);
}

static void waiters_are_forgotten(void)
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
    run_in_child_with(check_freed_at_once, &objects);

    /* With one of the condition's waiters already chosen, its lock still held. */
    CHECK_STATUS(threading_condition_acquire(objects.condition), THREADING_OK);
    CHECK_STATUS(threading_condition_notify(objects.condition, 1), THREADING_OK);
    run_in_child_with(check_waiters_forgotten, &objects);

    /* The parent's waiters are where they were. */
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

static int said_to = -1; /* where the callback and the worker write, once it is a pipe */
static threading_event *callback_has_run;

static void say(char letter)
{
    if (said_to >= 0)
        CHECK_INT(write(said_to, &letter, 1), 1);
}

static void callback(void *arg)
{
    (void)arg;
    say('c');
    if (callback_has_run != NULL)
        CHECK_STATUS(threading_event_set(callback_has_run), THREADING_OK);
}

static void *work_after_callback(void *arg)
{
    wait_for_event(callback_has_run);
    sleep_for(0.05);
    say('w');
    return arg;
}

static void leave_a_worker(void)
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
        leave_a_worker();
    return arg;
}

static void check_said(const int fds[2], pid_t pid, int status, const char *expected)
{
    char said[8] = "";
    CHECK_INT(child_status(pid), status);
    CHECK_INT(read(fds[0], said, sizeof said - 1), strlen(expected));
    CHECK_STR(said, expected);
}

static void exit_of_the_child(void)
{
    int fds[2];
    pid_t pid;
    CHECK_STATUS(threading_atexit(callback, NULL), THREADING_OK);
    CHECK_INT(pipe(fds), 0);
    said_to = fds[1];
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        leave_a_worker();
        exit(3);
    }
    check_said(fds, pid, 3, "cw");

    /* A child whose main thread is one of ours ends when that has returned, as by pthread_exit in main. */
    join(spawn(fork_and_return, &pid));
    check_said(fds, pid, 0, "cw");
    said_to = -1;
    close(fds[0]);
    close(fds[1]);
}

/* ------------------------------------------------------------------------------------------- every object */

static atomic_int stop;

/* Uses every object; in the parent others do so too, so results that depend on them are not looked at. */
static void *hammer(void *arg)
{
    struct objects *objects = arg;
    while (!atomic_load(&stop)) {
        threading_thread *thread = spawn(return_arg, arg);
        threading_timer *timer = threading_timer_new(0.0001, return_arg, arg);
        CHECK(timer != NULL);
        CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
        for (int i = 0; i < 20; i++) {
            CHECK_STATUS(threading_lock_acquire(objects->lock), THREADING_OK);
            CHECK_STATUS(threading_rlock_acquire(objects->rlock), THREADING_OK);
            CHECK_STATUS(threading_rlock_release(objects->rlock), THREADING_OK);
            CHECK_STATUS(threading_lock_release(objects->lock), THREADING_OK);
            CHECK_STATUS(threading_condition_acquire(objects->condition), THREADING_OK);
            threading_condition_wait_timeout(objects->condition, 0.0001);
            CHECK_STATUS(threading_condition_notify(objects->condition, 1), THREADING_OK);
            CHECK_STATUS(threading_condition_release(objects->condition), THREADING_OK);
            CHECK_STATUS(threading_semaphore_release(objects->semaphore), THREADING_OK);
            CHECK_STATUS(threading_semaphore_acquire(objects->semaphore), THREADING_OK);
            threading_event_wait_timeout(objects->event, 0.0001);
            CHECK_STATUS(threading_event_set(objects->event), THREADING_OK);
            CHECK_STATUS(threading_event_clear(objects->event), THREADING_OK);
            if (threading_barrier_wait_timeout(objects->barrier, 0.0005, NULL) != THREADING_OK)
                CHECK_STATUS(threading_barrier_reset(objects->barrier), THREADING_OK);
            CHECK_STATUS(threading_local_set(objects->local, thread), THREADING_OK);
            CHECK_STATUS(threading_local_set_attr(objects->local, "name", timer), THREADING_OK);
        }
        CHECK_STATUS(threading_thread_list_free(threading_enumerate()), THREADING_OK);
        CHECK_PTR(join(thread), arg);
        threading_timer_cancel(timer);
        CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    }
    return arg;
}

static void *pass_barrier(void *arg)
{
    CHECK_STATUS(threading_barrier_wait_timeout(arg, TEST_LIMIT, NULL), THREADING_OK);
    return arg;
}

/* Alone with one more thread, now with results: objects that were free at the fork, or were made so. */
static void use_objects(struct objects *objects)
{
    struct waiter fresh = {.objects = objects};
    threading_timer *timer = threading_timer_new(0.0001, return_arg, objects);
    CHECK(timer != NULL);
    CHECK_STATUS(threading_lock_acquire(objects->lock), THREADING_OK);
    fresh.thread = spawn(wait_for_lock, &fresh);
    CHECK_STATUS(threading_lock_release(objects->lock), THREADING_OK);
    join(fresh.thread);
    CHECK_STATUS(threading_rlock_acquire(objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(objects->rlock), THREADING_OK);

    CHECK_STATUS(threading_condition_acquire(objects->condition), THREADING_OK);
    CHECK_STATUS(threading_condition_wait_timeout(objects->condition, 0), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_condition_notify_all(objects->condition), THREADING_OK);
    CHECK_STATUS(threading_condition_release(objects->condition), THREADING_OK);

    fresh.thread = spawn(wait_for_set, &fresh);
    CHECK_STATUS(threading_event_set(objects->event), THREADING_OK);
    join(fresh.thread);
    fresh.thread = spawn(wait_for_unit, &fresh);
    CHECK_STATUS(threading_semaphore_release(objects->semaphore), THREADING_OK);
    join(fresh.thread);

    if (threading_barrier_broken(objects->barrier))
        CHECK_STATUS(threading_barrier_reset(objects->barrier), THREADING_OK);
    CHECK_INT(threading_barrier_n_waiting(objects->barrier), 0);
    fresh.thread = spawn(pass_barrier, objects->barrier);
    pass_barrier(objects->barrier);
    join(fresh.thread);

    CHECK_STATUS(threading_local_set(objects->local, objects), THREADING_OK);
    CHECK_PTR(threading_local_get(objects->local), objects);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    join_timer_and_free(timer, objects);
    CHECK_INT(threading_active_count(), 1);
}

static void check_old_and_new(void *arg)
{
    struct objects *old = arg, new;
    CHECK_INT(threading_active_count(), 1);
    objects_new(&new, 2);
    use_objects(&new);
    objects_free(&new);
    CHECK_STATUS(threading_lock_at_fork_reinit(old->lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_at_fork_reinit(old->rlock), THREADING_OK);
    CHECK_STATUS(threading_condition_at_fork_reinit(old->condition), THREADING_OK);
    CHECK_STATUS(threading_event_at_fork_reinit(old->event), THREADING_OK);
    use_objects(old);
    objects_free(old);
}

static void *fork_often(void *arg)
{
    for (int i = 0; i < test_many(150); i++)
        run_in_child_with(check_old_and_new, arg);
    return arg;
}

static void forks_among_busy_threads(void)
{
    struct objects objects;
    threading_thread *threads[3], *forker;
    objects_new(&objects, 2);
    atomic_store(&stop, 0);
    for (int i = 0; i < 3; i++)
        threads[i] = spawn(hammer, &objects);
    fork_often(&objects);
    forker = threading_thread_new(fork_often, &objects);
    CHECK(forker != NULL);
    CHECK_STATUS(threading_thread_start(forker), THREADING_OK);
    CHECK_STATUS(threading_thread_join(forker), THREADING_OK);
    CHECK_STATUS(threading_thread_free(forker), THREADING_OK);
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

static void children_of_children(void)
{
    struct objects objects;
    objects_new(&objects, 2);
    take_locks(&objects);
    run_in_child_with(check_grandchild, &objects);
    run_in_child_with(check_grandchild, &objects);
    objects_free(&objects);
}

/* ------------------------------------------------------------------------------------- forks in odd places */

static pid_t forked = -1;

static void *sleep_a_little(void *arg)
{
    sleep_for(0.05);
    return arg;
}

/* A callback of the shutdown forks, and the child, which is in the shutdown as well, starts a thread. */
static void fork_and_start(void *arg)
{
    forked = fork();
    CHECK(forked >= 0);
    if (forked == 0)
        CHECK_STATUS(threading_thread_start(threading_thread_new(sleep_a_little, arg)), THREADING_OK);
}

static void check_fork_in_a_shutdown(void *arg)
{
    CHECK_STATUS(threading_atexit(fork_and_start, arg), THREADING_OK);
    CHECK_STATUS(threading_shutdown(), THREADING_OK);
    if (forked == 0)
        _exit(7);
    CHECK_INT(child_status(forked), 7);
}

static void fork_in_a_shutdown(void)
{
    run_in_child_with(check_fork_in_a_shutdown, NULL);
}

static void fork_in_handler(int signal)
{
    (void)signal;
    forked = fork();
}

static void *interrupt(void *thread)
{
    sleep_for(0.05);
    CHECK_INT(pthread_kill(*(pthread_t *)thread, SIGUSR1), 0);
    sleep_for(0.2);
    return NULL;
}

/* A signal handler forks while its thread waits for the end of another one, which the child does not have. */
static void fork_in_a_join_of(threading_thread *joined, pthread_t *me)
{
    struct sigaction action = {.sa_handler = fork_in_handler, .sa_flags = SA_RESTART};
    pthread_t other;
    forked = -1;
    CHECK_INT(sigaction(SIGUSR1, &action, NULL), 0);
    CHECK_INT(pthread_create(&other, NULL, interrupt, me), 0);
    CHECK_STATUS(threading_thread_join(joined), THREADING_OK);
    if (forked == 0)
        _exit(7);
    CHECK_INT(pthread_join(other, NULL), 0);
    CHECK_INT(child_status(forked), 7);
}

static void *wait_a_little(void *arg)
{
    sleep_for(0.25);
    return arg;
}

static void fork_in_a_join(void)
{
    pthread_t me = pthread_self();
    threading_thread *thread = threading_thread_new(wait_a_little, NULL);
    threading_timer *timer = threading_timer_new(0.3, return_arg, NULL);
    CHECK(thread != NULL && timer != NULL);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    fork_in_a_join_of(thread, &me);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    fork_in_a_join_of(threading_timer_thread(timer), &me);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
}

static void *join_thread(void *thread)
{
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    return NULL;
}

static threading_thread *start_daemon(threading_target target, void *arg)
{
    threading_thread *thread = threading_thread_new(target, arg);
    CHECK(thread != NULL);
    CHECK_STATUS(threading_thread_set_daemon(thread, 1), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    return thread;
}

/* The stack of a thread of the parent's, which was joining another one, serves a new thread in the child. */
static void check_new_joins(void *joined)
{
    threading_thread *threads[3];
    CHECK_STATUS(threading_thread_free(joined), THREADING_OK);
    for (int i = 0; i < 3; i++) {
        threads[i] = start_daemon(sleep_a_little, NULL);
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

#define AMONG_SLEEPERS(check)                                                                                \
    static void check##_case(void)                                                                           \
    {                                                                                                        \
        if (fork_keeps_sleepers())                                                                           \
            SKIP("the portable backend does not survive a fork while threads sleep");                        \
        check();                                                                                             \
    }

AMONG_SLEEPERS(forkers)
AMONG_SLEEPERS(others_end)
AMONG_SLEEPERS(waiters_are_forgotten)
AMONG_SLEEPERS(children_of_children)
AMONG_SLEEPERS(forks_among_busy_threads)
AMONG_SLEEPERS(fork_in_a_join)
AMONG_SLEEPERS(stacks_of_joiners)

static const struct test_case cases[] = {
    {"the forking thread is the child's main thread, and alone", forkers_case},
    {"other threads and pending timers have ended, unstarted ones have not", others_end_case},
    {"names count on", names_count_on},
    {"objects are as they were, and locks held by those who held them", objects_stay},
    {"the parent's waiters are forgotten", waiters_are_forgotten_case},
    {"a child's exit runs the callbacks and waits for its threads", exit_of_the_child},
    {"children of children work as well", children_of_children_case},
    {"a child that an exit callback forks waits in the shutdown for the threads that it starts", fork_in_a_shutdown},
    {"a join ends in the child that a signal handler forks meanwhile", fork_in_a_join_case},
    {"threads on the stacks of the parent's joiners can be joined", stacks_of_joiners_case},
    {"hundreds of forks among busy threads leave working children", forks_among_busy_threads_case},
};

TEST_MAIN(cases)
