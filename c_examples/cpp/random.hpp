// Random numbers for the examples, after Python's random.random() and random.randint(). Each thread has a
// generator of its own, so that none waits for another.
#ifndef RANDOM_HPP
#define RANDOM_HPP

#include <random>

#include <threading.hpp>

inline std::mt19937 &random_generator()
{
    thread_local std::mt19937 generator{std::random_device()() + static_cast<unsigned>(threading::get_ident())};
    return generator;
}

// A number from 0 up to, but not including, 1.
inline double random_random()
{
    return std::uniform_real_distribution<double>(0, 1)(random_generator());
}

// A whole number from low to high, both included.
inline int random_randint(int low, int high)
{
    return std::uniform_int_distribution<int>(low, high)(random_generator());
}

#endif
