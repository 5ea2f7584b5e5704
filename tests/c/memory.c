/* The memory and the address space that objects use. Handle values are not reused. */
#include "child.h"
#include "kinds.h"

#include <sys/mman.h>
#include <sys/resource.h>

#define MEBI ((size_t)1 << 20)

static void limit(int resource, rlim_t max)
{
    struct rlimit limits = {max, max};
    CHECK_INT(setrlimit(resource, &limits), 0);
}

struct size {
    size_t addresses, resident; /* bytes */
};

static struct size size_now(void)
{
    struct size size;
    if (!process_size(&size.addresses, &size.resident))
        _exit(CHILD_SKIPPED);
    return size;
}

/* Allocates resident memory, so that it does not count in later measurements. */
static void *allocate(size_t size)
{
    void *memory = malloc(size);
    CHECK(memory != NULL);
    memset(memory, 1, size);
    return memory;
}

/* False under a tool that maps memory of its own, possibly at addresses that the library has unmapped. */
static bool can_measure_memory(void)
{
    return !TEST_SANITIZED && test_slowness() == 1;
}

/* ------------------------------------------------------------------------------------------------- kinds */

static void *make(size_t kind)
{
    void *object = kinds[kind].make();
    if (object == NULL)
        test_fail(__FILE__, __LINE__, "%s: %s", kinds[kind].name, threading_status_name(threading_last_error()));
    return object;
}

static void run_thread(size_t stack_size)
{
    int arg;
    threading_thread *thread = threading_thread_new(return_arg, &arg);
    CHECK(thread != NULL);
    CHECK_STATUS(threading_thread_set_stack_size(thread, stack_size), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    CHECK_PTR(threading_thread_result(thread), &arg);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
}

/* ----------------------------------------------------------------------------------------------- handles */

/* The creations reuse the memory within 1 GiB of address space many times over; no handle value may repeat. */
static void make_many_in_limited_address_space(void)
{
    enum { MANY = 20 * 1000 * 1000 };
    threading_lock *freed = threading_lock_new();
    if (sizeof(void *) < 8)
        _exit(CHILD_SKIPPED);
    limit(RLIMIT_AS, 1024 * MEBI);
    CHECK(freed != NULL);
    CHECK_STATUS(threading_lock_free(freed), THREADING_OK);
    for (int i = test_many(MANY); i > 0; i--) {
        threading_lock *lock = threading_lock_new();
        if (lock == NULL || lock == freed)
            test_fail(__FILE__, __LINE__, "new returned %p, the first handle was %p, and %d creations are left",
                      (void *)lock, (void *)freed, i);
        CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    }
    CHECK_STATUS(threading_lock_try_acquire(freed), THREADING_ERR_HANDLE);
    if (can_measure_memory())
        CHECK(size_now().addresses < 128 * MEBI);
}

static void handles_do_not_repeat(void)
{
    if (!run_in_child(make_many_in_limited_address_space))
        SKIP("handles of 32 bits repeat");
}

enum { BATCH = 150000 };

/* The memory of freed objects is reused for objects of any kind; their stale handles stay invalid. */
static void reuse_memory_of_freed_objects(void)
{
    static void *freed[KINDS][BATCH / 100];
    void **objects = allocate(BATCH * sizeof *objects);
    size_t many = (size_t)test_many(BATCH);
    for (int round = 0; round < 3; round++)
        for (size_t kind = 0; kind < KINDS; kind++) {
            for (size_t i = 0; i < many; i++)
                objects[i] = make(kind);
            for (size_t i = 0; i < many; i++) {
                CHECK_STATUS(kinds[kind].free(objects[i]), THREADING_OK);
                if (i % 100 == 0)
                    freed[kind][i / 100] = objects[i];
            }
            for (size_t old = 0; old <= kind; old++)
                for (size_t i = 0; i < many / 100; i++)
                    CHECK_STATUS(kinds[old].free(freed[old][i]), THREADING_ERR_HANDLE);
        }
    free(objects);
}

static void stale_handles_stay_invalid(void)
{
    run_in_child(reuse_memory_of_freed_objects);
}

/* ------------------------------------------------------------------------------------------------ memory */

static void make_one_of_each_kind(void)
{
    void *objects[KINDS];
    struct size before = size_now();
    for (size_t kind = 0; kind < KINDS; kind++)
        objects[kind] = make(kind);
    CHECK(size_now().addresses - before.addresses <= 64 * MEBI);
    for (size_t kind = 0; kind < KINDS; kind++)
        CHECK_STATUS(kinds[kind].free(objects[kind]), THREADING_OK);
}

static void first_objects_use_little_address_space(void)
{
    if (!can_measure_memory())
        SKIP("the tool maps memory of its own");
    if (!run_in_child(make_one_of_each_kind))
        SKIP("the system does not report the process size");
}

static void make_and_free_a_million(void)
{
    enum { MILLION = 1000000 };
    void **objects = allocate(MILLION * sizeof *objects);
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct size before = size_now(), full, after;
        for (size_t i = 0; i < MILLION; i++)
            objects[i] = make(kind);
        full = size_now();
        for (size_t i = 0; i < MILLION; i++)
            CHECK_STATUS(kinds[kind].free(objects[i]), THREADING_OK);
        after = size_now();
        size_t used = full.resident - before.resident, kept = after.resident - before.resident;
        if (full.addresses - before.addresses > 2 * used)
            test_fail(__FILE__, __LINE__, "%s: %zu MiB are resident, %zu MiB are mapped", kinds[kind].name,
                      used / MEBI, (full.addresses - before.addresses) / MEBI);
        if (kept > used / 10)
            test_fail(__FILE__, __LINE__, "%s: %zu of %zu KiB stay resident", kinds[kind].name, kept / 1024,
                      used / 1024);
    }
    free(objects);
}

static void memory_returns_to_the_system(void)
{
    if (!can_measure_memory())
        SKIP("the tool maps memory of its own");
    if (!run_in_child(make_and_free_a_million))
        SKIP("the system does not report the process size");
}

/* ------------------------------------------------------------------------------- slots that threads cache */

enum { CACHE_CYCLES = 200 };

/* More objects than a slot serves for. Afterwards, the thread caches a slot of each kind, and a reserve of one. */
static void fill_caches(void)
{
    for (size_t kind = 0; kind < KINDS; kind++)
        for (int i = 0; i < CACHE_CYCLES; i++)
            CHECK_STATUS(kinds[kind].free(make(kind)), THREADING_OK);
}

/* A key whose destructor makes objects in all rounds, also after the library's own last destructor. */
static pthread_key_t object_key;

static void make_in_destructor(void *rounds_left)
{
    for (size_t kind = 0; kind < KINDS; kind++) {
        void *objects[] = {make(kind), make(kind)};
        CHECK_STATUS(kinds[kind].free(objects[0]), THREADING_OK);
        CHECK_STATUS(kinds[kind].free(objects[1]), THREADING_OK);
    }
    if ((char *)rounds_left > (char *)&object_key)
        CHECK_INT(pthread_setspecific(object_key, (char *)rounds_left - 1), 0);
}

static void *fill_caches_and_exit(void *rounds_left)
{
    fill_caches();
    if (rounds_left != NULL)
        CHECK_INT(pthread_setspecific(object_key, (char *)&object_key + 4), 0);
    return NULL;
}

static void exit_with_caches(int threads)
{
    for (int i = 0; i < threads; i++) {
        void *arg = i % 2 == 0 ? &object_key : NULL;
        join_foreign(spawn_foreign(fill_caches_and_exit, arg));
        CHECK_PTR(join(spawn(fill_caches_and_exit, arg)), NULL);
    }
}

/* A thread that left its slots would leave more than a kilobyte. */
static void let_threads_exit_with_caches(void)
{
    enum { THREADS = 2000 };
    CHECK_INT(pthread_key_create(&object_key, make_in_destructor), 0);
    exit_with_caches(200);
    struct size before = size_now();
    exit_with_caches(THREADS);
    struct size after = size_now();
    if (after.resident > before.resident + MEBI)
        test_fail(__FILE__, __LINE__, "%zu KiB stay resident", (after.resident - before.resident) / 1024);
}

static void threads_free_their_caches(void)
{
    if (!can_measure_memory())
        SKIP("the tool maps memory of its own");
    if (!run_in_child(let_threads_exit_with_caches))
        SKIP("the system does not report the process size");
}

enum { CACHING_THREADS = 40 };

static threading_barrier *step_barrier;

static void next_step(void)
{
    CHECK_STATUS(threading_barrier_wait(step_barrier, NULL), THREADING_OK);
}

static void *make_and_free_a_part(void *arg)
{
    enum { PART = 1000000 / CACHING_THREADS };
    void **objects = arg;
    for (size_t kind = 0; kind < KINDS; kind++) {
        next_step();
        for (size_t i = 0; i < PART; i++)
            objects[i] = make(kind);
        next_step();
        next_step();
        for (size_t i = 0; i < PART; i++)
            CHECK_STATUS(kinds[kind].free(objects[i]), THREADING_OK);
        next_step();
        next_step();
    }
    return arg;
}

/* The threads are alive when the memory is measured, so that they may have cached slots. */
static void make_and_free_a_million_by_threads(void)
{
    pthread_t threads[CACHING_THREADS];
    void *objects[CACHING_THREADS];
    step_barrier = threading_barrier_new(CACHING_THREADS + 1, NULL, NULL);
    for (int i = 0; i < CACHING_THREADS; i++) {
        objects[i] = allocate(1000000 / CACHING_THREADS * sizeof(void *));
        threads[i] = spawn_foreign(make_and_free_a_part, objects[i]);
    }
    for (size_t kind = 0; kind < KINDS; kind++) {
        struct size before = size_now(), full, after;
        next_step();
        next_step();
        full = size_now();
        next_step();
        next_step();
        after = size_now();
        size_t used = full.resident - before.resident, kept = after.resident - before.resident;
        if (kept > used / 10)
            test_fail(__FILE__, __LINE__, "%s: %zu of %zu KiB stay resident", kinds[kind].name, kept / 1024,
                      used / 1024);
        next_step();
    }
    for (int i = 0; i < CACHING_THREADS; i++) {
        join_foreign(threads[i]);
        free(objects[i]);
    }
}

static void memory_of_threads_returns_to_the_system(void)
{
    if (!can_measure_memory())
        SKIP("the tool maps memory of its own");
    if (!run_in_child(make_and_free_a_million_by_threads))
        SKIP("the system does not report the process size");
}

static void *hold_caches(void *event)
{
    fill_caches();
    next_step();
    CHECK_STATUS(threading_event_wait(event), THREADING_OK);
    fill_caches();
    return event;
}

static void use_caches_in_child(void)
{
    fill_caches();
    exit_with_caches(4);
    make_and_free_a_million();
}

/* The child does not have the threads, but their slots; these are few. */
static void fork_beside_caches(void)
{
    SKIP_FORK_IF_PORTABLE();
    if (!can_measure_memory())
        SKIP("the tool maps memory of its own, and may not support a fork beside threads");
    pthread_t threads[CACHING_THREADS];
    threading_event *event = threading_event_new();
    CHECK_INT(pthread_key_create(&object_key, make_in_destructor), 0);
    step_barrier = threading_barrier_new(CACHING_THREADS + 1, NULL, NULL);
    for (int i = 0; i < CACHING_THREADS; i++)
        threads[i] = spawn_foreign(hold_caches, event);
    next_step();
    fill_caches();
    run_in_child(use_caches_in_child);
    fill_caches();
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    for (int i = 0; i < CACHING_THREADS; i++)
        CHECK_PTR(join_foreign(threads[i]), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    CHECK_STATUS(threading_barrier_free(step_barrier), THREADING_OK);
    CHECK_INT(pthread_key_delete(object_key), 0);
}

/* ------------------------------------------------------------------------------------------------ limits */

static void limit_address_space_later(void)
{
    void *first = make(0);
    limit(RLIMIT_AS, size_now().addresses + 64 * MEBI);
    for (size_t kind = 0; kind < KINDS; kind++)
        for (int i = 0; i < 1000; i++)
            make(kind);
    run_thread(MEBI);
    CHECK_STATUS(threading_lock_free(first), THREADING_OK);
}

static void address_space_may_be_limited_later(void)
{
    if (!can_measure_memory())
        SKIP("the tool maps memory of its own");
    if (!run_in_child(limit_address_space_later))
        SKIP("the system does not report the process size");
}

/* 8 MiB is the default RLIMIT_MEMLOCK of an unprivileged user. After MCL_FUTURE, every new mapping counts in full. */
static void lock_memory(void)
{
    enum { THREADS = 40, OBJECTS = 2000, STACK = 256 * 1024 };
    limit(RLIMIT_MEMLOCK, 8 * MEBI);
    if (!drop_privileges())
        _exit(CHILD_SKIPPED);
    if (mlockall(MCL_CURRENT | MCL_FUTURE) != 0)
        _exit(CHILD_SKIPPED);
    for (size_t kind = 0; kind < KINDS; kind++)
        for (int i = 0; i < OBJECTS; i++)
            make(kind);
    for (int i = 0; i < THREADS; i++)
        run_thread(STACK);
    CHECK_STATUS(threading_set_stack_size(STACK), THREADING_OK);
    threading_timer *timer = threading_timer_new(0, return_arg, NULL);
    CHECK(timer != NULL);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    CHECK_STATUS(threading_thread_join(threading_timer_thread(timer)), THREADING_OK);
    for (int i = 0; i < 200000; i++)
        CHECK_STATUS(threading_lock_free(make(0)), THREADING_OK);
    void *memory = malloc(MEBI);
    CHECK(memory != NULL);
    free(memory);
}

static void memory_may_be_locked(void)
{
    if (!can_measure_memory())
        SKIP("the tool maps memory of its own");
    if (!run_in_child(lock_memory))
        SKIP("the process may not lock its memory");
}

static const struct test_case cases[] = {
    {"a handle is not reused within 20 million creations in 1 GiB of address space", handles_do_not_repeat},
    {"stale handles stay invalid when their memory is reused for objects of any kind", stale_handles_stay_invalid},
    {"one object of each kind uses at most 64 MiB of address space", first_objects_use_little_address_space},
    /* Before those whose threads leave stacks in the C library, which would count. */
    {"objects, threads and timers can be created with at most 8 MiB of locked memory", memory_may_be_locked},
    {"at most a tenth of the memory of a million objects stays resident after they are freed",
     memory_returns_to_the_system},
    {"the same if 40 threads create and free them, and stay alive", memory_of_threads_returns_to_the_system},
    {"a thread, also a foreign one, frees the slots that it has cached when it ends", threads_free_their_caches},
    {"a child of fork creates objects, and returns their memory, although other threads had cached slots",
     fork_beside_caches},
    {"objects and threads can be created after the process limits its address space",
     address_space_may_be_limited_later},
};

TEST_MAIN(cases)
