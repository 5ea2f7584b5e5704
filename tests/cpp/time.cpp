// How a std::chrono time becomes the library's seconds: rounded up, and kept in range.
#include "test.hpp"

#include <limits>
#include <random>
#include <ratio>

using namespace std::chrono;
using threading::detail::seconds_until;
using threading::detail::to_seconds;

static_assert(noexcept(to_seconds(std::declval<const seconds &>())));

static void exact_times_stay_exact()
{
    CHECK_EQUAL(to_seconds(0s), 0.0);
    CHECK_EQUAL(to_seconds(1s), 1.0);
    CHECK_EQUAL(to_seconds(2h), 7200.0);
    CHECK_EQUAL(to_seconds(250ms), 0.25);
    CHECK_EQUAL(to_seconds(1500ms), 1.5);
    CHECK_EQUAL(to_seconds(duration<double>(0.1)), 0.1);
    CHECK_EQUAL(to_seconds(duration<float>(0.5F)), 0.5);
    CHECK_EQUAL(to_seconds(duration<int, std::ratio<1, 4>>(3)), 0.75);
    CHECK_EQUAL(to_seconds(duration<int, std::ratio<5, 2>>(3)), 7.5);
    CHECK_EQUAL(to_seconds(duration<short, std::ratio<86400>>(2)), 172800.0);
    CHECK_EQUAL(to_seconds(duration<unsigned char>(200)), 200.0);
}

#if defined(__SIZEOF_INT128__)
__extension__ using wide = __int128;

// Is this double no less than n/den seconds? In whole numbers: it is digits / 2^shift, and as both sides are
// about as large as digits * den, neither overflows.
static bool covers(double value, long long n, long long den)
{
    int exponent = 0;
    const auto digits = static_cast<wide>(std::ldexp(std::frexp(value, &exponent), 53));
    const int shift = 53 - exponent;
    return digits * den >= static_cast<wide>(n) << shift;
}

template <class Duration>
static void never_less(long long most)
{
    std::mt19937_64 random(20260101);
    for (int i = 0; i < 20000; i++) {
        const auto n = static_cast<long long>(random() % static_cast<unsigned long long>(most)) >> (random() % 40);
        const double value = to_seconds(Duration(n));
        CHECK(covers(value, n, Duration::period::den));
        // Nor needlessly more: at most one step of the double.
        if (n > 0)
            CHECK(!covers(std::nextafter(std::nextafter(value, 0.0), 0.0), n, Duration::period::den));
    }
}
#endif

static void no_time_is_shortened()
{
#if defined(__SIZEOF_INT128__)
    CHECK(covers(0.5, 1, 2) && covers(0.1, 1, 10) && !covers(std::nextafter(0.1, 0.0), 1, 10));
    never_less<milliseconds>(1'000'000'000'000);
    never_less<microseconds>(1'000'000'000'000'000);
    never_less<nanoseconds>(1'000'000'000'000'000'000);
    never_less<duration<long long, std::ratio<1, 3>>>(1'000'000);
    never_less<duration<long long, std::ratio<1, 48000>>>(1'000'000'000);
#endif
}

static void what_is_below_is_zero()
{
    CHECK_EQUAL(to_seconds(-1ns), 0.0);
    CHECK_EQUAL(to_seconds(nanoseconds::min()), 0.0);
    CHECK_EQUAL(to_seconds(hours::min()), 0.0);
    CHECK_EQUAL(to_seconds(duration<double>(-INFINITY)), 0.0);
    CHECK_EQUAL(to_seconds(duration<double>(-0.0)), 0.0);
}

static void what_is_above_is_the_most()
{
    CHECK_EQUAL(to_seconds(seconds(9223372037)), THREADING_TIMEOUT_MAX);
    CHECK_EQUAL(to_seconds(hours::max() - 1h), THREADING_TIMEOUT_MAX);
    CHECK_EQUAL(to_seconds(nanoseconds::max() - 1ns), THREADING_TIMEOUT_MAX);
    CHECK_EQUAL(to_seconds(duration<double>(1e300)), THREADING_TIMEOUT_MAX);
    CHECK_EQUAL(to_seconds(seconds(9223372035)), 9223372035.0);
}

static void max_is_for_ever()
{
    CHECK_EQUAL(to_seconds(nanoseconds::max()), THREADING_FOREVER);
    CHECK_EQUAL(to_seconds(hours::max()), THREADING_FOREVER);
    CHECK_EQUAL(to_seconds(duration<int, std::milli>::max()), THREADING_FOREVER);
    CHECK_EQUAL(to_seconds(duration<double>::max()), THREADING_FOREVER);
    CHECK_EQUAL(to_seconds(duration<double>(INFINITY)), THREADING_FOREVER);
    CHECK(std::isnan(to_seconds(duration<double>(NAN)))); // which the library refuses
}

static void moments()
{
    using minutes_of_system = time_point<system_clock, minutes>;
    CHECK_EQUAL(seconds_until(steady_clock::now() - 1s), 0.0);
    CHECK_EQUAL(seconds_until(steady_clock::time_point::min()), 0.0);
    CHECK_EQUAL(seconds_until(steady_clock::time_point::max()), THREADING_FOREVER);
    CHECK_EQUAL(seconds_until(minutes_of_system::min()), 0.0);
    CHECK_EQUAL(seconds_until(minutes_of_system::max()), THREADING_FOREVER);
    CHECK_EQUAL(seconds_until(minutes_of_system::max() - 1min), THREADING_TIMEOUT_MAX);
    CHECK_EQUAL(seconds_until(time_point<system_clock, duration<double>>(duration<double>(INFINITY))),
                THREADING_FOREVER);
    const double left = seconds_until(system_clock::now() + 1h);
    CHECK(left > 3000 && left <= 3600);
}

static const test::Case cases[] = {
    {"what a double can say stays exact", exact_times_stay_exact},
    {"no time is shortened", no_time_is_shortened},
    {"what is below zero is zero", what_is_below_is_zero},
    {"what is above the most is the most", what_is_above_is_the_most},
    {"max() and infinity are for ever", max_is_for_ever},
    {"moments become the seconds until then", moments},
};

TEST_MAIN(cases)
