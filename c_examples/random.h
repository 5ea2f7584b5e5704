/* Random numbers for the examples, modelled on Python's random.random() and random.randint().
 *
 * Each thread has its own generator (splitmix64), so threads do not wait for each other and do not repeat each
 * other's numbers. rand() has one state for all threads and need not be thread-safe. Suitable for simulated
 * load, not for cryptography.
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
        /* Threads that start within one clock tick differ by their idents. */
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

/* Returns a random number in [0, 1). */
static inline double random_random(void)
{
    return (double)(random_bits() >> 11) * 0x1.0p-53;
}

/* Returns a random integer from low to high, inclusive. */
static inline int random_randint(int low, int high)
{
    return low + (int)(random_bits() % (uint64_t)(high - low + 1));
}

#endif
