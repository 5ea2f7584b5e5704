/* Rust's std, through rust_peers/. */
#include "../bench.h"

#define PEER peer_std
#define PEER_NAME "Rust std"
#define ON_HEAP
#define PREFIX std

static const char *version(void)
{
    return RUST_VERSION;
}

#include "rust.h"

#define HAS_BARRIER
typedef rust_barrier barrier;

static barrier *barrier_new(unsigned parties)
{
    return std_barrier_new(parties);
}

static void barrier_free(barrier *b)
{
    std_barrier_free(b);
}

static inline void barrier_wait(barrier *b)
{
    std_barrier_wait(b);
}

#define HAS_THREAD
typedef rust_thread *thread;

static void thread_start(thread *t, void *arg)
{
    *t = std_thread_start(thread_body, arg);
}

static void thread_join(thread *t)
{
    std_thread_join(*t);
}

#define HAS_LOCAL
typedef char local;

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
    std_local_set(value);
}

static inline void *local_get(local *l)
{
    (void)l;
    return std_local_get();
}

#include "loops.h"
