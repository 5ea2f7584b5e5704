/* Locals, and a destructor that records its calls. */
#ifndef TEST_LOCAL_H
#define TEST_LOCAL_H

#include "sandbox.h"

#include <fcntl.h>

static inline threading_local *local_new(threading_destructor destructor)
{
    threading_local *local = threading_local_new(destructor);
    CHECK(local != NULL);
    return local;
}

static inline void local_free(threading_local *local)
{
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
}

static inline void check_value(threading_local *local, void *expected)
{
    void *value = &value;
    CHECK_STATUS_KEEPS_ERROR(threading_local_lookup(local, &value), THREADING_OK);
    CHECK_PTR(value, expected);
    CHECK_STATUS(threading_local_lookup(local, NULL), THREADING_OK);
    CHECK_PTR(threading_local_get(local), expected);
    CHECK_LAST_ERROR(THREADING_OK);
}

static int one, two, three; /* values */

/* ---------------------------------------------------------------------- destructors that record their calls */

enum { CALLS = 64 };

static struct {
    atomic_int calls;
    struct {
        void *value;
        threading_thread *by;
        uint64_t ident;
    } call[CALLS];
} destroyed;

static inline void destroy(void *value)
{
    int i = atomic_fetch_add(&destroyed.calls, 1);
    CHECK(i < CALLS);
    destroyed.call[i].value = value;
    destroyed.call[i].by = threading_current_thread();
    destroyed.call[i].ident = threading_get_ident();
}

static inline void check_destroyed(int calls, void *last)
{
    CHECK_INT(atomic_load(&destroyed.calls), calls);
    if (calls > 0) {
        CHECK_PTR(destroyed.call[calls - 1].value, last);
        CHECK_PTR(destroyed.call[calls - 1].by, threading_current_thread());
    }
}

static atomic_int destroyed_count;

static inline void count_destroyed(void *value)
{
    (void)value;
    atomic_fetch_add(&destroyed_count, 1);
}

/* --------------------------------------------------------------------------------------- without membarrier */

/* Set in a process that has been without membarrier from its start. */
#define WITHOUT_MEMBARRIER "TEST_WITHOUT_MEMBARRIER"

#if defined(HAS_FILTERS)
static inline void load_without_membarrier(void)
{
    block_system_call(SYS_membarrier);
    int null = open("/dev/null", O_WRONLY);
    CHECK_INT(dup2(null, STDOUT_FILENO), STDOUT_FILENO);
    CHECK_INT(setenv(WITHOUT_MEMBARRIER, "1", 1), 0);
    execl("/proc/self/exe", test_state.argv[0], (char *)NULL);
    _exit(CHILD_SKIPPED);
}
#endif

static inline void membarrier_fails_always(void)
{
    if (getenv(WITHOUT_MEMBARRIER) != NULL)
        SKIP("this process is the one without membarrier");
#if defined(HAS_FILTERS)
    if (TEST_SANITIZED || test_slowness() != 1)
        SKIP("the tool needs its system calls");
    if (run_in_child(load_without_membarrier))
        return;
#endif
    SKIP("the system has no filters of system calls");
}

#endif
