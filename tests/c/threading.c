/* Module functions: version, statuses, last error, current and main thread, enumerate, idents, stack size, sleep,
 * argument checks of atexit and shutdown. Dummies are in thread_dummies.c, the excepthook in excepthook.c. */
#include "thread.h"

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

static pthread_key_t key;
static atomic_int keys_destroyed;

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
    {"current_thread returns the same thread in the destructors of pthread keys", current_in_destructors},
    {"enumerate lists main and then the other threads in order of their start, with references", enumerate_order},
    {"a thread is counted from its start until its join", alive_from_start_to_join},
    {"idents are never 0 and never reused; native ids are the kernel's", idents},
    {"stack_size does not reset the stack size, and a size that is too small is ERR_VALUE", stack_size},
    {"sleep does not return early, and checks its argument", sleep_is_not_early},
    {"invalid arguments of atexit and shutdown are errors without an effect", invalid_exit_arguments},
};

TEST_MAIN(cases)
