/* Random numbers for the examples, after Python's random.random() and random.randint().
 *
 * Each thread has a generator of its own (splitmix64), so that no thread waits for another or repeats its
 * numbers: rand() has one hidden state for all threads and need not be safe to share. Good for a simulated
 * load, never for secrets.
 */
#ifndef RANDOM_H
#define RANDOM_H

#include <stdint.h>
#include <time.h>

#include <threading.h>

static inline uint64_t random_bits(void)
{
    static _Thread_local uint64_t state = 0;

    if (state == 0) {
        /* Threads that start within one tick of the clock still differ, by their idents. */
        struct timespec now = {0};
        (void)timespec_get(&now, TIME_UTC);
        state = ((uint64_t)now.tv_sec << 30) + (uint64_t)now.tv_nsec
                + threading_get_ident() * UINT64_C(0xd1342543de82ef95);
    }
    state += UINT64_C(0x9e3779b97f4a7c15);
    uint64_t bits = state;
    bits = (bits ^ (bits >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    bits = (bits ^ (bits >> 27)) * UINT64_C(0x94d049bb133111eb);
    return bits ^ (bits >> 31);
}

/* A number from 0 up to, but not including, 1. */
static inline double random_random(void)
{
    return (double)(random_bits() >> 11) * 0x1.0p-53;
}

/* A whole number from low to high, both included. */
static inline int random_randint(int low, int high)
{
    return low + (int)(random_bits() % (uint64_t)(high - low + 1));
}

#endif
