/* SplitMix64, the pseudorandom number generator of the torture programs. */
#ifndef SPLITMIX64_H
#define SPLITMIX64_H

#include <stdint.h>

static inline uint64_t splitmix64_mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9;
    z = (z ^ (z >> 27)) * 0x94d049bb133111eb;
    return z ^ (z >> 31);
}

/* Advances the state and returns the next number. */
static inline uint64_t splitmix64_next(uint64_t *state)
{
    return splitmix64_mix(*state += 0x9e3779b97f4a7c15);
}

#endif
