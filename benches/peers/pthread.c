/* POSIX threads of the C library, the reference for most users. */
#include "../bench.h"

#include <errno.h>
#include <gnu/libc-version.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define PEER peer_pthread
#define PEER_NAME "pthread"
#define BY_VALUE

static const char *version(void)
{
    static char text[32];
    snprintf(text, sizeof text, "glibc %s", gnu_get_libc_version());
    return text;
}

#define HAS_LOCK
#define HAS_LOCK_TRY
#define HAS_LOCK_TIMED
typedef pthread_mutex_t lock;

static void lock_init(lock *l)
{
    check(pthread_mutex_init(l, NULL) == 0);
}

static void lock_destroy(lock *l)
{
    check(pthread_mutex_destroy(l) == 0);
}

static inline void lock_acquire(lock *l)
{
    check(pthread_mutex_lock(l) == 0);
}

static inline void lock_release(lock *l)
{
    check(pthread_mutex_unlock(l) == 0);
}

static inline bool lock_try(lock *l)
{
    return pthread_mutex_trylock(l) == 0;
}

static inline bool lock_timed(lock *l, double seconds)
{
    struct timespec deadline;
    check(clock_gettime(CLOCK_REALTIME, &deadline) == 0);
    deadline.tv_sec += (time_t)seconds;
    return pthread_mutex_timedlock(l, &deadline) == 0;
}

#define HAS_RLOCK
typedef pthread_mutex_t rlock;

static void rlock_init(rlock *r)
{
    pthread_mutexattr_t attributes;
    check(pthread_mutexattr_init(&attributes) == 0);
    check(pthread_mutexattr_settype(&attributes, PTHREAD_MUTEX_RECURSIVE) == 0);
    check(pthread_mutex_init(r, &attributes) == 0);
    check(pthread_mutexattr_destroy(&attributes) == 0);
}

static void rlock_destroy(rlock *r)
{
    check(pthread_mutex_destroy(r) == 0);
}

static inline void rlock_acquire(rlock *r)
{
    check(pthread_mutex_lock(r) == 0);
}

static inline void rlock_release(rlock *r)
{
    check(pthread_mutex_unlock(r) == 0);
}

#define HAS_CONDITION
typedef pthread_cond_t condition;

static void condition_init(condition *c)
{
    check(pthread_cond_init(c, NULL) == 0);
}

static void condition_destroy(condition *c)
{
    check(pthread_cond_destroy(c) == 0);
}

static inline void condition_wait(condition *c, lock *l)
{
    check(pthread_cond_wait(c, l) == 0);
}

static inline void condition_notify(condition *c)
{
    check(pthread_cond_signal(c) == 0);
}

static inline void condition_notify_all(condition *c)
{
    check(pthread_cond_broadcast(c) == 0);
}

#define HAS_SEMAPHORE
typedef sem_t semaphore;

static void semaphore_init(semaphore *s, long value)
{
    check(sem_init(s, 0, (unsigned)value) == 0);
}

static void semaphore_destroy(semaphore *s)
{
    check(sem_destroy(s) == 0);
}

static inline void semaphore_acquire(semaphore *s)
{
    while (sem_wait(s) != 0)
        check(errno == EINTR);
}

static inline void semaphore_release(semaphore *s)
{
    check(sem_post(s) == 0);
}

#define HAS_BARRIER
typedef pthread_barrier_t barrier;

static void barrier_init(barrier *b, unsigned parties)
{
    check(pthread_barrier_init(b, NULL, parties) == 0);
}

static void barrier_destroy(barrier *b)
{
    check(pthread_barrier_destroy(b) == 0);
}

static inline void barrier_wait(barrier *b)
{
    int result = pthread_barrier_wait(b);
    check(result == 0 || result == PTHREAD_BARRIER_SERIAL_THREAD);
}

#define HAS_THREAD
typedef pthread_t thread;

static void *enter(void *arg)
{
    thread_body(arg);
    return NULL;
}

static void thread_start(thread *t, void *arg)
{
    check(pthread_create(t, NULL, enter, arg) == 0);
}

static void thread_join(thread *t)
{
    check(pthread_join(*t, NULL) == 0);
}

#define HAS_LOCAL
#define LOCAL_BY_VALUE
typedef pthread_key_t local;

static void local_init(local *l)
{
    check(pthread_key_create(l, NULL) == 0);
}

static void local_destroy(local *l)
{
    check(pthread_key_delete(*l) == 0);
}

static inline void local_set(local *l, void *value)
{
    check(pthread_setspecific(*l, value) == 0);
}

static inline void *local_get(local *l)
{
    return pthread_getspecific(*l);
}

#include "loops.h"
