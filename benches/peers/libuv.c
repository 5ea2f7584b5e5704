/* libuv. Its timers belong to an event loop, and only the thread that runs the loop may use them. */
#include "../bench.h"

#include <uv.h>

#define PEER peer_libuv
#define PEER_NAME "libuv"
#define LIBRARY_FUNCTION "uv_mutex_lock"
#define BY_VALUE

static const char *version(void)
{
    return uv_version_string();
}

#define HAS_LOCK
#define HAS_LOCK_TRY
typedef uv_mutex_t lock;

static void lock_init(lock *l)
{
    check(uv_mutex_init(l) == 0);
}

static void lock_destroy(lock *l)
{
    uv_mutex_destroy(l);
}

static inline void lock_acquire(lock *l)
{
    uv_mutex_lock(l);
}

static inline void lock_release(lock *l)
{
    uv_mutex_unlock(l);
}

static inline bool lock_try(lock *l)
{
    return uv_mutex_trylock(l) == 0;
}

#define HAS_RLOCK
typedef uv_mutex_t rlock;

static void rlock_init(rlock *r)
{
    check(uv_mutex_init_recursive(r) == 0);
}

static void rlock_destroy(rlock *r)
{
    uv_mutex_destroy(r);
}

static inline void rlock_acquire(rlock *r)
{
    uv_mutex_lock(r);
}

static inline void rlock_release(rlock *r)
{
    uv_mutex_unlock(r);
}

#define HAS_CONDITION
typedef uv_cond_t condition;

static void condition_init(condition *c)
{
    check(uv_cond_init(c) == 0);
}

static void condition_destroy(condition *c)
{
    uv_cond_destroy(c);
}

static inline void condition_wait(condition *c, lock *l)
{
    uv_cond_wait(c, l);
}

static inline void condition_notify(condition *c)
{
    uv_cond_signal(c);
}

static inline void condition_notify_all(condition *c)
{
    uv_cond_broadcast(c);
}

#define HAS_SEMAPHORE
typedef uv_sem_t semaphore;

static void semaphore_init(semaphore *s, long value)
{
    check(uv_sem_init(s, (unsigned)value) == 0);
}

static void semaphore_destroy(semaphore *s)
{
    uv_sem_destroy(s);
}

static inline void semaphore_acquire(semaphore *s)
{
    uv_sem_wait(s);
}

static inline void semaphore_release(semaphore *s)
{
    uv_sem_post(s);
}

#define HAS_BARRIER
typedef uv_barrier_t barrier;

static void barrier_init(barrier *b, unsigned parties)
{
    check(uv_barrier_init(b, parties) == 0);
}

static void barrier_destroy(barrier *b)
{
    uv_barrier_destroy(b);
}

static inline void barrier_wait(barrier *b)
{
    check(uv_barrier_wait(b) >= 0);
}

#define HAS_THREAD
typedef uv_thread_t thread;

static void thread_start(thread *t, void *arg)
{
    check(uv_thread_create(t, thread_body, arg) == 0);
}

static void thread_join(thread *t)
{
    check(uv_thread_join(t) == 0);
}

#define HAS_LOCAL
#define LOCAL_BY_VALUE
typedef uv_key_t local;

static void local_init(local *l)
{
    check(uv_key_create(l) == 0);
}

static void local_destroy(local *l)
{
    uv_key_delete(l);
}

static inline void local_set(local *l, void *value)
{
    uv_key_set(l, value);
}

static inline void *local_get(local *l)
{
    return uv_key_get(l);
}

/* A cancelled timer is freed in the next iteration of the loop. For a comparison with other peers, which free
 * it in the cancel, the loop runs after each cancel. */
#define CLOSED_PER_TURN 1
#include "libuv_timer.h"

#include "loops.h"
