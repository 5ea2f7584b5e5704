/* All cases, in the order of the table. */
#include "../bench.h"

#include <string.h>

extern const struct bench_case lock_cases[];
extern const struct bench_case rlock_cases[];
extern const struct bench_case condition_cases[];
extern const struct bench_case event_cases[];
extern const struct bench_case semaphore_cases[];
extern const struct bench_case barrier_cases[];
extern const struct bench_case thread_cases[];
extern const struct bench_case local_cases[];
extern const struct bench_case create_cases[];
extern const struct bench_case timer_cases[];
extern const struct bench_case report_cases[];
extern const struct bench_case idle_cases[];
extern const struct bench_case load_cases[];

const struct bench_case *const case_tables[] = {
    lock_cases,   rlock_cases, condition_cases, event_cases,  semaphore_cases, barrier_cases,
    thread_cases, local_cases, create_cases,    timer_cases,  report_cases,    idle_cases,
    load_cases,
    NULL,
};

batch *case_loop(const struct bench_case *bench_case, const struct peer *peer)
{
    batch *loop;
    memcpy(&loop, (const char *)peer + bench_case->loop, sizeof loop);
    return loop;
}

bool case_can(const struct bench_case *bench_case, const struct peer *peer)
{
    if (peer->interpreter)
        return cpython_can(bench_case->name);
    if (bench_case->can != NULL && !bench_case->can(peer))
        return false;
    return bench_case->measure != NULL || case_loop(bench_case, peer) != NULL;
}

const struct bench_case *case_find(const char *name)
{
    for (int t = 0; case_tables[t] != NULL; t++) {
        for (const struct bench_case *bench_case = case_tables[t]; bench_case->name != NULL; bench_case++) {
            if (strcmp(bench_case->name, name) == 0)
                return bench_case;
        }
    }
    return NULL;
}
