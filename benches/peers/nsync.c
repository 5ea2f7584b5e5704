/* nsync: mutex and condition variable. */
#include "../bench.h"

#include <nsync.h>

#define PEER peer_nsync
#define PEER_NAME "nsync"
#define BY_VALUE

static const char *version(void)
{
    return NSYNC_VERSION_FOUND;
}

#define HAS_LOCK
#define HAS_LOCK_TRY
typedef nsync_mu lock;

static void lock_init(lock *l)
{
    nsync_mu_init(l);
}

static void lock_destroy(lock *l)
{
    (void)l;
}

static inline void lock_acquire(lock *l)
{
    nsync_mu_lock(l);
}

static inline void lock_release(lock *l)
{
    nsync_mu_unlock(l);
}

static inline bool lock_try(lock *l)
{
    return nsync_mu_trylock(l) != 0;
}

#define HAS_CONDITION
typedef nsync_cv condition;

static void condition_init(condition *c)
{
    nsync_cv_init(c);
}

static void condition_destroy(condition *c)
{
    (void)c;
}

static inline void condition_wait(condition *c, lock *l)
{
    nsync_cv_wait(c, l);
}

static inline void condition_notify(condition *c)
{
    nsync_cv_signal(c);
}

static inline void condition_notify_all(condition *c)
{
    nsync_cv_broadcast(c);
}

#include "loops.h"
