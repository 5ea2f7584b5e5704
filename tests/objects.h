/* What the tests of fork in tests/c and tests/torture/forks.c share: one object of each kind, calls on all of them, and
 * checks in a child process.
 *
 * The including file first defines CHECK(condition), CHECK_STATUS(call, status), the target return_arg(), and
 * WAIT_LIMIT, the time in seconds after which an expected wake-up counts as lost. */
#ifndef TESTS_OBJECTS_H
#define TESTS_OBJECTS_H

#include <string.h>
#include <unistd.h>

#include <threading.h>

/* ---------------------------------------------------------------------------------------------------- threads */

static inline threading_thread *start_thread(threading_target target, void *arg)
{
    threading_thread *thread = threading_thread_new(target, arg);
    CHECK(thread != NULL);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    return thread;
}

static inline threading_thread *start_daemon(threading_target target, void *arg)
{
    threading_thread *thread = threading_thread_new(target, arg);
    CHECK(thread != NULL);
    CHECK_STATUS(threading_thread_set_daemon(thread, 1), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    return thread;
}

/* Joins the thread, checks its result and frees its handle. */
static inline void finish_thread(threading_thread *thread, const void *result)
{
    CHECK_STATUS(threading_thread_join_timeout(thread, WAIT_LIMIT), THREADING_OK);
    CHECK(threading_thread_result(thread) == result);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
}

/* Checks a thread that ran in the parent of this process, or that has been joined. */
static inline void check_has_ended(threading_thread *thread)
{
    CHECK(!threading_thread_is_alive(thread));
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_join_timeout(thread, 0), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_thread_set_daemon(thread, 1), THREADING_ERR_ALREADY_STARTED);
    CHECK(threading_thread_ident(thread) != 0);
}

/* What a thread that forks keeps in the child. */
struct identity {
    threading_thread *self; /* NULL if the child may have another object for the thread */
    const char *name;
    uint64_t ident;
    bool daemon;
};

static inline struct identity own_identity(void)
{
    threading_thread *self = threading_current_thread();
    CHECK(self != NULL);
    return (struct identity){.self = self,
                             .name = threading_thread_name(self),
                             .ident = threading_get_ident(),
                             .daemon = threading_thread_is_daemon(self)};
}

/* Checks in a child that the forking thread, which had this identity, is the main thread and the only one. */
static inline void check_is_only_thread(const struct identity *identity)
{
    threading_thread *self = threading_current_thread();
    threading_thread_list *list = threading_enumerate();
    CHECK(self != NULL && list != NULL);
    CHECK(identity->self == NULL || identity->self == self);
    CHECK(threading_main_thread() == self);
    CHECK(strcmp(threading_thread_name(self), identity->name) == 0);
    CHECK(threading_thread_is_daemon(self) == identity->daemon);
    CHECK(threading_thread_is_alive(self));
    CHECK(threading_get_ident() == identity->ident && threading_thread_ident(self) == identity->ident);
    CHECK(threading_get_native_id() == (uint64_t)getpid());
    CHECK(threading_thread_native_id(self) == (uint64_t)getpid());
    CHECK(threading_active_count() == 1);
    CHECK(threading_thread_list_len(list) == 1 && threading_thread_list_get(list, 0) == self);
    CHECK_STATUS(threading_thread_list_free(list), THREADING_OK);
    CHECK_STATUS(threading_thread_join(self), THREADING_ERR_DEADLOCK);
    CHECK_STATUS(threading_thread_start(self), THREADING_ERR_ALREADY_STARTED);
}

/* ---------------------------------------------------------------------------------------------------- objects */

struct objects {
    threading_lock *lock;
    threading_rlock *rlock;
    threading_condition *condition;
    threading_semaphore *semaphore;
    threading_event *event;
    threading_barrier *barrier;
    threading_local *local;
};

static inline void keep_value(void *value)
{
    (void)value;
}

static inline void objects_new(struct objects *objects, size_t parties)
{
    objects->lock = threading_lock_new();
    objects->rlock = threading_rlock_new();
    objects->condition = threading_condition_new();
    objects->semaphore = threading_semaphore_new(0);
    objects->event = threading_event_new();
    objects->barrier = threading_barrier_new(parties, NULL, NULL);
    objects->local = threading_local_new(keep_value);
    CHECK(objects->lock != NULL && objects->rlock != NULL && objects->condition != NULL);
    CHECK(objects->semaphore != NULL && objects->event != NULL && objects->barrier != NULL);
    CHECK(objects->local != NULL);
}

/* Succeeds only if no thread of this process is blocked on the objects. */
static inline void objects_free(struct objects *objects)
{
    CHECK_STATUS(threading_lock_free(objects->lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_free(objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_condition_free(objects->condition), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(objects->semaphore), THREADING_OK);
    CHECK_STATUS(threading_event_free(objects->event), THREADING_OK);
    CHECK_STATUS(threading_barrier_free(objects->barrier), THREADING_OK);
    CHECK_STATUS(threading_local_free(objects->local), THREADING_OK);
}

/* Reinitializes objects in a child, whatever the parent's threads did with them. */
static inline void objects_reinit(struct objects *objects)
{
    CHECK_STATUS(threading_lock_at_fork_reinit(objects->lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_at_fork_reinit(objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_condition_at_fork_reinit(objects->condition), THREADING_OK);
    CHECK_STATUS(threading_event_at_fork_reinit(objects->event), THREADING_OK);
    CHECK_STATUS(threading_barrier_reset(objects->barrier), THREADING_OK);
    while (threading_semaphore_try_acquire(objects->semaphore) == THREADING_OK)
        continue;
    CHECK(!threading_lock_locked(objects->lock) && !threading_rlock_locked(objects->rlock));
    CHECK(!threading_event_is_set(objects->event) && threading_barrier_n_waiting(objects->barrier) == 0);
}

/* Acquires all locks, the rlock twice. Returns its argument, so that it can be a thread's target. */
static inline void *acquire_locks(void *arg)
{
    struct objects *objects = arg;
    CHECK_STATUS(threading_lock_acquire(objects->lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_condition_acquire(objects->condition), THREADING_OK);
    return arg;
}

/* Releases what acquire_locks() acquired in this thread, or in the thread that forked this process. */
static inline void release_locks(struct objects *objects)
{
    CHECK(threading_rlock_is_owned(objects->rlock));
    CHECK(threading_rlock_recursion_count(objects->rlock) == 2);
    CHECK(threading_condition_is_owned(objects->condition));
    CHECK_STATUS(threading_lock_release(objects->lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(objects->rlock), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_condition_release(objects->condition), THREADING_OK);
}

/* Checks that another thread holds the locks, possibly one that exists only in the parent process. Returns its
 * argument. */
static inline void *check_locks_held(void *arg)
{
    static const double timeout = 0.0005;
    struct objects *objects = arg;
    CHECK(threading_lock_locked(objects->lock) && threading_rlock_locked(objects->rlock));
    CHECK(!threading_rlock_is_owned(objects->rlock));
    CHECK_STATUS(threading_lock_try_acquire(objects->lock), THREADING_WOULD_BLOCK);
    CHECK_STATUS(threading_lock_acquire_timeout(objects->lock, timeout), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_rlock_try_acquire(objects->rlock), THREADING_WOULD_BLOCK);
    CHECK_STATUS(threading_rlock_acquire_timeout(objects->rlock, timeout), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_rlock_release(objects->rlock), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_condition_try_acquire(objects->condition), THREADING_WOULD_BLOCK);
    CHECK_STATUS(threading_condition_acquire_timeout(objects->condition, timeout), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_condition_notify(objects->condition, 1), THREADING_ERR_NOT_OWNER);
    return arg;
}

/* Uses all objects while other threads do the same, so results that depend on those are not checked. */
static inline void use_shared_objects(struct objects *objects, void *value, double timeout)
{
    CHECK_STATUS(threading_lock_acquire(objects->lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_lock_release(objects->lock), THREADING_OK);
    CHECK_STATUS(threading_condition_acquire(objects->condition), THREADING_OK);
    threading_condition_wait_timeout(objects->condition, timeout);
    CHECK_STATUS(threading_condition_notify(objects->condition, 1), THREADING_OK);
    CHECK_STATUS(threading_condition_release(objects->condition), THREADING_OK);
    CHECK_STATUS(threading_semaphore_release(objects->semaphore), THREADING_OK);
    CHECK_STATUS(threading_semaphore_acquire(objects->semaphore), THREADING_OK);
    threading_event_wait_timeout(objects->event, timeout);
    CHECK_STATUS(threading_event_set(objects->event), THREADING_OK);
    CHECK_STATUS(threading_event_clear(objects->event), THREADING_OK);
    if (threading_barrier_wait_timeout(objects->barrier, 2 * timeout, NULL) != THREADING_OK)
        CHECK_STATUS(threading_barrier_reset(objects->barrier), THREADING_OK);
    CHECK_STATUS(threading_local_set(objects->local, value), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(objects->local, "name", value), THREADING_OK);
    CHECK_STATUS(threading_local_del_attr(objects->local, "name"), THREADING_OK);
}

static inline void *wait_for_all_objects(void *arg)
{
    struct objects *objects = arg;
    CHECK_STATUS(threading_lock_acquire(objects->lock), THREADING_OK);
    CHECK_STATUS(threading_lock_release(objects->lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(objects->rlock), THREADING_OK);
    CHECK_STATUS(threading_condition_acquire(objects->condition), THREADING_OK);
    CHECK_STATUS(threading_semaphore_release(objects->semaphore), THREADING_OK);
    CHECK_STATUS(threading_condition_wait_timeout(objects->condition, WAIT_LIMIT), THREADING_OK);
    CHECK_STATUS(threading_condition_release(objects->condition), THREADING_OK);
    CHECK_STATUS(threading_event_wait_timeout(objects->event, WAIT_LIMIT), THREADING_OK);
    CHECK_STATUS(threading_barrier_wait_timeout(objects->barrier, WAIT_LIMIT, NULL), THREADING_OK);
    return arg;
}

/* Uses objects whose locks are free and whose barrier is for one thread more than `others`, the number of new threads
 * that wait for each of the objects. No other thread uses them. */
static inline void use_objects(struct objects *objects, size_t others)
{
    enum { MAX_OTHERS = 2 };
    threading_thread *threads[MAX_OTHERS];
    CHECK(others <= MAX_OTHERS);
    CHECK_STATUS(threading_lock_acquire(objects->lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(objects->rlock), THREADING_OK);
    for (size_t i = 0; i < others; i++)
        threads[i] = start_thread(wait_for_all_objects, objects);
    if (getpid() % 4 == 0)
        usleep(100);
    CHECK_STATUS(threading_lock_release(objects->lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(objects->rlock), THREADING_OK);
    for (size_t i = 0; i < others; i++)
        CHECK_STATUS(threading_semaphore_acquire_timeout(objects->semaphore, WAIT_LIMIT), THREADING_OK);
    CHECK_STATUS(threading_condition_acquire(objects->condition), THREADING_OK);
    CHECK_STATUS(threading_condition_notify(objects->condition, (int64_t)others), THREADING_OK);
    CHECK_STATUS(threading_condition_release(objects->condition), THREADING_OK);
    CHECK_STATUS(threading_event_set(objects->event), THREADING_OK);
    CHECK(!threading_barrier_broken(objects->barrier));
    CHECK_STATUS(threading_barrier_wait_timeout(objects->barrier, WAIT_LIMIT, NULL), THREADING_OK);
    for (size_t i = 0; i < others; i++)
        finish_thread(threads[i], objects);
    CHECK(threading_barrier_n_waiting(objects->barrier) == 0);
    CHECK(threading_semaphore_value(objects->semaphore) == 0);
    CHECK_STATUS(threading_local_set(objects->local, objects), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(objects->local, "name", objects), THREADING_OK);
    CHECK(threading_local_get(objects->local) == objects);
}

/* Creates and uses one object of each kind and a timer, in a process with one thread. */
static inline void use_new_objects(void)
{
    struct objects objects;
    threading_timer *timer = threading_timer_new(0, return_arg, &objects);
    CHECK(timer != NULL);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    objects_new(&objects, 2);
    use_objects(&objects, 1);
    objects_free(&objects);
    CHECK_STATUS(threading_thread_join_timeout(threading_timer_thread(timer), WAIT_LIMIT), THREADING_OK);
    CHECK(threading_thread_result(threading_timer_thread(timer)) == &objects);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    CHECK(threading_active_count() == 1);
}

#endif
