/* C11's <threads.h>. */
#include "../bench.h"

#include <threads.h>
#include <time.h>

#define PEER peer_c11
#define PEER_NAME "C11"
#define BY_VALUE

static const char *version(void)
{
    return "<threads.h>";
}

static inline void ok(int result)
{
    check(result == thrd_success);
}

#define HAS_LOCK
#define HAS_LOCK_TRY
#define HAS_LOCK_TIMED
typedef mtx_t lock;

static void lock_init(lock *l)
{
    ok(mtx_init(l, mtx_timed));
}

static void lock_destroy(lock *l)
{
    mtx_destroy(l);
}

static inline void lock_acquire(lock *l)
{
    ok(mtx_lock(l));
}

static inline void lock_release(lock *l)
{
    ok(mtx_unlock(l));
}

static inline bool lock_try(lock *l)
{
    return mtx_trylock(l) == thrd_success;
}

static inline bool lock_timed(lock *l, double seconds)
{
    struct timespec deadline;
    check(timespec_get(&deadline, TIME_UTC) == TIME_UTC);
    deadline.tv_sec += (time_t)seconds;
    return mtx_timedlock(l, &deadline) == thrd_success;
}

#define HAS_RLOCK
typedef mtx_t rlock;

static void rlock_init(rlock *r)
{
    ok(mtx_init(r, mtx_plain | mtx_recursive));
}

static void rlock_destroy(rlock *r)
{
    mtx_destroy(r);
}

static inline void rlock_acquire(rlock *r)
{
    ok(mtx_lock(r));
}

static inline void rlock_release(rlock *r)
{
    ok(mtx_unlock(r));
}

#define HAS_CONDITION
typedef cnd_t condition;

static void condition_init(condition *c)
{
    ok(cnd_init(c));
}

static void condition_destroy(condition *c)
{
    cnd_destroy(c);
}

static inline void condition_wait(condition *c, lock *l)
{
    ok(cnd_wait(c, l));
}

static inline void condition_notify(condition *c)
{
    ok(cnd_signal(c));
}

static inline void condition_notify_all(condition *c)
{
    ok(cnd_broadcast(c));
}

#define HAS_THREAD
typedef thrd_t thread;

static int enter(void *arg)
{
    thread_body(arg);
    return 0;
}

static void thread_start(thread *t, void *arg)
{
    ok(thrd_create(t, enter, arg));
}

static void thread_join(thread *t)
{
    ok(thrd_join(*t, NULL));
}

#define HAS_LOCAL
#define LOCAL_BY_VALUE
typedef tss_t local;

static void local_init(local *l)
{
    ok(tss_create(l, NULL));
}

static void local_destroy(local *l)
{
    tss_delete(*l);
}

static inline void local_set(local *l, void *value)
{
    ok(tss_set(*l, value));
}

static inline void *local_get(local *l)
{
    return tss_get(*l);
}

#include "loops.h"
