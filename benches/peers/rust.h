/* The objects that both Rust peers have. PREFIX is that of the peer's functions. */
#include "../rust_peers/rust_peers.h"

#define JOINED(prefix, name) prefix##_##name
#define NAME(prefix, name) JOINED(prefix, name)
#define RUST(name) NAME(PREFIX, name)

#define HAS_LOCK
#define HAS_LOCK_TRY
typedef rust_lock lock;

static lock *lock_new(void)
{
    return RUST(lock_new)();
}

static void lock_free(lock *l)
{
    RUST(lock_free)(l);
}

static inline void lock_acquire(lock *l)
{
    RUST(lock_acquire)(l);
}

static inline void lock_release(lock *l)
{
    RUST(lock_release)(l);
}

static inline bool lock_try(lock *l)
{
    return RUST(lock_try)(l);
}

#define HAS_CONDITION
typedef rust_condition condition;

static condition *condition_new(lock *l)
{
    (void)l;
    return RUST(condition_new)();
}

static void condition_free(condition *c)
{
    RUST(condition_free)(c);
}

static inline void condition_wait(condition *c, lock *l)
{
    RUST(condition_wait)(c, l);
}

static inline void condition_notify(condition *c)
{
    RUST(condition_notify)(c);
}

static inline void condition_notify_all(condition *c)
{
    RUST(condition_notify_all)(c);
}

#define HAS_EVENT
typedef rust_event event;

static event *event_new(void)
{
    return RUST(event_new)();
}

static void event_free(event *e)
{
    RUST(event_free)(e);
}

static inline bool event_is_set(event *e)
{
    return RUST(event_is_set)(e);
}

static inline void event_set(event *e)
{
    RUST(event_set)(e);
}

static inline void event_clear(event *e)
{
    RUST(event_clear)(e);
}

static inline void event_wait(event *e)
{
    RUST(event_wait)(e);
}

#define HAS_SEMAPHORE
typedef rust_semaphore semaphore;

static semaphore *semaphore_new(long value)
{
    return RUST(semaphore_new)(value);
}

static void semaphore_free(semaphore *s)
{
    RUST(semaphore_free)(s);
}

static inline void semaphore_acquire(semaphore *s)
{
    RUST(semaphore_acquire)(s);
}

static inline void semaphore_release(semaphore *s)
{
    RUST(semaphore_release)(s);
}

#define HAS_BUFFER
typedef rust_buffer buffer;

static buffer *buffer_new(void)
{
    return RUST(buffer_new)(BUFFER_SIZE);
}

static void buffer_free(buffer *b)
{
    RUST(buffer_free)(b);
}

static inline void buffer_put(buffer *b, unsigned long item)
{
    RUST(buffer_put)(b, item);
}

static inline unsigned long buffer_get(buffer *b)
{
    return RUST(buffer_get)(b);
}
