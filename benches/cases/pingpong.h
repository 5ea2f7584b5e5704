/* Two threads that take turns: how long a round trip takes. */
#ifndef PINGPONG_H
#define PINGPONG_H

#include "../bench.h"

/* What each of the two does in a turn: waits for the other's, and lets the other go on. Side 0 begins. */
struct pingpong {
    void (*turn)(struct pingpong *game, int side);
    const struct peer *peer;
    void *lock;
    void *objects[2];
    int whose;
};

/* Plays with both threads on one core, or on two, and gives the time of a round trip in us. */
double pingpong_measure(struct pingpong *game, bool two_cores);

#endif
