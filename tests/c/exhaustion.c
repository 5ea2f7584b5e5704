/* Exhaustion: calls that fail because no thread can be created or no memory allocated change nothing, and succeed when
 * the resource is available again. Each case runs in its own child process. */
#include "child.h"
#include "destructors.h"
#include "kinds.h"

#include <dlfcn.h>
#include <errno.h>
#include <sys/resource.h>

static void check_unstarted(threading_thread *thread)
{
    CHECK(!threading_thread_is_alive(thread));
    CHECK_INT(threading_thread_ident(thread), 0);
    CHECK_INT(threading_thread_native_id(thread), 0);
    CHECK_STATUS(threading_thread_join(thread), THREADING_ERR_NOT_STARTED);
    CHECK_STATUS(threading_thread_set_daemon(thread, 0), THREADING_OK);
}

static void limit(int resource, rlim_t soft)
{
    struct rlimit limits;
    CHECK_INT(getrlimit(resource, &limits), 0);
    limits.rlim_cur = soft < limits.rlim_max ? soft : limits.rlim_max;
    CHECK_INT(setrlimit(resource, &limits), 0);
}

/* Limits the address space to its current size and `more` bytes. */
static void limit_memory(size_t more)
{
    size_t addresses, resident;
    if (!process_size(&addresses, &resident))
        _exit(CHILD_SKIPPED);
    limit(RLIMIT_AS, (rlim_t)addresses + more);
}

/* Checks that the library works. */
static void use_everything(void)
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

/* ------------------------------------------------------------------------------------------------ threads */

enum { STACKS = 64 };

static void start_until_no_more_stacks(void)
{
    threading_event *event = threading_event_new();
    threading_thread *threads[STACKS], *failed = NULL;
    int started = 0, arg;
    CHECK(event != NULL);
    limit_memory((size_t)160 << 20);
    CHECK_STATUS(threading_set_stack_size((size_t)16 << 20), THREADING_OK);
    while (failed == NULL) {
        threading_thread *thread = counted_thread_new(wait_for_event, event);
        threading_status status = threading_thread_start(thread);
        CHECK(started < STACKS);
        if (status == THREADING_OK) {
            threads[started++] = thread;
            continue;
        }
        CHECK_RESULT(status, THREADING_ERR_SYSTEM);
        CHECK_LAST_ERROR(THREADING_ERR_SYSTEM);
        CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
        failed = counted_thread_new(return_arg, &arg);
    }
    CHECK(started > 0);
    CHECK_INT(atomic_load(&destroyed), 1);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(threading_thread_start(failed), THREADING_ERR_SYSTEM);
        check_unstarted(failed);
        CHECK_INT(threading_active_count(), started + 1);
    }
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    for (int i = 0; i < started; i++)
        CHECK_PTR(join(threads[i]), event);
    CHECK_INT(atomic_load(&destroyed), started + 1);
    CHECK_STATUS(threading_thread_start(failed), THREADING_OK);
    CHECK_PTR(join(failed), &arg);
    CHECK_INT(atomic_load(&destroyed), started + 2);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    limit(RLIMIT_AS, RLIM_INFINITY);
    use_everything();
}

static void start_without_stack_memory(void)
{
    if (!run_in_child(start_until_no_more_stacks))
        SKIP("the size of the process is not known here");
}

/* Forbids the process to create threads. RLIMIT_NPROC does not apply to the superuser. */
static void forbid_threads(void)
{
    if (!drop_privileges())
        _exit(CHILD_SKIPPED);
    limit(RLIMIT_NPROC, 0);
}

static void *sleep_briefly(void *arg)
{
    sleep_for(0.1);
    return arg;
}

static void start_without_threads(void)
{
    int arg;
    threading_thread *thread = counted_thread_new(return_arg, &arg);
    threading_timer *timer = counted_timer_new(0, return_arg, &arg);
    threading_timer *pending = counted_timer_new(3600, return_arg, NULL);
    threading_timer *timers[8];
    pthread_t none;
    forbid_threads();
    if (pthread_create(&none, NULL, return_arg, NULL) == 0)
        _exit(CHILD_SKIPPED);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(threading_thread_start(thread), THREADING_ERR_SYSTEM);
        check_unstarted(thread);
        CHECK_STATUS(threading_timer_start(timer), THREADING_ERR_SYSTEM);
        check_unstarted(threading_timer_thread(timer));
        CHECK_INT(threading_active_count(), 1);
    }
    CHECK_INT(atomic_load(&destroyed), 0);
    limit(RLIMIT_NPROC, RLIM_INFINITY);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_PTR(join(thread), &arg);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    CHECK_PTR(join_timer_and_free(timer), &arg);
    CHECK_INT(atomic_load(&destroyed), 2);

    /* The timers have one thread and cannot create a second: due timers wait for each other, but all run. */
    CHECK_STATUS(threading_timer_start(pending), THREADING_OK);
    limit(RLIMIT_NPROC, 0);
    for (int i = 0; i < 8; i++) {
        timers[i] = counted_timer_new(0.001, i == 0 ? sleep_briefly : return_arg, &timers[i]);
        CHECK_STATUS(threading_timer_start(timers[i]), THREADING_OK);
    }
    for (int i = 0; i < 8; i++)
        CHECK_PTR(join_timer_and_free(timers[i]), &timers[i]);
    limit(RLIMIT_NPROC, RLIM_INFINITY);
    CHECK_STATUS(threading_timer_cancel(pending), THREADING_OK);
    CHECK_STATUS(threading_timer_free(pending), THREADING_OK);
    use_everything();
}

static void start_when_no_thread_can_be_created(void)
{
    if (!run_in_child(start_without_threads))
        SKIP("the number of threads cannot be limited here");
}

/* How many more calls of pthread_create succeed; -1 is no limit. */
static atomic_int threads_left = -1;
static atomic_int thread_failures;

#if defined(__GLIBC__) && !TEST_SANITIZED
#define HAVE_SCARCE_THREADS 1

/* Replaces the C library's function, for the library as well. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *arg)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    int remaining = atomic_load(&threads_left);
    while (remaining > 0 && !atomic_compare_exchange_weak(&threads_left, &remaining, remaining - 1))
        continue;
    if (remaining == 0) {
        atomic_fetch_add(&thread_failures, 1);
        return EAGAIN;
    }
    if (real == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "pthread_create");
        memcpy(&real, &symbol, sizeof real);
    }
    return real(thread, attributes, start, arg);
}
#else
#define HAVE_SCARCE_THREADS 0
#endif

static threading_timer *counted_timer_start(double interval, threading_target function, void *arg)
{
    threading_timer *timer = counted_timer_new(interval, function, arg);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    return timer;
}

static bool is_set(void *event)
{
    return threading_event_is_set(event);
}

static bool three_threads_have_failed(void *arg)
{
    (void)arg;
    return atomic_load(&thread_failures) >= 3;
}

/* A timer's function blocks until another timer's function runs, and for a while the timers cannot create a second
 * thread. The main thread does not call the library during that time. */
static void second_thread_fails_for_a_while(void)
{
    threading_event *event = event_new();
    atomic_store(&threads_left, 1);
    double begin = now();
    threading_timer *blocked = counted_timer_start(0.01, wait_for_event, event);
    threading_timer *setter = counted_timer_start(0.02, set_event, event);
    wait_until(three_threads_have_failed, NULL);
    CHECK(!is_set(event));
    atomic_store(&threads_left, -1);
    /* After one second, the timers run the first function without a second thread, and only a join creates that. */
    if (now() - begin > 0.8)
        _exit(CHILD_SKIPPED);
    sleep_for(0.5);
    wait_until(is_set, event);
    CHECK_PTR(join_timer_and_free(setter), event);
    CHECK_PTR(join_timer_and_free(blocked), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    use_everything();
}

/* After a while the timers run functions without a follower that takes over when one blocks. A join creates the missing
 * thread. */
static void join_creates_missing_thread(void)
{
    threading_event *event = event_new();
    atomic_store(&threads_left, 2);
    threading_timer *blocked = counted_timer_start(0.01, wait_for_event, event);
    threading_timer *later = counted_timer_start(0.02, wait_for_event, event);
    threading_timer *setter = counted_timer_start(0.03, set_event, event);
    sleep_for(1.6);
    CHECK(!is_set(event));
    atomic_store(&threads_left, -1);
    CHECK_PTR(join_timer_and_free(setter), event);
    CHECK_PTR(join_timer_and_free(later), event);
    CHECK_PTR(join_timer_and_free(blocked), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    use_everything();
}

static atomic_int may_join;

static void *join_timer(void *timer)
{
    wait_until(is_nonzero, &may_join);
    return join_timer_and_free(timer);
}

/* The joiner is blocked already when the timers begin to run functions without a follower. */
static void blocked_join_creates_missing_thread(void)
{
    threading_event *event = event_new();
    pthread_t joiner;
    threading_timer *blocked = counted_timer_new(0.1, wait_for_event, event);
    threading_timer *setter = counted_timer_new(0.12, set_event, event);
    counted_timer_start(3600, NULL, NULL); /* creates the timers' first thread */
    joiner = spawn_foreign(join_timer, blocked);
    atomic_store(&threads_left, 0);
    CHECK_STATUS(threading_timer_start(blocked), THREADING_OK);
    CHECK_STATUS(threading_timer_start(setter), THREADING_OK);
    atomic_store(&may_join, 1);
    sleep_for(1.7);
    CHECK(!is_set(event));
    atomic_store(&threads_left, -1);
    sleep_for(0.5);
    CHECK_PTR(join_foreign(joiner), event);
    CHECK_PTR(join_timer_and_free(setter), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    _exit(0); /* not exit(), which would wait for the pending timer */
}

/* The timers do not wait indefinitely for a second thread. */
static void only_one_thread(void)
{
    enum { TIMERS = 50 };
    threading_timer *timers[TIMERS];
    atomic_store(&threads_left, 1);
    for (int i = 0; i < TIMERS; i++)
        timers[i] = counted_timer_start(0.001 * i, return_arg, &timers[i]);
    for (int i = 0; i < TIMERS; i++)
        CHECK_PTR(join_timer_and_free(timers[i]), &timers[i]);
    atomic_store(&threads_left, -1);
    use_everything();
}

/* A function exits the timers' only thread, and another cannot be created. */
static void replacement_of_an_exited_thread(void)
{
    threading_event *event = event_new();
    atomic_store(&threads_left, 1);
    threading_timer *exiting = counted_timer_start(0.01, exit_with_arg, event);
    threading_timer *setter = counted_timer_start(0.02, set_event, event);
    CHECK_PTR(join_timer_and_free(exiting), NULL);
    sleep_for(0.2);
    CHECK(!is_set(event));
    atomic_store(&threads_left, -1);
    sleep_for(0.5);
    wait_until(is_set, event);
    CHECK_PTR(join_timer_and_free(setter), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    use_everything();
}

/* Several functions block, and each needs one more thread. Only one can be created every 20 ms. */
static void threads_one_at_a_time(void)
{
    enum { BLOCKED = 8 };
    threading_event *event = threading_event_new();
    threading_timer *blocked[BLOCKED];
    CHECK(event != NULL);
    atomic_store(&threads_left, 1);
    for (int i = 0; i < BLOCKED; i++)
        blocked[i] = counted_timer_start(0.001 * i, wait_for_event, event);
    threading_timer *setter = counted_timer_start(0.05, set_event, event);
    while (!is_set(event)) {
        sleep_for(0.02);
        CHECK(atomic_load(&thread_failures) < 100000);
        atomic_store(&threads_left, 1);
    }
    atomic_store(&threads_left, -1);
    CHECK_PTR(join_timer_and_free(setter), event);
    for (int i = 0; i < BLOCKED; i++)
        CHECK_PTR(join_timer_and_free(blocked[i]), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    use_everything();
}

/* While no timer is due, the library does not try to create a thread. */
static void no_thread_while_no_timer_is_due(void)
{
    atomic_store(&threads_left, 1);
    threading_timer *pending = counted_timer_start(3600, return_arg, &pending);
    threading_timer *soon = counted_timer_start(0.001, return_arg, &soon);
    CHECK_PTR(join_timer_and_free(soon), &soon);
    sleep_for(0.1);
    int before = atomic_load(&thread_failures);
    CHECK(before > 0);
    sleep_for(0.5);
    CHECK_INT(atomic_load(&thread_failures), before);
    CHECK_STATUS(threading_timer_cancel(pending), THREADING_OK);
    CHECK_STATUS(threading_timer_free(pending), THREADING_OK);
    atomic_store(&threads_left, -1);
    use_everything();
}

#define SCARCE_THREADS(child)                                                                                \
    static void child##_case(void)                                                                           \
    {                                                                                                        \
        if (!HAVE_SCARCE_THREADS)                                                                            \
            SKIP("pthread_create cannot be replaced here");                                                  \
        run_in_child(child);                                                                                 \
    }

SCARCE_THREADS(join_creates_missing_thread)
SCARCE_THREADS(blocked_join_creates_missing_thread)
SCARCE_THREADS(only_one_thread)
SCARCE_THREADS(replacement_of_an_exited_thread)
SCARCE_THREADS(threads_one_at_a_time)
SCARCE_THREADS(no_thread_while_no_timer_is_due)

static void second_thread_fails_for_a_while_case(void)
{
    int tries = 0;
    if (!HAVE_SCARCE_THREADS)
        SKIP("pthread_create cannot be replaced here");
    while (!run_in_child(second_thread_fails_for_a_while))
        CHECK(++tries < 8); /* a busy machine may delay a child for so long, but hardly each of eight */
}

/* ------------------------------------------------------------------------------------------------- memory */

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
    {"a start without memory for a stack is ERR_SYSTEM and can be repeated", start_without_stack_memory},
    {"a start of a thread or timer when no thread can be created is ERR_SYSTEM and can be repeated",
     start_when_no_thread_can_be_created},
    {"timers behind a blocking function run after some failures to create a second thread",
     second_thread_fails_for_a_while_case},
    {"a join creates a timer thread that could not be created for a long time", join_creates_missing_thread_case},
    {"a join that blocked before creates a timer thread that could not be created for a long time",
     blocked_join_creates_missing_thread_case},
    {"all timers run if only one thread can be created for them", only_one_thread_case},
    {"a timer thread that exits by pthread_exit is replaced when a thread can be created",
     replacement_of_an_exited_thread_case},
    {"many blocking functions all run if threads can be created one at a time", threads_one_at_a_time_case},
    {"no thread is created while no timer is due", no_thread_while_no_timer_is_due_case},
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
