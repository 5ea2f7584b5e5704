// The conversion of std::chrono durations to seconds for the library: rounded up and clamped.
#include "test.hpp"

#include <limits>
#include <random>
#include <ratio>

using namespace std::chrono;
using threading::detail::seconds_until;
using threading::detail::to_seconds;

static_assert(noexcept(to_seconds(std::declval<const seconds &>())));

static void representable_durations_are_exact()
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

// Returns true if this double is at least n/den seconds. Computed in integers: the double is digits / 2^shift. Both
// sides are about as large as digits * den, so neither overflows.
static bool is_at_least(double value, long long n, long long den)
{
    int exponent = 0;
    const auto digits = static_cast<wide>(std::ldexp(std::frexp(value, &exponent), 53));
    const int shift = 53 - exponent;
    return digits * den >= static_cast<wide>(n) << shift;
}

template <class Duration>
static void check_rounding(long long limit)
{
    std::mt19937_64 random(20260101);
    for (int i = 0; i < 20000; i++) {
        const auto n = static_cast<long long>(random() % static_cast<unsigned long long>(limit)) >> (random() % 40);
        const double value = to_seconds(Duration(n));
        CHECK(is_at_least(value, n, Duration::period::den));
        // It exceeds the duration by one unit in the last place at most.
        if (n > 0)
            CHECK(!is_at_least(std::nextafter(std::nextafter(value, 0.0), 0.0), n, Duration::period::den));
    }
}
#endif

static void durations_are_rounded_up()
{
#if defined(__SIZEOF_INT128__)
    CHECK(is_at_least(0.5, 1, 2) && is_at_least(0.1, 1, 10) && !is_at_least(std::nextafter(0.1, 0.0), 1, 10));
    check_rounding<milliseconds>(1'000'000'000'000);
    check_rounding<microseconds>(1'000'000'000'000'000);
    check_rounding<nanoseconds>(1'000'000'000'000'000'000);
    check_rounding<duration<long long, std::ratio<1, 3>>>(1'000'000);
    check_rounding<duration<long long, std::ratio<1, 48000>>>(1'000'000'000);
#endif
}

static void negative_durations_are_zero()
{
    CHECK_EQUAL(to_seconds(-1ns), 0.0);
    CHECK_EQUAL(to_seconds(nanoseconds::min()), 0.0);
    CHECK_EQUAL(to_seconds(hours::min()), 0.0);
    CHECK_EQUAL(to_seconds(duration<double>(-INFINITY)), 0.0);
    CHECK_EQUAL(to_seconds(duration<double>(-0.0)), 0.0);
}

static void large_durations_are_clamped()
{
    CHECK_EQUAL(to_seconds(seconds(9223372037)), THREADING_TIMEOUT_MAX);
    CHECK_EQUAL(to_seconds(hours::max() - 1h), THREADING_TIMEOUT_MAX);
    CHECK_EQUAL(to_seconds(nanoseconds::max() - 1ns), THREADING_TIMEOUT_MAX);
    CHECK_EQUAL(to_seconds(duration<double>(1e300)), THREADING_TIMEOUT_MAX);
    CHECK_EQUAL(to_seconds(seconds(9223372035)), 9223372035.0);
}

static void max_and_infinity_are_unlimited()
{
    CHECK_EQUAL(to_seconds(nanoseconds::max()), THREADING_FOREVER);
    CHECK_EQUAL(to_seconds(hours::max()), THREADING_FOREVER);
    CHECK_EQUAL(to_seconds(duration<int, std::milli>::max()), THREADING_FOREVER);
    CHECK_EQUAL(to_seconds(duration<double>::max()), THREADING_FOREVER);
    CHECK_EQUAL(to_seconds(duration<double>(INFINITY)), THREADING_FOREVER);
    CHECK(std::isnan(to_seconds(duration<double>(NAN)))); // the library reports this as an error
}

static void time_points_become_remaining_seconds()
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
    CHECK_EQUAL(seconds_until(time_point<system_clock, duration<double>>(1s)), 0.0);
    CHECK(std::isnan(seconds_until(time_point<system_clock, duration<double>>(duration<double>(NAN)))));
    const double left = seconds_until(system_clock::now() + 1h);
    CHECK(left > 3000 && left <= 3600);
}

// A clock whose epoch is 150 years in the future, as that of std::filesystem in libstdc++.
struct LateEpoch {
    using rep = long long;
    using period = std::nano;
    using duration = nanoseconds;
    using time_point = std::chrono::time_point<LateEpoch>;
    static constexpr bool is_steady = true;

    static time_point now() noexcept { return time_point(-150 * 365 * 24h); }
};

static void time_points_far_from_the_epoch_do_not_overflow()
{
    constexpr auto year = 365 * 24h;
    CHECK_EQUAL(seconds_until(LateEpoch::time_point(-100 * year)), 50.0 * 365 * 24 * 3600);
    CHECK_EQUAL(seconds_until(LateEpoch::time_point(100 * year)), 250.0 * 365 * 24 * 3600);
    CHECK_EQUAL(seconds_until(LateEpoch::time_point(200 * year)), THREADING_TIMEOUT_MAX);
    CHECK_EQUAL(seconds_until(time_point<LateEpoch, hours>(200 * year)), THREADING_TIMEOUT_MAX);
    CHECK_EQUAL(seconds_until(time_point<LateEpoch, hours>(-200 * year)), 0.0);

    // The time of the clock is too long for 64 bits in units as fine as those of the time point.
    using picoseconds = duration<long long, std::pico>;
    CHECK_EQUAL(seconds_until(time_point<LateEpoch, picoseconds>(picoseconds(0))), 150.0 * 365 * 24 * 3600);
    CHECK_EQUAL(seconds_until(time_point<system_clock, picoseconds>(100 * 24h)), 0.0);
    CHECK_EQUAL(seconds_until(time_point<system_clock, picoseconds>(-100 * 24h)), 0.0);
}

static const test::Case cases[] = {
    {"durations that a double can represent are exact", representable_durations_are_exact},
    {"durations are rounded up", durations_are_rounded_up},
    {"negative durations are zero", negative_durations_are_zero},
    {"durations above the maximum are clamped", large_durations_are_clamped},
    {"max() and infinity are unlimited", max_and_infinity_are_unlimited},
    {"time points become the remaining seconds", time_points_become_remaining_seconds},
    {"time points far from the epoch do not overflow", time_points_far_from_the_epoch_do_not_overflow},
};

TEST_MAIN(cases)
