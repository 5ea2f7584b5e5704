// Event: set, clear, and wait for.
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

static void time_runs_out()
{
    const Event event;
    CHECK(test::time_of([&] { CHECK(!event.wait_for(20ms)); }) >= 20ms);
    const auto steady = test::steady::now() + 20ms;
    CHECK(!event.wait_until(steady));
    CHECK(test::steady::now() >= steady);
    CHECK(!event.wait_until(std::chrono::time_point_cast<std::chrono::seconds>(std::chrono::system_clock::now() - 2s)));
    CHECK_ERROR(event.wait_for(std::chrono::duration<double>(NAN)), errc::value);
}

// A clock that is set back during the wait: what it tells in turn, the last for good.
struct SetBack {
    using duration = std::chrono::milliseconds;
    using rep = duration::rep;
    using period = duration::period;
    using time_point = std::chrono::time_point<SetBack, duration>;
    static constexpr bool is_steady = false;
    static inline int looks = 0;

    static time_point now() noexcept
    {
        static constexpr int told[] = {0, -20, -20, 20};
        return time_point(duration(told[looks < 3 ? looks++ : 3]));
    }
};

static void goes_by_the_clock_of_the_moment()
{
    const Event event;
    // 20 ms, by which its moment should have come, and 40 more as the clock then says.
    CHECK(test::time_of([&] { CHECK(!event.wait_until(SetBack::time_point(20ms))); }) >= 60ms);
    CHECK_EQUAL(SetBack::looks, 3);
}

static void lets_all_go()
{
    Event event;
    std::atomic<int> through{0};
    std::vector<threading::Thread> threads;
    for (int i = 0; i < 4; i++) {
        threads.push_back(threading::Thread::started([&] {
            event.wait();
            CHECK(event.wait_for(std::chrono::hours::max()));
            through++;
        }));
    }
    test::give_others_a_chance();
    CHECK_EQUAL(through.load(), 0);
    event.set();
    threads.clear();
    CHECK_EQUAL(through.load(), 4);
}

static void owners_share_it()
{
    Event event;
    auto waiter = threading::Thread::started([own = event.ref()] { own.wait(); });
    event.set();
    event = Event();
    waiter.join();
    CHECK(!event.is_set());
    Event moved(std::move(event));
    // NOLINTBEGIN(bugprone-use-after-move): that is what is tested
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
    {"it is a flag", is_a_flag},
    {"no time and no moment is shortened", time_runs_out},
    {"a wait until a moment goes by that moment's clock", goes_by_the_clock_of_the_moment},
    {"a set lets all go on", lets_all_go},
    {"several objects own one event", owners_share_it},
};

TEST_MAIN(cases)
