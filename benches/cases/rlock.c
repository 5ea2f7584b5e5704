/* The reentrant lock. */
#include "../bench.h"

static void *unlocked_rlock(const struct peer *peer)
{
    return peer->rlock.new();
}

static void free_rlock(const struct peer *peer, void *rlock)
{
    peer->rlock.free(rlock);
}

static void *held_rlock(const struct peer *peer)
{
    void *rlock = peer->rlock.new();
    peer->rlock.acquire(rlock);
    return rlock;
}

static void free_held_rlock(const struct peer *peer, void *rlock)
{
    peer->rlock.release(rlock);
    peer->rlock.free(rlock);
}

const struct bench_case rlock_cases[] = {
    {.name = "rlock.first",
     .unit = "ns",
     .what = "acquire and release",
     .loop = offsetof(struct peer, rlock.pair),
     .prepare = unlocked_rlock,
     .finish = free_rlock},
    {.name = "rlock.nested",
     .unit = "ns",
     .what = "acquire and release while the thread holds it",
     .loop = offsetof(struct peer, rlock.pair),
     .prepare = held_rlock,
     .finish = free_held_rlock},
    {0},
};
