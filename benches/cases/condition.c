/* The condition: without waiters, with one, and with many. */
#include "pingpong.h"

#include <semaphore.h>
#include <stdlib.h>

static bool can_wait(const struct peer *peer)
{
    return peer->condition.wait != NULL;
}

/* ---- no waiters ---- */

struct idle_condition {
    void *condition;
    void *lock;
    struct idle_condition *next;
};

static struct idle_condition *idle_conditions;

/* The lock is held, because some peers require that for notify. */
static void *condition_without_waiters(const struct peer *peer)
{
    struct idle_condition *idle = malloc(sizeof *idle);
    check(idle != NULL);
    idle->lock = peer->lock.new();
    idle->condition = peer->condition.new(idle->lock);
    peer->lock.acquire(idle->lock);
    idle->next = idle_conditions;
    idle_conditions = idle;
    return idle->condition;
}

static void free_condition_without_waiters(const struct peer *peer, void *condition)
{
    struct idle_condition **link = &idle_conditions;
    while ((*link)->condition != condition)
        link = &(*link)->next;
    struct idle_condition *idle = *link;
    *link = idle->next;
    peer->lock.release(idle->lock);
    peer->condition.free(condition);
    peer->lock.free(idle->lock);
    free(idle);
}

/* ---- ping-pong ---- */

static void condition_turn(struct pingpong *game, int side)
{
    const struct peer *peer = game->peer;
    void *condition = game->objects[0];
    peer->lock.acquire(game->lock);
    if (side == 0) {
        game->whose = 1;
        peer->condition.notify(condition);
        while (game->whose != 0)
            peer->condition.wait(condition, game->lock);
    } else {
        while (game->whose != 1)
            peer->condition.wait(condition, game->lock);
        game->whose = 0;
        peer->condition.notify(condition);
    }
    peer->lock.release(game->lock);
}

static double measure_pingpong(const struct peer *peer, const struct bench_case *bench_case)
{
    struct pingpong game = {.turn = condition_turn, .peer = peer, .lock = peer->lock.new()};
    game.objects[0] = peer->condition.new(game.lock);
    double us = pingpong_measure(&game, bench_case->two_cores);
    peer->condition.free(game.objects[0]);
    peer->lock.free(game.lock);
    return us;
}

/* ---- broadcast ---- */

struct waiter_group {
    const struct peer *peer;
    void *lock;
    void *condition;
    /* Guarded by the lock. */
    long size;
    long generation;
    long waiting;
    long woken;
    bool stop;
    /* Posted by the last waiter that woke; the same for all peers. */
    sem_t all_woken;
};

static void wait_repeatedly(void *context, int index)
{
    (void)index;
    struct waiter_group *group = context;
    const struct peer *peer = group->peer;
    peer->lock.acquire(group->lock);
    while (!group->stop) {
        long generation = group->generation;
        group->waiting++;
        while (group->generation == generation)
            peer->condition.wait(group->condition, group->lock);
        if (++group->woken == group->size)
            check(sem_post(&group->all_woken) == 0);
    }
    peer->lock.release(group->lock);
}

/* Returns when all threads wait, after another delay, so that they are asleep. */
static void await_all_waiting(struct waiter_group *group)
{
    const double delay = 2e5;
    long waiting;
    do {
        sleep_for(delay);
        group->peer->lock.acquire(group->lock);
        waiting = group->waiting;
        group->peer->lock.release(group->lock);
    } while (waiting < group->size);
    sleep_for(delay);
}

static double broadcast(struct waiter_group *group)
{
    const struct peer *peer = group->peer;
    double before = now();
    peer->lock.acquire(group->lock);
    group->generation++;
    group->waiting = 0;
    group->woken = 0;
    peer->condition.notify_all(group->condition);
    peer->lock.release(group->lock);
    while (sem_wait(&group->all_woken) != 0)
        ;
    return now() - before;
}

static double measure_broadcast(const struct peer *peer, const struct bench_case *bench_case)
{
    struct waiter_group group = {.peer = peer, .lock = peer->lock.new(), .size = bench_case->n};
    group.condition = peer->condition.new(group.lock);
    check(sem_init(&group.all_woken, 0, 0) == 0);
    struct crew *crew = crew_start((int)bench_case->n, wait_repeatedly, &group);
    struct batches batches = {0};
    int rounds = bench_case->n > 100 ? 15 : 60;
    for (int i = 0; i < rounds; i++) {
        await_all_waiting(&group);
        double ns = broadcast(&group);
        if (i > 0)
            batches_add(&batches, ns);
    }
    await_all_waiting(&group);
    peer->lock.acquire(group.lock);
    group.stop = true;
    peer->lock.release(group.lock);
    broadcast(&group);
    crew_join(crew);
    check(sem_destroy(&group.all_woken) == 0);
    peer->condition.free(group.condition);
    peer->lock.free(group.lock);
    return lower_quintile(&batches) / 1e3;
}

#define BROADCAST(waiters)                                                                                   \
    {.name = "condition.broadcast." #waiters,                                                                \
     .unit = "us",                                                                                           \
     .n = waiters,                                                                                           \
     .what = "notify " #waiters " threads, until all have run",                                              \
     .can = can_wait,                                                                                        \
     .measure = measure_broadcast}

const struct bench_case condition_cases[] = {
    {.name = "condition.notify",
     .unit = "ns",
     .what = "notify a condition without waiters",
     .loop = offsetof(struct peer, condition.notify_loop),
     .prepare = condition_without_waiters,
     .finish = free_condition_without_waiters},
    {.name = "condition.notify_all",
     .unit = "ns",
     .what = "notify all waiters of a condition that has none",
     .loop = offsetof(struct peer, condition.notify_all_loop),
     .prepare = condition_without_waiters,
     .finish = free_condition_without_waiters},
    {.name = "condition.pingpong.1core",
     .unit = "us",
     .what = "wake another thread and wait for it, on one core",
     .can = can_wait,
     .measure = measure_pingpong},
    {.name = "condition.pingpong.2cores",
     .unit = "us",
     .what = "wake another thread and wait for it, on two cores",
     .two_cores = true,
     .can = can_wait,
     .measure = measure_pingpong},
    BROADCAST(8),
    BROADCAST(64),
    BROADCAST(512),
    {0},
};
