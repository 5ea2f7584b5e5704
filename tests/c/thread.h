/* New threads, and the Dummy of a foreign thread. */
#ifndef TEST_THREAD_H
#define TEST_THREAD_H

#include "test.h"

static inline threading_thread *thread_new(threading_target target, void *arg)
{
    threading_thread *thread = threading_thread_new(target, arg);
    CHECK(thread != NULL);
    return thread;
}

static inline void *foreign_dummy(void *arg)
{
    void (*check)(threading_thread *);
    memcpy(&check, arg, sizeof check);
    check(threading_current_thread());
    return NULL;
}

/* Calls a check with the Dummy of a foreign thread, in that thread. */
static inline void with_dummy(void (*check)(threading_thread *))
{
    join_foreign(spawn_foreign(foreign_dummy, &check));
}

/* Uses objects and threads: a foreign thread does not get a Dummy from that. */
static inline void *use_without_dummy(void *arg)
{
    size_t alive = threading_active_count();
    threading_lock *lock = threading_lock_new();
    threading_rlock *rlock = threading_rlock_new();
    threading_thread *thread = threading_thread_new(NULL, NULL);
    CHECK(lock != NULL && rlock != NULL && thread != NULL);
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(rlock), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    join(thread);
    CHECK_INT(threading_active_count(), alive);
    CHECK_STATUS(threading_rlock_release(rlock), THREADING_OK);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_free(rlock), THREADING_OK);
    return arg;
}

/* The size of a stack that no address space has room for, not even one of 4 GiB for a program with 32-bit addresses. */
#define TOO_LARGE_STACK (SIZE_MAX / 8 * 7)

#endif
