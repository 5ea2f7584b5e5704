/* A baseline: the cost of the fast paths if a program implemented them inline with C11 atomics, without
 * calls, checks and waiting. Operations that would have to wait spin, but the benchmark avoids that. */
#include "../bench.h"

#define PEER peer_limit
#define PEER_NAME "inline limit"
#define BASELINE

static const char *version(void)
{
    return "C11 atomics";
}

#define HAS_LOCK
#define HAS_LOCK_TRY
typedef struct {
    alignas(CACHE_LINE) atomic_uint word;
} lock;

static lock *lock_new(void)
{
    return cache_line_alloc(sizeof(lock));
}

static void lock_free(lock *l)
{
    check(atomic_load(&l->word) == 0);
}

static inline bool lock_try(lock *l)
{
    unsigned free = 0;
    return atomic_load_explicit(&l->word, memory_order_relaxed) == 0 &&
           atomic_compare_exchange_strong_explicit(&l->word, &free, 1, memory_order_acquire,
                                                   memory_order_relaxed);
}

static inline void lock_acquire(lock *l)
{
    unsigned free = 0;
    while (!atomic_compare_exchange_strong_explicit(&l->word, &free, 1, memory_order_acquire,
                                                    memory_order_relaxed))
        free = 0;
}

/* An exchange, not a store, because a lock that can have waiters must check for them. */
static inline void lock_release(lock *l)
{
    check(atomic_exchange_explicit(&l->word, 0, memory_order_release) == 1);
}

#define HAS_RLOCK
typedef struct {
    lock lock;
    _Atomic(void *) owner;
    long count;
} rlock;

static _Thread_local char identity;

static rlock *rlock_new(void)
{
    return cache_line_alloc(sizeof(rlock));
}

static void rlock_free(rlock *r)
{
    check(r->count == 0);
}

static inline void rlock_acquire(rlock *r)
{
    if (atomic_load_explicit(&r->owner, memory_order_relaxed) != &identity) {
        lock_acquire(&r->lock);
        atomic_store_explicit(&r->owner, &identity, memory_order_relaxed);
    }
    /* Prevents the compiler from moving the counter out of the loop. */
    *(volatile long *)&r->count += 1;
}

static inline void rlock_release(rlock *r)
{
    if ((*(volatile long *)&r->count -= 1) == 0) {
        atomic_store_explicit(&r->owner, NULL, memory_order_relaxed);
        lock_release(&r->lock);
    }
}

#define HAS_EVENT
typedef struct {
    alignas(CACHE_LINE) atomic_bool set;
} event;

static event *event_new(void)
{
    return cache_line_alloc(sizeof(event));
}

static void event_free(event *e)
{
    (void)e;
}

static inline bool event_is_set(event *e)
{
    return atomic_load_explicit(&e->set, memory_order_acquire);
}

static inline void event_set(event *e)
{
    atomic_store_explicit(&e->set, true, memory_order_release);
}

static inline void event_clear(event *e)
{
    atomic_store_explicit(&e->set, false, memory_order_relaxed);
}

static inline void event_wait(event *e)
{
    while (!atomic_load_explicit(&e->set, memory_order_acquire))
        ;
}

#define HAS_SEMAPHORE
typedef struct {
    alignas(CACHE_LINE) atomic_long value;
} semaphore;

static semaphore *semaphore_new(long value)
{
    semaphore *s = cache_line_alloc(sizeof *s);
    atomic_init(&s->value, value);
    return s;
}

static void semaphore_free(semaphore *s)
{
    (void)s;
}

static inline void semaphore_acquire(semaphore *s)
{
    long value = atomic_load_explicit(&s->value, memory_order_relaxed);
    while (value == 0 || !atomic_compare_exchange_weak_explicit(&s->value, &value, value - 1,
                                                                memory_order_acquire, memory_order_relaxed))
        value = atomic_load_explicit(&s->value, memory_order_relaxed);
}

static inline void semaphore_release(semaphore *s)
{
    atomic_fetch_add_explicit(&s->value, 1, memory_order_release);
}

#define HAS_LOCAL
typedef struct {
    char nothing;
} local;

static _Thread_local void *volatile value_of_thread;

static local *local_new(void)
{
    return cache_line_alloc(sizeof(local));
}

static void local_free(local *l)
{
    (void)l;
}

static inline void local_set(local *l, void *value)
{
    (void)l;
    value_of_thread = value;
}

static inline void *local_get(local *l)
{
    (void)l;
    return value_of_thread;
}

#include "loops.h"
