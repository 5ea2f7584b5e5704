/* Module functions: version, statuses, last error, current and main thread, enumerate, idents, stack size, sleep,
 * excepthook, argument checks of atexit and shutdown. */
#include "sandbox.h"

#include <sys/mman.h>

/* ----------------------------------------------------------------------------------- version and statuses */

static void version(void)
{
    char parts[40];
    snprintf(parts, sizeof parts, "%d.%d.%d", THREADING_VERSION_MAJOR, THREADING_VERSION_MINOR,
             THREADING_VERSION_PATCH);
    CHECK_STR(threading_version(), THREADING_VERSION);
    CHECK_STR(THREADING_VERSION, parts);
    CHECK_INT(threading_version_number(),
              THREADING_VERSION_MAJOR << 16 | THREADING_VERSION_MINOR << 8 | THREADING_VERSION_PATCH);
}

static const struct {
    int32_t status;
    int32_t number;
    const char *name;
} statuses[] = {
    {THREADING_OK, 0, "THREADING_OK"},
    {THREADING_TIMED_OUT, 1, "THREADING_TIMED_OUT"},
    {THREADING_WOULD_BLOCK, 2, "THREADING_WOULD_BLOCK"},
    {THREADING_NO_VALUE, 3, "THREADING_NO_VALUE"},
    {THREADING_TOO_LATE, 4, "THREADING_TOO_LATE"},
    {THREADING_ERR_HANDLE, -1, "THREADING_ERR_HANDLE"},
    {THREADING_ERR_VALUE, -2, "THREADING_ERR_VALUE"},
    {THREADING_ERR_OVERFLOW, -3, "THREADING_ERR_OVERFLOW"},
    {THREADING_ERR_NOT_ACQUIRED, -4, "THREADING_ERR_NOT_ACQUIRED"},
    {THREADING_ERR_NOT_OWNER, -5, "THREADING_ERR_NOT_OWNER"},
    {THREADING_ERR_OVER_RELEASED, -6, "THREADING_ERR_OVER_RELEASED"},
    {THREADING_ERR_ALREADY_STARTED, -7, "THREADING_ERR_ALREADY_STARTED"},
    {THREADING_ERR_NOT_STARTED, -8, "THREADING_ERR_NOT_STARTED"},
    {THREADING_ERR_DEADLOCK, -9, "THREADING_ERR_DEADLOCK"},
    {THREADING_ERR_NOT_JOINABLE, -10, "THREADING_ERR_NOT_JOINABLE"},
    {THREADING_ERR_BROKEN_BARRIER, -11, "THREADING_ERR_BROKEN_BARRIER"},
    {THREADING_ERR_CALLBACK, -12, "THREADING_ERR_CALLBACK"},
    {THREADING_ERR_BUSY, -13, "THREADING_ERR_BUSY"},
    {THREADING_ERR_NO_MEMORY, -14, "THREADING_ERR_NO_MEMORY"},
    {THREADING_ERR_SYSTEM, -15, "THREADING_ERR_SYSTEM"},
    {THREADING_ERR_SHUTDOWN, -16, "THREADING_ERR_SHUTDOWN"},
    {THREADING_ERR_INTERNAL, -17, "THREADING_ERR_INTERNAL"},
};

static void status_names_and_messages(void)
{
    static const int32_t others[] = {5, 6, 1000, INT32_MAX, -18, -19, -1000, INT32_MIN};
    threading_clear_last_error();
    for (size_t i = 0; i < TEST_COUNT(statuses); i++) {
        CHECK_INT(statuses[i].status, statuses[i].number);
        CHECK_STR(threading_status_name(statuses[i].number), statuses[i].name);
        CHECK(strlen(threading_status_message(statuses[i].number)) > 0);
        for (size_t k = 0; k < i; k++)
            CHECK(strcmp(threading_status_message(statuses[i].number),
                         threading_status_message(statuses[k].number)) != 0);
    }
    for (size_t i = 0; i < TEST_COUNT(others); i++) {
        const char *name = threading_status_name(others[i]), *message = threading_status_message(others[i]);
        CHECK(name != NULL && message != NULL && strlen(name) > 0 && strlen(message) > 0);
        for (size_t k = 0; k < TEST_COUNT(statuses); k++)
            CHECK(strcmp(name, statuses[k].name) != 0);
    }
    CHECK_LAST_ERROR(THREADING_OK);
}

static void *set_other_error(void *lock)
{
    CHECK_LAST_ERROR(THREADING_OK);
    CHECK_STATUS(threading_lock_release(lock), THREADING_ERR_NOT_ACQUIRED);
    CHECK_LAST_ERROR(THREADING_ERR_NOT_ACQUIRED);
    return NULL;
}

static void last_error(void)
{
    threading_lock *lock = threading_lock_new();
    threading_semaphore *semaphore = threading_semaphore_new(0);
    threading_local *local = threading_local_new(NULL);
    threading_timer *timer = threading_timer_new(0, NULL, NULL);
    CHECK(lock != NULL && semaphore != NULL && local != NULL && timer != NULL);
    threading_clear_last_error();
    CHECK_LAST_ERROR(THREADING_OK);
    CHECK_STR(threading_last_error_message(), "");
    CHECK_STATUS(threading_semaphore_release_n(semaphore, 0), THREADING_ERR_VALUE);
    join(spawn(set_other_error, lock));
    join_foreign(spawn_foreign(set_other_error, lock));
    CHECK_LAST_ERROR(THREADING_ERR_VALUE);

    /* A success or a positive status does not change it. */
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    CHECK_STATUS(threading_lock_try_acquire(lock), THREADING_WOULD_BLOCK);
    CHECK_STATUS(threading_semaphore_acquire_timeout(semaphore, 0.001), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_local_del(local), THREADING_NO_VALUE);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    CHECK_STATUS(threading_thread_join(threading_timer_thread(timer)), THREADING_OK);
    CHECK_STATUS(threading_timer_cancel(timer), THREADING_TOO_LATE);
    CHECK(threading_lock_locked(lock));
    CHECK(!threading_thread_is_daemon(threading_main_thread()));
    CHECK_PTR(threading_local_get(local), NULL);
    CHECK_INT(threading_semaphore_value(semaphore), 0);
    CHECK(threading_status_name(THREADING_ERR_BUSY) != NULL);
    CHECK_LAST_ERROR(THREADING_ERR_VALUE);

    /* Each later error replaces it, also one of a function that returns no status. */
    CHECK_INT(threading_thread_ident(NULL), 0);
    CHECK_LAST_ERROR(THREADING_ERR_HANDLE);
    CHECK_PTR(threading_timer_new(NAN, NULL, NULL), NULL);
    CHECK_LAST_ERROR(THREADING_ERR_VALUE);
    threading_clear_last_error();
    CHECK_LAST_ERROR(THREADING_OK);

    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
}

/* ---------------------------------------------------------------------------- the current and the main thread */

static void *check_main_thread(void *arg)
{
    threading_thread *main_thread = threading_main_thread();
    CHECK_STR(threading_thread_name(main_thread), "MainThread");
    CHECK_INT(threading_thread_native_id(main_thread), getpid());
    CHECK(main_thread != threading_current_thread());
    CHECK(threading_thread_ident(main_thread) != threading_get_ident());
    return main_thread == arg ? NULL : arg;
}

static void main_thread_in_every_thread(void)
{
    threading_thread *main_thread = threading_main_thread();
    CHECK(main_thread != NULL);
    CHECK_PTR(threading_current_thread(), main_thread);
    CHECK_STR(threading_thread_name(main_thread), "MainThread");
    CHECK(!threading_thread_is_daemon(main_thread));
    CHECK(threading_thread_is_alive(main_thread));
    CHECK(threading_get_ident() != 0);
    CHECK_INT(threading_thread_ident(main_thread), threading_get_ident());
    CHECK_INT(threading_get_native_id(), getpid());
    CHECK_INT(threading_thread_native_id(main_thread), getpid());
    CHECK_PTR(join_foreign(spawn_foreign(check_main_thread, main_thread)), NULL);
    CHECK_PTR(join(spawn(check_main_thread, main_thread)), NULL);
}

static void *use_without_dummy(void *arg)
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

static long number_of(const char *name, const char *kind)
{
    size_t length = strlen(kind);
    char *end;
    long number;
    CHECK(name != NULL && strncmp(name, kind, length) == 0);
    number = strtol(name + length, &end, 10);
    CHECK(number > 0 && *end == '\0');
    return number;
}

/* Returns the Dummy of the calling thread: with a reference if arg is not NULL. */
static void *check_dummy(void *arg)
{
    size_t alive = threading_active_count();
    threading_thread *self = threading_current_thread(), *thread;
    long number = number_of(threading_thread_name(self), "Dummy-");
    CHECK_INT(threading_active_count(), alive + 1);
    CHECK_PTR(threading_current_thread(), self);
    CHECK_INT(threading_active_count(), alive + 1);
    CHECK(threading_thread_is_daemon(self));
    CHECK(threading_thread_is_alive(self));
    CHECK_INT(threading_thread_ident(self), threading_get_ident());
    CHECK_INT(threading_thread_native_id(self), threading_get_native_id());
    CHECK_STATUS(threading_thread_start(self), THREADING_ERR_ALREADY_STARTED);
    CHECK_STATUS(threading_thread_join(self), THREADING_ERR_NOT_JOINABLE);
    CHECK_STATUS(threading_thread_set_daemon(self, 0), THREADING_ERR_ALREADY_STARTED);
    thread = threading_thread_new(NULL, NULL);
    CHECK(thread != NULL);
    CHECK_INT(number_of(threading_thread_name(thread), "Thread-"), number + 1);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_set_name(self, "no longer Dummy"), THREADING_OK);
    CHECK_STR(threading_thread_name(self), "no longer Dummy");
    CHECK_STATUS(threading_thread_free(self), THREADING_ERR_HANDLE);
    return arg == NULL ? self : threading_thread_ref(self);
}

static void dummy_of_a_foreign_thread(void)
{
    threading_thread *dummy;
    CHECK_PTR(join_foreign(spawn_foreign(use_without_dummy, &dummy)), &dummy);
    CHECK_INT(threading_active_count(), 1);
    dummy = join_foreign(spawn_foreign(check_dummy, &dummy));
    CHECK_INT(threading_active_count(), 1);
    CHECK_STR(threading_thread_name(dummy), "no longer Dummy");
    CHECK(!threading_thread_is_alive(dummy));
    CHECK_STATUS(threading_thread_join(dummy), THREADING_ERR_NOT_JOINABLE);
    CHECK_STATUS(threading_thread_free(dummy), THREADING_OK);
    dummy = join_foreign(spawn_foreign(check_dummy, NULL));
    CHECK_INT(threading_active_count(), 1);
    CHECK_STATUS(threading_thread_join(dummy), THREADING_ERR_HANDLE);
}

static pthread_key_t key;
static atomic_int keys_destroyed;
static threading_event *end_event;

static void check_current_in_destructor(void *arg)
{
    CHECK_PTR(threading_current_thread(), arg);
    CHECK(threading_thread_name(arg) != NULL);
    CHECK_INT(threading_thread_ident(arg), threading_get_ident());
    atomic_fetch_add(&keys_destroyed, 1);
}

static void *store_current_in_key(void *arg)
{
    CHECK_INT(pthread_setspecific(key, threading_current_thread()), 0);
    return arg;
}

static void current_in_destructors(void)
{
    atomic_store(&keys_destroyed, 0);
    CHECK_INT(pthread_key_create(&key, check_current_in_destructor), 0);
    join(spawn(store_current_in_key, NULL));
    CHECK_INT(atomic_load(&keys_destroyed), 1);
    join_foreign(spawn_foreign(store_current_in_key, NULL));
    CHECK_INT(atomic_load(&keys_destroyed), 2);
    CHECK_INT(threading_active_count(), 1);
    CHECK_INT(pthread_key_delete(key), 0);
}

/* Foreign threads that first call current_thread while they exit, in round `calls_in` of pthread key destructors. */
static pthread_key_t exiting_key;

struct exiting {
    int round, calls_in;
};

static void call_in_round(void *arg)
{
    struct exiting *exiting = arg;
    if (++exiting->round == exiting->calls_in)
        CHECK(threading_current_thread() != NULL);
    if (exiting->round < 4)
        CHECK_INT(pthread_setspecific(exiting_key, exiting), 0);
}

static void *exit_with_destructor(void *arg)
{
    CHECK_INT(pthread_setspecific(exiting_key, arg), 0);
    return arg;
}

static void *create_dummy_and_wait(void *arg)
{
    CHECK(threading_current_thread() != NULL);
    CHECK_STATUS(threading_semaphore_release(arg), THREADING_OK);
    CHECK_STATUS(threading_event_wait_timeout(end_event, TEST_LIMIT), THREADING_OK);
    return arg;
}

static bool active_count_is(void *expected_count)
{
    return threading_active_count() == *(size_t *)expected_count;
}

static void dummy_of_an_exiting_thread(void)
{
    enum { LIVING = 40 };
    pthread_t living[LIVING];
    threading_semaphore *semaphore = threading_semaphore_new(0);
    size_t expected_count = 1;
    end_event = threading_event_new();
    CHECK(semaphore != NULL && end_event != NULL);
    CHECK_INT(pthread_key_create(&exiting_key, call_in_round), 0);
    for (int with_living = 0; with_living < 2; with_living++) {
        for (int round = 1; round <= 4; round++) {
            struct exiting exiting = {0, round};
            join_foreign(spawn_foreign(exit_with_destructor, &exiting));
            CHECK_INT(exiting.round, 4);
            wait_until(active_count_is, &expected_count);
            CHECK_INT(threading_active_count(), expected_count);
        }
        for (int i = 0; i < LIVING && with_living == 0; i++) {
            living[i] = spawn_foreign(create_dummy_and_wait, semaphore);
            CHECK_STATUS(threading_semaphore_acquire_timeout(semaphore, TEST_LIMIT), THREADING_OK);
            CHECK_INT(threading_active_count(), ++expected_count);
        }
    }
    CHECK_STATUS(threading_event_set(end_event), THREADING_OK);
    for (int i = 0; i < LIVING; i++)
        join_foreign(living[i]);
    CHECK_INT(threading_active_count(), 1);
    CHECK_INT(pthread_key_delete(exiting_key), 0);
    CHECK_STATUS(threading_event_free(end_event), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(semaphore), THREADING_OK);
}

#if defined(HAS_FILTERS)
static void *check_same_after_wait(void *arg)
{
    threading_thread *self = threading_current_thread();
    CHECK_STATUS(threading_semaphore_release(arg), THREADING_OK);
    CHECK_STATUS(threading_event_wait_timeout(end_event, TEST_LIMIT), THREADING_OK);
    CHECK_PTR(threading_current_thread(), self);
    CHECK(threading_thread_name(self) != NULL && threading_thread_is_alive(self));
    return arg;
}

/* The library detects with tgkill that a thread has exited. */
static void check_dummies_without_tgkill(void)
{
    threading_semaphore *semaphore = threading_semaphore_new(0);
    struct exiting exiting = {0, 4};
    pthread_t foreign;
    size_t expected_count = 2;
    end_event = threading_event_new();
    block_system_call(SYS_tgkill);
    foreign = spawn_foreign(check_same_after_wait, semaphore);
    CHECK_STATUS(threading_semaphore_acquire_timeout(semaphore, TEST_LIMIT), THREADING_OK);
    for (int i = 0; i < 3; i++)
        CHECK_INT(threading_active_count(), 2);
    CHECK_INT(pthread_key_create(&exiting_key, call_in_round), 0);
    join_foreign(spawn_foreign(exit_with_destructor, &exiting));
    wait_until(active_count_is, &expected_count);
    CHECK_STATUS(threading_event_set(end_event), THREADING_OK);
    join_foreign(foreign);
    CHECK_INT(threading_active_count(), 1);
}

static void dummies_without_tgkill(void)
{
    if (!run_in_child(check_dummies_without_tgkill))
        SKIP("the system does not support system call filters");
}
#else
static void dummies_without_tgkill(void)
{
    SKIP("the filter is written for Linux on x86-64 only, and needs the headers of the kernel");
}
#endif

/* -------------------------------------------------------------------------------------- waits without futexes */

#if defined(HAS_FILTERS)
static void *pause_forever(void *arg)
{
    for (;;)
        pause();
    return arg;
}

static void check_waits_without_futex(void)
{
    const double seconds = 0.02;
    threading_lock *lock = threading_lock_new();
    threading_condition *condition = threading_condition_new();
    threading_semaphore *semaphore = threading_semaphore_new(0);
    threading_event *event = threading_event_new();
    threading_barrier *barrier = threading_barrier_new(2, NULL, NULL);
    threading_thread *thread = threading_thread_new(pause_forever, NULL);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_STATUS(threading_lock_acquire(lock), THREADING_OK);
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    block_system_call(SYS_futex);
    for (int i = 0; i < 2; i++) {
        double start = now();
        CHECK_STATUS(threading_lock_acquire_timeout(lock, seconds), THREADING_TIMED_OUT);
        CHECK_STATUS(threading_condition_wait_timeout(condition, seconds), THREADING_TIMED_OUT);
        CHECK_STATUS(threading_semaphore_acquire_timeout(semaphore, seconds), THREADING_TIMED_OUT);
        CHECK_STATUS(threading_event_wait_timeout(event, seconds), THREADING_TIMED_OUT);
        CHECK_STATUS(threading_barrier_wait_timeout(barrier, seconds, NULL), THREADING_ERR_BROKEN_BARRIER);
        CHECK_STATUS(threading_barrier_reset(barrier), THREADING_OK);
        CHECK_STATUS(threading_thread_join_timeout(thread, seconds), THREADING_TIMED_OUT);
        CHECK_STATUS(threading_sleep(seconds), THREADING_OK);
        CHECK(now() - start >= 7 * seconds);
    }
}
#endif

static void waits_without_futex(void)
{
#if defined(HAS_FILTERS)
    if (TEST_SANITIZED || test_slowness() != 1 || is_portable_backend())
        SKIP("the tool, or the portable backend, needs its system calls");
    if (run_in_child(check_waits_without_futex))
        return;
#endif
    SKIP("the system has no filters of system calls");
}

/* ---------------------------------------------------------------------------------------------- enumerate */

struct foreign_thread {
    threading_event *event;
    _Atomic(threading_thread *) self;
};

static void *call_current_and_wait(void *arg)
{
    struct foreign_thread *foreign_thread = arg;
    atomic_store(&foreign_thread->self, threading_current_thread());
    return wait_for_event(foreign_thread->event);
}

static bool has_called_current(void *arg)
{
    return atomic_load(&((struct foreign_thread *)arg)->self) != NULL;
}

static void enumerate_order(void)
{
    threading_event *event = event_new();
    struct foreign_thread foreign_threads[2] = {{event, NULL}, {event, NULL}};
    threading_thread *first = threading_thread_new(wait_for_event, event);
    threading_timer *timer = threading_timer_new(3600, NULL, NULL);
    threading_thread *second = threading_thread_new(wait_for_event, event), *expected[6];
    threading_thread *unstarted = threading_thread_new(NULL, NULL), *ended = spawn(NULL, NULL);
    threading_thread_list *list;
    pthread_t foreign[2];
    CHECK(first != NULL && second != NULL && timer != NULL && unstarted != NULL);
    CHECK_STATUS(threading_thread_join(ended), THREADING_OK);
    CHECK_STATUS(threading_thread_set_daemon(second, 1), THREADING_OK);
    CHECK_STATUS(threading_thread_start(second), THREADING_OK);
    foreign[0] = spawn_foreign(call_current_and_wait, &foreign_threads[0]);
    wait_until(has_called_current, &foreign_threads[0]);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    CHECK_STATUS(threading_thread_start(first), THREADING_OK);
    foreign[1] = spawn_foreign(call_current_and_wait, &foreign_threads[1]);
    wait_until(has_called_current, &foreign_threads[1]);

    expected[0] = threading_main_thread();
    expected[1] = second;
    expected[2] = atomic_load(&foreign_threads[0].self);
    expected[3] = threading_timer_thread(timer);
    expected[4] = first;
    expected[5] = atomic_load(&foreign_threads[1].self);
    list = threading_enumerate();
    CHECK(list != NULL);
    CHECK_INT(threading_thread_list_len(list), 6);
    CHECK_INT(threading_active_count(), 6);
    for (size_t i = 0; i < 6; i++)
        CHECK_PTR(threading_thread_list_get(list, i), expected[i]);
    CHECK_FAILS(threading_thread_list_get(list, 6), THREADING_ERR_VALUE);
    CHECK_FAILS(threading_thread_list_get(list, SIZE_MAX), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_thread_free(unstarted), THREADING_OK);
    CHECK_STATUS(threading_thread_free(ended), THREADING_OK);

    /* The list is a snapshot that holds references to its threads. */
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    join(first);
    join(second);
    join_foreign(foreign[0]);
    join_foreign(foreign[1]);
    CHECK_STATUS(threading_timer_cancel(timer), THREADING_OK);
    CHECK_STATUS(threading_thread_join(expected[3]), THREADING_OK);
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    CHECK_INT(threading_active_count(), 1);
    CHECK_INT(threading_thread_list_len(list), 6);
    for (size_t i = 0; i < 6; i++) {
        CHECK_PTR(threading_thread_list_get(list, i), expected[i]);
        CHECK(threading_thread_name(expected[i]) != NULL);
        CHECK_INT(threading_thread_is_alive(expected[i]), i == 0);
    }
    CHECK_PTR(threading_thread_result(first), event);
    CHECK_STATUS(threading_thread_list_free(list), THREADING_OK);
    for (size_t i = 1; i < 6; i++) {
        wait_until(is_gone, expected[i]); /* another exiting thread may still hold a reference */
        CHECK_STATUS(threading_thread_join(expected[i]), THREADING_ERR_HANDLE);
    }
    CHECK_STATUS(threading_thread_list_free(list), THREADING_ERR_HANDLE);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

static void alive_from_start_to_join(void)
{
    for (int round = 0; round < test_many(1000); round++) {
        threading_thread *thread = threading_thread_new(NULL, NULL);
        CHECK(thread != NULL);
        CHECK_INT(threading_active_count(), 1);
        CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
        CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
        CHECK_INT(threading_active_count(), 1);
        CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
    }
}

/* ------------------------------------------------------------------------------------------------- idents */

static void *store_ident(void *arg)
{
    uint64_t ident = threading_get_ident();
    CHECK(ident != 0);
    CHECK_INT(threading_get_ident(), ident);
#if defined(__linux__)
    CHECK_INT(threading_get_native_id(), syscall(SYS_gettid));
#endif
    CHECK_INT(threading_thread_ident(threading_current_thread()), ident);
    *(uint64_t *)arg = ident;
    return NULL;
}

static int compare_idents(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;
    return (left > right) - (left < right);
}

static void idents(void)
{
    enum { IDENTS = 1500 };
    static uint64_t all[IDENTS + 1];
    int threads = test_many(IDENTS / 3) * 3;
    for (int i = 0; i < threads; i += 3) {
        threading_timer *timer = threading_timer_new(0, store_ident, &all[i + 2]);
        CHECK(timer != NULL);
        join(spawn(store_ident, &all[i]));
        join_foreign(spawn_foreign(store_ident, &all[i + 1]));
        CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
        CHECK_STATUS(threading_thread_join(threading_timer_thread(timer)), THREADING_OK);
        CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    }
    all[threads] = threading_get_ident();
    qsort(all, (size_t)threads + 1, sizeof all[0], compare_idents);
    for (int i = 0; i < threads; i++)
        CHECK(all[i] != all[i + 1]);
}

/* ---------------------------------------------------------------------------------------- stack and sleep */

/* Uses all but the last 64 KiB of a stack of this size. */
static void *use_stack(void *arg)
{
    size_t used = *(size_t *)arg - 65536;
    volatile char *bytes = __builtin_alloca(used);
    for (size_t i = 0; i < used; i += 4096)
        bytes[i] = 1;
    return arg;
}

static void stack_size(void)
{
    size_t size = (size_t)24 << 20;
    threading_clear_last_error();
    CHECK_INT(threading_stack_size(), 0);
    CHECK_STATUS_KEEPS_ERROR(threading_set_stack_size(size), THREADING_OK);
    CHECK_INT(threading_stack_size(), size);
    CHECK_INT(threading_stack_size(), size);
    CHECK_STATUS(threading_set_stack_size(1), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_set_stack_size(4096), THREADING_ERR_VALUE);
    CHECK_INT(threading_stack_size(), size);
    CHECK_PTR(join(spawn(use_stack, &size)), &size);
    CHECK_STATUS(threading_set_stack_size(test_smallest_stack()), THREADING_OK);
    CHECK_STATUS(threading_set_stack_size(0), THREADING_OK);
    CHECK_INT(threading_stack_size(), 0);
    CHECK_PTR(join(spawn(use_without_dummy, &size)), &size);
}

static void sleep_is_not_early(void)
{
    static const double times[] = {0.1, 0.01, 1e-9, 0};
    for (size_t i = 0; i < TEST_COUNT(times); i++) {
        double begin = now();
        CHECK_STATUS_KEEPS_ERROR(threading_sleep(times[i]), THREADING_OK);
        CHECK_AT_LEAST(now() - begin, times[i]);
    }
    CHECK_STATUS(threading_sleep(NAN), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_sleep(-0.001), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_sleep(-INFINITY), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_sleep(9223372037.0), THREADING_ERR_OVERFLOW);
}

/* --------------------------------------------------------------------------------------------- excepthook */

static struct {
    threading_thread *thread;
    char type[32], message[32];
    void *arg;
    int calls;
} hooked;

static void hook(threading_thread *thread, const char *type, const char *message, void *arg)
{
    CHECK_PTR(thread, threading_current_thread());
    hooked.thread = thread;
    snprintf(hooked.type, sizeof hooked.type, "%s", type);
    snprintf(hooked.message, sizeof hooked.message, "%s", message);
    hooked.arg = arg;
    hooked.calls++;
}

static void *report(void *arg)
{
    CHECK_STATUS_KEEPS_ERROR(threading_report_exception("ValueError", "too odd"), THREADING_OK);
    return arg;
}

static void *report_named(void *arg)
{
    CHECK_STATUS(threading_thread_set_name(threading_current_thread(), "Größe"), THREADING_OK);
    return report(arg);
}

static void custom_hook(void)
{
    threading_thread *thread = threading_thread_new(report, &thread);
    threading_timer *timer = threading_timer_new(0, report, &timer);
    void *arg = &arg;
    CHECK(thread != NULL && timer != NULL);
    CHECK(threading_get_excepthook(&arg) == NULL);
    CHECK(threading_get_excepthook(NULL) == NULL);
    threading_set_excepthook(hook, &hooked);
    CHECK(threading_get_excepthook(&arg) == hook);
    CHECK(threading_get_excepthook(NULL) == hook);
    CHECK_PTR(arg, &hooked);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_join(thread), THREADING_OK);
    CHECK_PTR(hooked.thread, thread);
    CHECK_STR(hooked.type, "ValueError");
    CHECK_STR(hooked.message, "too odd");
    CHECK_PTR(hooked.arg, &hooked);
    CHECK_PTR(join(thread), &thread); /* a report does not end the thread */
    report(NULL);
    CHECK_PTR(hooked.thread, threading_main_thread());
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    CHECK_STATUS(threading_thread_join(threading_timer_thread(timer)), THREADING_OK);
    CHECK_PTR(hooked.thread, threading_timer_thread(timer));
    CHECK_STATUS(threading_timer_free(timer), THREADING_OK);
    join_foreign(spawn_foreign(report, NULL));
    CHECK_INT(hooked.calls, 4);
    threading_set_excepthook(NULL, &hooked);
    CHECK(threading_get_excepthook(NULL) == NULL);
}

static void default_hook(void)
{
    char line[256] = "";
    int file = memfd_create("stderr", 0), saved = dup(STDERR_FILENO);
    CHECK(file >= 0 && saved >= 0);
    fflush(stderr);
    CHECK(dup2(file, STDERR_FILENO) >= 0);
    threading_set_excepthook(NULL, NULL);
    report(NULL);
    join(spawn(report_named, NULL));
    CHECK(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    CHECK(pread(file, line, sizeof line - 1, 0) > 0);
    CHECK_STR(line, "Exception in thread MainThread: ValueError: too odd\n"
                    "Exception in thread Größe: ValueError: too odd\n");
    close(file);
}

static atomic_int interruptions;

static void count_interruption(int number)
{
    (void)number;
    atomic_fetch_add(&interruptions, 1);
}

/* Standard error is a full pipe, so that the report blocks. The handler has no SA_RESTART. */
static void default_hook_with_signals(void)
{
    enum { SIGNALS = 20 };
    const char expected[] = "Exception in thread Größe: ValueError: too odd\n";
    struct sigaction action = {.sa_handler = count_interruption}, former;
    char line[sizeof expected] = "", byte = '-';
    int pipe_ends[2], saved = dup(STDERR_FILENO), flags;
    CHECK_INT(pipe(pipe_ends), 0);
    flags = fcntl(pipe_ends[1], F_GETFL);
    CHECK_INT(fcntl(pipe_ends[1], F_SETFL, flags | O_NONBLOCK), 0);
    while (write(pipe_ends[1], &byte, 1) == 1) {
    }
    CHECK_INT(fcntl(pipe_ends[1], F_SETFL, flags), 0);
    CHECK_INT(sigaction(SIGUSR1, &action, &former), 0);
    fflush(stderr);
    CHECK(dup2(pipe_ends[1], STDERR_FILENO) >= 0);
    threading_thread *thread = spawn(report_named, NULL);
    pid_t id = (pid_t)threading_thread_native_id(thread);
    double end = now() + TEST_LIMIT;
    while (atomic_load(&interruptions) < SIGNALS && now() < end) {
        (void)syscall(SYS_tgkill, getpid(), id, SIGUSR1); /* fails if the thread has ended */
        sleep_for(0.005);
        if (!threading_thread_is_alive(thread))
            break;
    }
    bool is_waiting = threading_thread_is_alive(thread);
    CHECK_INT(fcntl(pipe_ends[0], F_SETFL, O_NONBLOCK), 0);
    for (size_t length = 0; length < sizeof line - 1 && is_waiting && now() < end;)
        if (read(pipe_ends[0], &byte, 1) == 1 && byte != '-')
            line[length++] = byte;
    CHECK(dup2(saved, STDERR_FILENO) >= 0);
    join(thread);
    CHECK_INT(sigaction(SIGUSR1, &former, NULL), 0);
    CHECK_STR(line, expected);
    close(saved);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

/* --------------------------------------------------------------------------------------- atexit, shutdown */

static void invalid_exit_arguments(void)
{
    threading_thread *thread;
    CHECK_STATUS(threading_atexit(NULL, NULL), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_shutdown_timeout(NAN), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_shutdown_timeout(-2), THREADING_ERR_VALUE);
    CHECK_STATUS(threading_shutdown_timeout(9223372037.0), THREADING_ERR_OVERFLOW);
    /* None of these calls has shut down the library. */
    CHECK(threading_thread_is_alive(threading_main_thread()));
    thread = spawn(use_without_dummy, &thread);
    CHECK_PTR(join(thread), &thread);
}

static const struct test_case cases[] = {
    {"the library has the version of the header", version},
    {"each status has its number, name and message, and other numbers have a name and message too",
     status_names_and_messages},
    {"the last error is per thread and is kept until the next error or clear", last_error},
    {"main_thread returns the first thread of the process in every thread", main_thread_in_every_thread},
    {"a foreign thread has a Dummy from its first call of current_thread until it exits", dummy_of_a_foreign_thread},
    {"current_thread returns the same thread in the destructors of pthread keys", current_in_destructors},
    {"a Dummy that is created while its thread exits is not counted after that", dummy_of_an_exiting_thread},
    {"a Dummy is kept if the system does not report whether its thread is alive", dummies_without_tgkill},
    {"a timed wait ends at its deadline where the system does not permit threads to park", waits_without_futex},
    {"enumerate lists main and then the other threads in order of their start, with references", enumerate_order},
    {"a thread is counted from its start until its join", alive_from_start_to_join},
    {"idents are never 0 and never reused; native ids are the kernel's", idents},
    {"stack_size does not reset the stack size, and a size that is too small is ERR_VALUE", stack_size},
    {"sleep does not return early, and checks its argument", sleep_is_not_early},
    {"an excepthook receives the calling thread, both strings and its argument", custom_hook},
    {"the default excepthook prints one line to stderr", default_hook},
    {"the default excepthook prints the line if signals interrupt its write", default_hook_with_signals},
    {"invalid arguments of atexit and shutdown are errors without an effect", invalid_exit_arguments},
};

TEST_MAIN(cases)
