// Event: set, clear and wait.
#include "test.hpp"

using threading::errc;
using threading::Event;

static_assert(std::is_nothrow_move_constructible_v<Event> && std::is_nothrow_move_assignable_v<Event>);
static_assert(!std::is_copy_constructible_v<Event> && !std::is_copy_assignable_v<Event>);
static_assert(noexcept(std::declval<Event &>().is_set()) && noexcept(std::declval<Event &>().try_wait()));
static_assert(sizeof(Event) == sizeof(void *));

static void is_a_flag()
{
    Event event;
    CHECK(!event.is_set() && !event.try_wait());
    event.set();
    event.set();
    CHECK(event.is_set() && event.try_wait());
    event.wait();
    CHECK(event.wait_for(0s));
    CHECK(event.wait_for(-1s));
    CHECK(event.wait_until(std::chrono::system_clock::time_point::min()));
    event.clear();
    CHECK(!event.is_set() && !event.wait_for(0s));
}

static void timeouts_expire()
{
    const Event event;
    CHECK(test::duration_of([&] { CHECK(!event.wait_for(20ms)); }) >= 20ms);
    const auto steady = test::steady::now() + 20ms;
    CHECK(!event.wait_until(steady));
    CHECK(test::steady::now() >= steady);
    CHECK(!event.wait_until(std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now() - 2s)));
    CHECK_ERROR(event.wait_for(std::chrono::duration<double>(NAN)), errc::value);
    using time_point = std::chrono::time_point<std::chrono::system_clock, std::chrono::duration<double>>;
    CHECK_ERROR(event.wait_until(time_point(std::chrono::duration<double>(NAN))), errc::value);
}

// A clock that is set back during the wait. It returns these times in turn, then the last one repeatedly.
struct ClockSetBack {
    using duration = std::chrono::milliseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<ClockSetBack, duration>;
    static constexpr bool is_steady = false;
    static inline int reads = 0;

    static time_point now() noexcept
    {
        static constexpr int times[] = {0, -20, -20, 20};
        return time_point(duration(times[reads < 3 ? reads++ : 3]));
    }
};

static void wait_until_follows_the_clock()
{
    const Event event;
    // 20 ms until the time point, and 40 ms more because the clock is set back.
    CHECK(test::duration_of([&] { CHECK(!event.wait_until(ClockSetBack::time_point(20ms))); }) >= 60ms);
    CHECK_EQUAL(ClockSetBack::reads, 3);
}

static void set_wakes_all_waiters()
{
    Event event;
    std::atomic<int> woken{0};
    std::vector<threading::Thread> threads;
    for (int i = 0; i < 4; i++) {
        threads.push_back(threading::Thread::started([&] {
            event.wait();
            CHECK(event.wait_for(std::chrono::hours::max()));
            woken++;
        }));
    }
    test::let_others_run();
    CHECK_EQUAL(woken.load(), 0);
    event.set();
    threads.clear();
    CHECK_EQUAL(woken.load(), 4);
}

static void objects_share_one_event()
{
    Event event;
    auto waiter = threading::Thread::started([own = event.ref()] { own.wait(); });
    event.set();
    event = Event();
    waiter.join();
    CHECK(!event.is_set());
    Event moved(std::move(event));
    // NOLINTBEGIN(bugprone-use-after-move): this is what the test checks
    CHECK(!event.is_set());
    CHECK_ERROR(event.set(), errc::handle);
    CHECK_ERROR(event.wait(), errc::handle);
    // NOLINTEND
    Event adopted(threading::adopt_handle, threading_event_ref(moved.native_handle()));
    CHECK(adopted == moved);
    adopted.set();
    moved.at_fork_reinit();
    CHECK(!adopted.is_set());
}

static const test::Case cases[] = {
    {"set, clear and is_set work as a flag", is_a_flag},
    {"no wait is shorter than its timeout", timeouts_expire},
    {"wait_until follows the clock of its time point", wait_until_follows_the_clock},
    {"set wakes all waiters", set_wakes_all_waiters},
    {"two objects share one event", objects_share_one_event},
};

TEST_MAIN(cases)
