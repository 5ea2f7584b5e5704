// Random numbers for the examples, modelled on Python's random.random() and random.randint(). Each thread has
// its own generator, so the threads do not wait for each other.
#ifndef RANDOM_HPP
#define RANDOM_HPP

#include <random>

#include <threading.hpp>

inline std::mt19937 &random_generator()
{
    thread_local std::mt19937 generator{std::random_device()() + static_cast<unsigned>(threading::get_ident())};
    return generator;
}

// Returns a random number in [0, 1).
inline double random_random()
{
    return std::uniform_real_distribution<double>(0, 1)(random_generator());
}

// Returns a random integer from low to high, inclusive.
inline int random_randint(int low, int high)
{
    return std::uniform_int_distribution<int>(low, high)(random_generator());
}

#endif
