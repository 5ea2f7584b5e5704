// Timer: a Thread whose function runs later, or never.
#include "test.hpp"

#include <memory>
#include <stdexcept>

using threading::errc;
using threading::Timer;

static_assert(std::is_base_of_v<threading::Thread, Timer>);
static_assert(std::is_nothrow_default_constructible_v<Timer> && std::is_nothrow_destructible_v<Timer>);
static_assert(std::is_nothrow_move_constructible_v<Timer> && std::is_nothrow_move_assignable_v<Timer>);
static_assert(!std::is_copy_constructible_v<Timer> && !std::is_copy_assignable_v<Timer>);
static_assert(std::is_constructible_v<Timer, std::chrono::hours, void (*)(int), short>);
static_assert(!std::is_constructible_v<Timer, void (*)()> && !std::is_constructible_v<Timer, double, void (*)()>);
static_assert(noexcept(std::declval<Timer &>().interval()));

static void fires_after_its_interval()
{
    std::atomic<int> sum{0};
    Timer timer(20ms, [&](std::unique_ptr<int> number) { sum += *number; }, std::make_unique<int>(3));
    CHECK_EQUAL(timer.interval().count(), 0.02);
    CHECK(!timer.is_alive());
    const auto begin = test::steady::now();
    timer.start();
    CHECK(timer.is_alive() || sum == 3);
    timer.join();
    CHECK(test::steady::now() - begin >= 20ms);
    CHECK_EQUAL(sum.load(), 3);
    CHECK(!timer.cancel()); // too late
    CHECK_ERROR(timer.start(), errc::already_started);
}

static void its_end_waits()
{
    std::atomic<bool> fired{false};
    {
        Timer timer(10ms, [&] { fired = true; });
        timer.start();
    }
    CHECK(fired);
}

static void is_cancelled()
{
    const auto token = std::make_shared<int>(0);
    Timer pending(1h, [token] { CHECK(false); });
    pending.start();
    CHECK_EQUAL(token.use_count(), 2);
    CHECK(pending.is_alive());
    CHECK(pending.cancel());
    CHECK_EQUAL(token.use_count(), 1);
    CHECK(pending.cancel());
    pending.join();

    Timer before(0s, [token] { CHECK(false); });
    CHECK(before.cancel());
    before.start();
    before.join();
    CHECK_EQUAL(token.use_count(), 1);
    { // never started
        const Timer unstarted(0s, [token] { CHECK(false); });
    }
    CHECK_EQUAL(token.use_count(), 1);
}

static void intervals()
{
    const auto interval = [](auto time) { return Timer(time, [] {}).interval().count(); };
    CHECK_EQUAL(interval(-5s), 0.0);
    CHECK_EQUAL(interval(3min), 180.0);
    CHECK_EQUAL(interval(std::chrono::nanoseconds::max()), INFINITY);
    CHECK_EQUAL(interval(std::chrono::duration<double>(INFINITY)), INFINITY);
    CHECK_EQUAL(interval(std::chrono::duration<double>(1e300)), THREADING_TIMEOUT_MAX);
    CHECK_ERROR(interval(std::chrono::duration<double>(NAN)), errc::value);
    Timer never(std::chrono::hours::max(), [] { CHECK(false); });
    never.start();
    CHECK(!never.join_for(20ms));
    CHECK(never.cancel());
}

static void is_a_thread()
{
    std::string name;
    threading::ThreadRef inside;
    Timer timer(0s, [&] {
        inside = threading::current_thread();
        name = inside.name();
    });
    timer.set_name("alarm");
    timer.set_daemon(true);
    timer.start();
    CHECK(timer.join_for(test::limit));
    CHECK_EQUAL(name, "alarm");
    CHECK(inside == timer);
    CHECK(inside.daemon());
    CHECK(inside.native_handle() == threading_timer_thread(timer.native_timer_handle()));
}

static void is_let_go()
{
    threading::Event go;
    std::atomic<bool> fired{false};
    Timer timer(1ms, [&fired, own = go.ref()] {
        own.wait();
        fired = true;
    });
    timer.start();
    const threading::ThreadRef kept = timer;
    timer.detach();
    CHECK(!timer && timer.native_timer_handle() == nullptr);
    CHECK_ERROR(timer.cancel(), errc::handle);
    go.set();
    kept.join();
    CHECK(fired);

    Timer daemon(1h, [] {});
    daemon.set_daemon(true);
    daemon.start(); // its end does not wait
}

static void moves()
{
    Timer timer(1h, [] {});
    threading_timer *handle = timer.native_timer_handle();
    Timer other(threading::ref_handle, handle);
    Timer moved(std::move(timer));
    CHECK(moved.native_timer_handle() == handle && moved == other);
    CHECK(!timer && timer.native_timer_handle() == nullptr); // NOLINT(bugprone-use-after-move)
    timer = std::move(moved);
    timer.start();
    CHECK(other.cancel() && !timer.is_alive());
    Timer adopted(threading::adopt_handle, threading_timer_new(1, nullptr, nullptr));
    CHECK(adopted.cancel());
    CHECK_ERROR(Timer(threading::ref_handle, nullptr), errc::handle);
}

static void exceptions_are_told()
{
    const test::Hook hook;
    Timer timer(0s, [] { throw std::runtime_error("late"); });
    timer.set_name("alarm");
    timer.start();
    timer.join();
    CHECK_EQUAL(hook.told().at(0), "alarm: std::runtime_error: late");
}

static const test::Case cases[] = {
    {"it fires after its interval", fires_after_its_interval},
    {"its end waits until it has fired", its_end_waits},
    {"a cancelled one never fires, and lets its callable go", is_cancelled},
    {"intervals below zero fire at once, infinite ones never", intervals},
    {"it is a thread", is_a_thread},
    {"a detached one goes on, a daemon is left", is_let_go},
    {"it is moved, adopted and shared", moves},
    {"an exception is told to the excepthook", exceptions_are_told},
};

TEST_MAIN(cases)
