// Semaphore and BoundedSemaphore, by the function names of std::counting_semaphore and of Python.
#include "lockable.hpp"

using threading::BoundedSemaphore;
using threading::errc;
using threading::Semaphore;

static_assert(lockable::has_lockable_properties<Semaphore>());
static_assert(lockable::has_lockable_properties<BoundedSemaphore>());
static_assert(std::is_base_of_v<Semaphore, BoundedSemaphore>);
static_assert(Semaphore::max() == THREADING_SEMAPHORE_MAX);
static_assert(!std::is_convertible_v<int, Semaphore>);
static_assert(noexcept(std::declval<Semaphore &>().value()));

static void acquire_and_release_change_the_value()
{
    Semaphore semaphore(2);
    semaphore.acquire();
    CHECK_EQUAL(semaphore.value(), 1);
    CHECK(semaphore.try_acquire());
    CHECK(!semaphore.try_acquire());
    CHECK(!semaphore.try_acquire_for(1ms));
    CHECK(!semaphore.try_acquire_until(test::steady::now()));
    semaphore.release(3);
    CHECK_EQUAL(semaphore.value(), 3);
    semaphore.release();
    CHECK_EQUAL(semaphore.value(), 4);
    CHECK_EQUAL(Semaphore().value(), 1); // Python's default
}

static void invalid_counts_fail()
{
    CHECK_ERROR(Semaphore(-1), errc::value);
    CHECK_ERROR(Semaphore(Semaphore::max() + 1), errc::overflow);
    CHECK_ERROR(BoundedSemaphore(-1), errc::value);
    Semaphore semaphore(Semaphore::max());
    CHECK_ERROR(semaphore.release(), errc::overflow);
    CHECK_ERROR(semaphore.release(0), errc::value);
    CHECK_ERROR(semaphore.release(-1), errc::value);
    CHECK_EQUAL(semaphore.value(), Semaphore::max());
}

static void bounded_release_above_the_initial_value_fails()
{
    BoundedSemaphore semaphore(2);
    CHECK_ERROR(semaphore.release(), errc::over_released);
    semaphore.acquire();
    CHECK_ERROR(semaphore.release(2), errc::over_released);
    CHECK_EQUAL(semaphore.value(), 1);
    semaphore.release();
    CHECK_EQUAL(semaphore.value(), 2);
}

static void limits_concurrent_holders()
{
    Semaphore pool(2);
    std::atomic<int> inside{0}, maximum{0};
    std::vector<threading::Thread> threads;
    for (int i = 0; i < 6; i++) {
        threads.push_back(threading::Thread::started([&] {
            for (int round = 0; round < 20; round++) {
                const std::lock_guard guard(pool); // Python's `with`
                const int now = ++inside;
                int seen = maximum;
                while (seen < now && !maximum.compare_exchange_weak(seen, now)) {
                }
                std::this_thread::yield();
                inside--;
            }
        }));
    }
    threads.clear(); // joins
    CHECK(maximum <= 2);
    CHECK_EQUAL(pool.value(), 2);
}

static void release_wakes_as_many_waiters()
{
    Semaphore semaphore(0);
    std::atomic<int> acquired{0};
    std::vector<threading::Thread> threads;
    for (int i = 0; i < 3; i++) {
        threads.push_back(threading::Thread::started([&] {
            CHECK(semaphore.try_acquire_for(test::limit));
            acquired++;
        }));
    }
    semaphore.release(2);
    WAIT_UNTIL(acquired == 2);
    test::let_others_run();
    CHECK_EQUAL(acquired.load(), 2);
    semaphore.release();
    threads.clear();
    CHECK_EQUAL(acquired.load(), 3);
}

static const test::Case cases[] = {
    {"acquire and release change the value", acquire_and_release_change_the_value},
    {"invalid counts fail", invalid_counts_fail},
    {"a release above the initial value of a bounded semaphore fails and changes nothing",
     bounded_release_above_the_initial_value_fails},
    {"at most as many threads hold it as its initial value", limits_concurrent_holders},
    {"a release wakes as many waiters as it adds permits", release_wakes_as_many_waiters},
    {"the standard guards decrement and increment it", lockable::works_with_standard_guards<Semaphore>},
    {"no wait is shorter than its timeout", lockable::waits_are_not_too_short<Semaphore>},
    {"max() waits indefinitely", lockable::max_waits_indefinitely<BoundedSemaphore>},
    {"a moved-from object is empty, and its functions fail", lockable::moved_from_object_is_empty<Semaphore>},
    {"two objects share one semaphore", lockable::objects_share_one_handle<Semaphore>},
    {"a guard of a semaphore that was released calls the excepthook",
     lockable::unlock_error_calls_the_excepthook<BoundedSemaphore>},
};

TEST_MAIN(cases)
