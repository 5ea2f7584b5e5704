/* errno: no call changes it. keeps_errno.h checks that of all calls of all tests; here is what those do not try. */
#include "child.h"

#include <fcntl.h>
#include <sys/resource.h>

/* A destructor, an action and so on that fails by its own fault. */
static void set_errno(void *value)
{
    errno = *(int *)value;
    may_change_errno();
}

/* Calls the library inside of a callback as well. */
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

static void callbacks_keep_theirs(void)
{
    int number = EXDEV;
    threading_local *local = threading_local_new(set_errno_and_call);
    threading_barrier *barrier = threading_barrier_new(1, action_sets_errno, &number);
    threading_condition *condition = threading_condition_new();
    threading_thread *thread = threading_thread_new(NULL, &number);
    CHECK(local != NULL && barrier != NULL && condition != NULL && thread != NULL);
    CHECK_STATUS(threading_local_set(local, &number), THREADING_OK);
    /* In parentheses a function is no macro. */
    errno = 0;
    CHECK_INT((threading_local_del)(local), THREADING_OK);
    CHECK_INT(errno, EXDEV);
    CHECK_STATUS(threading_local_set(local, &number), THREADING_OK);
    errno = 0;
    CHECK_INT((threading_local_free)(local), THREADING_OK);
    CHECK_INT(errno, EXDEV);
    CHECK((local = threading_local_new_with_init(init_sets_errno, &number, NULL)) != NULL);
    errno = 0;
    CHECK_PTR((threading_local_get)(local), &number);
    CHECK_INT(errno, EXDEV);
    CHECK_STATUS(threading_local_free(local), THREADING_OK);
    errno = 0;
    CHECK_INT((threading_barrier_wait)(barrier, NULL), THREADING_OK);
    CHECK_INT(errno, EXDEV);
    CHECK_STATUS(threading_barrier_free(barrier), THREADING_OK);
    CHECK_STATUS(threading_condition_acquire(condition), THREADING_OK);
    errno = 0;
    CHECK_INT((threading_condition_wait_for)(condition, true_with_errno, &number), THREADING_OK);
    CHECK_INT(errno, EXDEV);
    CHECK_STATUS(threading_condition_release(condition), THREADING_OK);
    CHECK_STATUS(threading_condition_free(condition), THREADING_OK);
    CHECK_STATUS(threading_thread_set_arg_destructor(thread, set_errno), THREADING_OK);
    errno = 0;
    CHECK_INT((threading_thread_free)(thread), THREADING_OK);
    CHECK_INT(errno, EXDEV);
}

static void *ask_for_errno(void *arg)
{
    *(int *)arg = errno;
    return NULL;
}

static void a_thread_begins_with_none(void)
{
    for (int i = 0; i < 3; i++) {
        int found = -1;
        join(spawn(ask_for_errno, &found));
        CHECK_INT(found, 0);
    }
}

static void *stay(void *event)
{
    CHECK_STATUS(threading_event_wait_timeout(event, TEST_LIMIT), THREADING_OK);
    return NULL;
}

/* Where no file can be opened, a thread's name is not shown, and the system is not asked how it counts memory. */
static void without_files(void)
{
    struct rlimit before, none;
    threading_event *event = threading_event_new();
    threading_thread *thread, *another;
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 0;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
    thread = spawn(stay, event);
    CHECK_STATUS(threading_thread_set_name(thread, "renamed"), THREADING_OK);
    another = spawn(stay, event);
    CHECK_STATUS(threading_thread_join_timeout(thread, 0.001), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_event_set(event), THREADING_OK);
    join(thread);
    join(another);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_STATUS(threading_event_free(event), THREADING_OK);
}

static void without_stderr(void)
{
    int kept = dup(STDERR_FILENO);
    CHECK(kept >= 0);
    close(STDERR_FILENO);
    CHECK_STATUS(threading_report_exception("Error", "this is not read"), THREADING_OK);
    CHECK_INT(dup2(kept, STDERR_FILENO), STDERR_FILENO);
    close(kept);
}

static void fork_keeps_it(void)
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
            join(spawn(ask_for_errno, &status));
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
    errno = EXDEV; /* as any call of the handler's may, which then restores it */
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

/* Waits that a signal interrupts. */
static void interrupted(void)
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

enum { TURNS = 2000, PLAYERS = 4 };

static struct {
    threading_lock *lock;
    threading_rlock *rlock;
    threading_condition *condition;
    threading_semaphore *semaphore;
    threading_barrier *barrier;
    int turn;
} game;

static void *play(void *number)
{
    for (int i = 0; i < test_many(TURNS); i++) {
        CHECK_STATUS(threading_lock_acquire(game.lock), THREADING_OK);
        CHECK_STATUS(threading_lock_release(game.lock), THREADING_OK);
        CHECK_STATUS(threading_rlock_acquire(game.rlock), THREADING_OK);
        CHECK_STATUS(threading_rlock_release(game.rlock), THREADING_OK);
        CHECK_STATUS(threading_semaphore_acquire(game.semaphore), THREADING_OK);
        CHECK_STATUS(threading_semaphore_release(game.semaphore), THREADING_OK);
        if (i % 16 != 0)
            continue;
        CHECK_STATUS(threading_barrier_wait_timeout(game.barrier, TEST_LIMIT, NULL), THREADING_OK);
        CHECK_STATUS(threading_condition_acquire(game.condition), THREADING_OK);
        if (++game.turn % PLAYERS == 0)
            CHECK_STATUS(threading_condition_notify_all(game.condition), THREADING_OK);
        else
            CHECK_STATUS(threading_condition_wait_timeout(game.condition, TEST_LIMIT), THREADING_OK);
        CHECK_STATUS(threading_condition_release(game.condition), THREADING_OK);
    }
    return number;
}

static void contended(void)
{
    threading_thread *players[PLAYERS];
    CHECK((game.lock = threading_lock_new()) != NULL && (game.rlock = threading_rlock_new()) != NULL);
    CHECK((game.condition = threading_condition_new()) != NULL);
    CHECK((game.semaphore = threading_semaphore_new(1)) != NULL);
    CHECK((game.barrier = threading_barrier_new(PLAYERS, NULL, NULL)) != NULL);
    for (int i = 0; i < PLAYERS; i++)
        players[i] = spawn(play, NULL);
    for (int i = 0; i < PLAYERS; i++)
        join(players[i]);
    CHECK_STATUS(threading_lock_free(game.lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_free(game.rlock), THREADING_OK);
    CHECK_STATUS(threading_condition_free(game.condition), THREADING_OK);
    CHECK_STATUS(threading_semaphore_free(game.semaphore), THREADING_OK);
    CHECK_STATUS(threading_barrier_free(game.barrier), THREADING_OK);
}

static const struct test_case cases[] = {
    {"what a callback leaves in errno stays there", callbacks_keep_theirs},
    {"a thread begins with an errno of 0", a_thread_begins_with_none},
    {"errno stays when no file can be opened", without_files},
    {"errno stays when a failure is reported and stderr is closed", without_stderr},
    {"errno stays in the parent and in the child of a fork", fork_keeps_it},
    {"errno stays when signals interrupt a wait", interrupted},
    {"errno stays when threads contend", contended},
};

TEST_MAIN(cases)
