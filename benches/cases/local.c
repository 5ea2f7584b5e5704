/* Thread-local data. */
#include "../bench.h"

static void *new_local(const struct peer *peer)
{
    return peer->local.new();
}

static void free_local(const struct peer *peer, void *local)
{
    peer->local.free(local);
}

const struct bench_case local_cases[] = {
    {.name = "local.get",
     .unit = "ns",
     .what = "get the value of the calling thread",
     .loop = offsetof(struct peer, local.get_loop),
     .prepare = new_local,
     .finish = free_local},
    {0},
};
