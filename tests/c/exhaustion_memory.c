/* Exhaustion of memory: calls that fail because none can be allocated change nothing, and succeed when there is memory
 * again. Each case runs in its own child process. */
#include "destructors.h"
#include "exhaustion.h"
#include "kinds.h"

#include <dlfcn.h>

/* -------------------------------------------------------------------------------------------- address space */

enum { MAX_OBJECTS = 400000 };

/* Creates objects of each kind until that fails, or MAX_OBJECTS of them. */
static void create_until_no_memory(void)
{
    static void *objects[MAX_OBJECTS];
    threading_lock *lock = threading_lock_new();
    threading_local *local = threading_local_new(count_destroyed);
    int failures = 0;
    CHECK(lock != NULL && local != NULL);
    CHECK_STATUS(threading_local_set(local, &lock), THREADING_OK);
    for (size_t kind = 0; kind < KINDS; kind++) {
        size_t count = 0;
        limit_memory((size_t)8 << 20);
        threading_clear_last_error();
        while (count < MAX_OBJECTS && (objects[count] = kinds[kind].make()) != NULL)
            count++;
        if (count < MAX_OBJECTS) {
            CHECK_LAST_ERROR(THREADING_ERR_NO_MEMORY);
            failures++;
        }
        CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
        CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
        CHECK_PTR(threading_local_get(local), &lock);
        for (size_t i = 0; i < count; i++)
            CHECK_STATUS(kinds[kind].free(objects[i]), THREADING_OK);
        objects[0] = kinds[kind].make();
        CHECK(objects[0] != NULL);
        CHECK_STATUS(kinds[kind].free(objects[0]), THREADING_OK);
        limit(RLIMIT_AS, RLIM_INFINITY);
    }
    CHECK(failures > 0);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed), 1);
    use_everything();
}

static void new_when_memory_is_exhausted(void)
{
    if (!run_in_child(create_until_no_memory))
        SKIP("the size of the process is not known here");
}

/* A foreign thread calls threading_current_thread() when there is memory for one more object, which the main thread
 * needs. The failed call must not leak: after one more object is freed, the next call succeeds. */
static void *call_with_scarce_memory(void *arg)
{
    static threading_thread *threads[MAX_OBJECTS];
    size_t count = 0;
    CHECK((threads[count++] = threading_thread_new(NULL, NULL)) != NULL);
    limit(RLIMIT_AS, 0);
    while (count < MAX_OBJECTS && (threads[count] = threading_thread_new(NULL, NULL)) != NULL)
        count++;
    CHECK(count > 2 && count < MAX_OBJECTS);
    CHECK_STATUS(threading_thread_free(threads[--count]), THREADING_OK);
    CHECK_FAILS(threading_current_thread(), THREADING_ERR_NO_MEMORY);
    CHECK(threading_main_thread() != NULL);
    CHECK_FAILS(threading_thread_new(NULL, NULL), THREADING_ERR_NO_MEMORY);
    CHECK_STATUS(threading_thread_free(threads[--count]), THREADING_OK);
    CHECK(threading_current_thread() != NULL);
    limit(RLIMIT_AS, RLIM_INFINITY);
    while (count > 0)
        CHECK_STATUS(threading_thread_free(threads[--count]), THREADING_OK);
    return arg;
}

static void current_thread_with_scarce_memory(void)
{
    join_foreign(spawn_foreign(call_with_scarce_memory, NULL));
    use_everything();
}

static void failed_current_thread_leaks_nothing(void)
{
    run_in_child(current_thread_with_scarce_memory);
}

/* Creates names of a thread, attributes of a local and values of a thread until each fails. */
static void store_until_no_memory(void)
{
    enum { LOCALS = 1000 };
    static threading_local *locals[LOCALS];
    static char name[60000];
    threading_thread *thread = counted_thread_new(NULL, NULL);
    threading_local *local = threading_local_new(NULL);
    threading_status status = THREADING_OK;
    const char *last;
    long count;
    CHECK(local != NULL);
    for (size_t i = 0; i < LOCALS; i++)
        CHECK((locals[i] = threading_local_new(count_destroyed)) != NULL);
    limit_memory((size_t)8 << 20);
    for (count = 0; status == THREADING_OK && count < MAX_OBJECTS; count++) {
        last = threading_thread_name(thread);
        CHECK(last != NULL);
        memset(name, 'x', sizeof name - 1);
        snprintf(name, 32, "%ld", count);
        name[strlen(name)] = ' ';
        status = threading_thread_set_name(thread, name);
    }
    CHECK_RESULT(status, THREADING_ERR_NO_MEMORY);
    CHECK_PTR(threading_thread_name(thread), last);
    for (status = THREADING_OK, count = 0; status == THREADING_OK && count < MAX_OBJECTS; count++) {
        snprintf(name, sizeof name, "attribute %ld", count);
        status = threading_local_set_attr(local, name, thread);
    }
    CHECK_RESULT(status, THREADING_ERR_NO_MEMORY);
    for (size_t i = 0; i < LOCALS; i++) {
        status = threading_local_set(locals[i], locals[i]);
        if (status != THREADING_OK)
            CHECK_RESULT(status, THREADING_ERR_NO_MEMORY);
        CHECK_PTR(threading_local_get(locals[i]), status == THREADING_OK ? locals[i] : NULL);
    }
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_local_del_attr(local, name), THREADING_NO_VALUE);
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
    limit(RLIMIT_AS, RLIM_INFINITY);
    for (size_t i = 0; i < LOCALS; i++) {
        CHECK_STATUS(threading_local_set(locals[i], locals[i]), THREADING_OK);
        CHECK_STATUS(threading_local_free(locals[i]), THREADING_OK);
    }
    CHECK_INT(atomic_load(&destroyed), LOCALS);
    use_everything();
}

static void names_and_values_when_memory_is_exhausted(void)
{
    if (!run_in_child(store_until_no_memory))
        SKIP("the size of the process is not known here");
}

/* ------------------------------------------------------------------------------------- single allocations */

/* How many more allocations of the calling thread succeed; -1 is no limit. */
static _Thread_local long allowed = -1;
static _Thread_local bool has_failed;

#if defined(__GLIBC__) && !TEST_SANITIZED
#define HAVE_SCARCE_MEMORY 1

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *old);

/* Counts an allocation of the calling thread. Returns false, with errno set, if it must fail. */
static bool allow_allocation(void)
{
    if (allowed < 0 || allowed-- > 0)
        return true;
    allowed = 0;
    has_failed = true;
    errno = ENOMEM;
    return false;
}

/* These replace the C library's functions, for the library as well. */
void *malloc(size_t size)
{
    return allow_allocation() ? __libc_malloc(size) : NULL;
}

void *calloc(size_t count, size_t size)
{
    return allow_allocation() ? __libc_calloc(count, size) : NULL;
}

void *realloc(void *old, size_t size)
{
    return allow_allocation() ? __libc_realloc(old, size) : NULL;
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return allow_allocation() ? __libc_memalign(alignment, size) : NULL;
}

int posix_memalign(void **result, size_t alignment, size_t size)
{
    void *memory = allow_allocation() ? __libc_memalign(alignment, size) : NULL;
    if (memory == NULL)
        return ENOMEM;
    *result = memory;
    return 0;
}

void free(void *old)
{
    __libc_free(old);
}

/* atexit() in a shared library calls this. */
int __cxa_atexit(void (*function)(void *), void *arg, void *object);
int __cxa_atexit(void (*function)(void *), void *arg, void *object)
{
    static int (*real)(void (*)(void *), void *, void *);
    if (!allow_allocation())
        return -1;
    if (real == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "__cxa_atexit");
        memcpy(&real, &symbol, sizeof real);
    }
    return real(function, arg, object);
}
#else
#define HAVE_SCARCE_MEMORY 0
#endif

/* Removes the limit and returns whether the call that returned this status failed with NO_MEMORY. */
static bool failed_without_memory(threading_status status, threading_status expected)
{
    allowed = -1;
    if (status == expected)
        return false;
    CHECK(has_failed);
    CHECK_RESULT(status, THREADING_ERR_NO_MEMORY);
    return true;
}

static threading_status status_of(const void *object)
{
    return object != NULL ? THREADING_OK : threading_last_error();
}

static void scarce_new(long allocations)
{
    for (size_t kind = 0; kind < KINDS; kind++) {
        void *object;
        allowed = allocations;
        object = kinds[kind].make();
        if (!failed_without_memory(status_of(object), THREADING_OK))
            CHECK_STATUS(kinds[kind].free(object), THREADING_OK);
    }
}

static void scarce_names(long allocations)
{
    threading_thread *thread = counted_thread_new(NULL, NULL);
    const char *name;
    allowed = allocations;
    name = threading_thread_name(thread);
    failed_without_memory(status_of(name), THREADING_OK);
    name = threading_thread_name(thread);
    CHECK(name != NULL);
    allowed = allocations;
    if (failed_without_memory(threading_thread_set_name(thread, "a name that is not in use"), THREADING_OK))
        CHECK_PTR(threading_thread_name(thread), name);
    else
        CHECK_STR(threading_thread_name(thread), "a name that is not in use");
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
}

static void scarce_start(long allocations)
{
    int arg;
    threading_thread *thread = counted_thread_new(return_arg, &arg);
    threading_timer *timer = counted_timer_new(0, return_arg, &arg);
    threading_status status;
    int before = atomic_load(&destroyed);
    allowed = allocations;
    status = threading_thread_start(thread);
    /* ERR_SYSTEM if pthread_create failed, ERR_NO_MEMORY if an allocation of the library did. */
    if (failed_without_memory(status == THREADING_ERR_SYSTEM ? THREADING_ERR_NO_MEMORY : status, THREADING_OK)) {
        check_unstarted(thread);
        CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    }
    CHECK_PTR(join(thread), &arg);
    CHECK_INT(atomic_load(&destroyed), before + 1);
    allowed = allocations;
    status = threading_timer_start(timer);
    if (failed_without_memory(status == THREADING_ERR_SYSTEM ? THREADING_ERR_NO_MEMORY : status, THREADING_OK)) {
        check_unstarted(threading_timer_thread(timer));
        CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    }
    CHECK_PTR(join_timer_and_free(timer), &arg);
    CHECK_INT(atomic_load(&destroyed), before + 2);
}

/* Calls that only remove or read something must not need memory. */
static void scarce_removal(long allocations)
{
    enum { MANY = 300 }; /* enough that the timer queue shrinks as they are cancelled */
    static threading_timer *many[MANY];
    void *value = NULL;
    threading_local *local = threading_local_new(count_destroyed);
    threading_event *event = threading_event_new();
    threading_thread *thread = spawn(wait_for_event, event);
    threading_timer *timer = counted_timer_new(3600, return_arg, event);
    CHECK(event != NULL && local != NULL);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    for (int i = 0; i < MANY; i++)
        CHECK_STATUS(threading_timer_start(many[i] = counted_timer_new(3600, return_arg, event)), THREADING_OK);
    CHECK_STATUS(threading_local_set(local, event), THREADING_OK);
    CHECK_STATUS(threading_local_set_attr(local, "name", event), THREADING_OK);
    allowed = allocations;
    CHECK_STATUS(threading_local_del(local), THREADING_OK);
    CHECK_STATUS(threading_local_get_attr(local, "name", &value), THREADING_OK);
    CHECK_PTR(value, event);
    CHECK_STATUS(threading_local_del_attr(local, "name"), THREADING_OK);
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
    for (int i = 0; i < MANY; i++) {
        CHECK_STATUS(threading_timer_cancel(many[i]), THREADING_OK);
        CHECK_STATUS(threading_timer_free(many[i]), THREADING_OK);
    }
    CHECK_STATUS(threading_timer_cancel(timer), THREADING_OK);
    CHECK_STATUS(threading_thread_join(threading_timer_thread(timer)), THREADING_OK);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_STATUS(threading_thread_join_timeout(thread, TEST_LIMIT), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    allowed = -1;
}

static void scarce_local(long allocations)
{
    threading_local *local = threading_local_new(count_destroyed);
    bool failed;
    int before = atomic_load(&destroyed);
    CHECK(local != NULL);
    allowed = allocations;
    failed = failed_without_memory(threading_local_set(local, &allocations), THREADING_OK);
    CHECK_PTR(threading_local_get(local), failed ? NULL : &allocations);
    CHECK_STATUS(threading_local_set(local, &allocations), THREADING_OK);
    allowed = allocations;
    failed = failed_without_memory(threading_local_set_attr(local, "name", &allocations), THREADING_OK);
    CHECK_STATUS(threading_local_del_attr(local, "name"), failed ? THREADING_NO_VALUE : THREADING_OK);
    CHECK_INT(atomic_load(&destroyed), before + !failed);
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed), before + !failed + 1);
}

static void scarce_init(long allocations)
{
    void *value = NULL;
    threading_local *local = threading_local_new_with_init(return_arg, &value, NULL);
    CHECK(local != NULL);
    allowed = allocations;
    if (!failed_without_memory(threading_local_lookup(local, &value), THREADING_OK))
        CHECK_PTR(value, &value);
    CHECK_PTR(threading_local_get(local), &value);
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
}

/* The main thread's values are destroyed at exit, so its first value registers an exit handler. */
static void scarce_init_in_main(void)
{
    void *value = NULL;
    threading_local *local = threading_local_new_with_init(return_arg, &value, NULL);
    long allocations = 0;
    CHECK(local != NULL);
    for (bool failed = true; failed;) {
        CHECK(allocations < 1000);
        allowed = allocations++;
        failed = failed_without_memory(threading_local_lookup(local, &value), THREADING_OK);
    }
    CHECK(allocations > 1);
    CHECK_PTR(value, &value);
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
}

static void scarce_current(long allocations)
{
    threading_thread *self;
    size_t alive = threading_active_count();
    allowed = allocations;
    self = threading_current_thread();
    if (failed_without_memory(status_of(self), THREADING_OK)) {
        CHECK_INT(threading_active_count(), alive);
        CHECK(threading_current_thread() != NULL);
    } else {
        CHECK_PTR(threading_current_thread(), self);
    }
    CHECK_INT(threading_active_count(), alive + 1);
}

static void scarce_enumerate(long allocations)
{
    threading_thread_list *list;
    allowed = allocations;
    list = threading_enumerate();
    if (failed_without_memory(status_of(list), THREADING_OK))
        CHECK((list = threading_enumerate()) != NULL);
    CHECK_INT(threading_thread_list_len(list), 1);
    CHECK_STATUS(threading_thread_list_free(list), THREADING_OK);
}

static void scarce_waits(long allocations)
{
    const double timeout = 0.002;
    threading_lock *lock = threading_lock_new();
    threading_condition *condition = threading_condition_new();
    threading_semaphore *semaphore = threading_semaphore_new(0);
    threading_event *event = threading_event_new();
    threading_barrier *barrier = threading_barrier_new(2, NULL, NULL);
    CHECK(lock != NULL && condition != NULL && semaphore != NULL && event != NULL && barrier != NULL);
    allowed = allocations;
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    failed_without_memory(threading_lock_acquire_timeout(lock, timeout), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    allowed = allocations;
    if (failed_without_memory(threading_condition_acquire(condition), THREADING_OK))
        CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    CHECK(threading_condition_is_owned(condition));
    allowed = allocations;
    failed_without_memory(threading_condition_wait_timeout(condition, timeout), THREADING_TIMED_OUT);
    CHECK(threading_condition_is_owned(condition));
    allowed = allocations;
    failed_without_memory(threading_condition_wait_for_timeout(condition, return_false, NULL, timeout),
                          THREADING_TIMED_OUT);
    CHECK_STATUS(threading_condition_notify_all(condition), THREADING_OK);
    CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
    allowed = allocations;
    failed_without_memory(threading_semaphore_acquire_timeout(semaphore, timeout), THREADING_TIMED_OUT);
    CHECK_INT(threading_semaphore_value(semaphore), 0);
    allowed = allocations;
    failed_without_memory(threading_event_wait_timeout(event, timeout), THREADING_TIMED_OUT);
    allowed = allocations;
    if (failed_without_memory(threading_barrier_wait_timeout(barrier, timeout, NULL), THREADING_ERR_BROKEN_BARRIER))
        CHECK(!threading_barrier_broken(barrier));
    CHECK_INT(threading_barrier_n_waiting(barrier), 0);
    allowed = allocations;
    failed_without_memory(threading_sleep(timeout), THREADING_OK);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_condition_free(condition), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    CHECK_STATUS(threading_barrier_free(barrier), THREADING_OK);
}

static void scarce_atexit(long allocations)
{
    allowed = allocations;
    failed_without_memory(threading_atexit(count_destroyed, NULL), THREADING_OK);
}

static void (*scarce_calls)(long allocations);

/* Runs in a new foreign thread, whose first calls allocate the most. */
static void *run_scarce_calls(void *arg)
{
    has_failed = false;
    scarce_calls(*(long *)arg);
    return has_failed ? arg : NULL;
}

/* Allows no allocation, then one, then two, until no call fails. */
static void repeat_until_none_fails(void)
{
    long allocations = 0;
    while (join_foreign(spawn_foreign(run_scarce_calls, &allocations)) != NULL)
        CHECK(allocations++ < 1000);
    use_everything();
}

static void with_scarce_memory(void (*calls)(long))
{
    scarce_calls = calls;
    run_in_child(repeat_until_none_fails);
}

#define SCARCE(calls)                                                                                        \
    static void calls##_case(void)                                                                           \
    {                                                                                                        \
        if (!HAVE_SCARCE_MEMORY)                                                                             \
            SKIP("malloc cannot be replaced here");                                                          \
        if (is_portable_backend())                                                                                  \
            SKIP("the portable backend aborts the process if a wait cannot allocate");                        \
        with_scarce_memory(calls);                                                                           \
    }

SCARCE(scarce_new)
SCARCE(scarce_names)
SCARCE(scarce_start)
SCARCE(scarce_removal)
SCARCE(scarce_local)
SCARCE(scarce_init)
SCARCE(scarce_current)
SCARCE(scarce_enumerate)
SCARCE(scarce_waits)
SCARCE(scarce_atexit)

static void scarce_init_in_main_case(void)
{
    if (!HAVE_SCARCE_MEMORY)
        SKIP("malloc cannot be replaced here");
    run_in_child(scarce_init_in_main);
}

static const struct test_case cases[] = {
    {"_new is ERR_NO_MEMORY when memory is exhausted and succeeds after a free", new_when_memory_is_exhausted},
    {"names, attributes and values are ERR_NO_MEMORY when memory is exhausted and succeed after a free",
     names_and_values_when_memory_is_exhausted},
    {"a current_thread that fails for a foreign thread leaks no memory", failed_current_thread_leaks_nothing},
    {"_new without memory is ERR_NO_MEMORY", scarce_new_case},
    {"set_name without memory is ERR_NO_MEMORY and keeps the old name", scarce_names_case},
    {"a start without memory fails, changes nothing and can be repeated", scarce_start_case},
    {"cancel, join, set, free, get_attr and del_attr succeed without memory", scarce_removal_case},
    {"local_set and set_attr without memory are ERR_NO_MEMORY and store nothing", scarce_local_case},
    {"a local's init that fails without memory is repeated by the next get", scarce_init_case},
    {"a local's init in the main thread is repeated also if the exit handler could not be registered",
     scarce_init_in_main_case},
    {"current_thread without memory fails in a foreign thread, which becomes a Dummy at the next call",
     scarce_current_case},
    {"enumerate without memory is ERR_NO_MEMORY", scarce_enumerate_case},
    {"waits without memory return as usual, or ERR_NO_MEMORY with nothing changed", scarce_waits_case},
    {"atexit without memory is ERR_NO_MEMORY", scarce_atexit_case},
};

TEST_MAIN(cases)
