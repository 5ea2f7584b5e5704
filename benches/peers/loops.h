/* Builds the table of a peer from its functions. The file of a peer defines PEER, PEER_NAME and version(), and
 * types and inline functions for the objects that it has, each with a macro:
 *
 *   LIBRARY_FUNCTION           the name of a function of the library, if startup.c knows the library
 *   HAS_LOCK       lock        lock_new lock_free lock_acquire lock_release
 *     HAS_LOCK_TRY             lock_try
 *     HAS_LOCK_TIMED           lock_timed
 *   HAS_RLOCK      rlock       rlock_new rlock_free rlock_acquire rlock_release
 *   HAS_CONDITION  condition   condition_new(lock) condition_free condition_wait(condition, lock)
 *                              condition_notify condition_notify_all
 *     HAS_CONDITION_WITH_LOCK  condition_with_lock_new
 *   HAS_EVENT, HAS_SEMAPHORE, HAS_BARRIER, HAS_THREAD, HAS_LOCAL, HAS_TIMER, HAS_REPORTS likewise; see struct peer
 *     HAS_ATTRIBUTES           local_set_attr(local, name, value) local_get_attr(local, name)
 *     HAS_UNSTARTED_THREAD     unstarted_thread   unstarted_thread_new unstarted_thread_free
 *
 * If the user allocates the peer's objects, its file defines BY_VALUE, and lock_init, lock_destroy, condition_init,
 * condition_destroy, and likewise for rlock, semaphore and barrier, instead of the functions _new and _free.
 *
 * The creation of objects is measured if the functions _new and _free allocate and free memory on the heap: with
 * BY_VALUE, those of this file do. Otherwise the file of the peer defines ON_HEAP. The creation of locals is measured
 * if it defines LOCAL_ON_HEAP; or LOCAL_BY_VALUE, and local_init and local_destroy.
 */
#include <assert.h>
#include <stdlib.h>

/* Defines the functions _new, which puts each object on cache lines of its own, and _free. */
#define NEW_AND_FREE(type, parameters, ...)                                                                  \
    static type *type##_new parameters                                                                       \
    {                                                                                                        \
        type *created = cache_line_alloc(sizeof *created);                                                   \
        type##_init(__VA_ARGS__);                                                                            \
        return created;                                                                                      \
    }                                                                                                        \
                                                                                                             \
    static void type##_free(type *object)                                                                    \
    {                                                                                                        \
        type##_destroy(object);                                                                              \
    }

#ifdef BY_VALUE
#ifdef HAS_LOCK
NEW_AND_FREE(lock, (void), created)
#endif
#ifdef HAS_CONDITION
static condition *condition_new(lock *l)
{
    (void)l;
    condition *c = cache_line_alloc(sizeof *c);
    condition_init(c);
    return c;
}

static void condition_free(condition *c)
{
    condition_destroy(c);
}
#endif
#ifdef HAS_RLOCK
NEW_AND_FREE(rlock, (void), created)
#endif
#ifdef HAS_SEMAPHORE
NEW_AND_FREE(semaphore, (long value), created, value)
#endif
#ifdef HAS_BARRIER
NEW_AND_FREE(barrier, (unsigned parties), created, parties)
#endif
#endif
#ifdef LOCAL_BY_VALUE
NEW_AND_FREE(local, (void), created)
#endif

/* ---- creation ---- */

#ifdef BY_VALUE
#define ALLOCATE(type)                                                                                       \
    type *created_##type = malloc(sizeof *created_##type);                                                   \
    check(created_##type != NULL)
#define CREATE(type)                                                                                         \
    ALLOCATE(type);                                                                                          \
    type##_init(created_##type)
#define CREATE_SEMAPHORE                                                                                     \
    ALLOCATE(semaphore);                                                                                     \
    semaphore_init(created_semaphore, 1)
#define CREATE_BARRIER                                                                                       \
    ALLOCATE(barrier);                                                                                       \
    barrier_init(created_barrier, 1)
#define CREATE_CONDITION CREATE(condition)
#define DESTROY(type) (type##_destroy(created_##type), free(created_##type))
#else
#define CREATE(type) type *created_##type = type##_new()
#define CREATE_SEMAPHORE semaphore *created_semaphore = semaphore_new(1)
#define CREATE_BARRIER barrier *created_barrier = barrier_new(1)
#define CREATE_CONDITION condition *created_condition = condition_new(created_lock)
#define DESTROY(type) type##_free(created_##type)
#endif

#if defined(BY_VALUE) || defined(ON_HEAP)
#define CREATE_LOOP(name, create, destroy)                                                                   \
    static void create_##name##_loop(void *object, long n)                                                   \
    {                                                                                                        \
        (void)object;                                                                                        \
        for (; n > 0; n--) {                                                                                 \
            create;                                                                                          \
            destroy;                                                                                         \
        }                                                                                                    \
    }

#ifdef HAS_LOCK
CREATE_LOOP(lock, CREATE(lock), DESTROY(lock))
#endif
#ifdef HAS_RLOCK
CREATE_LOOP(rlock, CREATE(rlock), DESTROY(rlock))
#endif
#if defined(HAS_EVENT) && defined(ON_HEAP)
CREATE_LOOP(event, CREATE(event), DESTROY(event))
#define CREATES_EVENT
#endif
#ifdef HAS_SEMAPHORE
CREATE_LOOP(semaphore, CREATE_SEMAPHORE, DESTROY(semaphore))
#define CREATES_SEMAPHORE
#endif
#ifdef HAS_BARRIER
CREATE_LOOP(barrier, CREATE_BARRIER, DESTROY(barrier))
#define CREATES_BARRIER
#endif
#ifdef LOCAL_BY_VALUE
CREATE_LOOP(local, local created; local_init(&created), local_destroy(&created))
#elif defined(LOCAL_ON_HEAP)
CREATE_LOOP(local, CREATE(local), DESTROY(local))
#endif
#ifdef HAS_UNSTARTED_THREAD
CREATE_LOOP(thread, CREATE(unstarted_thread), DESTROY(unstarted_thread))
#endif
#ifdef HAS_CONDITION_WITH_LOCK
CREATE_LOOP(condition, condition *created_condition = condition_with_lock_new(), DESTROY(condition))
#elif defined(HAS_CONDITION)
CREATE_LOOP(condition, CREATE(lock); CREATE_CONDITION, DESTROY(condition); DESTROY(lock))
#endif
#endif

#if defined(HAS_LOCK) && defined(HAS_CONDITION)
#include "built.h"
#endif

/* ---- lock ---- */

#ifdef HAS_LOCK
static void *table_lock_new(void)
{
    return lock_new();
}

static void table_lock_free(void *object)
{
    lock_free(object);
}

static void table_lock_acquire(void *object)
{
    lock_acquire(object);
}

static void table_lock_release(void *object)
{
    lock_release(object);
}

static void lock_pair_loop(void *object, long n)
{
    lock *l = object;
    for (; n > 0; n--) {
        lock_acquire(l);
        lock_release(l);
    }
}

static void lock_cold_loop(void *object, long n)
{
    struct cold_link *link = *(struct cold_link **)object;
    for (; n > 0; n--) {
        lock *l = link->lock;
        lock_acquire(l);
        link = link->next;
        lock_release(l);
    }
    *(struct cold_link **)object = link;
}

#ifndef BASELINE
/* Some nanoseconds of work that the compiler cannot optimize away. */
static inline uint64_t lock_work(uint64_t x, int rounds)
{
    for (int i = 0; i < rounds; i++)
        random_next(&x);
    return x;
}

static inline void lock_section(struct contention *shared)
{
    shared->counter++;
    shared->sum = lock_work(shared->sum + 1, 8);
}

static void lock_contend_loop(struct contender *self)
{
    struct contention *shared = self->shared;
    lock *l = shared->lock;
    uint64_t own = (uint64_t)(uintptr_t)self;
    long acquires = 0;
    while (!atomic_load_explicit(&shared->stop, memory_order_relaxed)) {
        lock_acquire(l);
        lock_section(shared);
        lock_release(l);
        own = lock_work(own, 16);
        atomic_store_explicit(&self->acquires, ++acquires, memory_order_relaxed);
    }
    check(own != 0);
}

static void lock_contend_timed_loop(struct contender *self)
{
    struct contention *shared = self->shared;
    lock *l = shared->lock;
    uint64_t own = (uint64_t)(uintptr_t)self;
    long acquires = 0;
    while (!atomic_load_explicit(&shared->stop, memory_order_relaxed)) {
        double before = now();
        lock_acquire(l);
        double after = now();
        lock_section(shared);
        lock_release(l);
        if (after - before > self->worst_wait)
            self->worst_wait = after - before;
        own = lock_work(own, 16);
        atomic_store_explicit(&self->acquires, ++acquires, memory_order_relaxed);
    }
    check(own != 0);
}
#endif
#endif

#ifdef HAS_LOCK_TRY
static void lock_try_pair_loop(void *object, long n)
{
    lock *l = object;
    for (; n > 0; n--) {
        check(lock_try(l));
        lock_release(l);
    }
}

static void lock_try_fails_loop(void *object, long n)
{
    lock *l = object;
    for (; n > 0; n--)
        check(!lock_try(l));
}
#endif

#ifdef HAS_LOCK_TIMED
static void lock_timed_pair_loop(void *object, long n)
{
    lock *l = object;
    for (; n > 0; n--) {
        check(lock_timed(l, 5.0));
        lock_release(l);
    }
}
#endif

/* ---- rlock ---- */

#ifdef HAS_RLOCK
static void *table_rlock_new(void)
{
    return rlock_new();
}

static void table_rlock_free(void *object)
{
    rlock_free(object);
}

static void table_rlock_acquire(void *object)
{
    rlock_acquire(object);
}

static void table_rlock_release(void *object)
{
    rlock_release(object);
}

static void rlock_pair_loop(void *object, long n)
{
    rlock *r = object;
    for (; n > 0; n--) {
        rlock_acquire(r);
        rlock_release(r);
    }
}
#endif

/* ---- condition ---- */

#ifdef HAS_CONDITION
static void *table_condition_new(void *l)
{
    return condition_new(l);
}

static void table_condition_free(void *object)
{
    condition_free(object);
}

static void table_condition_wait(void *object, void *l)
{
    condition_wait(object, l);
}

static void table_condition_notify(void *object)
{
    condition_notify(object);
}

static void table_condition_notify_all(void *object)
{
    condition_notify_all(object);
}

static void condition_notify_loop(void *object, long n)
{
    condition *c = object;
    for (; n > 0; n--)
        condition_notify(c);
}

static void condition_notify_all_loop(void *object, long n)
{
    condition *c = object;
    for (; n > 0; n--)
        condition_notify_all(c);
}
#endif

/* ---- event ---- */

#ifdef HAS_EVENT
static void *table_event_new(void)
{
    return event_new();
}

static void table_event_free(void *object)
{
    event_free(object);
}

static void table_event_set(void *object)
{
    event_set(object);
}

static void table_event_clear(void *object)
{
    event_clear(object);
}

static void table_event_wait(void *object)
{
    event_wait(object);
}

static void event_is_set_loop(void *object, long n)
{
    event *e = object;
    for (; n > 0; n--)
        check(event_is_set(e));
}

static void event_wait_loop(void *object, long n)
{
    event *e = object;
    for (; n > 0; n--)
        event_wait(e);
}

static void event_set_loop(void *object, long n)
{
    event *e = object;
    for (; n > 0; n--)
        event_set(e);
}
#endif

/* ---- semaphore ---- */

#ifdef HAS_SEMAPHORE
static void *table_semaphore_new(long value)
{
    return semaphore_new(value);
}

static void table_semaphore_free(void *object)
{
    semaphore_free(object);
}

static void table_semaphore_acquire(void *object)
{
    semaphore_acquire(object);
}

static void table_semaphore_release(void *object)
{
    semaphore_release(object);
}

static void semaphore_pair_loop(void *object, long n)
{
    semaphore *s = object;
    for (; n > 0; n--) {
        semaphore_release(s);
        semaphore_acquire(s);
    }
}
#endif

#ifdef HAS_BUFFER
static void *table_buffer_new(void)
{
    return buffer_new();
}

static void table_buffer_free(void *object)
{
    buffer_free(object);
}

static void table_buffer_put(void *object, unsigned long item)
{
    buffer_put(object, item);
}

static unsigned long table_buffer_get(void *object)
{
    return buffer_get(object);
}
#endif

/* ---- barrier ---- */

#ifdef HAS_BARRIER
static void *table_barrier_new(unsigned parties)
{
    return barrier_new(parties);
}

static void table_barrier_free(void *object)
{
    barrier_free(object);
}

static void table_barrier_wait(void *object)
{
    barrier_wait(object);
}
#endif

/* ---- thread, local ---- */

#ifdef HAS_THREAD
static_assert(sizeof(thread) <= sizeof(struct thread_storage), "a thread fits into its storage");

static void table_thread_start(struct thread_storage *storage, void *arg)
{
    thread_start((thread *)storage, arg);
}

static void table_thread_join(struct thread_storage *storage)
{
    thread_join((thread *)storage);
}
#endif

#ifdef HAS_LOCAL
static void *table_local_new(void)
{
    local *l = local_new();
    local_set(l, l);
    return l;
}

static void table_local_free(void *object)
{
    local_free(object);
}

static void local_get_loop(void *object, long n)
{
    local *l = object;
    for (; n > 0; n--)
        check(local_get(l) == (void *)l);
}

static void local_set_loop(void *object, long n)
{
    local *l = object;
    for (; n > 0; n--)
        local_set(l, (char *)object + n % 2);
}

#ifdef HAS_ATTRIBUTES
static void local_set_attr_loop(void *object, long n)
{
    local *l = object;
    for (; n > 0; n--)
        local_set_attr(l, "color", (char *)object + n % 2);
}

static void local_get_attr_loop(void *object, long n)
{
    local *l = object;
    local_set_attr(l, "color", l);
    for (; n > 0; n--)
        check(local_get_attr(l, "color") == (void *)l);
}
#endif
#endif

/* ---- timer ---- */

#ifdef HAS_TIMER
#ifndef TIMERS_IN_ANY_THREAD
#define TIMERS_IN_ANY_THREAD true
#endif

static void *table_timer_arm(double seconds, void *arg)
{
    return timer_arm(seconds, arg);
}

static void table_timer_cancel(void *object)
{
    timer_cancel(object);
}

static void table_timer_drop(void *object)
{
    timer_drop(object);
}

static void timer_pair_loop(void *object, long n)
{
    double seconds = *(double *)object;
    for (; n > 0; n--)
        timer_cancel(timer_arm(seconds, NULL));
}
#endif

/* ---- reports ---- */

#ifdef HAS_REPORTS
static void lock_owner_loop(void *object, long n)
{
    lock *l = object;
    for (; n > 0; n--)
        check(lock_owner(l) != 0);
}

static void lock_set_name_loop(void *object, long n)
{
    lock *l = object;
    for (; n > 0; n--)
        lock_set_name(l, "journal of accounts");
}
#endif

/* ---- the table ---- */

#ifdef LIBRARY_FUNCTION
static const char *library(void)
{
    return path_of_library(LIBRARY_FUNCTION);
}
#endif

const struct peer PEER = {
    .name = PEER_NAME,
    .version = version,
#ifdef LIBRARY_FUNCTION
    .library = library,
#endif
#ifdef BASELINE
    .baseline = true,
#endif
#ifdef OTHER
    .other = true,
#endif
#ifdef HAS_BEGIN
    .begin = begin,
#endif
#ifdef HAS_LOCK
    .lock =
        {
            .new = table_lock_new,
            .free = table_lock_free,
            .acquire = table_lock_acquire,
            .release = table_lock_release,
            .pair = lock_pair_loop,
#ifdef HAS_LOCK_TRY
            .try_pair = lock_try_pair_loop,
            .try_fails = lock_try_fails_loop,
#endif
#ifdef HAS_LOCK_TIMED
            .timed_pair = lock_timed_pair_loop,
#endif
            .cold = lock_cold_loop,
#ifndef BASELINE
            .contend = lock_contend_loop,
            .contend_timed = lock_contend_timed_loop,
#endif
        },
#endif
#ifdef HAS_RLOCK
    .rlock = {.new = table_rlock_new,
              .free = table_rlock_free,
              .acquire = table_rlock_acquire,
              .release = table_rlock_release,
              .pair = rlock_pair_loop},
#endif
#ifdef HAS_CONDITION
    .condition = {.new = table_condition_new,
                  .free = table_condition_free,
                  .wait = table_condition_wait,
                  .notify = table_condition_notify,
                  .notify_all = table_condition_notify_all,
                  .notify_loop = condition_notify_loop,
                  .notify_all_loop = condition_notify_all_loop},
#endif
#ifdef HAS_EVENT
    .event = {.new = table_event_new,
              .free = table_event_free,
              .set = table_event_set,
              .clear = table_event_clear,
              .wait = table_event_wait,
              .is_set_loop = event_is_set_loop,
              .wait_loop = event_wait_loop,
              .set_loop = event_set_loop},
#endif
#ifdef HAS_SEMAPHORE
    .semaphore = {.new = table_semaphore_new,
                  .free = table_semaphore_free,
                  .acquire = table_semaphore_acquire,
                  .release = table_semaphore_release,
                  .pair = semaphore_pair_loop},
#endif
#ifdef HAS_BUFFER
    .buffer = {.new = table_buffer_new,
               .free = table_buffer_free,
               .put = table_buffer_put,
               .get = table_buffer_get},
#endif
#ifdef HAS_BARRIER
    .barrier = {.new = table_barrier_new, .free = table_barrier_free, .wait = table_barrier_wait},
#endif
#ifdef HAS_THREAD
    .thread = {.start = table_thread_start, .join = table_thread_join},
#endif
#ifdef HAS_LOCAL
    .local =
        {
            .new = table_local_new,
            .free = table_local_free,
            .get_loop = local_get_loop,
            .set_loop = local_set_loop,
#ifdef HAS_ATTRIBUTES
            .set_attr_loop = local_set_attr_loop,
            .get_attr_loop = local_get_attr_loop,
#endif
        },
#endif
#if defined(BY_VALUE) || defined(ON_HEAP)
    .create =
        {
#ifdef HAS_LOCK
            .lock = create_lock_loop,
#endif
#ifdef HAS_RLOCK
            .rlock = create_rlock_loop,
#endif
#ifdef CREATES_EVENT
            .event = create_event_loop,
#endif
#ifdef CREATES_SEMAPHORE
            .semaphore = create_semaphore_loop,
#endif
#ifdef HAS_CONDITION
            .condition = create_condition_loop,
#endif
#ifdef CREATES_BARRIER
            .barrier = create_barrier_loop,
#endif
#if defined(LOCAL_BY_VALUE) || defined(LOCAL_ON_HEAP)
            .local = create_local_loop,
#endif
#ifdef HAS_UNSTARTED_THREAD
            .thread = create_thread_loop,
#endif
        },
#endif
#ifdef HAS_TIMER
    .timer = {.max_pending = MAX_TIMERS,
              .arm = table_timer_arm,
              .cancel = table_timer_cancel,
              .drop = table_timer_drop,
              .serve = timer_serve,
              .pair = timer_pair_loop,
              .any_thread = TIMERS_IN_ANY_THREAD},
#endif
#ifdef HAS_REPORTS
    .report = {.exist = reports_exist,
               .count_waits = count_waits,
               .dump = dump,
               .owner_loop = lock_owner_loop,
               .set_name_loop = lock_set_name_loop},
#endif
};
