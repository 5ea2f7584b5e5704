/* SDL 2. Its mutex is always reentrant. */
#include "../bench.h"

#include <SDL.h>
#include <math.h>
#include <stdio.h>

#define PEER peer_sdl2
#define PEER_NAME "SDL2"
#define ON_HEAP

static const char *version(void)
{
    static char text[32];
    SDL_version linked;
    SDL_GetVersion(&linked);
    snprintf(text, sizeof text, "%d.%d.%d", linked.major, linked.minor, linked.patch);
    return text;
}

#define HAS_LOCK
#define HAS_LOCK_TRY
typedef SDL_mutex lock;

static lock *lock_new(void)
{
    lock *l = SDL_CreateMutex();
    check(l != NULL);
    return l;
}

static void lock_free(lock *l)
{
    SDL_DestroyMutex(l);
}

static inline void lock_acquire(lock *l)
{
    check(SDL_LockMutex(l) == 0);
}

static inline void lock_release(lock *l)
{
    check(SDL_UnlockMutex(l) == 0);
}

static inline bool lock_try(lock *l)
{
    return SDL_TryLockMutex(l) == 0;
}

#define HAS_RLOCK
typedef SDL_mutex rlock;

static rlock *rlock_new(void)
{
    return lock_new();
}

static void rlock_free(rlock *r)
{
    lock_free(r);
}

static inline void rlock_acquire(rlock *r)
{
    lock_acquire(r);
}

static inline void rlock_release(rlock *r)
{
    lock_release(r);
}

#define HAS_CONDITION
typedef SDL_cond condition;

static condition *condition_new(lock *l)
{
    (void)l;
    condition *c = SDL_CreateCond();
    check(c != NULL);
    return c;
}

static void condition_free(condition *c)
{
    SDL_DestroyCond(c);
}

static inline void condition_wait(condition *c, lock *l)
{
    check(SDL_CondWait(c, l) == 0);
}

static inline void condition_notify(condition *c)
{
    check(SDL_CondSignal(c) == 0);
}

static inline void condition_notify_all(condition *c)
{
    check(SDL_CondBroadcast(c) == 0);
}

#define HAS_SEMAPHORE
typedef SDL_sem semaphore;

static semaphore *semaphore_new(long value)
{
    semaphore *s = SDL_CreateSemaphore((Uint32)value);
    check(s != NULL);
    return s;
}

static void semaphore_free(semaphore *s)
{
    SDL_DestroySemaphore(s);
}

static inline void semaphore_acquire(semaphore *s)
{
    check(SDL_SemWait(s) == 0);
}

static inline void semaphore_release(semaphore *s)
{
    check(SDL_SemPost(s) == 0);
}

#define HAS_THREAD
typedef SDL_Thread *thread;

static int enter(void *arg)
{
    thread_body(arg);
    return 0;
}

static void thread_start(thread *t, void *arg)
{
    *t = SDL_CreateThread(enter, NULL, arg);
    check(*t != NULL);
}

static void thread_join(thread *t)
{
    SDL_WaitThread(*t, NULL);
}

#define HAS_LOCAL
typedef SDL_TLSID local;

static local *local_new(void)
{
    local *l = cache_line_alloc(sizeof *l);
    *l = SDL_TLSCreate();
    check(*l != 0);
    return l;
}

static void local_free(local *l)
{
    check(SDL_TLSSet(*l, NULL, NULL) == 0);
}

static inline void local_set(local *l, void *value)
{
    check(SDL_TLSSet(*l, value, NULL) == 0);
}

static inline void *local_get(local *l)
{
    return SDL_TLSGet(*l);
}

/* The timers are in one sorted list. */
#define HAS_TIMER
#define MAX_TIMERS 10000
typedef void timer; /* a timer ID */

static Uint32 due(Uint32 interval, void *arg)
{
    (void)interval;
    timer_due(arg);
    return 0;
}

#define HAS_BEGIN
static void begin(void)
{
    check(SDL_InitSubSystem(SDL_INIT_TIMER) == 0);
}

static timer *timer_arm(double seconds, void *arg)
{
    SDL_TimerID id = SDL_AddTimer((Uint32)ceil(seconds * 1e3), due, arg);
    check(id != 0);
    return (timer *)(intptr_t)id;
}

static void timer_cancel(timer *t)
{
    check(SDL_RemoveTimer((SDL_TimerID)(intptr_t)t));
}

/* SDL keeps a timer that has run until it is removed; the removal then returns false. */
static void timer_drop(timer *t)
{
    SDL_RemoveTimer((SDL_TimerID)(intptr_t)t);
}

static void timer_serve(atomic_long *left)
{
    await_zero(left);
}

#include "loops.h"
