/* Exhaustion: what is refused when threads or memory run out, that nothing has changed then, and that all
 * works again afterwards. Each case runs in a child process of its own. */
#include "child.h"
#include "kinds.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/resource.h>

static atomic_int destroyed;

static void count_destroyed(void *value)
{
    (void)value;
    atomic_fetch_add(&destroyed, 1);
}

static threading_thread *thread_new(threading_target target, void *arg)
{
    threading_thread *thread = threading_thread_new(target, arg);
    CHECK(thread != NULL);
    CHECK_STATUS(threading_thread_set_arg_destructor(thread, count_destroyed), THREADING_OK);
    return thread;
}

static threading_timer *timer_new(double interval, threading_target function, void *arg)
{
    threading_timer *timer = threading_timer_new(interval, function, arg);
    CHECK(timer != NULL);
    CHECK_STATUS(threading_thread_set_arg_destructor(threading_timer_thread(timer), count_destroyed),
                 THREADING_OK);
    return timer;
}

static void *join_and_free(threading_timer *timer)
{
    threading_thread *thread = threading_timer_thread(timer);
    void *result;
    CHECK_STATUS(threading_thread_join_timeout(thread, TEST_LIMIT), THREADING_OK);
    result = threading_thread_result(thread);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    return result;
}

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

/* The address space may grow by this much and no more. */
static void limit_memory(size_t more)
{
    unsigned long pages = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (file == NULL || fscanf(file, "%lu", &pages) != 1)
        _exit(CHILD_SKIPPED);
    fclose(file);
    limit(RLIMIT_AS, (rlim_t)pages * (rlim_t)sysconf(_SC_PAGESIZE) + more);
}

/* All is well if this goes through. */
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
    CHECK_PTR(join_and_free(timer), &lock);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    CHECK_PTR(join(thread), event);
    CHECK_INT(threading_active_count(), 1);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

/* ------------------------------------------------------------------------------------------------ threads */

enum { STACKS = 64 };

static void until_no_more_stacks(void)
{
    threading_event *event = threading_event_new();
    threading_thread *threads[STACKS], *refused = NULL;
    int started = 0, arg;
    CHECK(event != NULL);
    limit_memory((size_t)160 << 20);
    CHECK_STATUS(threading_set_stack_size((size_t)16 << 20), THREADING_OK);
    while (refused == NULL) {
        threading_thread *thread = thread_new(wait_for_event, event);
        threading_status status = threading_thread_start(thread);
        CHECK(started < STACKS);
        if (status == THREADING_OK) {
            threads[started++] = thread;
            continue;
        }
        CHECK_RESULT(status, THREADING_ERR_SYSTEM);
        CHECK_LAST_ERROR(THREADING_ERR_SYSTEM);
        CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
        refused = thread_new(return_arg, &arg);
    }
    CHECK(started > 0);
    CHECK_INT(atomic_load(&destroyed), 1);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(threading_thread_start(refused), THREADING_ERR_SYSTEM);
        check_unstarted(refused);
        CHECK_INT(threading_active_count(), started + 1);
    }
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    for (int i = 0; i < started; i++)
        CHECK_PTR(join(threads[i]), event);
    CHECK_INT(atomic_load(&destroyed), started + 1);
    CHECK_STATUS(threading_thread_start(refused), THREADING_OK);
    CHECK_PTR(join(refused), &arg);
    CHECK_INT(atomic_load(&destroyed), started + 2);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    limit(RLIMIT_AS, RLIM_INFINITY);
    use_everything();
}

static void stacks_run_out(void)
{
    if (!run_in_child(until_no_more_stacks))
        SKIP("the size of the process is not known here");
}

/* A process that may have no further thread; the limit does not hold for the superuser. */
static void forbid_threads(void)
{
    if (geteuid() == 0 && (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0))
        _exit(CHILD_SKIPPED);
    limit(RLIMIT_NPROC, 0);
}

static void *sleep_a_little(void *arg)
{
    sleep_for(0.1);
    return arg;
}

static void until_no_more_threads(void)
{
    int arg;
    threading_thread *thread = thread_new(return_arg, &arg);
    threading_timer *timer = timer_new(0, return_arg, &arg), *pending = timer_new(3600, return_arg, NULL);
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
    CHECK_PTR(join_and_free(timer), &arg);
    CHECK_INT(atomic_load(&destroyed), 2);

    /* With the timers' first thread there but no second to be had, those due wait but run in the end. */
    CHECK_STATUS(threading_timer_start(pending), THREADING_OK);
    limit(RLIMIT_NPROC, 0);
    for (int i = 0; i < 8; i++) {
        timers[i] = timer_new(0.001, i == 0 ? sleep_a_little : return_arg, &timers[i]);
        CHECK_STATUS(threading_timer_start(timers[i]), THREADING_OK);
    }
    for (int i = 0; i < 8; i++)
        CHECK_PTR(join_and_free(timers[i]), &timers[i]);
    limit(RLIMIT_NPROC, RLIM_INFINITY);
    CHECK_STATUS(threading_timer_cancel(pending), THREADING_OK);
    CHECK_STATUS(threading_timer_free(pending), THREADING_OK);
    use_everything();
}

static void threads_run_out(void)
{
    if (!run_in_child(until_no_more_threads))
        SKIP("the number of threads cannot be limited here");
}

/* How many more times the system gives a thread; -1 is without a limit. */
static atomic_int threads_left = -1;
static atomic_int threads_refused;

#if defined(__GLIBC__) && !TEST_SANITIZED
#define HAVE_SCARCE_THREADS 1

/* This takes the place of the system's for the library too. */
int pthread_create(pthread_t *thread, const pthread_attr_t *attributes, void *(*start)(void *), void *arg)
{
    static int (*real)(pthread_t *, const pthread_attr_t *, void *(*)(void *), void *);
    int left = atomic_load(&threads_left);
    while (left > 0 && !atomic_compare_exchange_weak(&threads_left, &left, left - 1))
        continue;
    if (left == 0) {
        atomic_fetch_add(&threads_refused, 1);
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

static void *set_event(void *event)
{
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    return event;
}

static threading_timer *timer_start_counted(double interval, threading_target function, void *arg)
{
    threading_timer *timer = timer_new(interval, function, arg);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    return timer;
}

static bool is_set(void *event)
{
    return threading_event_is_set(event);
}

/* The timers get one thread, and no other can be created for a while: a function blocks until another
 * timer's runs. Main makes no call of the library in that time. */
static void refuse_second_thread(double seconds)
{
    threading_event *event = threading_event_new();
    CHECK(event != NULL);
    atomic_store(&threads_left, 1);
    threading_timer *blocked = timer_start_counted(0.01, wait_for_event, event);
    threading_timer *other = timer_start_counted(0.02, set_event, event);
    sleep_for(seconds);
    CHECK(atomic_load(&threads_refused) > 0);
    CHECK(!is_set(event));
    atomic_store(&threads_left, -1);
    sleep_for(0.5);
    wait_until(is_set, event);
    CHECK_PTR(join_and_free(other), event);
    CHECK_PTR(join_and_free(blocked), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    use_everything();
}

static void until_threads_come_back(void)
{
    refuse_second_thread(0.3);
}

/* Functions run without a thread that watches them by then. A joiner asks for one. */
static void until_threads_come_back_late(void)
{
    threading_event *event = threading_event_new();
    CHECK(event != NULL);
    atomic_store(&threads_left, 2);
    threading_timer *blocked = timer_start_counted(0.01, wait_for_event, event);
    threading_timer *later = timer_start_counted(0.02, wait_for_event, event);
    threading_timer *other = timer_start_counted(0.03, set_event, event);
    sleep_for(1.6);
    CHECK(!is_set(event));
    atomic_store(&threads_left, -1);
    CHECK_PTR(join_and_free(other), event);
    CHECK_PTR(join_and_free(later), event);
    CHECK_PTR(join_and_free(blocked), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    use_everything();
}

static void *join_timer(void *timer)
{
    return join_and_free(timer);
}

/* The joiner sleeps already when functions begin to run without one. */
static void until_threads_come_back_to_a_joiner(void)
{
    threading_event *event = threading_event_new();
    CHECK(event != NULL);
    pthread_t joiner;
    threading_timer *blocked = timer_new(0.1, wait_for_event, event), *other = timer_new(0.12, set_event, event);
    CHECK_STATUS(threading_timer_start(timer_start_counted(3600, NULL, NULL)), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_timer_start(blocked), THREADING_OK);
    CHECK_STATUS(threading_timer_start(other), THREADING_OK);
    joiner = spawn_foreign(join_timer, blocked);
    atomic_store(&threads_left, 0);
    sleep_for(1.7);
    CHECK(!is_set(event));
    atomic_store(&threads_left, -1);
    sleep_for(0.5);
    CHECK_PTR(join_foreign(joiner), event);
    CHECK_PTR(join_and_free(other), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    _exit(0); /* a pending timer is left */
}

/* Nor do timers wait longer than that for what the system never gives. */
static void with_one_thread(void)
{
    enum { TIMERS = 50 };
    threading_timer *timers[TIMERS];
    atomic_store(&threads_left, 1);
    for (int i = 0; i < TIMERS; i++)
        timers[i] = timer_start_counted(0.001 * i, return_arg, &timers[i]);
    for (int i = 0; i < TIMERS; i++)
        CHECK_PTR(join_and_free(timers[i]), &timers[i]);
    atomic_store(&threads_left, -1);
    use_everything();
}

static void *exit_thread(void *arg)
{
    pthread_exit(arg);
}

/* The timers' thread is left, and its successor cannot be created. */
static void until_a_successor_comes(void)
{
    threading_event *event = threading_event_new();
    CHECK(event != NULL);
    atomic_store(&threads_left, 1);
    threading_timer *left = timer_start_counted(0.01, exit_thread, event);
    threading_timer *other = timer_start_counted(0.02, set_event, event);
    CHECK_PTR(join_and_free(left), NULL);
    sleep_for(0.2);
    CHECK(!is_set(event));
    atomic_store(&threads_left, -1);
    sleep_for(0.5);
    wait_until(is_set, event);
    CHECK_PTR(join_and_free(other), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    use_everything();
}

/* Several block, each of which needs one more thread; few can be created at a time. */
static void until_many_threads_come(void)
{
    enum { BLOCKED = 8 };
    threading_event *event = threading_event_new();
    threading_timer *blocked[BLOCKED];
    CHECK(event != NULL);
    atomic_store(&threads_left, 1);
    for (int i = 0; i < BLOCKED; i++)
        blocked[i] = timer_start_counted(0.001 * i, wait_for_event, event);
    threading_timer *other = timer_start_counted(0.05, set_event, event);
    while (!is_set(event)) {
        sleep_for(0.02);
        CHECK(atomic_load(&threads_refused) < 100000);
        atomic_store(&threads_left, 1);
    }
    atomic_store(&threads_left, -1);
    CHECK_PTR(join_and_free(other), event);
    for (int i = 0; i < BLOCKED; i++)
        CHECK_PTR(join_and_free(blocked[i]), event);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    use_everything();
}

/* Nothing is due: no thread asks for anything. */
static void until_nothing_is_due(void)
{
    atomic_store(&threads_left, 1);
    threading_timer *pending = timer_start_counted(3600, return_arg, &pending);
    threading_timer *soon = timer_start_counted(0.001, return_arg, &soon);
    CHECK_PTR(join_and_free(soon), &soon);
    sleep_for(0.1);
    int refused = atomic_load(&threads_refused);
    CHECK(refused > 0);
    sleep_for(0.5);
    CHECK_INT(atomic_load(&threads_refused), refused);
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

SCARCE_THREADS(until_threads_come_back)
SCARCE_THREADS(until_threads_come_back_late)
SCARCE_THREADS(until_threads_come_back_to_a_joiner)
SCARCE_THREADS(with_one_thread)
SCARCE_THREADS(until_a_successor_comes)
SCARCE_THREADS(until_many_threads_come)
SCARCE_THREADS(until_nothing_is_due)

/* ------------------------------------------------------------------------------------------------- memory */

enum { MOST = 400000 };

/* Each kind of object is made until it is refused, or there are very many of it. */
static void until_no_more_objects(void)
{
    static void *objects[MOST];
    threading_lock *lock = threading_lock_new();
    threading_local *local = threading_local_new(count_destroyed);
    int refusals = 0;
    CHECK(lock != NULL && local != NULL);
    CHECK_STATUS(threading_local_set(local, &lock), THREADING_OK);
    for (size_t kind = 0; kind < KINDS; kind++) {
        size_t count = 0;
        limit_memory((size_t)8 << 20);
        threading_clear_last_error();
        while (count < MOST && (objects[count] = kinds[kind].make()) != NULL)
            count++;
        if (count < MOST) {
            CHECK_LAST_ERROR(THREADING_ERR_NO_MEMORY);
            refusals++;
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
    CHECK(refusals > 0);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed), 1);
    use_everything();
}

static void objects_run_out(void)
{
    if (!run_in_child(until_no_more_objects))
        SKIP("the size of the process is not known here");
}

/* A thread asks for its own object where there is room for the main thread's object alone, and then for one more: the
 * call that failed has lost no room. */
static void *ask_where_room_is_scarce(void *arg)
{
    static threading_thread *threads[MOST];
    size_t count = 0;
    CHECK((threads[count++] = threading_thread_new(NULL, NULL)) != NULL);
    limit(RLIMIT_AS, 0);
    while (count < MOST && (threads[count] = threading_thread_new(NULL, NULL)) != NULL)
        count++;
    CHECK(count > 2 && count < MOST);
    CHECK_STATUS(threading_thread_free(threads[--count]), THREADING_OK);
    CHECK_REFUSED(threading_current_thread(), THREADING_ERR_NO_MEMORY);
    CHECK(threading_main_thread() != NULL);
    CHECK_REFUSED(threading_thread_new(NULL, NULL), THREADING_ERR_NO_MEMORY);
    CHECK_STATUS(threading_thread_free(threads[--count]), THREADING_OK);
    CHECK(threading_current_thread() != NULL);
    limit(RLIMIT_AS, RLIM_INFINITY);
    while (count > 0)
        CHECK_STATUS(threading_thread_free(threads[--count]), THREADING_OK);
    return arg;
}

static void ask_with_scarce_room(void)
{
    join_foreign(spawn_foreign(ask_where_room_is_scarce, NULL));
    use_everything();
}

static void room_for_a_dummy_is_scarce(void)
{
    run_in_child(ask_with_scarce_room);
}

/* One thing grows until that is refused: a thread's names, a local's attributes, a thread's locals. */
static void until_nothing_grows(void)
{
    enum { LOCALS = 1000 };
    static threading_local *locals[LOCALS];
    static char name[60000];
    threading_thread *thread = thread_new(NULL, NULL);
    threading_local *local = threading_local_new(NULL);
    threading_status status = THREADING_OK;
    const char *last;
    long count;
    CHECK(local != NULL);
    for (size_t i = 0; i < LOCALS; i++)
        CHECK((locals[i] = threading_local_new(count_destroyed)) != NULL);
    limit_memory((size_t)8 << 20);
    for (count = 0; status == THREADING_OK && count < MOST; count++) {
        last = threading_thread_name(thread);
        CHECK(last != NULL);
        memset(name, 'x', sizeof name - 1);
        snprintf(name, 32, "%ld", count);
        name[strlen(name)] = ' ';
        status = threading_thread_set_name(thread, name);
    }
    CHECK_RESULT(status, THREADING_ERR_NO_MEMORY);
    CHECK_PTR(threading_thread_name(thread), last);
    for (status = THREADING_OK, count = 0; status == THREADING_OK && count < MOST; count++) {
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

static void growth_runs_out(void)
{
    if (!run_in_child(until_nothing_grows))
        SKIP("the size of the process is not known here");
}

/* ------------------------------------------------------------------------------------- single allocations */

/* A thread that has armed this gets so many more allocations and then none. */
static _Thread_local long allowed = -1;
static _Thread_local bool has_refused;

#if defined(__GLIBC__) && !TEST_SANITIZED
#define HAVE_SCARCE_MEMORY 1

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);
void *__libc_memalign(size_t alignment, size_t size);
void __libc_free(void *old);

static bool refuse(void)
{
    if (allowed < 0 || allowed-- > 0)
        return false;
    allowed = 0;
    has_refused = true;
    errno = ENOMEM;
    return true;
}

/* These take the place of the system's for the library too. */
void *malloc(size_t size)
{
    return refuse() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return refuse() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return refuse() ? NULL : __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    return refuse() ? NULL : __libc_memalign(alignment, size);
}

int posix_memalign(void **result, size_t alignment, size_t size)
{
    void *memory = refuse() ? NULL : __libc_memalign(alignment, size);
    if (memory == NULL)
        return ENOMEM;
    *result = memory;
    return 0;
}

void free(void *old)
{
    __libc_free(old);
}

/* What atexit comes to in a shared library. */
int __cxa_atexit(void (*function)(void *), void *arg, void *object);
int __cxa_atexit(void (*function)(void *), void *arg, void *object)
{
    static int (*real)(void (*)(void *), void *, void *);
    if (refuse())
        return -1;
    if (real == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "__cxa_atexit");
        memcpy(&real, &symbol, sizeof real);
    }
    return real(function, arg, object);
}

/* Random numbers, and where they come from otherwise. */
ssize_t getrandom(void *buffer, size_t size, unsigned flags)
{
    return refuse() ? -1 : syscall(SYS_getrandom, buffer, size, flags);
}

int open64(const char *path, int flags, ...)
{
    va_list values;
    va_start(values, flags);
    mode_t mode = (flags & (O_CREAT | O_TMPFILE)) != 0 ? va_arg(values, mode_t) : 0;
    va_end(values);
    return refuse() ? -1 : (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}
#else
#define HAVE_SCARCE_MEMORY 0
#endif

/* A status that a call gave while memory was scarce, which it is no longer now: was it refused? */
static bool was_refused(threading_status status, threading_status expected)
{
    allowed = -1;
    if (status == expected)
        return false;
    CHECK(has_refused);
    CHECK_RESULT(status, THREADING_ERR_NO_MEMORY);
    return true;
}

static threading_status made(const void *object)
{
    return object != NULL ? THREADING_OK : threading_last_error();
}

static void scarce_new(long allocations)
{
    for (size_t kind = 0; kind < KINDS; kind++) {
        void *object;
        allowed = allocations;
        object = kinds[kind].make();
        if (!was_refused(made(object), THREADING_OK))
            CHECK_STATUS(kinds[kind].free(object), THREADING_OK);
    }
}

static void scarce_names(long allocations)
{
    threading_thread *thread = thread_new(NULL, NULL);
    const char *name;
    allowed = allocations;
    name = threading_thread_name(thread);
    was_refused(made(name), THREADING_OK);
    name = threading_thread_name(thread);
    CHECK(name != NULL);
    allowed = allocations;
    if (was_refused(threading_thread_set_name(thread, "a name that nobody had before"), THREADING_OK))
        CHECK_PTR(threading_thread_name(thread), name);
    else
        CHECK_STR(threading_thread_name(thread), "a name that nobody had before");
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
}

static void scarce_start(long allocations)
{
    int arg;
    threading_thread *thread = thread_new(return_arg, &arg);
    threading_timer *timer = timer_new(0, return_arg, &arg);
    threading_status status;
    int before = atomic_load(&destroyed);
    allowed = allocations;
    status = threading_thread_start(thread);
    /* Whether it was the library or the system that had no memory is not to be seen from here. */
    if (was_refused(status == THREADING_ERR_SYSTEM ? THREADING_ERR_NO_MEMORY : status, THREADING_OK)) {
        check_unstarted(thread);
        CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    }
    CHECK_PTR(join(thread), &arg);
    CHECK_INT(atomic_load(&destroyed), before + 1);
    allowed = allocations;
    status = threading_timer_start(timer);
    if (was_refused(status == THREADING_ERR_SYSTEM ? THREADING_ERR_NO_MEMORY : status, THREADING_OK)) {
        check_unstarted(threading_timer_thread(timer));
        CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    }
    CHECK_PTR(join_and_free(timer), &arg);
    CHECK_INT(atomic_load(&destroyed), before + 2);
}

/* What takes something away, or just looks, may not need memory. */
static void scarce_end(long allocations)
{
    enum { MANY = 300 }; /* so many that their memory shrinks as they are cancelled */
    static threading_timer *many[MANY];
    void *value = NULL;
    threading_local *local = threading_local_new(count_destroyed);
    threading_event *event = threading_event_new();
    threading_thread *thread = spawn(wait_for_event, event);
    threading_timer *timer = timer_new(3600, return_arg, event);
    CHECK(event != NULL && local != NULL);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    for (int i = 0; i < MANY; i++)
        CHECK_STATUS(threading_timer_start(many[i] = timer_new(3600, return_arg, event)), THREADING_OK);
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
    bool refused;
    int before = atomic_load(&destroyed);
    CHECK(local != NULL);
    allowed = allocations;
    refused = was_refused(threading_local_set(local, &allocations), THREADING_OK);
    CHECK_PTR(threading_local_get(local), refused ? NULL : &allocations);
    CHECK_STATUS(threading_local_set(local, &allocations), THREADING_OK);
    allowed = allocations;
    refused = was_refused(threading_local_set_attr(local, "name", &allocations), THREADING_OK);
    CHECK_STATUS(threading_local_del_attr(local, "name"), refused ? THREADING_NO_VALUE : THREADING_OK);
    CHECK_INT(atomic_load(&destroyed), before + !refused);
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
    CHECK_INT(atomic_load(&destroyed), before + !refused + 1);
}

static void scarce_init(long allocations)
{
    void *value = NULL;
    threading_local *local = threading_local_new_with_init(return_arg, &value, NULL);
    CHECK(local != NULL);
    allowed = allocations;
    if (!was_refused(threading_local_lookup(local, &value), THREADING_OK))
        CHECK_PTR(value, &value);
    CHECK_PTR(threading_local_get(local), &value);
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
}

/* Main's values are destroyed at exit, which has to be prepared for. */
static void scarce_init_in_main(void)
{
    void *value = NULL;
    threading_local *local = threading_local_new_with_init(return_arg, &value, NULL);
    long allocations = 0;
    CHECK(local != NULL);
    for (bool refused = true; refused;) {
        CHECK(allocations < 1000);
        allowed = allocations++;
        refused = was_refused(threading_local_lookup(local, &value), THREADING_OK);
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
    if (was_refused(made(self), THREADING_OK)) {
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
    if (was_refused(made(list), THREADING_OK))
        CHECK((list = threading_enumerate()) != NULL);
    CHECK_INT(threading_thread_list_len(list), 1);
    CHECK_STATUS(threading_thread_list_free(list), THREADING_OK);
}

static int is_never(void *arg)
{
    (void)arg;
    return 0;
}

static void scarce_waits(long allocations)
{
    const double moment = 0.002;
    threading_lock *lock = threading_lock_new();
    threading_condition *condition = threading_condition_new();
    threading_semaphore *semaphore = threading_semaphore_new(0);
    threading_event *event = threading_event_new();
    threading_barrier *barrier = threading_barrier_new(2, NULL, NULL);
    CHECK(lock != NULL && condition != NULL && semaphore != NULL && event != NULL && barrier != NULL);
    allowed = allocations;
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    was_refused(threading_lock_acquire_timeout(lock, moment), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_lock_release(lock), THREADING_OK);
    allowed = allocations;
    if (was_refused(threading_condition_acquire(condition), THREADING_OK))
        CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    CHECK(threading_condition_is_owned(condition));
    allowed = allocations;
    was_refused(threading_condition_wait_timeout(condition, moment), THREADING_TIMED_OUT);
    CHECK(threading_condition_is_owned(condition));
    allowed = allocations;
    was_refused(threading_condition_wait_for_timeout(condition, is_never, NULL, moment), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_condition_notify_all(condition), THREADING_OK);
    CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
    allowed = allocations;
    was_refused(threading_semaphore_acquire_timeout(semaphore, moment), THREADING_TIMED_OUT);
    CHECK_INT(threading_semaphore_value(semaphore), 0);
    allowed = allocations;
    was_refused(threading_event_wait_timeout(event, moment), THREADING_TIMED_OUT);
    allowed = allocations;
    if (was_refused(threading_barrier_wait_timeout(barrier, moment, NULL), THREADING_ERR_BROKEN_BARRIER))
        CHECK(!threading_barrier_broken(barrier));
    CHECK_INT(threading_barrier_n_waiting(barrier), 0);
    allowed = allocations;
    was_refused(threading_sleep(moment), THREADING_OK);
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_condition_free(condition), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
    CHECK_STATUS(threading_barrier_free(barrier), THREADING_OK);
}

static void scarce_atexit(long allocations)
{
    allowed = allocations;
    was_refused(threading_atexit(count_destroyed, NULL), THREADING_OK);
}

static void (*scarce_calls)(long allocations);

/* In a thread that the library has never seen; the first calls there are the hungriest. */
static void *call_scarcely(void *arg)
{
    has_refused = false;
    scarce_calls(*(long *)arg);
    return has_refused ? arg : NULL;
}

/* With no allocation at all, with one, with two, until there are enough. */
static void until_there_is_enough(void)
{
    long allocations = 0;
    while (join_foreign(spawn_foreign(call_scarcely, &allocations)) != NULL)
        CHECK(allocations++ < 1000);
    use_everything();
}

static void with_scarce_memory(void (*calls)(long))
{
    scarce_calls = calls;
    run_in_child(until_there_is_enough);
}

static bool is_portable(void)
{
    const char *park = getenv("THREADING_PARK");
    return park != NULL && strcmp(park, "portable") == 0;
}

#define SCARCE(calls)                                                                                        \
    static void calls##_case(void)                                                                           \
    {                                                                                                        \
        if (!HAVE_SCARCE_MEMORY)                                                                             \
            SKIP("malloc cannot be replaced here");                                                          \
        if (is_portable())                                                                                   \
            SKIP("the portable backend ends the process where a wait has no memory");                        \
        with_scarce_memory(calls);                                                                           \
    }

SCARCE(scarce_new)
SCARCE(scarce_names)
SCARCE(scarce_start)
SCARCE(scarce_end)
SCARCE(scarce_local)
SCARCE(scarce_init)
SCARCE(scarce_current)
SCARCE(scarce_enumerate)
SCARCE(scarce_waits)
SCARCE(scarce_atexit)

static void init_in_main_case(void)
{
    if (!HAVE_SCARCE_MEMORY)
        SKIP("malloc cannot be replaced here");
    run_in_child(scarce_init_in_main);
}

static const struct test_case cases[] = {
    {"a start without room for a stack is refused and may be tried again", stacks_run_out},
    {"so is one, of a timer too, when the system has no more threads", threads_run_out},
    {"a second thread that was refused once does not stall timers behind a function that blocks",
     until_threads_come_back_case},
    {"a joiner asks for a thread that was refused for long", until_threads_come_back_late_case},
    {"so does a joiner that sleeps already", until_threads_come_back_to_a_joiner_case},
    {"timers run where the system gives them one thread", with_one_thread_case},
    {"a timers' thread that is left by pthread_exit has a successor when the system gives one",
     until_a_successor_comes_case},
    {"each of many functions that block has its thread in the end", until_many_threads_come_case},
    {"nothing asks for a refused thread when no timer is due", until_nothing_is_due_case},
    {"objects are made until memory is out, and again when some is back", objects_run_out},
    {"so names and a local's attributes grow", growth_runs_out},
    {"a foreign thread without room to become a Dummy takes none", room_for_a_dummy_is_scarce},
    {"_new without memory is NO_MEMORY", scarce_new_case},
    {"a name without memory is NO_MEMORY and the old one stays", scarce_names_case},
    {"a start without memory changes nothing and may be tried again", scarce_start_case},
    {"cancel, join, set, free, and an attribute's get and del need no memory", scarce_end_case},
    {"a local's value or attribute without memory is NO_MEMORY and not there", scarce_local_case},
    {"a local's init without memory is tried again", scarce_init_case},
    {"so it is in main, also when its exit cannot be prepared for", init_in_main_case},
    {"a foreign thread without memory becomes a Dummy later", scarce_current_case},
    {"enumerate without memory is NO_MEMORY", scarce_enumerate_case},
    {"waits without memory end as ever or are NO_MEMORY, nothing changed", scarce_waits_case},
    {"atexit without memory is NO_MEMORY", scarce_atexit_case},
};

TEST_MAIN(cases)
