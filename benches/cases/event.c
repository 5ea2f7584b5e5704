/* The event: when it is set, and between two threads. */
#include "pingpong.h"

static void *set_event(const struct peer *peer)
{
    void *event = peer->event.new();
    peer->event.set(event);
    return event;
}

static void free_event(const struct peer *peer, void *event)
{
    peer->event.free(event);
}

/* Baselines do not wait. */
static bool can_wait(const struct peer *peer)
{
    return peer->event.wait != NULL && !peer->baseline;
}

static void event_turn(struct pingpong *game, int side)
{
    const struct peer *peer = game->peer;
    void *mine = game->objects[side];
    void *other = game->objects[1 - side];
    if (side == 0)
        peer->event.set(other);
    peer->event.wait(mine);
    peer->event.clear(mine);
    if (side == 1)
        peer->event.set(other);
}

static double measure_pingpong(const struct peer *peer, const struct bench_case *bench_case)
{
    struct pingpong game = {
        .turn = event_turn, .peer = peer, .objects = {peer->event.new(), peer->event.new()}};
    double us = pingpong_measure(&game, bench_case->two_cores);
    peer->event.free(game.objects[0]);
    peer->event.free(game.objects[1]);
    return us;
}

#define LOOP(name_, loop_, what_)                                                                            \
    {.name = name_,                                                                                          \
     .unit = "ns",                                                                                           \
     .what = what_,                                                                                          \
     .loop = offsetof(struct peer, event.loop_),                                                             \
     .prepare = set_event,                                                                                   \
     .finish = free_event}

const struct bench_case event_cases[] = {
    LOOP("event.is-set", is_set_loop, "check whether an event is set"),
    LOOP("event.wait", wait_loop, "wait on an event that is set"),
    LOOP("event.set", set_loop, "set an event that is set"),
    {.name = "event.pingpong.1core",
     .unit = "us",
     .what = "set an event for another thread and wait for its reply, on one core",
     .can = can_wait,
     .measure = measure_pingpong},
    {.name = "event.pingpong.2cores",
     .unit = "us",
     .what = "set an event for another thread and wait for its reply, on two cores",
     .two_cores = true,
     .can = can_wait,
     .measure = measure_pingpong},
    {0},
};
