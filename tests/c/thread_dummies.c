/* Dummies: the objects of threads that the library did not start. */
#include "sandbox.h"
#include "thread.h"

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

static threading_event *end_event;

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

static const struct test_case cases[] = {
    {"a foreign thread has a Dummy from its first call of current_thread until it exits", dummy_of_a_foreign_thread},
    {"a Dummy that is created while its thread exits is not counted after that", dummy_of_an_exiting_thread},
    {"a Dummy is kept if the system does not report whether its thread is alive", dummies_without_tgkill},
};

TEST_MAIN(cases)
