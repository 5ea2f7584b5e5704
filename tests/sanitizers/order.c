/* Two threads, one after the other, take two locks in opposite orders: ThreadSanitizer sees that they could wait for
 * each other, if they came at the same time.
 *
 *   order WAY right|wrong
 *   order             lists the ways, one a line */
#include <pthread.h>
#include <string.h>

#include "check.h"

static threading_lock *lock_a, *lock_b;
static threading_rlock *rlock_a, *rlock_b;
static threading_condition *condition;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void locks(bool turned)
{
    CHECK_OK(threading_lock_acquire(turned ? lock_b : lock_a));
    CHECK_OK(threading_lock_acquire(turned ? lock_a : lock_b));
    CHECK_OK(threading_lock_release(lock_a));
    CHECK_OK(threading_lock_release(lock_b));
}

static void rlocks(bool turned)
{
    CHECK_OK(threading_rlock_acquire(turned ? rlock_b : rlock_a));
    CHECK_OK(threading_rlock_acquire(turned ? rlock_a : rlock_b));
    /* Once more is in no order: the caller has it. */
    CHECK_OK(threading_rlock_acquire(rlock_a));
    CHECK_OK(threading_rlock_acquire(rlock_b));
    CHECK_OK(threading_rlock_release(rlock_b));
    CHECK_OK(threading_rlock_release(rlock_a));
    CHECK_OK(threading_rlock_release(rlock_a));
    CHECK_OK(threading_rlock_release(rlock_b));
}

static void lock_and_mutex(bool turned)
{
    if (turned)
        CHECK(pthread_mutex_lock(&mutex) == 0);
    CHECK_OK(threading_lock_acquire(lock_a));
    if (!turned)
        CHECK(pthread_mutex_lock(&mutex) == 0);
    CHECK(pthread_mutex_unlock(&mutex) == 0);
    CHECK_OK(threading_lock_release(lock_a));
}

static void with(bool turned)
{
    THREADING_WITH (turned ? lock_b : lock_a) {
        THREADING_WITH (turned ? lock_a : lock_b)
            continue;
    }
}

static void condition_and_lock(bool turned)
{
    if (turned)
        CHECK_OK(threading_lock_acquire(lock_a));
    CHECK_OK(threading_condition_acquire(condition));
    if (!turned)
        CHECK_OK(threading_lock_acquire(lock_a));
    CHECK_OK(threading_lock_release(lock_a));
    CHECK_OK(threading_condition_release(condition));
}

static void *release_a(void *arg)
{
    CHECK_OK(threading_lock_release(lock_a));
    return arg;
}

static void *in_order(void *arg);

/* A lock that another has released is held no more: no order, then. */
static void released_by_another(bool turned)
{
    threading_thread *other = threading_thread_new(release_a, NULL);
    CHECK_OK(threading_lock_acquire(turned ? lock_b : lock_a));
    if (!turned) {
        CHECK_OK(threading_thread_start(other));
        CHECK_OK(threading_thread_join(other));
    }
    CHECK_OK(threading_lock_acquire(turned ? lock_a : lock_b));
    CHECK_OK(threading_lock_release(lock_b));
    if (turned)
        CHECK_OK(threading_lock_release(lock_a));
    CHECK_OK(threading_thread_free(other));
}

/* Who only tries waits for nobody. */
static void tried(bool turned)
{
    CHECK_OK(threading_lock_acquire(turned ? lock_b : lock_a));
    CHECK_OK(threading_lock_try_acquire(turned ? lock_a : lock_b));
    CHECK_OK(threading_lock_release(lock_a));
    CHECK_OK(threading_lock_release(lock_b));
    CHECK_OK(threading_rlock_acquire(turned ? rlock_b : rlock_a));
    CHECK_OK(threading_rlock_acquire_timeout(turned ? rlock_a : rlock_b, 1));
    CHECK_OK(threading_rlock_release(rlock_a));
    CHECK_OK(threading_rlock_release(rlock_b));
}

/* `harmless`: also when turned. */
static const struct way {
    const char *name;
    void (*take)(bool turned);
    bool harmless;
} ways[] = {
    {"locks", locks, false},
    {"rlocks", rlocks, false},
    {"a lock and a mutex of pthread", lock_and_mutex, false},
    {"THREADING_WITH", with, false},
    {"a condition and a lock", condition_and_lock, false},
    {"a lock that another releases", released_by_another, true},
    {"locks that are tried", tried, true},
};

static struct turn {
    const struct way *way;
    bool turned;
} turns[2];

static void *in_order(void *arg)
{
    struct turn *turn = arg;
    turn->way->take(turn->turned);
    return NULL;
}

int main(int argc, char **argv)
{
    lock_a = threading_lock_new();
    lock_b = threading_lock_new();
    rlock_a = threading_rlock_new();
    rlock_b = threading_rlock_new();
    condition = threading_condition_new();
    for (size_t i = 0; i < sizeof ways / sizeof *ways; i++) {
        if (argc != 3) {
            puts(ways[i].name);
            continue;
        }
        if (strcmp(ways[i].name, argv[1]) != 0)
            continue;
        for (int k = 0; k < 2; k++) {
            bool turned = k == 1 && (ways[i].harmless || strcmp(argv[2], "wrong") == 0);
            if (ways[i].harmless && strcmp(argv[2], "wrong") == 0)
                return 3;
            turns[k] = (struct turn){&ways[i], turned};
            threading_thread *thread = threading_thread_new(in_order, &turns[k]);
            CHECK_OK(threading_thread_start(thread));
            CHECK_OK(threading_thread_join(thread));
            CHECK_OK(threading_thread_free(thread));
        }
    }
    return 0;
}
