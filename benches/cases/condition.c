/* The condition: nobody waits, one waits, all wait. */
#include "pingpong.h"

#include <semaphore.h>
#include <stdlib.h>

static bool can_wait(const struct peer *peer)
{
    return peer->condition.wait != NULL;
}

/* ---- nobody waits ---- */

struct lonely {
    void *condition;
    void *lock;
    struct lonely *next;
};

static struct lonely *all_lonely;

/* The lock is held, as some peers demand for a notify. */
static void *lonely_condition(const struct peer *peer)
{
    struct lonely *lonely = malloc(sizeof *lonely);
    check(lonely != NULL);
    lonely->lock = peer->lock.new();
    lonely->condition = peer->condition.new(lonely->lock);
    peer->lock.acquire(lonely->lock);
    lonely->next = all_lonely;
    all_lonely = lonely;
    return lonely->condition;
}

static void drop_lonely_condition(const struct peer *peer, void *condition)
{
    struct lonely **place = &all_lonely;
    while ((*place)->condition != condition)
        place = &(*place)->next;
    struct lonely *lonely = *place;
    *place = lonely->next;
    peer->lock.release(lonely->lock);
    peer->condition.free(condition);
    peer->lock.free(lonely->lock);
    free(lonely);
}

/* ---- two in turn ---- */

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

/* ---- all at once ---- */

struct audience {
    const struct peer *peer;
    void *lock;
    void *condition;
    /* Guarded by the lock. */
    long size;
    long generation;
    long waiting;
    long woken;
    bool leave;
    /* How the last one that woke tells main; the same for all peers. */
    sem_t all_woken;
};

static void listen(void *context, int index)
{
    (void)index;
    struct audience *audience = context;
    const struct peer *peer = audience->peer;
    peer->lock.acquire(audience->lock);
    while (!audience->leave) {
        long generation = audience->generation;
        audience->waiting++;
        while (audience->generation == generation)
            peer->condition.wait(audience->condition, audience->lock);
        if (++audience->woken == audience->size)
            check(sem_post(&audience->all_woken) == 0);
    }
    peer->lock.release(audience->lock);
}

/* Until all wait, and for a moment more, so that they sleep. */
static void await_audience(struct audience *audience)
{
    const double moment = 2e5;
    long waiting;
    do {
        sleep_for(moment);
        audience->peer->lock.acquire(audience->lock);
        waiting = audience->waiting;
        audience->peer->lock.release(audience->lock);
    } while (waiting < audience->size);
    sleep_for(moment);
}

static double broadcast(struct audience *audience)
{
    const struct peer *peer = audience->peer;
    double before = now();
    peer->lock.acquire(audience->lock);
    audience->generation++;
    audience->waiting = 0;
    audience->woken = 0;
    peer->condition.notify_all(audience->condition);
    peer->lock.release(audience->lock);
    while (sem_wait(&audience->all_woken) != 0)
        ;
    return now() - before;
}

static double measure_broadcast(const struct peer *peer, const struct bench_case *bench_case)
{
    struct audience audience = {.peer = peer, .lock = peer->lock.new(), .size = bench_case->n};
    audience.condition = peer->condition.new(audience.lock);
    check(sem_init(&audience.all_woken, 0, 0) == 0);
    struct crew *crew = crew_start((int)bench_case->n, listen, &audience);
    struct batches batches = {0};
    int rounds = bench_case->n > 100 ? 15 : 60;
    for (int i = 0; i < rounds; i++) {
        await_audience(&audience);
        double ns = broadcast(&audience);
        if (i > 0)
            batches_add(&batches, ns);
    }
    await_audience(&audience);
    peer->lock.acquire(audience.lock);
    audience.leave = true;
    peer->lock.release(audience.lock);
    broadcast(&audience);
    crew_join(crew);
    check(sem_destroy(&audience.all_woken) == 0);
    peer->condition.free(audience.condition);
    peer->lock.free(audience.lock);
    return lower_quintile(&batches) / 1e3;
}

#define BROADCAST(listeners)                                                                                 \
    {.name = "condition.broadcast." #listeners,                                                              \
     .unit = "us",                                                                                           \
     .n = listeners,                                                                                         \
     .what = "notify " #listeners " threads until all have run",                                             \
     .can = can_wait,                                                                                        \
     .measure = measure_broadcast}

const struct bench_case condition_cases[] = {
    {.name = "condition.notify",
     .unit = "ns",
     .what = "notify when nobody waits",
     .loop = offsetof(struct peer, condition.notify_loop),
     .prepare = lonely_condition,
     .finish = drop_lonely_condition},
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
