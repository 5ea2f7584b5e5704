#include "pingpong.h"

struct match {
    struct pingpong *game;
    bool two_cores;
    long played;
    /* The number of the last round, stored before it begins. A flag would not be enough: side 1 could read it
     * one round too early, when it checks whether to continue. */
    atomic_long last;
};

static void answer(void *context, int index)
{
    (void)index;
    struct match *match = context;
    pin(match->two_cores ? 1 : 0);
    long answered = 0;
    do {
        match->game->turn(match->game, 1);
    } while (++answered != atomic_load_explicit(&match->last, memory_order_relaxed));
}

static double play(struct match *match, long turns)
{
    double before = now();
    for (long i = 0; i < turns; i++)
        match->game->turn(match->game, 0);
    match->played += turns;
    return (now() - before) / (double)turns;
}

double pingpong_measure(struct pingpong *game, bool two_cores)
{
    const double batch_ns = 1e6;
    enum { ROUNDS = 40 };
    struct match match = {.game = game, .two_cores = two_cores};
    struct batches batches = {0};
    pin(0);
    struct crew *crew = crew_start(1, answer, &match);
    play(&match, 20);
    long turns = (long)(batch_ns / play(&match, 20)) + 1;
    for (int i = 0; i < ROUNDS; i++)
        batches_add(&batches, play(&match, turns));
    atomic_store_explicit(&match.last, match.played + 1, memory_order_relaxed);
    play(&match, 1);
    crew_join(crew);
    unpin();
    return lower_quintile(&batches) / 1e3;
}
