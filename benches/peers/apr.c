/* Apache Portable Runtime. Objects are allocated from a pool, and freed with it. */
#include "../bench.h"

#include <apr_general.h>
#include <apr_thread_cond.h>
#include <apr_thread_mutex.h>
#include <apr_thread_proc.h>
#include <apr_version.h>

#define PEER peer_apr
#define PEER_NAME "APR"

static apr_pool_t *pool;

static const char *version(void)
{
    return apr_version_string();
}

static inline void ok(apr_status_t status)
{
    check(status == APR_SUCCESS);
}

#define HAS_BEGIN
static void begin(void)
{
    ok(apr_initialize());
    ok(apr_pool_create(&pool, NULL));
}

#define HAS_LOCK
#define HAS_LOCK_TRY
#define HAS_LOCK_TIMED
typedef apr_thread_mutex_t lock;

static lock *lock_new(void)
{
    lock *l;
    ok(apr_thread_mutex_create(&l, APR_THREAD_MUTEX_UNNESTED, pool));
    return l;
}

static void lock_free(lock *l)
{
    ok(apr_thread_mutex_destroy(l));
}

static inline void lock_acquire(lock *l)
{
    ok(apr_thread_mutex_lock(l));
}

static inline void lock_release(lock *l)
{
    ok(apr_thread_mutex_unlock(l));
}

static inline bool lock_try(lock *l)
{
    return apr_thread_mutex_trylock(l) == APR_SUCCESS;
}

static inline bool lock_timed(lock *l, double seconds)
{
    return apr_thread_mutex_timedlock(l, apr_time_from_sec((apr_interval_time_t)seconds)) == APR_SUCCESS;
}

#define HAS_RLOCK
typedef apr_thread_mutex_t rlock;

static rlock *rlock_new(void)
{
    rlock *r;
    ok(apr_thread_mutex_create(&r, APR_THREAD_MUTEX_NESTED, pool));
    return r;
}

static void rlock_free(rlock *r)
{
    ok(apr_thread_mutex_destroy(r));
}

static inline void rlock_acquire(rlock *r)
{
    ok(apr_thread_mutex_lock(r));
}

static inline void rlock_release(rlock *r)
{
    ok(apr_thread_mutex_unlock(r));
}

#define HAS_CONDITION
typedef apr_thread_cond_t condition;

static condition *condition_new(lock *l)
{
    (void)l;
    condition *c;
    ok(apr_thread_cond_create(&c, pool));
    return c;
}

static void condition_free(condition *c)
{
    ok(apr_thread_cond_destroy(c));
}

static inline void condition_wait(condition *c, lock *l)
{
    ok(apr_thread_cond_wait(c, l));
}

static inline void condition_notify(condition *c)
{
    ok(apr_thread_cond_signal(c));
}

static inline void condition_notify_all(condition *c)
{
    ok(apr_thread_cond_broadcast(c));
}

/* APR creates a pool for each thread, besides the pool of the record. Here, each thread also has a pool for its
 * record, which is destroyed with it. */
#define HAS_THREAD
typedef struct {
    apr_thread_t *thread;
    apr_pool_t *pool;
} thread;

static void *APR_THREAD_FUNC enter(apr_thread_t *self, void *arg)
{
    (void)self;
    thread_body(arg);
    return NULL;
}

static void thread_start(thread *t, void *arg)
{
    ok(apr_pool_create(&t->pool, pool));
    ok(apr_thread_create(&t->thread, NULL, enter, arg, t->pool));
}

static void thread_join(thread *t)
{
    apr_status_t result;
    ok(apr_thread_join(&result, t->thread));
    apr_pool_destroy(t->pool);
}

#define HAS_LOCAL
typedef apr_threadkey_t local;

static local *local_new(void)
{
    local *l;
    ok(apr_threadkey_private_create(&l, NULL, pool));
    return l;
}

static void local_free(local *l)
{
    ok(apr_threadkey_private_delete(l));
}

static inline void local_set(local *l, void *value)
{
    ok(apr_threadkey_private_set(value, l));
}

static inline void *local_get(local *l)
{
    void *value;
    ok(apr_threadkey_private_get(&value, l));
    return value;
}

#include "loops.h"
