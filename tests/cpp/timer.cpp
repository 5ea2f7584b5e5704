// Timer: a Thread whose function is called after an interval, unless it is cancelled.
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
    CHECK(!timer.cancel()); // it has already fired
    CHECK_ERROR(timer.start(), errc::already_started);
}

static void destructor_cancels()
{
    const auto token = std::make_shared<int>(0);
    {
        Timer timer(1h, [token] { CHECK(false); });
        timer.start();
        CHECK_EQUAL(token.use_count(), 2);
    }
    CHECK_EQUAL(token.use_count(), 1); // destroyed without being called
    threading::ThreadRef kept;
    {
        Timer daemon(1h, [token] { CHECK(false); });
        daemon.set_daemon(true);
        daemon.start();
        kept = daemon;
    }
    CHECK(!kept.is_alive());
    CHECK_EQUAL(token.use_count(), 1);

    Timer assigned(1h, [token] { CHECK(false); });
    assigned.start();
    assigned = Timer(1h, [token] { CHECK(false); });
    CHECK_EQUAL(token.use_count(), 2);
    CHECK(!assigned.is_alive());
    assigned.start();
    assigned = Timer();
    CHECK_EQUAL(token.use_count(), 1);

    std::vector<Timer> many;
    for (int i = 0; i < 100; i++) {
        many.emplace_back(1h, [token] { CHECK(false); });
        many.back().start();
    }
    many.clear();
    CHECK_EQUAL(token.use_count(), 1);
}

static void destructor_waits_for_a_running_function()
{
    for (const bool assigned : {false, true}) {
        threading::Event begun;
        std::atomic<bool> ended{false};
        {
            Timer timer(0s, [&] {
                begun.set();
                test::let_others_run();
                ended = true;
            });
            timer.start();
            begun.wait();
            if (assigned) {
                timer = Timer();
                CHECK(ended);
            }
        }
        CHECK(ended);
    }
    // It does not wait for the function of a daemon.
    threading::Event begun, go;
    threading::ThreadRef kept;
    {
        Timer daemon(0s, [first = begun.ref(), last = go.ref()]() mutable {
            first.set();
            last.wait();
        });
        daemon.set_daemon(true);
        daemon.start();
        kept = daemon;
        begun.wait();
    }
    CHECK(kept.is_alive());
    go.set();
    kept.join();
}

// The destructor cancels the timer, or waits for its function.
static void destructor_at_expiration()
{
    std::atomic<int> inside{0};
    for (int i = 0; i < 300; i++) {
        {
            Timer timer(std::chrono::microseconds(i % 100), [&] {
                inside++;
                inside--;
            });
            timer.start();
            if (i % 3 != 0)
                std::this_thread::sleep_for(std::chrono::microseconds(i % 150));
        }
        CHECK_EQUAL(inside.load(), 0);
    }
}

static void function_destroys_its_own_timer()
{
    {
        auto owner = std::make_unique<Timer>();
        threading::Event ready;
        std::atomic<bool> done{false};
        *owner = Timer(0s, [&] {
            ready.wait();
            CHECK(!owner->cancel());
            owner.reset();
            done = true;
        });
        const threading::ThreadRef kept = owner->ref();
        owner->start();
        ready.set();
        kept.join();
        CHECK(done);
    }
    { // or assigns to it
        Timer timer;
        threading::Event ready;
        timer = Timer(0s, [&] {
            ready.wait();
            timer = Timer();
        });
        const threading::ThreadRef kept = timer.ref();
        timer.start();
        ready.set();
        kept.join();
        CHECK(!timer);
    }
}

// The callable owns its timer. Both are destroyed by cancel() or when the function returns.
static void callable_owns_its_timer()
{
    for (const bool cancelled : {true, false}) {
        auto token = std::make_shared<int>(0);
        auto owner = std::make_shared<Timer>();
        *owner = Timer(cancelled ? std::chrono::milliseconds(1h) : 1ms, [owner, token] {});
        const threading::ThreadRef kept = owner->ref();
        Timer other(threading::ref_handle, owner->native_timer_handle());
        owner->start();
        owner.reset();
        if (cancelled)
            CHECK(other.cancel());
        kept.join();
        CHECK_EQUAL(token.use_count(), 1);
    }
}

// A timer that was moved into a Thread is joined instead of cancelled.
static void moved_into_a_thread_is_joined()
{
    std::atomic<bool> fired{false};
    {
        threading::Thread thread;
        {
            Timer timer(10ms, [&] { fired = true; });
            timer.start();
            thread = std::move(timer);
        }
    }
    CHECK(fired);
}

static void cancelled_timer_never_fires()
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

static void interval_limits()
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

static void timer_is_a_thread()
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

static void detached_timer_continues()
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

    threading::ThreadRef pending;
    { // a pending timer stays pending
        Timer later(20ms, [&fired] { fired = false; });
        later.start();
        pending = later;
        later.detach();
    }
    CHECK(pending.is_alive() || !fired);
    pending.join();
    CHECK(!fired);
}

static void can_be_moved_adopted_and_shared()
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

#if defined(__cpp_exceptions)
static void exception_calls_the_excepthook()
{
    const test::ExceptHookRecorder recorder;
    Timer timer(0s, [] { throw std::runtime_error("late"); });
    timer.set_name("alarm");
    timer.start();
    timer.join();
    CHECK_EQUAL(recorder.reports().at(0), "alarm: std::runtime_error: late");
}
#endif

static const test::Case cases[] = {
    {"it fires after its interval", fires_after_its_interval},
    {"the destructor cancels it", destructor_cancels},
    {"the destructor waits for a running function", destructor_waits_for_a_running_function},
    {"the destructor may run while the timer fires", destructor_at_expiration},
    {"the function may destroy its own timer", function_destroys_its_own_timer},
    {"the callable may own its timer", callable_owns_its_timer},
    {"a timer that was moved into a Thread is joined", moved_into_a_thread_is_joined},
    {"a cancelled timer never fires and destroys its callable", cancelled_timer_never_fires},
    {"negative intervals fire immediately, infinite ones never", interval_limits},
    {"it is a thread", timer_is_a_thread},
    {"a detached timer stays pending or running", detached_timer_continues},
    {"it can be moved, adopted and shared", can_be_moved_adopted_and_shared},
#if defined(__cpp_exceptions)
    {"an exception is passed to the excepthook", exception_calls_the_excepthook},
#endif
};

TEST_MAIN(cases)
