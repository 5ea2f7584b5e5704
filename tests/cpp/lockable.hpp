// The tests for all lockable classes: Lock, RLock, Condition, and Semaphore with an initial value of 1.
#ifndef LOCKABLE_HPP
#define LOCKABLE_HPP

#include "test.hpp"

#include <condition_variable>

namespace lockable {

template <class L, class = void>
struct is_lockable : std::false_type {};

template <class L>
struct is_lockable<L, std::void_t<decltype(std::declval<L &>().lock()), decltype(std::declval<L &>().unlock()),
                                  decltype(static_cast<bool>(std::declval<L &>().try_lock())),
                                  decltype(static_cast<bool>(std::declval<L &>().try_lock_for(1ms))),
                                  decltype(static_cast<bool>(std::declval<L &>().try_lock_until(test::steady::now())))>>
    : std::true_type {};

template <class L>
constexpr bool has_lockable_properties()
{
    static_assert(is_lockable<L>::value);
    static_assert(noexcept(std::declval<L &>().unlock()));
    static_assert(std::is_nothrow_move_constructible_v<L> && std::is_nothrow_move_assignable_v<L>);
    static_assert(!std::is_copy_constructible_v<L> && !std::is_copy_assignable_v<L>);
    static_assert(std::is_nothrow_destructible_v<L>);
    static_assert(sizeof(L) == sizeof(void *));
    return true;
}

// Returns true if another thread can acquire the lock without blocking.
template <class L>
bool is_free(L &lock)
{
    bool acquired = false;
    std::thread([&] {
        acquired = lock.try_lock();
        if (acquired)
            lock.unlock();
    }).join();
    return acquired;
}

template <class L>
void works_with_standard_guards()
{
    L lock;
    {
        const std::lock_guard guard(lock);
        CHECK(!is_free(lock));
    }
    CHECK(is_free(lock));
    {
        std::unique_lock guard(lock, std::try_to_lock);
        CHECK(guard.owns_lock());
        guard.unlock();
        CHECK(is_free(lock));
        CHECK(guard.try_lock_for(1ms));
        guard.unlock();
        CHECK(guard.try_lock_until(test::steady::now()));
    }
    CHECK(is_free(lock));
}

template <class L>
void scoped_lock_does_not_deadlock()
{
    L first, second;
    int sum = 0;
    auto add = [&sum](L &a, L &b) {
        for (int i = 0; i < 2000; i++) {
            const std::scoped_lock guard(a, b);
            sum++;
        }
    };
    {
        std::thread other(add, std::ref(second), std::ref(first)); // the opposite order
        add(first, second);
        other.join();
    }
    CHECK_EQUAL(sum, 4000);
    CHECK(is_free(first) && is_free(second));
}

template <class L>
void waits_are_not_too_short()
{
    L lock;
    lock.acquire();
    std::thread([&] {
        CHECK(!lock.try_acquire());
        CHECK(test::duration_of([&] { CHECK(!lock.try_acquire_for(20ms)); }) >= 20ms);
        CHECK(test::duration_of([&] { CHECK(!lock.try_acquire_for(std::chrono::duration<double, std::milli>(0.3))); })
              >= 300us);
        CHECK(!lock.try_acquire_for(-1h));
        CHECK(!lock.try_acquire_for(0s));
        const auto steady = test::steady::now() + 20ms;
        CHECK(!lock.try_acquire_until(steady));
        CHECK(test::steady::now() >= steady);
        const auto system = std::chrono::system_clock::now() + 20ms;
        CHECK(!lock.try_acquire_until(system));
        CHECK(std::chrono::system_clock::now() >= system);
        CHECK(!lock.try_acquire_until(test::steady::time_point::min()));
        CHECK_ERROR(lock.try_acquire_for(std::chrono::duration<double>(NAN)), threading::errc::value);
    }).join();
    lock.release();
    CHECK(lock.try_acquire_for(std::chrono::hours::max()));
    lock.release();
    CHECK(lock.try_acquire_until(test::steady::time_point::max()));
    lock.release();
}

template <class L>
void max_waits_indefinitely()
{
    L lock;
    std::atomic<int> acquired{0};
    lock.acquire();
    std::thread by_duration([&] {
        CHECK(lock.try_acquire_for(std::chrono::nanoseconds::max()));
        acquired++;
        lock.release();
    });
    std::thread by_time_point([&] {
        CHECK(lock.try_acquire_until(std::chrono::system_clock::time_point::max()));
        acquired++;
        lock.release();
    });
    test::let_others_run();
    CHECK_EQUAL(acquired.load(), 0);
    lock.release();
    by_duration.join();
    by_time_point.join();
    CHECK_EQUAL(acquired.load(), 2);
}

template <class L>
void works_with_condition_variable_any()
{
    L lock;
    std::condition_variable_any condition;
    bool ready = false;
    std::thread other([&] {
        const std::lock_guard guard(lock);
        ready = true;
        condition.notify_one();
    });
    {
        std::unique_lock guard(lock);
        CHECK(condition.wait_for(guard, test::limit, [&] { return ready; }));
    }
    other.join();
}

template <class L>
void moved_from_object_is_empty()
{
    L lock;
    const auto handle = lock.native_handle();
    CHECK(lock);
    L moved(std::move(lock));
    CHECK(moved.native_handle() == handle);
    // NOLINTBEGIN(bugprone-use-after-move): this is what the test checks
    CHECK(!lock && lock.native_handle() == nullptr);
    CHECK_ERROR(lock.acquire(), threading::errc::handle);
    CHECK_ERROR(lock.try_lock(), threading::errc::handle);
    CHECK_ERROR(lock.try_acquire_for(1s), threading::errc::handle);
    CHECK_ERROR(lock.release(), threading::errc::handle);
    CHECK_ERROR(lock.ref(), threading::errc::handle);
    lock = std::move(moved);
    CHECK(lock.native_handle() == handle);
    // NOLINTEND
    lock = L();
    CHECK(lock.native_handle() != nullptr && lock.try_acquire());
    lock.release();
}

template <class L>
void objects_share_one_handle()
{
    L lock;
    L other = lock.ref();
    CHECK(lock == other && !(lock != other));
    CHECK(lock != L());
    lock.acquire();
    lock = L(); // other still refers to the previous lock
    CHECK(!is_free(other));
    other.release();
    CHECK(is_free(other));

    const auto handle = other.native_handle();
    L third(threading::ref_handle, handle);
    other = L();
    CHECK(third.try_acquire());
    third.release();
    CHECK_ERROR(L(threading::ref_handle, nullptr), threading::errc::handle);
}

template <class L>
void unlock_error_calls_the_excepthook()
{
    const test::ExceptHookRecorder recorder;
    L lock;
    {
        const std::lock_guard guard(lock);
        lock.release();
    }
    const auto reports = recorder.reports();
    CHECK_EQUAL(reports.size(), 1U);
    CHECK_EQUAL(reports[0].find("MainThread: threading::error: "), 0U);
    CHECK(is_free(lock));
}

} // namespace lockable

#endif
