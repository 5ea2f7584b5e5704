/* GLib. */
#include "../bench.h"

#include <glib.h>
#include <math.h>

#define PEER peer_glib
#define PEER_NAME "GLib"
#define LIBRARY_FUNCTION "g_mutex_lock"
#define BY_VALUE

static const char *version(void)
{
    static char text[32];
    g_snprintf(text, sizeof text, "%u.%u.%u", glib_major_version, glib_minor_version, glib_micro_version);
    return text;
}

#define HAS_LOCK
#define HAS_LOCK_TRY
typedef GMutex lock;

static void lock_init(lock *l)
{
    g_mutex_init(l);
}

static void lock_destroy(lock *l)
{
    g_mutex_clear(l);
}

static inline void lock_acquire(lock *l)
{
    g_mutex_lock(l);
}

static inline void lock_release(lock *l)
{
    g_mutex_unlock(l);
}

static inline bool lock_try(lock *l)
{
    return g_mutex_trylock(l);
}

#define HAS_RLOCK
typedef GRecMutex rlock;

static void rlock_init(rlock *r)
{
    g_rec_mutex_init(r);
}

static void rlock_destroy(rlock *r)
{
    g_rec_mutex_clear(r);
}

static inline void rlock_acquire(rlock *r)
{
    g_rec_mutex_lock(r);
}

static inline void rlock_release(rlock *r)
{
    g_rec_mutex_unlock(r);
}

#define HAS_CONDITION
typedef GCond condition;

static void condition_init(condition *c)
{
    g_cond_init(c);
}

static void condition_destroy(condition *c)
{
    g_cond_clear(c);
}

static inline void condition_wait(condition *c, lock *l)
{
    g_cond_wait(c, l);
}

static inline void condition_notify(condition *c)
{
    g_cond_signal(c);
}

static inline void condition_notify_all(condition *c)
{
    g_cond_broadcast(c);
}

#define HAS_THREAD
typedef GThread *thread;

static void *enter(void *arg)
{
    thread_body(arg);
    return NULL;
}

static void thread_start(thread *t, void *arg)
{
    *t = g_thread_new(NULL, enter, arg);
}

static void thread_join(thread *t)
{
    check(g_thread_join(*t) == NULL);
}

#define HAS_LOCAL
typedef GPrivate local;

static local *local_new(void)
{
    return cache_line_alloc(sizeof(local));
}

static void local_free(local *l)
{
    g_private_set(l, NULL);
}

static inline void local_set(local *l, void *value)
{
    g_private_set(l, value);
}

static inline void *local_get(local *l)
{
    return g_private_get(l);
}

/* The timers are sources of a main context. */
#define HAS_TIMER
#define MAX_TIMERS 10000
typedef GSource timer;

static GMainContext *context;

#define HAS_BEGIN
static void begin(void)
{
    context = g_main_context_new();
}

static gboolean due(void *arg)
{
    timer_due(arg);
    return G_SOURCE_REMOVE;
}

static timer *timer_arm(double seconds, void *arg)
{
    timer *t = g_timeout_source_new((guint)ceil(seconds * 1e3));
    g_source_set_callback(t, due, arg, NULL);
    check(g_source_attach(t, context) != 0);
    return t;
}

static void timer_drop(timer *t)
{
    g_source_unref(t);
}

static void timer_cancel(timer *t)
{
    g_source_destroy(t);
    timer_drop(t);
}

static void timer_serve(atomic_long *left)
{
    while (atomic_load(left) > 0)
        g_main_context_iteration(context, TRUE);
}

#include "loops.h"
