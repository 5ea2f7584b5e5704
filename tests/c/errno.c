/* errno: no function of the library changes it. keeps_errno.h checks every call of every test; this file covers the
 * situations that no other test creates. */
#include "child.h"

#include <fcntl.h>
#include <sys/resource.h>

/* A callback of the program that changes errno. */
static void set_errno(void *value)
{
    errno = *(int *)value;
    may_change_errno();
}

/* A callback that also calls the library. */
static void set_errno_and_call(void *value)
{
    threading_lock *lock = threading_lock_new();
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    set_errno(value);
}

static void *init_sets_errno(void *value)
{
    set_errno(value);
    return value;
}

static int action_sets_errno(void *value)
{
    set_errno(value);
    return 0;
}

static int true_with_errno(void *value)
{
    set_errno(value);
    return 1;
}

static void callback_sets_errno(void)
{
    int value = EXDEV;
    threading_local *local = threading_local_new(set_errno_and_call);
    threading_barrier *barrier = threading_barrier_new(1, action_sets_errno, &value);
    threading_condition *condition = threading_condition_new();
    threading_thread *thread = threading_thread_new(NULL, &value);
    CHECK(local != NULL && barrier != NULL && condition != NULL && thread != NULL);
    CHECK_STATUS(threading_local_set(local, &value), THREADING_OK);
    /* A function's name in parentheses is not expanded as a macro, so that keeps_errno.h does not check these calls. */
    errno = 0;
    CHECK_INT((threading_local_del)(local), THREADING_OK);
    CHECK_INT(errno, EXDEV);
    CHECK_STATUS(threading_local_set(local, &value), THREADING_OK);
    errno = 0;
    CHECK_INT((threading_local_free)(local), THREADING_OK);
    CHECK_INT(errno, EXDEV);
    CHECK((local = threading_local_new_with_init(init_sets_errno, &value, NULL)) != NULL);
    errno = 0;
    CHECK_PTR((threading_local_get)(local), &value);
    CHECK_INT(errno, EXDEV);
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
    errno = 0;
    CHECK_INT((threading_barrier_wait)(barrier, NULL), THREADING_OK);
    CHECK_INT(errno, EXDEV);
    CHECK_STATUS(threading_barrier_free(barrier), THREADING_OK);
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    errno = 0;
    CHECK_INT((threading_condition_wait_for)(condition, true_with_errno, &value), THREADING_OK);
    CHECK_INT(errno, EXDEV);
    CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
    CHECK_STATUS(threading_condition_free(condition), THREADING_OK);
    CHECK_STATUS(threading_thread_set_arg_destructor(thread, set_errno), THREADING_OK);
    errno = 0;
    CHECK_INT((threading_thread_free)(thread), THREADING_OK);
    CHECK_INT(errno, EXDEV);
}

static void *read_errno(void *arg)
{
    *(int *)arg = errno;
    return NULL;
}

static void thread_starts_with_errno_0(void)
{
    for (int i = 0; i < 3; i++) {
        int value = -1;
        join(spawn(read_errno, &value));
        CHECK_INT(value, 0);
    }
}

/* Without file descriptors the library can neither set the kernel's name of another thread nor read
 * /proc/sys/vm/overcommit_memory. */
static void without_files(void)
{
    struct rlimit before, none;
    threading_event *event = threading_event_new();
    threading_thread *thread, *other;
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
    thread = spawn(wait_for_event, event);
    CHECK_STATUS(threading_thread_set_name(thread, "renamed"), THREADING_OK);
    other = spawn(wait_for_event, event);
    CHECK_STATUS(threading_thread_join_timeout(thread, 0.001), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    join(thread);
    join(other);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

static void without_stderr(void)
{
    int saved = dup(STDERR_FILENO), ends[2];
    CHECK(saved >= 0);
    close(STDERR_FILENO);
    CHECK_STATUS(threading_report_exception("Error", "this is not read"), THREADING_OK);
    /* A closed pipe does not kill the process. */
    CHECK_INT(pipe(ends), 0);
    CHECK_INT(dup2(ends[1], STDERR_FILENO), STDERR_FILENO);
    for (int i = 0; i < 2; i++)
        if (ends[i] != STDERR_FILENO)
            close(ends[i]);
    CHECK_STATUS(threading_report_exception("Error", "this is not read"), THREADING_OK);
    CHECK_INT(dup2(saved, STDERR_FILENO), STDERR_FILENO);
    close(saved);
}

static void fork_keeps_errno(void)
{
    threading_lock *lock = threading_lock_new();
    threading_local *local = threading_local_new(NULL);
    CHECK_STATUS(threading_local_set(local, lock), THREADING_OK);
    for (int i = 0; i < 3; i++) {
        pid_t child;
        int status;
        errno = TEST_ERRNO;
        child = fork();
        if (child == 0) {
            CHECK_INT(errno, TEST_ERRNO);
            CHECK_STATUS(threading_lock_acquire_timeout(lock, 0.01), THREADING_OK);
            CHECK_STATUS(threading_lock_acquire_timeout(lock, 0.01), THREADING_TIMED_OUT);
            join(spawn(read_errno, &status));
            CHECK_PTR(threading_local_get(local), lock);
            _exit(0);
        }
        CHECK_INT(errno, TEST_ERRNO);
        CHECK_INT(child_status(child), 0);
    }
    CHECK_STATUS(threading_lock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
}

static atomic_int handled;

static void handler(int number)
{
    int before = errno;
    (void)number;
    errno = EXDEV; /* as a call in a handler may do; the handler then restores it */
    atomic_fetch_add(&handled, 1);
    errno = before;
}

static void *interrupt(void *arg)
{
    pthread_t thread = *(pthread_t *)arg;
    for (int i = 0; i < 50; i++) {
        pthread_kill(thread, SIGUSR1);
        sleep_for(0.001);
    }
    return NULL;
}

static void interrupted_waits(void)
{
    struct sigaction action = {.sa_handler = handler};
    threading_event *event = threading_event_new();
    threading_thread *thread;
    pthread_t self = pthread_self();
    atomic_store(&handled, 0);
    CHECK_INT(sigaction(SIGUSR1, &action, NULL), 0);
    thread = spawn(interrupt, &self);
    CHECK_STATUS(threading_event_wait_timeout(event, 0.02), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_sleep(0.02), THREADING_OK);
    CHECK_STATUS(threading_thread_join_timeout(thread, TEST_LIMIT), THREADING_OK);
    CHECK(atomic_load(&handled) > 0);
    join(thread);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

enum { TURNS = 2000, THREADS = 4 };

static struct {
    threading_lock *lock;
    threading_rlock *rlock;
    threading_condition *condition;
    threading_semaphore *semaphore;
    threading_barrier *barrier;
    int turns;
} shared;

static void *use_all(void *arg)
{
    for (int i = 0; i < test_many(TURNS); i++) {
        CHECK_STATUS(threading_lock_acquire(shared.lock), THREADING_OK);
        CHECK_STATUS(threading_lock_release(shared.lock), THREADING_OK);
        CHECK_STATUS(threading_rlock_acquire(shared.rlock), THREADING_OK);
        CHECK_STATUS(threading_rlock_release(shared.rlock), THREADING_OK);
        CHECK_STATUS(threading_semaphore_acquire(shared.semaphore), THREADING_OK);
        CHECK_STATUS(threading_semaphore_release(shared.semaphore), THREADING_OK);
        if (i % 16 != 0)
            continue;
        CHECK_STATUS(threading_barrier_wait_timeout(shared.barrier, TEST_LIMIT, NULL), THREADING_OK);
        CHECK_STATUS(threading_condition_acquire(shared.condition), THREADING_OK);
        if (++shared.turns % THREADS == 0)
            CHECK_STATUS(threading_condition_notify_all(shared.condition), THREADING_OK);
        else
            CHECK_STATUS(threading_condition_wait_timeout(shared.condition, TEST_LIMIT), THREADING_OK);
        CHECK_STATUS(threading_condition_release(shared.condition), THREADING_OK);
    }
    return arg;
}

static void contended(void)
{
    threading_thread *threads[THREADS];
    CHECK((shared.lock = threading_lock_new()) != NULL && (shared.rlock = threading_rlock_new()) != NULL);
    CHECK((shared.condition = threading_condition_new()) != NULL);
    CHECK((shared.semaphore = threading_semaphore_new(1)) != NULL);
    CHECK((shared.barrier = threading_barrier_new(THREADS, NULL, NULL)) != NULL);
    spawn_all(threads, use_all, NULL);
    join_all(threads);
    CHECK_STATUS(threading_lock_free(shared.lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_free(shared.rlock), THREADING_OK);
    CHECK_STATUS(threading_condition_free(shared.condition), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(shared.semaphore), THREADING_OK);
    CHECK_STATUS(threading_barrier_free(shared.barrier), THREADING_OK);
}

static const struct test_case cases[] = {
    {"an errno that a callback sets is kept", callback_sets_errno},
    {"a thread starts with errno 0", thread_starts_with_errno_0},
    {"errno is unchanged when no file can be opened", without_files},
    {"errno is unchanged when an exception is reported and stderr is closed", without_stderr},
    {"errno is unchanged in the parent and in the child after fork", fork_keeps_errno},
    {"errno is unchanged when signals interrupt a wait", interrupted_waits},
    {"errno is unchanged when threads contend", contended},
};

TEST_MAIN(cases)
