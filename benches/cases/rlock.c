/* The re-entrant lock. */
#include "../bench.h"

static void *free_rlock(const struct peer *peer)
{
    return peer->rlock.new();
}

static void drop_rlock(const struct peer *peer, void *rlock)
{
    peer->rlock.free(rlock);
}

static void *held_rlock(const struct peer *peer)
{
    void *rlock = peer->rlock.new();
    peer->rlock.acquire(rlock);
    return rlock;
}

static void drop_held_rlock(const struct peer *peer, void *rlock)
{
    peer->rlock.release(rlock);
    peer->rlock.free(rlock);
}

const struct bench_case rlock_cases[] = {
    {.name = "rlock.first",
     .unit = "ns",
     .what = "acquire and release",
     .loop = offsetof(struct peer, rlock.pair),
     .prepare = free_rlock,
     .finish = drop_rlock},
    {.name = "rlock.nested",
     .unit = "ns",
     .what = "acquire and release while it is held already",
     .loop = offsetof(struct peer, rlock.pair),
     .prepare = held_rlock,
     .finish = drop_held_rlock},
    {0},
};
