/* Two threads, one after the other, acquire two locks: in the wrong variant in opposite orders. ThreadSanitizer must
 * report this as a potential deadlock, although the threads do not run at the same time.
 *
 *   order SCENARIO right|wrong
 *   order                       lists the scenarios, one per line */
#include <pthread.h>
#include <string.h>

#include "check.h"

static threading_lock *lock_a, *lock_b;
static threading_rlock *rlock_a, *rlock_b;
static threading_condition *condition;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void locks(bool reversed)
{
    CHECK_OK(threading_lock_acquire(reversed ? lock_b : lock_a));
    CHECK_OK(threading_lock_acquire(reversed ? lock_a : lock_b));
    CHECK_OK(threading_lock_release(lock_a));
    CHECK_OK(threading_lock_release(lock_b));
}

static void rlocks(bool reversed)
{
    CHECK_OK(threading_rlock_acquire(reversed ? rlock_b : rlock_a));
    CHECK_OK(threading_rlock_acquire(reversed ? rlock_a : rlock_b));
    /* A recursive acquire cannot block, so its order does not matter. */
    CHECK_OK(threading_rlock_acquire(rlock_a));
    CHECK_OK(threading_rlock_acquire(rlock_b));
    CHECK_OK(threading_rlock_release(rlock_b));
    CHECK_OK(threading_rlock_release(rlock_a));
    CHECK_OK(threading_rlock_release(rlock_a));
    CHECK_OK(threading_rlock_release(rlock_b));
}

static void lock_and_mutex(bool reversed)
{
    if (reversed)
        CHECK(pthread_mutex_lock(&mutex) == 0);
    CHECK_OK(threading_lock_acquire(lock_a));
    if (!reversed)
        CHECK(pthread_mutex_lock(&mutex) == 0);
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    CHECK_OK(threading_lock_release(lock_a));
}

static void with(bool reversed)
{
    THREADING_WITH (reversed ? lock_b : lock_a) {
        THREADING_WITH (reversed ? lock_a : lock_b)
            continue;
    }
}

static void condition_and_lock(bool reversed)
{
    if (reversed)
        CHECK_OK(threading_lock_acquire(lock_a));
    CHECK_OK(threading_condition_acquire(condition));
    if (!reversed)
        CHECK_OK(threading_lock_acquire(lock_a));
    CHECK_OK(threading_lock_release(lock_a));
    CHECK_OK(threading_condition_release(condition));
}

static void *release_a(void *arg)
{
    CHECK_OK(threading_lock_release(lock_a));
    return arg;
}

/* A lock that another thread has released is no longer held, so the two acquires have no order. */
static void released_by_another(bool reversed)
{
    threading_thread *other = threading_thread_new(release_a, NULL);
    CHECK_OK(threading_lock_acquire(reversed ? lock_b : lock_a));
    if (!reversed) {
        CHECK_OK(threading_thread_start(other));
        CHECK_OK(threading_thread_join(other));
    }
    CHECK_OK(threading_lock_acquire(reversed ? lock_a : lock_b));
    CHECK_OK(threading_lock_release(lock_b));
    if (reversed)
        CHECK_OK(threading_lock_release(lock_a));
    CHECK_OK(threading_thread_free(other));
}

/* try_acquire does not block, and a timed acquire ends: neither can deadlock. */
static void try_locks(bool reversed)
{
    CHECK_OK(threading_lock_acquire(reversed ? lock_b : lock_a));
    CHECK_OK(threading_lock_try_acquire(reversed ? lock_a : lock_b));
    CHECK_OK(threading_lock_release(lock_a));
    CHECK_OK(threading_lock_release(lock_b));
    CHECK_OK(threading_rlock_acquire(reversed ? rlock_b : rlock_a));
    CHECK_OK(threading_rlock_acquire_timeout(reversed ? rlock_a : rlock_b, 1));
    CHECK_OK(threading_rlock_release(rlock_a));
    CHECK_OK(threading_rlock_release(rlock_b));
}

/* If `harmless`, the opposite order must not be reported either. */
static const struct scenario {
    const char *name;
    void (*acquire)(bool reversed);
    bool harmless;
} scenarios[] = {
    {"locks", locks, false},
    {"rlocks", rlocks, false},
    {"a lock and a pthread mutex", lock_and_mutex, false},
    {"THREADING_WITH", with, false},
    {"a condition and a lock", condition_and_lock, false},
    {"a lock released by another thread", released_by_another, true},
    {"locks with try_acquire", try_locks, true},
};

static struct run {
    const struct scenario *scenario;
    bool reversed;
} runs[2];

static void *run_scenario(void *arg)
{
    struct run *run = arg;
    run->scenario->acquire(run->reversed);
    return NULL;
}

int main(int argc, char **argv)
{
    lock_a = threading_lock_new();
    lock_b = threading_lock_new();
    rlock_a = threading_rlock_new();
    rlock_b = threading_rlock_new();
    condition = threading_condition_new();
    for (size_t i = 0; i < sizeof scenarios / sizeof *scenarios; i++) {
        if (argc != 3) {
            puts(scenarios[i].name);
            continue;
        }
        if (strcmp(scenarios[i].name, argv[1]) != 0)
            continue;
        for (int k = 0; k < 2; k++) {
            bool reversed = k == 1 && (scenarios[i].harmless || strcmp(argv[2], "wrong") == 0);
            if (scenarios[i].harmless && strcmp(argv[2], "wrong") == 0)
                return 3;
            runs[k] = (struct run){&scenarios[i], reversed};
            threading_thread *thread = threading_thread_new(run_scenario, &runs[k]);
            CHECK_OK(threading_thread_start(thread));
            CHECK_OK(threading_thread_join(thread));
            CHECK_OK(threading_thread_free(thread));
        }
    }
    return 0;
}
