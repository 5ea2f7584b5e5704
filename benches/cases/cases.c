/* All rows, in the order of the table, and what holds for each. */
#include "../bench.h"

#include <string.h>

extern const struct row lock_rows[];
extern const struct row rlock_rows[];
extern const struct row condition_rows[];
extern const struct row event_rows[];
extern const struct row semaphore_rows[];
extern const struct row barrier_rows[];
extern const struct row thread_rows[];
extern const struct row local_rows[];
extern const struct row timer_rows[];
extern const struct row idle_rows[];

const struct row *const row_tables[] = {
    lock_rows,   rlock_rows, condition_rows, event_rows, semaphore_rows, barrier_rows,
    thread_rows, local_rows, timer_rows,     idle_rows,  NULL,
};

batch *row_loop(const struct row *row, const struct peer *peer)
{
    batch *loop;
    memcpy(&loop, (const char *)peer + row->loop, sizeof loop);
    return loop;
}

bool row_can(const struct row *row, const struct peer *peer)
{
    if (peer->interpreter)
        return cpython_can(row->name);
    if (row->can != NULL && !row->can(peer))
        return false;
    return row->measure != NULL || row_loop(row, peer) != NULL;
}

const struct row *row_find(const char *name)
{
    for (int t = 0; row_tables[t] != NULL; t++) {
        for (const struct row *row = row_tables[t]; row->name != NULL; row++) {
            if (strcmp(row->name, name) == 0)
                return row;
        }
    }
    return NULL;
}
