/* Event, semaphore, barrier and buffer for peers that lack them, built from the lock and the condition of the
 * peer, as its users would do.
 *
 * If the user allocates the peer's objects, they are next to the data that they protect; otherwise there are
 * pointers.
 */
#ifdef BY_VALUE
#define PART(type, name) type name
#define PART_OF(part) (&(part))
#define PART_LOCK_NEW(part) lock_init(&(part))
#define PART_CONDITION_NEW(part, lock_part) condition_init(&(part))
#define PART_LOCK_FREE(part) lock_destroy(&(part))
#define PART_CONDITION_FREE(part) condition_destroy(&(part))
#else
#define PART(type, name) type *name
#define PART_OF(part) (part)
#define PART_LOCK_NEW(part) ((part) = lock_new())
#define PART_CONDITION_NEW(part, lock_part) ((part) = condition_new(lock_part))
#define PART_LOCK_FREE(part) lock_free(part)
#define PART_CONDITION_FREE(part) condition_free(part)
#endif

#ifndef HAS_EVENT
#define HAS_EVENT
typedef struct {
    PART(lock, lock);
    PART(condition, changed);
    bool set;
} event;

static event *event_new(void)
{
    event *e = cache_line_alloc(sizeof *e);
    PART_LOCK_NEW(e->lock);
    PART_CONDITION_NEW(e->changed, e->lock);
    e->set = false;
    return e;
}

static void event_free(event *e)
{
    PART_CONDITION_FREE(e->changed);
    PART_LOCK_FREE(e->lock);
}

static inline bool event_is_set(event *e)
{
    lock_acquire(PART_OF(e->lock));
    bool set = e->set;
    lock_release(PART_OF(e->lock));
    return set;
}

static inline void event_set(event *e)
{
    lock_acquire(PART_OF(e->lock));
    e->set = true;
    condition_notify_all(PART_OF(e->changed));
    lock_release(PART_OF(e->lock));
}

static inline void event_clear(event *e)
{
    lock_acquire(PART_OF(e->lock));
    e->set = false;
    lock_release(PART_OF(e->lock));
}

static inline void event_wait(event *e)
{
    lock_acquire(PART_OF(e->lock));
    while (!e->set)
        condition_wait(PART_OF(e->changed), PART_OF(e->lock));
    lock_release(PART_OF(e->lock));
}
#endif

#ifndef HAS_BUFFER
#define HAS_BUFFER
#ifdef HAS_SEMAPHORE
typedef struct {
    semaphore *free;
    semaphore *used;
    PART(lock, lock);
    struct ring ring;
} buffer;

static buffer *buffer_new(void)
{
    buffer *b = cache_line_alloc(sizeof *b);
    b->free = semaphore_new(BUFFER_SIZE);
    b->used = semaphore_new(0);
    PART_LOCK_NEW(b->lock);
    return b;
}

static void buffer_free(buffer *b)
{
    semaphore_free(b->free);
    semaphore_free(b->used);
    PART_LOCK_FREE(b->lock);
}

static inline void buffer_put(buffer *b, unsigned long item)
{
    semaphore_acquire(b->free);
    lock_acquire(PART_OF(b->lock));
    b->ring.items[b->ring.put++ % BUFFER_SIZE] = item;
    lock_release(PART_OF(b->lock));
    semaphore_release(b->used);
}

static inline unsigned long buffer_get(buffer *b)
{
    semaphore_acquire(b->used);
    lock_acquire(PART_OF(b->lock));
    unsigned long item = b->ring.items[b->ring.got++ % BUFFER_SIZE];
    lock_release(PART_OF(b->lock));
    semaphore_release(b->free);
    return item;
}
#else
typedef struct {
    PART(lock, lock);
    PART(condition, not_full);
    PART(condition, not_empty);
    struct ring ring;
} buffer;

static buffer *buffer_new(void)
{
    buffer *b = cache_line_alloc(sizeof *b);
    PART_LOCK_NEW(b->lock);
    PART_CONDITION_NEW(b->not_full, b->lock);
    PART_CONDITION_NEW(b->not_empty, b->lock);
    return b;
}

static void buffer_free(buffer *b)
{
    PART_CONDITION_FREE(b->not_full);
    PART_CONDITION_FREE(b->not_empty);
    PART_LOCK_FREE(b->lock);
}

static inline void buffer_put(buffer *b, unsigned long item)
{
    lock_acquire(PART_OF(b->lock));
    while (b->ring.put - b->ring.got == BUFFER_SIZE)
        condition_wait(PART_OF(b->not_full), PART_OF(b->lock));
    b->ring.items[b->ring.put++ % BUFFER_SIZE] = item;
    condition_notify(PART_OF(b->not_empty));
    lock_release(PART_OF(b->lock));
}

static inline unsigned long buffer_get(buffer *b)
{
    lock_acquire(PART_OF(b->lock));
    while (b->ring.put == b->ring.got)
        condition_wait(PART_OF(b->not_empty), PART_OF(b->lock));
    unsigned long item = b->ring.items[b->ring.got++ % BUFFER_SIZE];
    condition_notify(PART_OF(b->not_full));
    lock_release(PART_OF(b->lock));
    return item;
}
#endif
#endif

#ifndef HAS_SEMAPHORE
#define HAS_SEMAPHORE
typedef struct {
    PART(lock, lock);
    PART(condition, released);
    long value;
} semaphore;

static semaphore *semaphore_new(long value)
{
    semaphore *s = cache_line_alloc(sizeof *s);
    PART_LOCK_NEW(s->lock);
    PART_CONDITION_NEW(s->released, s->lock);
    s->value = value;
    return s;
}

static void semaphore_free(semaphore *s)
{
    PART_CONDITION_FREE(s->released);
    PART_LOCK_FREE(s->lock);
}

static inline void semaphore_acquire(semaphore *s)
{
    lock_acquire(PART_OF(s->lock));
    while (s->value == 0)
        condition_wait(PART_OF(s->released), PART_OF(s->lock));
    s->value--;
    lock_release(PART_OF(s->lock));
}

static inline void semaphore_release(semaphore *s)
{
    lock_acquire(PART_OF(s->lock));
    s->value++;
    condition_notify(PART_OF(s->released));
    lock_release(PART_OF(s->lock));
}
#endif

#ifndef HAS_BARRIER
#define HAS_BARRIER
typedef struct {
    PART(lock, lock);
    PART(condition, all_here);
    unsigned parties;
    unsigned waiting;
    unsigned long generation;
} barrier;

static barrier *barrier_new(unsigned parties)
{
    barrier *b = cache_line_alloc(sizeof *b);
    PART_LOCK_NEW(b->lock);
    PART_CONDITION_NEW(b->all_here, b->lock);
    b->parties = parties;
    return b;
}

static void barrier_free(barrier *b)
{
    PART_CONDITION_FREE(b->all_here);
    PART_LOCK_FREE(b->lock);
}

static inline void barrier_wait(barrier *b)
{
    lock_acquire(PART_OF(b->lock));
    unsigned long generation = b->generation;
    if (++b->waiting == b->parties) {
        b->waiting = 0;
        b->generation++;
        condition_notify_all(PART_OF(b->all_here));
    } else {
        while (b->generation == generation)
            condition_wait(PART_OF(b->all_here), PART_OF(b->lock));
    }
    lock_release(PART_OF(b->lock));
}
#endif
