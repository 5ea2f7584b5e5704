/* Two threads that take turns: how long a round trip takes. */
#ifndef PINGPONG_H
#define PINGPONG_H

#include "../bench.h"

/* In its turn, each side waits for the other side and then wakes it. Side 0 begins. */
struct pingpong {
    void (*turn)(struct pingpong *game, int side);
    const struct peer *peer;
    void *lock;
    void *objects[2];
    int whose;
};

/* Runs both threads on one core or on two, and returns the time of a round trip in us. */
double pingpong_measure(struct pingpong *game, bool two_cores);

#endif
