/* libthreading, called as its users call it. */
#include "../bench.h"

#include <threading.h>

#define ON_HEAP

#ifndef OTHER
#define PEER peer_threading
#define PEER_NAME "libthreading"
#endif
#define LIBRARY_FUNCTION "threading_lock_new"

static inline void ok(threading_status status)
{
    check(status == THREADING_OK);
}

#ifndef OTHER
static const char *version(void)
{
    return threading_version();
}
#endif

#define HAS_LOCK
#define HAS_LOCK_TRY
#define HAS_LOCK_TIMED
typedef threading_lock lock;

static lock *lock_new(void)
{
    lock *l = threading_lock_new();
    check(l != NULL);
    return l;
}

static void lock_free(lock *l)
{
    ok(threading_lock_free(l));
}

static inline void lock_acquire(lock *l)
{
    ok(threading_lock_acquire(l));
}

static inline void lock_release(lock *l)
{
    ok(threading_lock_release(l));
}

static inline bool lock_try(lock *l)
{
    return threading_lock_try_acquire(l) == THREADING_OK;
}

static inline bool lock_timed(lock *l, double seconds)
{
    return threading_lock_acquire_timeout(l, seconds) == THREADING_OK;
}

#define HAS_RLOCK
typedef threading_rlock rlock;

static rlock *rlock_new(void)
{
    rlock *r = threading_rlock_new();
    check(r != NULL);
    return r;
}

static void rlock_free(rlock *r)
{
    ok(threading_rlock_free(r));
}

static inline void rlock_acquire(rlock *r)
{
    ok(threading_rlock_acquire(r));
}

static inline void rlock_release(rlock *r)
{
    ok(threading_rlock_release(r));
}

#define HAS_CONDITION
typedef threading_condition condition;

static condition *condition_new(lock *l)
{
    condition *c = threading_condition_new_with_lock(l);
    check(c != NULL);
    return c;
}

static void condition_free(condition *c)
{
    ok(threading_condition_free(c));
}

#define HAS_CONDITION_WITH_LOCK
static condition *condition_with_lock_new(void)
{
    condition *c = threading_condition_new();
    check(c != NULL);
    return c;
}

static inline void condition_wait(condition *c, lock *l)
{
    (void)l;
    ok(threading_condition_wait(c));
}

static inline void condition_notify(condition *c)
{
    ok(threading_condition_notify(c, 1));
}

static inline void condition_notify_all(condition *c)
{
    ok(threading_condition_notify_all(c));
}

#define HAS_EVENT
typedef threading_event event;

static event *event_new(void)
{
    event *e = threading_event_new();
    check(e != NULL);
    return e;
}

static void event_free(event *e)
{
    ok(threading_event_free(e));
}

static inline bool event_is_set(event *e)
{
    return threading_event_is_set(e);
}

static inline void event_set(event *e)
{
    ok(threading_event_set(e));
}

static inline void event_clear(event *e)
{
    ok(threading_event_clear(e));
}

static inline void event_wait(event *e)
{
    ok(threading_event_wait(e));
}

#define HAS_SEMAPHORE
typedef threading_semaphore semaphore;

static semaphore *semaphore_new(long value)
{
    semaphore *s = threading_semaphore_new(value);
    check(s != NULL);
    return s;
}

static void semaphore_free(semaphore *s)
{
    ok(threading_semaphore_free(s));
}

static inline void semaphore_acquire(semaphore *s)
{
    ok(threading_semaphore_acquire(s));
}

static inline void semaphore_release(semaphore *s)
{
    ok(threading_semaphore_release(s));
}

#define HAS_BARRIER
typedef threading_barrier barrier;

static barrier *barrier_new(unsigned parties)
{
    barrier *b = threading_barrier_new(parties, NULL, NULL);
    check(b != NULL);
    return b;
}

static void barrier_free(barrier *b)
{
    ok(threading_barrier_free(b));
}

static inline void barrier_wait(barrier *b)
{
    size_t index;
    ok(threading_barrier_wait(b, &index));
}

#define HAS_THREAD
typedef threading_thread *thread;

static void *enter(void *arg)
{
    thread_body(arg);
    return NULL;
}

static void thread_start(thread *t, void *arg)
{
    *t = threading_thread_new(enter, arg);
    check(*t != NULL);
    ok(threading_thread_start(*t));
}

static void thread_join(thread *t)
{
    ok(threading_thread_join(*t));
    ok(threading_thread_free(*t));
}

#define HAS_UNSTARTED_THREAD
typedef threading_thread unstarted_thread;

static unstarted_thread *unstarted_thread_new(void)
{
    unstarted_thread *t = threading_thread_new(enter, NULL);
    check(t != NULL);
    return t;
}

static void unstarted_thread_free(unstarted_thread *t)
{
    ok(threading_thread_free(t));
}

#define HAS_LOCAL
#define LOCAL_ON_HEAP
typedef threading_local local;

static local *local_new(void)
{
    local *l = threading_local_new(NULL);
    check(l != NULL);
    return l;
}

static void local_free(local *l)
{
    ok(threading_local_free(l));
}

static inline void local_set(local *l, void *value)
{
    ok(threading_local_set(l, value));
}

static inline void *local_get(local *l)
{
    return threading_local_get(l);
}

#define HAS_ATTRIBUTES
static inline void local_set_attr(local *l, const char *name, void *value)
{
    ok(threading_local_set_attr(l, name, value));
}

static inline void *local_get_attr(local *l, const char *name)
{
    void *value = NULL;
    ok(threading_local_get_attr(l, name, &value));
    return value;
}

#define HAS_TIMER
#define MAX_TIMERS 1000000
typedef threading_timer timer;

static void *due(void *arg)
{
    timer_due(arg);
    return NULL;
}

static timer *timer_arm(double seconds, void *arg)
{
    timer *t = threading_timer_new(seconds, due, arg);
    check(t != NULL);
    ok(threading_timer_start(t));
    return t;
}

static void timer_drop(timer *t)
{
    ok(threading_timer_free(t));
}

static void timer_cancel(timer *t)
{
    ok(threading_timer_cancel(t));
    timer_drop(t);
}

static void timer_serve(atomic_long *left)
{
    await_zero(left);
}

#define HAS_REPORTS
#pragma weak threading_dump
#pragma weak threading_set_contention
#pragma weak threading_lock_owner
#pragma weak threading_lock_set_name

static bool reports_exist(void)
{
    return threading_dump != NULL;
}

static void count_waits(bool on)
{
    ok(threading_set_contention(on));
}

static void dump(int fd)
{
    ok(threading_dump(fd));
}

static inline uint64_t lock_owner(lock *l)
{
    return threading_lock_owner(l);
}

static inline void lock_set_name(lock *l, const char *name)
{
    ok(threading_lock_set_name(l, name));
}

#include "loops.h"
