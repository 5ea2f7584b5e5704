/* RLock: owned by a thread, recursive, and only its owner may release it. */
#define LOCKABLE rlock
#define CONTEST_TURNS test_many(10000)
#include "lockable.h"

#include "sandbox.h"

#include <fcntl.h>
#include <sys/time.h>

/* Also releases the rlock, so that it is unlocked when the thread exits. */
static threading_status acquire_and_release(void *lock)
{
    threading_status status = threading_rlock_acquire(lock);
    if (status == THREADING_OK)
        CHECK_STATUS(threading_rlock_release(lock), THREADING_OK);
    return status;
}

static threading_status try_acquire(void *lock)
{
    return threading_rlock_try_acquire(lock);
}

/* Returns the status that another thread gets from the function. */
static threading_status in_another_thread(threading_status (*function)(void *), threading_rlock *lock)
{
    struct call call;
    call_start(&call, function, lock);
    return call_result(&call);
}

static void new_is_unlocked(void)
{
    threading_rlock *lock = new_lock();
    threading_clear_last_error();
    CHECK(!threading_rlock_locked(lock));
    CHECK(!threading_rlock_is_owned(lock));
    CHECK_INT(threading_rlock_recursion_count(lock), 0);
    CHECK_LAST_ERROR(THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_rlock_acquire(lock), THREADING_OK);
    CHECK(threading_rlock_locked(lock));
    CHECK(threading_rlock_is_owned(lock));
    CHECK_STATUS_KEEPS_ERROR(threading_rlock_release(lock), THREADING_OK);
    CHECK(!threading_rlock_locked(lock));
    CHECK(!threading_rlock_is_owned(lock));
    free_lock(lock);
}

static void owner_acquires_again(void)
{
    threading_rlock *lock = new_lock();
    for (int i = 0; i < 30; i++) {
        CHECK_INT(threading_rlock_recursion_count(lock), i);
        CHECK_STATUS_KEEPS_ERROR(i % 3 == 0   ? threading_rlock_acquire(lock)
                                 : i % 3 == 1 ? threading_rlock_try_acquire(lock)
                                              : threading_rlock_acquire_timeout(lock, 0),
                                 THREADING_OK);
    }
    for (int i = 30; i > 0; i--) {
        CHECK_INT(threading_rlock_recursion_count(lock), i);
        CHECK(threading_rlock_is_owned(lock));
        CHECK_RESULT(in_another_thread(try_acquire, lock), THREADING_WOULD_BLOCK);
        CHECK_STATUS(threading_rlock_release(lock), THREADING_OK);
    }
    CHECK_RESULT(in_another_thread(acquire_and_release, lock), THREADING_OK);
    free_lock(lock);
}

static void deep_recursion(void)
{
    threading_rlock *lock = new_lock();
    for (int i = 0; i < 100000; i++)
        CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_INT(threading_rlock_recursion_count(lock), 100000);
    for (int i = 0; i < 100000; i++)
        CHECK_STATUS(threading_rlock_release(lock), THREADING_OK);
    CHECK(!threading_rlock_locked(lock));
    CHECK_STATUS(threading_rlock_release(lock), THREADING_ERR_NOT_OWNER);
    free_lock(lock);
}

static void *check_not_owner(void *lock)
{
    CHECK(threading_rlock_locked(lock));
    CHECK(!threading_rlock_is_owned(lock));
    CHECK_INT(threading_rlock_recursion_count(lock), 0);
    CHECK_STATUS_KEEPS_ERROR(threading_rlock_try_acquire(lock), THREADING_WOULD_BLOCK);
    CHECK_STATUS_KEEPS_ERROR(threading_rlock_acquire_timeout(lock, 0), THREADING_TIMED_OUT);
    CHECK_STATUS(threading_rlock_release(lock), THREADING_ERR_NOT_OWNER);
    CHECK(threading_rlock_locked(lock));
    return lock;
}

static void other_threads_are_not_owners(void)
{
    threading_rlock *lock = new_held_lock();
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_PTR(join(spawn(check_not_owner, lock)), lock);
    CHECK_PTR(join_foreign(spawn_foreign(check_not_owner, lock)), lock);
    CHECK(threading_rlock_is_owned(lock));
    CHECK_INT(threading_rlock_recursion_count(lock), 2);
    free_lock(lock);
}

static void release_of_unlocked(void)
{
    threading_rlock *lock = new_lock();
    CHECK_STATUS(threading_rlock_release(lock), THREADING_ERR_NOT_OWNER);
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(lock), THREADING_ERR_NOT_OWNER);
    CHECK(!threading_rlock_locked(lock));
    CHECK_RESULT(in_another_thread(acquire_and_release, lock), THREADING_OK);
    free_lock(lock);
}

static void timeout_is_not_early(void)
{
    threading_rlock *lock = new_lock();
    CHECK_RESULT(in_another_thread(acquire, lock), THREADING_OK);
    check_timeouts(lock);
    free_lock(lock);
}

static void invalid_timeouts(void)
{
    threading_rlock *lock = new_lock();
    CHECK_BAD_TIMEOUTS(threading_rlock_acquire_timeout(lock, seconds));
    CHECK(!threading_rlock_locked(lock));
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_BAD_TIMEOUTS(threading_rlock_acquire_timeout(lock, seconds));
    CHECK_INT(threading_rlock_recursion_count(lock), 1);
    free_lock(lock);
    lock = new_lock();
    CHECK_RESULT(in_another_thread(acquire, lock), THREADING_OK);
    CHECK_BAD_TIMEOUTS(threading_rlock_acquire_timeout(lock, seconds));
    free_lock(lock);
}

static void unlimited_waits(void)
{
    threading_status (*const calls[])(void *) = {acquire, acquire_infinity, acquire_forever, acquire_max};
    for (size_t i = 0; i < TEST_COUNT(calls); i++) {
        threading_rlock *lock = new_held_lock();
        struct call call;
        CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
        call_blocked(&call, calls[i], lock);
        CHECK_STATUS(threading_rlock_release(lock), THREADING_OK);
        CHECK(call_still_blocked(&call)); /* the recursion count is 1 */
        CHECK_STATUS(threading_rlock_release(lock), THREADING_OK);
        CHECK_CALL(&call, THREADING_OK);
        free_lock(lock);
    }
}

static void *acquire_twice(void *lock)
{
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK(threading_rlock_is_owned(lock));
    CHECK_INT(threading_rlock_recursion_count(lock), 2);
    return lock;
}

/* No later thread counts as the owner, even if it gets the same stack or the same ID from the system. */
static void owner_that_exited(bool foreign)
{
    threading_rlock *lock = new_lock();
    if (foreign)
        join_foreign(spawn_foreign(acquire_twice, lock));
    else
        join(spawn(acquire_twice, lock));
    for (int i = 0; i < 50; i++) {
        CHECK_PTR(join(spawn(check_not_owner, lock)), lock);
        CHECK_PTR(join_foreign(spawn_foreign(check_not_owner, lock)), lock);
    }
    check_not_owner(lock);
    CHECK_STATUS(threading_rlock_at_fork_reinit(lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    free_lock(lock);
}

static void library_owner_that_exited(void)
{
    owner_that_exited(false);
}

static void foreign_owner_that_exited(void)
{
    owner_that_exited(true);
}

static void *try_acquire_in_timer(void *lock)
{
    return threading_rlock_try_acquire(lock) == THREADING_OK ? lock : NULL;
}

static void run_timer(threading_target function, threading_rlock *lock)
{
    CHECK_PTR(join_timer_and_free(timer_start(0, function, lock)), lock);
}

static void timers_are_distinct_owners(void)
{
    threading_rlock *lock = new_lock();
    run_timer(try_acquire_in_timer, lock);
    for (int i = 0; i < 20; i++)
        run_timer(check_not_owner, lock);
    free_lock(lock);
}

static void held_may_be_freed(void)
{
    threading_rlock *lock = new_held_lock();
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_rlock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_release(lock), THREADING_ERR_HANDLE);
    lock = new_lock();
    CHECK_RESULT(in_another_thread(acquire, lock), THREADING_OK);
    free_lock(lock);
}

static void busy_while_blocked(void)
{
    threading_rlock *lock = new_held_lock();
    struct call call;
    CHECK_PTR(threading_rlock_ref(lock), lock);
    call_blocked(&call, acquire_and_release, lock);
    CHECK_STATUS(threading_rlock_free(lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_free(lock), THREADING_ERR_BUSY);
    CHECK_STATUS(threading_rlock_free(lock), THREADING_ERR_BUSY);
    CHECK(threading_rlock_is_owned(lock));
    CHECK_STATUS(threading_rlock_release(lock), THREADING_OK);
    CHECK_CALL(&call, THREADING_OK);
    free_lock(lock);
    CHECK_STATUS(threading_rlock_free(lock), THREADING_ERR_HANDLE);
}

static void reinit_unlocks(void)
{
    threading_rlock *lock = new_held_lock();
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_STATUS_KEEPS_ERROR(threading_rlock_at_fork_reinit(lock), THREADING_OK);
    CHECK(!threading_rlock_locked(lock));
    CHECK_INT(threading_rlock_recursion_count(lock), 0);
    CHECK_STATUS(threading_rlock_release(lock), THREADING_ERR_NOT_OWNER);
    CHECK_RESULT(in_another_thread(acquire_and_release, lock), THREADING_OK);
    CHECK_STATUS(threading_rlock_acquire(lock), THREADING_OK);
    CHECK_INT(threading_rlock_recursion_count(lock), 1);
    free_lock(lock);
}

/* Each thread adds to a plain counter at every recursion count; no other thread may change it in between. */
static void *contend(void *arg)
{
    struct contest *contest = arg;
    const long turns = CONTEST_TURNS;
    unsigned turn = 0;
    for (long i = 0; i < turns; turn++) {
        size_t depth = 1 + turn % 4;
        long before;
        if (acquire_by_turns(contest->lock, turn) != THREADING_OK)
            continue;
        before = contest->counter;
        for (size_t level = 1; level < depth; level++) {
            contest->counter++;
            CHECK_STATUS(threading_rlock_acquire(contest->lock), THREADING_OK);
        }
        CHECK_INT(threading_rlock_recursion_count(contest->lock), depth);
        for (size_t level = 1; level < depth; level++)
            CHECK_STATUS(threading_rlock_release(contest->lock), THREADING_OK);
        CHECK_INT(contest->counter, before + (long)depth - 1);
        contest->counter = before + 1;
        i++;
        CHECK_STATUS(threading_rlock_release(contest->lock), THREADING_OK);
    }
    return NULL;
}

/* The cost of a call must not grow with the number of rlocks that the thread holds. */
static void many_acquired_twice(void)
{
    enum { MANY = 200000 };
    /* The time of DRD grows with the square of the number of locks that a thread holds. */
    const size_t many = (size_t)test_many(test_many(MANY));
    threading_rlock **locks = malloc(many * sizeof *locks);
    double begin;
    CHECK(locks != NULL);
    for (size_t i = 0; i < many; i++)
        CHECK((locks[i] = threading_rlock_new()) != NULL);
    begin = now();
    for (size_t i = 0; i < many; i++) {
        CHECK_INT(threading_rlock_acquire(locks[i]), THREADING_OK);
        CHECK_INT(threading_rlock_acquire(locks[i]), THREADING_OK);
    }
    for (size_t i = 0; i < many; i += 1000)
        CHECK_INT(threading_rlock_recursion_count(locks[i]), 2);
    /* Every second rlock is released first, so that the others are looked up among removed entries. */
    for (size_t start = 0; start < 2; start++) {
        for (size_t i = start; i < many; i += 2) {
            CHECK_INT(threading_rlock_release(locks[i]), THREADING_OK);
            CHECK_INT(threading_rlock_recursion_count(locks[i]), 1);
            CHECK_INT(threading_rlock_release(locks[i]), THREADING_OK);
        }
        for (size_t i = 1; i < many; i += 1000)
            CHECK_INT(threading_rlock_recursion_count(locks[i]), start == 0 ? 2 : 0);
    }
    CHECK(now() - begin < TEST_LIMIT);
    for (size_t i = 0; i < many; i++)
        CHECK_INT(threading_rlock_free(locks[i]), THREADING_OK);
    free(locks);
}

/* ---- releases by a store, which a waiting thread stops by the system call membarrier ---- */

/* Threads that park, and owners that release the lock before they do, again and again. */
struct parking {
    threading_rlock *lock;
    long counter;
};

#define PARKING_CASE "threads that are about to park are woken by a release"

enum { PARKING_TURNS = 500 };

static void *acquire_often(void *arg)
{
    struct parking *parking = arg;
    for (int i = 0; i < PARKING_TURNS; i++) {
        CHECK_STATUS(threading_rlock_acquire(parking->lock), THREADING_OK);
        parking->counter++;
        CHECK_STATUS(threading_rlock_release(parking->lock), THREADING_OK);
    }
    return arg;
}

/* With a new lock in each round, since the owner of a contended lock does not release it by a store for a while. */
static void check_parking(void)
{
    for (int round = 0; round < test_many(40); round++) {
        struct parking parking = {new_lock(), 0};
        threading_thread *threads[4];
        spawn_all(threads, acquire_often, &parking);
        join_all(threads);
        CHECK_INT(parking.counter, 4L * PARKING_TURNS);
        CHECK(!threading_rlock_locked(parking.lock));
        free_lock(parking.lock);
    }
}

static atomic_int interrupts;

static void interrupt(int signal)
{
    (void)signal;
    atomic_fetch_add(&interrupts, 1);
}

/* A signal interrupts a thread between any two instructions of a release. */
static void signals_lose_no_waiter(void)
{
    struct sigaction handler = {.sa_handler = interrupt, .sa_flags = SA_RESTART};
    int period = 50 * test_slowness();
    struct itimerval often = {{0, period}, {0, period}}, never = {{0, 0}, {0, 0}};
    CHECK_INT(sigaction(SIGALRM, &handler, NULL), 0);
    CHECK_INT(setitimer(ITIMER_REAL, &often, NULL), 0);
    check_parking();
    /* The handler stays: a signal may still be pending, in Valgrind for example. */
    CHECK_INT(setitimer(ITIMER_REAL, &never, NULL), 0);
    CHECK(atomic_load(&interrupts) > 0);
}

static void *release_until_freed(void *arg)
{
    struct parking *parking = arg;
    threading_status status = THREADING_OK;
    while (status == THREADING_OK) {
        status = threading_rlock_acquire(parking->lock);
        if (status == THREADING_OK)
            status = threading_rlock_release(parking->lock);
    }
    CHECK_INT(status, THREADING_ERR_HANDLE);
    return arg;
}

/* The next lock is probably in the memory of the freed one, whose owner may be about to write there. */
static void free_beside_release(void)
{
    for (int round = 0; round < test_many(500); round++) {
        struct parking parking = {new_lock(), 0};
        threading_thread *thread = spawn(release_until_freed, &parking);
        while (!threading_rlock_locked(parking.lock))
            sched_yield();
        free_lock(parking.lock);
        threading_rlock *newer = new_held_lock();
        CHECK(!threading_rlock_locked(parking.lock));
        for (int i = 0; i < 100; i++)
            CHECK(threading_rlock_is_owned(newer));
        CHECK_STATUS(threading_rlock_release(newer), THREADING_OK);
        free_lock(newer);
        join(thread);
    }
}

static void waiters_in_a_child_of_fork(void)
{
    if (TEST_SANITIZED)
        SKIP("ThreadSanitizer does not permit threads in a child of fork");
    SKIP_FORK_IF_PORTABLE();
    SKIP_THREADS_IN_CHILD_IF_EMULATED();
    CHECK(run_in_child(check_parking));
}

#if defined(HAS_FILTERS)
/* The library has found out that it may call membarrier before the program forbids it. */
static void check_without_membarrier(void)
{
    check_parking();
    block_system_call(SYS_membarrier);
    check_parking();
    free_beside_release();
    check_parking();
}

/* A new process, in which the library is loaded where membarrier fails, runs one of the cases. */
static void check_loaded_without_membarrier(void)
{
    char program[] = "/proc/self/exe", name[] = PARKING_CASE, *arguments[] = {program, name, NULL};
    block_system_call(SYS_membarrier);
    int null = open("/dev/null", O_WRONLY);
    CHECK_INT(dup2(null, STDOUT_FILENO), STDOUT_FILENO);
    execv(program, arguments);
    _exit(CHILD_SKIPPED);
}

#endif

static void works_without_membarrier(void)
{
#if defined(HAS_FILTERS)
    if (TEST_SANITIZED || test_slowness() != 1)
        SKIP("the tool needs its system calls");
    if (run_in_child(check_without_membarrier) && run_in_child(check_loaded_without_membarrier))
        return;
#endif
    SKIP("the system has no filters of system calls");
}

static const struct test_case cases[] = {
    {"a new rlock is unlocked; acquire makes the caller its owner, release unlocks it", new_is_unlocked},
    {"the owner may acquire an rlock again; other threads can after as many releases", owner_acquires_again},
    {"the owner can acquire an rlock a hundred thousand times", deep_recursion},
    {"a thread that is not the owner can neither acquire nor release a held rlock", other_threads_are_not_owners},
    {"a release of an unlocked rlock is ERR_NOT_OWNER", release_of_unlocked},
    {"acquire_timeout does not time out early", timeout_is_not_early},
    {"an invalid timeout is an error, also for the owner", invalid_timeouts},
    {"acquire and the timeouts FOREVER, infinity and TIMEOUT_MAX wait until the last release", unlimited_waits},
    {"an rlock whose owner exited stays locked, and no other thread is its owner", library_owner_that_exited},
    {"an rlock whose foreign owner exited stays locked, and no other thread is its owner", foreign_owner_that_exited},
    {"an rlock that a timer acquired is not owned by later timers", timers_are_distinct_owners},
    {"a held rlock may be freed", held_may_be_freed},
    {"a free of an rlock on which a thread is blocked is ERR_BUSY and has no effect", busy_while_blocked},
    {"an rlock may be freed right after the release that wakes its waiter", release_then_free},
    {"at_fork_reinit unlocks a held rlock", reinit_unlocks},
    {"threads exclude each other at every recursion count", excludes},
    {PARKING_CASE, check_parking},
    {"no waiting thread is lost when signals interrupt the owner", signals_lose_no_waiter},
    {"an rlock that is freed while its owner releases it stays freed", free_beside_release},
    {"waiting threads are woken in a child of fork", waiters_in_a_child_of_fork},
    {"an rlock works where membarrier is forbidden, from the start or later", works_without_membarrier},
    {"200,000 rlocks acquired twice each cost no more per call than one", many_acquired_twice},
};

TEST_MAIN(cases)
