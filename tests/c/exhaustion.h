/* Limits of the resources of a process, and a check that the library works after they were exhausted. */
#ifndef TEST_EXHAUSTION_H
#define TEST_EXHAUSTION_H

#include "child.h"

#include <errno.h>
#include <sys/resource.h>

static inline void check_unstarted(threading_thread *thread)
{
    CHECK(!threading_thread_is_alive(thread));
    CHECK_INT(threading_thread_ident(thread), 0);
    CHECK_INT(threading_thread_native_id(thread), 0);
    CHECK_STATUS(threading_thread_join(thread), THREADING_ERR_NOT_STARTED);
    CHECK_STATUS(threading_thread_set_daemon(thread, 0), THREADING_OK);
}

static inline void limit(int resource, rlim_t soft)
{
    struct rlimit limits;
    CHECK_INT(getrlimit(resource, &limits), 0);
    limits.rlim_cur = soft < limits.rlim_max ? soft : limits.rlim_max;
    CHECK_INT(setrlimit(resource, &limits), 0);
}

/* Limits the address space to its current size and `more` bytes. */
static inline void limit_memory(size_t more)
{
    size_t addresses, resident;
    if (!process_size(&addresses, &resident))
        _exit(CHILD_SKIPPED);
    limit(RLIMIT_AS, (rlim_t)addresses + more);
}

/* Checks that the library works. */
static inline void use_everything(void)
{
    threading_lock *lock = threading_lock_new();
    threading_local *local = threading_local_new(NULL);
    threading_event *event = threading_event_new();
    threading_timer *timer = threading_timer_new(0.001, return_arg, &lock);
    threading_thread *thread = spawn(wait_for_event, event);
    threading_thread_list *list = threading_enumerate();
    CHECK(lock != NULL && local != NULL && event != NULL && timer != NULL && list != NULL);
    CHECK_STATUS(threading_thread_list_free(list), THREADING_OK);
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_acquire_timeout(lock, 0.001), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_local_set_attr(local, "name", lock), THREADING_OK);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    CHECK_PTR(join_timer_and_free(timer), &lock);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_PTR(join(thread), event);
    CHECK_INT(threading_active_count(), 1);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

#endif
