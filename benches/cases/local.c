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

enum { SETS = 4000000 };

static bool can_set(const struct peer *peer)
{
    return peer->local.set_loop != NULL;
}

static double measure_sets(const struct peer *peer, const struct bench_case *bench_case)
{
    void *local = peer->local.new();
    double ns = measure_together(peer->local.set_loop, local, bench_case->n, SETS);
    peer->local.free(local);
    return ns;
}

#define SET_BY_THREADS(threads)                                                                              \
    {                                                                                                        \
        .name = "local.set." #threads, .unit = "ns",                                                         \
        .what = #threads " threads set their values; time per set and core", .n = threads,                   \
        .two_cores = true, .can = can_set, .measure = measure_sets                                           \
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
    SET_BY_THREADS(2),
    SET_BY_THREADS(4),
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
