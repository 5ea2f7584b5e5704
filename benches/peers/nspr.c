/* Netscape Portable Runtime. */
#include "../bench.h"

#include <nspr.h>

#define PEER peer_nspr
#define PEER_NAME "NSPR"
#define ON_HEAP

static const char *version(void)
{
    return PR_GetVersion();
}

static inline void ok(PRStatus status)
{
    check(status == PR_SUCCESS);
}

#define HAS_BEGIN
static void begin(void)
{
    PR_Init(PR_USER_THREAD, PR_PRIORITY_NORMAL, 0);
}

#define HAS_LOCK
typedef PRLock lock;

static lock *lock_new(void)
{
    lock *l = PR_NewLock();
    check(l != NULL);
    return l;
}

static void lock_free(lock *l)
{
    PR_DestroyLock(l);
}

static inline void lock_acquire(lock *l)
{
    PR_Lock(l);
}

static inline void lock_release(lock *l)
{
    ok(PR_Unlock(l));
}

#define HAS_RLOCK
typedef PRMonitor rlock;

static rlock *rlock_new(void)
{
    rlock *r = PR_NewMonitor();
    check(r != NULL);
    return r;
}

static void rlock_free(rlock *r)
{
    PR_DestroyMonitor(r);
}

static inline void rlock_acquire(rlock *r)
{
    PR_EnterMonitor(r);
}

static inline void rlock_release(rlock *r)
{
    ok(PR_ExitMonitor(r));
}

#define HAS_CONDITION
typedef PRCondVar condition;

static condition *condition_new(lock *l)
{
    condition *c = PR_NewCondVar(l);
    check(c != NULL);
    return c;
}

static void condition_free(condition *c)
{
    PR_DestroyCondVar(c);
}

static inline void condition_wait(condition *c, lock *l)
{
    (void)l;
    ok(PR_WaitCondVar(c, PR_INTERVAL_NO_TIMEOUT));
}

static inline void condition_notify(condition *c)
{
    ok(PR_NotifyCondVar(c));
}

static inline void condition_notify_all(condition *c)
{
    ok(PR_NotifyAllCondVar(c));
}

#define HAS_THREAD
typedef PRThread *thread;

static void thread_start(thread *t, void *arg)
{
    *t = PR_CreateThread(PR_USER_THREAD, thread_body, arg, PR_PRIORITY_NORMAL, PR_GLOBAL_THREAD,
                         PR_JOINABLE_THREAD, 0);
    check(*t != NULL);
}

static void thread_join(thread *t)
{
    ok(PR_JoinThread(*t));
}

#define HAS_LOCAL
typedef PRUintn local;

static local *local_new(void)
{
    local *l = cache_line_alloc(sizeof *l);
    ok(PR_NewThreadPrivateIndex(l, NULL));
    return l;
}

static void local_free(local *l)
{
    ok(PR_SetThreadPrivate(*l, NULL));
}

static inline void local_set(local *l, void *value)
{
    ok(PR_SetThreadPrivate(*l, value));
}

static inline void *local_get(local *l)
{
    return PR_GetThreadPrivate(*l);
}

#include "loops.h"
