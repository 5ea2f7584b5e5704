// Semaphore, BoundedSemaphore: the names of std::counting_semaphore, and Python's.
#include "lockable.hpp"

using threading::BoundedSemaphore;
using threading::errc;
using threading::Semaphore;

static_assert(lockable::has_the_properties<Semaphore>());
static_assert(lockable::has_the_properties<BoundedSemaphore>());
static_assert(std::is_base_of_v<Semaphore, BoundedSemaphore>);
static_assert(Semaphore::max() == THREADING_SEMAPHORE_MAX);
static_assert(!std::is_convertible_v<int, Semaphore>);
static_assert(noexcept(std::declval<Semaphore &>().value()));

static void counts()
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

static void refuses_wrong_counts()
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

static void bounded_refuses_a_release_too_many()
{
    BoundedSemaphore semaphore(2);
    CHECK_ERROR(semaphore.release(), errc::over_released);
    semaphore.acquire();
    CHECK_ERROR(semaphore.release(2), errc::over_released);
    CHECK_EQUAL(semaphore.value(), 1);
    semaphore.release();
    CHECK_EQUAL(semaphore.value(), 2);
}

static void lets_so_many_in()
{
    Semaphore pool(2);
    std::atomic<int> inside{0}, most{0};
    std::vector<threading::Thread> threads;
    for (int i = 0; i < 6; i++) {
        threads.push_back(threading::Thread::started([&] {
            for (int turn = 0; turn < 20; turn++) {
                const std::lock_guard guard(pool); // Python's `with`
                const int now = ++inside;
                int seen = most;
                while (seen < now && !most.compare_exchange_weak(seen, now)) {
                }
                std::this_thread::yield();
                inside--;
            }
        }));
    }
    threads.clear(); // joins
    CHECK(most <= 2);
    CHECK_EQUAL(pool.value(), 2);
}

static void releases_wake_waiters()
{
    Semaphore semaphore(0);
    std::atomic<int> got{0};
    std::vector<threading::Thread> threads;
    for (int i = 0; i < 3; i++) {
        threads.push_back(threading::Thread::started([&] {
            CHECK(semaphore.try_acquire_for(test::limit));
            got++;
        }));
    }
    semaphore.release(2);
    WAIT_UNTIL(got == 2);
    test::give_others_a_chance();
    CHECK_EQUAL(got.load(), 2);
    semaphore.release();
    threads.clear();
    CHECK_EQUAL(got.load(), 3);
}

static const test::Case cases[] = {
    {"it counts", counts},
    {"wrong counts are refused", refuses_wrong_counts},
    {"a bounded one refuses a release too many, and changes nothing", bounded_refuses_a_release_too_many},
    {"as many are inside as there are", lets_so_many_in},
    {"a release wakes as many as it gives", releases_wake_waiters},
    {"std's guards take one and give it back", lockable::serves_the_guards<Semaphore>},
    {"no time and no moment is shortened", lockable::waits_no_shorter_than_told<Semaphore>},
    {"max() waits without a limit", lockable::max_waits_for_good<BoundedSemaphore>},
    {"what was moved from is empty, and says so", lockable::moving_leaves_nothing<Semaphore>},
    {"several objects own one semaphore", lockable::owners_share_it<Semaphore>},
    {"a guard of a semaphore that was released is told to the excepthook",
     lockable::misuse_of_a_guard_is_told<BoundedSemaphore>},
};

TEST_MAIN(cases)
