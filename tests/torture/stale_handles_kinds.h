/* The ten kinds of handles. For each kind: how to create an object with a state derived from a tag, how to check
 * that the state is unchanged and free the object, and functions to call with a stale handle. These are functions
 * that would change another object or reveal its state, and that do not block for long. (tests/c/handle.c calls all
 * functions.) */
#ifndef STALE_HANDLES_KINDS_H
#define STALE_HANDLES_KINDS_H

#include "torture.h"

/* The status of a function that returns a value. */
static inline threading_status status_if(bool good)
{
    return good ? THREADING_OK : threading_last_error();
}

static inline void check_created(const void *object)
{
    TORTURE_CHECK(object != NULL);
}

/* Objects with these tags are created with a name. */
static inline bool has_name(unsigned tag)
{
    return tag % 8 == 3;
}

/* ---------------------------------------------------------------------------------------------------- thread */

static inline void *thread_new(unsigned tag)
{
    threading_thread *thread = threading_thread_new(NULL, (void *)(uintptr_t)tag);
    char name[] = {'u', 'n', 't', 'o', 'u', 'c', 'h', 'e', 'd', (char)('0' + tag), '\0'};
    check_created(thread);
    TORTURE_STATUS(threading_thread_set_daemon(thread, tag % 2), THREADING_OK);
    TORTURE_STATUS(threading_thread_set_name(thread, name), THREADING_OK);
    return thread;
}

static inline void thread_check_and_free(void *h, unsigned tag)
{
    TORTURE_CHECK(threading_thread_arg(h) == (void *)(uintptr_t)tag && threading_thread_ident(h) == 0);
    TORTURE_CHECK(threading_thread_is_daemon(h) == (tag % 2 == 1));
    TORTURE_CHECK(threading_thread_name(h)[9] == (char)('0' + tag));
    TORTURE_STATUS(threading_thread_free(h), THREADING_OK);
}

static inline threading_status thread_call(void *h, unsigned which)
{
    switch (which) {
    case 0: return threading_thread_free(h);
    case 1: return status_if(threading_thread_ref(h) != NULL);
    case 2: return threading_thread_set_name(h, "touched");
    case 3: return threading_thread_set_daemon(h, 1);
    case 4: return threading_thread_start(h);
    case 5: return threading_thread_join_timeout(h, 0);
    case 6: return threading_thread_set_arg_destructor(h, NULL);
    case 7: return status_if(threading_thread_name(h) != NULL);
    default: return status_if(threading_thread_ident(h) != 0);
    }
}

/* ------------------------------------------------------------------------------------------ list of threads */

static inline void *list_new(unsigned tag)
{
    threading_thread_list *list = threading_enumerate();
    (void)tag;
    check_created(list);
    return list;
}

static inline void list_check_and_free(void *h, unsigned tag)
{
    (void)tag;
    TORTURE_CHECK(threading_thread_list_len(h) >= 1);
    TORTURE_CHECK(threading_thread_list_get(h, 0) == threading_main_thread());
    TORTURE_STATUS(threading_thread_list_free(h), THREADING_OK);
}

static inline threading_status list_call(void *h, unsigned which)
{
    switch (which) {
    case 0: return threading_thread_list_free(h);
    case 1: return status_if(threading_thread_list_len(h) != 0);
    default: return status_if(threading_thread_list_get(h, 0) != NULL);
    }
}

/* ----------------------------------------------------------------------------------------------------- timer */

static inline void *timer_new(unsigned tag)
{
    threading_timer *timer = threading_timer_new(1000 + tag, NULL, NULL);
    check_created(timer);
    if (tag % 2 == 1)
        TORTURE_STATUS(threading_timer_start(timer), THREADING_OK);
    return timer;
}

static inline void timer_check_and_free(void *h, unsigned tag)
{
    threading_thread *thread = threading_timer_thread(h);
    TORTURE_CHECK(threading_timer_interval(h) == 1000 + tag);
    TORTURE_CHECK(threading_thread_is_alive(thread) == (tag % 2 == 1));
    TORTURE_STATUS(threading_timer_cancel(h), THREADING_OK);
    TORTURE_STATUS(threading_timer_free(h), THREADING_OK);
}

static inline threading_status timer_call(void *h, unsigned which)
{
    switch (which) {
    case 0: return threading_timer_free(h);
    case 1: return status_if(threading_timer_ref(h) != NULL);
    case 2: return threading_timer_start(h);
    case 3: return threading_timer_cancel(h);
    case 4: return status_if(threading_timer_thread(h) != NULL);
    default: return status_if(threading_timer_interval(h) != 0);
    }
}

/* ------------------------------------------------------------------------------------------- lock and rlock */

static inline void *lock_new(unsigned tag)
{
    threading_lock *lock = threading_lock_new();
    check_created(lock);
    if (has_name(tag))
        TORTURE_STATUS(threading_lock_set_name(lock, "untouched"), THREADING_OK);
    if (tag % 2 == 1)
        TORTURE_STATUS(threading_lock_acquire(lock), THREADING_OK);
    return lock;
}

static inline void lock_check_and_free(void *h, unsigned tag)
{
    TORTURE_CHECK(threading_lock_locked(h) == (tag % 2 == 1));
    TORTURE_CHECK((threading_lock_owner(h) != 0) == (tag % 2 == 1));
    TORTURE_STATUS(threading_lock_free(h), THREADING_OK);
}

static inline threading_status lock_call(void *h, unsigned which)
{
    switch (which) {
    case 0: return threading_lock_free(h);
    case 1: return status_if(threading_lock_ref(h) != NULL);
    case 2: return threading_lock_acquire_timeout(h, 0.01);
    case 3: return threading_lock_try_acquire(h);
    case 4: return threading_lock_release(h);
    case 5: return threading_lock_at_fork_reinit(h);
    case 6: return status_if(threading_condition_new_with_lock(h) != NULL);
    case 7: return threading_lock_set_name(h, "touched");
    case 8: return threading_lock_set_name(h, NULL);
    case 9: return status_if(threading_lock_owner(h) != 0);
    default: return status_if(threading_lock_locked(h));
    }
}

static inline void *rlock_new(unsigned tag)
{
    threading_rlock *rlock = threading_rlock_new();
    check_created(rlock);
    if (has_name(tag))
        TORTURE_STATUS(threading_rlock_set_name(rlock, "untouched"), THREADING_OK);
    for (unsigned i = 0; i < tag % 4; i++)
        TORTURE_STATUS(threading_rlock_acquire(rlock), THREADING_OK);
    return rlock;
}

static inline void rlock_check_and_free(void *h, unsigned tag)
{
    TORTURE_CHECK(threading_rlock_recursion_count(h) == tag % 4);
    TORTURE_CHECK(threading_rlock_locked(h) == (tag % 4 > 0));
    TORTURE_CHECK(threading_rlock_owner(h) == (tag % 4 > 0 ? threading_get_ident() : 0));
    TORTURE_STATUS(threading_rlock_free(h), THREADING_OK);
}

static inline threading_status rlock_call(void *h, unsigned which)
{
    switch (which) {
    case 0: return threading_rlock_free(h);
    case 1: return status_if(threading_rlock_ref(h) != NULL);
    case 2: return threading_rlock_acquire_timeout(h, 0.01);
    case 3: return threading_rlock_try_acquire(h);
    case 4: return threading_rlock_release(h);
    case 5: return threading_rlock_at_fork_reinit(h);
    case 6: return status_if(threading_condition_new_with_rlock(h) != NULL);
    case 7: return status_if(threading_rlock_is_owned(h));
    case 8: return threading_rlock_set_name(h, "touched");
    case 9: return threading_rlock_set_name(h, NULL);
    case 10: return status_if(threading_rlock_owner(h) != 0);
    default: return status_if(threading_rlock_locked(h));
    }
}

/* ------------------------------------------------------------------------------------------------- condition */

static inline void *condition_new(unsigned tag)
{
    threading_condition *condition = threading_condition_new();
    check_created(condition);
    if (has_name(tag))
        TORTURE_STATUS(threading_condition_set_name(condition, "untouched"), THREADING_OK);
    if (tag % 2 == 1)
        TORTURE_STATUS(threading_condition_acquire(condition), THREADING_OK);
    return condition;
}

static inline void condition_check_and_free(void *h, unsigned tag)
{
    TORTURE_CHECK(threading_condition_is_owned(h) == (tag % 2 == 1));
    TORTURE_CHECK(threading_condition_locked(h) == (tag % 2 == 1));
    TORTURE_STATUS(threading_condition_free(h), THREADING_OK);
}

static inline threading_status condition_call(void *h, unsigned which)
{
    switch (which) {
    case 0: return threading_condition_free(h);
    case 1: return status_if(threading_condition_ref(h) != NULL);
    case 2: return threading_condition_acquire_timeout(h, 0.01);
    case 3: return threading_condition_release(h);
    case 4: return threading_condition_wait_timeout(h, 0.01);
    case 5: return threading_condition_notify(h, 1);
    case 6: return threading_condition_notify_all(h);
    case 7: return threading_condition_at_fork_reinit(h);
    case 8: return threading_condition_set_name(h, "touched");
    case 9: return threading_condition_set_name(h, NULL);
    default: return status_if(threading_condition_locked(h));
    }
}

/* ------------------------------------------------------------------------------------------------- semaphore */

static inline void *semaphore_new(unsigned tag)
{
    threading_semaphore *semaphore = tag % 2 == 1 ? threading_semaphore_new_bounded(tag) : threading_semaphore_new(tag);
    check_created(semaphore);
    if (has_name(tag))
        TORTURE_STATUS(threading_semaphore_set_name(semaphore, "untouched"), THREADING_OK);
    return semaphore;
}

static inline void semaphore_check_and_free(void *h, unsigned tag)
{
    TORTURE_CHECK(threading_semaphore_value(h) == tag);
    TORTURE_STATUS(threading_semaphore_release(h), tag % 2 == 1 ? THREADING_ERR_OVER_RELEASED : THREADING_OK);
    TORTURE_STATUS(threading_semaphore_free(h), THREADING_OK);
}

static inline threading_status semaphore_call(void *h, unsigned which)
{
    switch (which) {
    case 0: return threading_semaphore_free(h);
    case 1: return status_if(threading_semaphore_ref(h) != NULL);
    case 2: return threading_semaphore_acquire_timeout(h, 0.01);
    case 3: return threading_semaphore_try_acquire(h);
    case 4: return threading_semaphore_release(h);
    case 5: return threading_semaphore_release_n(h, 2);
    case 6: return threading_semaphore_set_name(h, "touched");
    case 7: return threading_semaphore_set_name(h, NULL);
    default: return status_if(threading_semaphore_value(h) != 0);
    }
}

/* ----------------------------------------------------------------------------------------------------- event */

static inline void *event_new(unsigned tag)
{
    threading_event *event = threading_event_new();
    check_created(event);
    if (has_name(tag))
        TORTURE_STATUS(threading_event_set_name(event, "untouched"), THREADING_OK);
    if (tag % 2 == 1)
        TORTURE_STATUS(threading_event_set(event), THREADING_OK);
    return event;
}

static inline void event_check_and_free(void *h, unsigned tag)
{
    TORTURE_CHECK(threading_event_is_set(h) == (tag % 2 == 1));
    TORTURE_STATUS(threading_event_free(h), THREADING_OK);
}

static inline threading_status event_call(void *h, unsigned which)
{
    switch (which) {
    case 0: return threading_event_free(h);
    case 1: return status_if(threading_event_ref(h) != NULL);
    case 2: return threading_event_wait_timeout(h, 0.01);
    case 3: return threading_event_set(h);
    case 4: return threading_event_clear(h);
    case 5: return threading_event_at_fork_reinit(h);
    case 6: return threading_event_set_name(h, "touched");
    case 7: return threading_event_set_name(h, NULL);
    default: return status_if(threading_event_is_set(h));
    }
}

/* --------------------------------------------------------------------------------------------------- barrier */

static inline void *barrier_new(unsigned tag)
{
    threading_barrier *barrier = threading_barrier_new(2 + tag, NULL, NULL);
    check_created(barrier);
    if (has_name(tag))
        TORTURE_STATUS(threading_barrier_set_name(barrier, "untouched"), THREADING_OK);
    if (tag % 2 == 1)
        TORTURE_STATUS(threading_barrier_abort(barrier), THREADING_OK);
    return barrier;
}

static inline void barrier_check_and_free(void *h, unsigned tag)
{
    TORTURE_CHECK(threading_barrier_parties(h) == 2 + tag && threading_barrier_n_waiting(h) == 0);
    TORTURE_CHECK(threading_barrier_broken(h) == (tag % 2 == 1));
    TORTURE_STATUS(threading_barrier_free(h), THREADING_OK);
}

static inline threading_status barrier_call(void *h, unsigned which)
{
    switch (which) {
    case 0: return threading_barrier_free(h);
    case 1: return status_if(threading_barrier_ref(h) != NULL);
    case 2: return threading_barrier_wait_timeout(h, 0.01, NULL);
    case 3: return threading_barrier_set_timeout(h, 0.01);
    case 4: return threading_barrier_reset(h);
    case 5: return threading_barrier_abort(h);
    case 6: return status_if(threading_barrier_parties(h) != 0);
    case 7: return threading_barrier_set_name(h, "touched");
    case 8: return threading_barrier_set_name(h, NULL);
    default: return status_if(threading_barrier_broken(h));
    }
}

/* ----------------------------------------------------------------------------------------------------- local */

static inline void *local_new(unsigned tag)
{
    threading_local *local = threading_local_new(NULL);
    check_created(local);
    TORTURE_STATUS(threading_local_set(local, local), THREADING_OK);
    if (tag % 2 == 1)
        TORTURE_STATUS(threading_local_set_attr(local, "odd", local), THREADING_OK);
    return local;
}

static inline void local_check_and_free(void *h, unsigned tag)
{
    void *value = NULL;
    TORTURE_CHECK(threading_local_get(h) == h);
    TORTURE_STATUS(threading_local_get_attr(h, "odd", &value), tag % 2 == 1 ? THREADING_OK : THREADING_NO_VALUE);
    TORTURE_CHECK(value == (tag % 2 == 1 ? h : NULL));
    TORTURE_STATUS(threading_local_free(h), THREADING_OK);
}

static inline threading_status local_call(void *h, unsigned which)
{
    switch (which) {
    case 0: return threading_local_free(h);
    case 1: return status_if(threading_local_ref(h) != NULL);
    case 2: return threading_local_set(h, NULL);
    case 3: return threading_local_lookup(h, NULL);
    case 4: return threading_local_del(h);
    case 5: return threading_local_set_attr(h, "odd", NULL);
    case 6: return threading_local_del_attr(h, "odd");
    default: return status_if(threading_local_get(h) != NULL);
    }
}

/* ------------------------------------------------------------------------------------------------------- all */

enum { TAGS = 8 };

static const struct kind {
    const char *name;
    void *(*create)(unsigned tag);
    void (*check_and_free)(void *handle, unsigned tag);
    threading_status (*call)(void *handle, unsigned which);
    unsigned calls;
} kinds[] = {
    {"threads", thread_new, thread_check_and_free, thread_call, 9},
    {"lists of threads", list_new, list_check_and_free, list_call, 3},
    {"timers", timer_new, timer_check_and_free, timer_call, 6},
    {"locks", lock_new, lock_check_and_free, lock_call, 11},
    {"rlocks", rlock_new, rlock_check_and_free, rlock_call, 12},
    {"conditions", condition_new, condition_check_and_free, condition_call, 11},
    {"semaphores", semaphore_new, semaphore_check_and_free, semaphore_call, 9},
    {"events", event_new, event_check_and_free, event_call, 9},
    {"barriers", barrier_new, barrier_check_and_free, barrier_call, 10},
    {"locals", local_new, local_check_and_free, local_call, 8},
};

enum { KINDS = sizeof kinds / sizeof kinds[0] };

#endif
