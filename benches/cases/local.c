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
    {.name = "local.set",
     .unit = "ns",
     .what = "set the value of the calling thread, without a destructor",
     .loop = offsetof(struct peer, local.set_loop),
     .prepare = new_local,
     .finish = free_local},
    {.name = "local.set-attr",
     .unit = "ns",
     .what = "set an attribute of the calling thread that exists",
     .loop = offsetof(struct peer, local.set_attr_loop),
     .prepare = new_local,
     .finish = free_local},
    {.name = "local.get-attr",
     .unit = "ns",
     .what = "get an attribute of the calling thread",
     .loop = offsetof(struct peer, local.get_attr_loop),
     .prepare = new_local,
     .finish = free_local},
    {0},
};
