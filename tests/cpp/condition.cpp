// Condition: waits give the lock up and have it back, whatever a predicate does.
#include "lockable.hpp"

#include <memory>
#include <stdexcept>

using threading::Condition;
using threading::errc;
using threading::Lock;
using threading::RLock;

static_assert(lockable::has_the_properties<Condition>());
static_assert(noexcept(std::declval<Condition &>().locked()) && noexcept(std::declval<Condition &>().is_owned()));

static void needs_the_lock()
{
    RLock rlock;
    Lock lock;
    Condition own, over_lock(lock), over_rlock(rlock);
    for (Condition *condition : {&own, &over_lock, &over_rlock}) {
        bool asked = false;
        CHECK(!condition->is_owned() && !condition->locked());
        CHECK_ERROR(condition->wait(), errc::not_owner);
        CHECK_ERROR(condition->wait([&] { return asked = true; }), errc::not_owner);
        CHECK(!asked);
        CHECK_ERROR(condition->wait_for(1s), errc::not_owner);
        CHECK_ERROR(condition->notify_one(), errc::not_owner);
        CHECK_ERROR(condition->notify_all(), errc::not_owner);
        const std::lock_guard guard(*condition);
        CHECK(condition->is_owned() && condition->locked());
        condition->notify_one();
        condition->notify_all();
        condition->notify(7);
    }
    CHECK(!lock.locked() && !rlock.locked());
}

static void shares_its_lock()
{
    auto lock = std::make_unique<Lock>();
    Condition not_empty(*lock), not_full(*lock);
    lock->acquire();
    CHECK(not_empty.is_owned() && not_full.is_owned());
    lock.reset(); // the conditions keep the lock
    CHECK(not_empty.locked());
    not_full.release();
    CHECK(!not_empty.locked());
    Lock moved;
    const Lock taken(std::move(moved));
    CHECK_ERROR(Condition(moved), errc::handle); // NOLINT(bugprone-use-after-move)
}

static void wakes_as_many_as_told()
{
    Condition condition;
    int waiting = 0, woken = 0;
    std::vector<threading::Thread> threads;
    for (int i = 0; i < 5; i++) {
        threads.push_back(threading::Thread::started([&] {
            const std::lock_guard guard(condition);
            waiting++;
            condition.wait();
            woken++;
        }));
    }
    auto locked = [&](const int &count) {
        const std::lock_guard guard(condition);
        return count;
    };
    auto notified = [&](auto notify) {
        const std::lock_guard guard(condition);
        notify();
    };
    WAIT_UNTIL(locked(waiting) == 5);
    notified([&] { condition.notify_one(); });
    WAIT_UNTIL(locked(woken) == 1);
    notified([&] { condition.notify(2); });
    WAIT_UNTIL(locked(woken) == 3);
    test::give_others_a_chance();
    CHECK_EQUAL(locked(woken), 3);
    notified([&] { condition.notify_all(); });
    for (auto &thread : threads)
        thread.join();
    CHECK_EQUAL(woken, 5);
}

static void gives_all_levels_up()
{
    Condition condition;
    bool ready = false;
    const std::lock_guard outer(condition);
    const std::lock_guard inner(condition);
    auto other = threading::Thread::started([&] {
        const std::lock_guard guard(condition);
        ready = true;
        condition.notify_one();
    });
    condition.wait([&] { return ready; });
    CHECK(condition.is_owned());
    other.join();
}

static void asks_a_predicate_of_any_kind()
{
    struct Countdown { // move-only, with a state, and an answer that is no bool
        std::unique_ptr<int> left;
        int operator()() { return *left == 0 ? 1 : ((*left)--, 0); }
    };
    Condition condition;
    const std::lock_guard guard(condition);
    CHECK(condition.wait_for(0s, [] { return true; }));
    CHECK(condition.wait_until(test::steady::time_point::max(), [] { return true; }));
    condition.wait(Countdown{std::make_unique<int>(0)});
    CHECK(!condition.wait_for(10ms, Countdown{std::make_unique<int>(1000)}));

    // Asked at first, and after the notify.
    auto other = threading::Thread::started([&] {
        const std::lock_guard notifying(condition);
        condition.notify_one();
    });
    condition.wait(Countdown{std::make_unique<int>(1)});
    other.join();
}

#if defined(__cpp_exceptions)
// The wait throws what the predicate throws, the lock held on all levels.
static void hands_the_exception_on()
{
    struct Failure : std::runtime_error {
        using std::runtime_error::runtime_error;
        int number = 42;
    };
    Condition condition;
    const std::lock_guard outer(condition);
    const std::lock_guard inner(condition);
    try {
        condition.wait([]() -> bool { throw Failure("no"); });
        CHECK(false);
    } catch (const Failure &failure) {
        CHECK_EQUAL(failure.number, 42);
        CHECK_EQUAL(std::string(failure.what()), "no");
    }
    CHECK(condition.is_owned());
    CHECK_THROWS(condition.wait_for(1h, []() -> bool { throw 7; }), int);
    CHECK(condition.is_owned());

    // Also one that comes after a wait.
    int asked = 0;
    auto other = threading::Thread::started([&] {
        const std::lock_guard guard(condition);
        condition.notify_one();
    });
    CHECK_THROWS(condition.wait_until(test::steady::now() + 1h,
                                      [&]() -> bool {
                                          if (++asked == 2)
                                              throw std::string("later");
                                          return false;
                                      }),
                 std::string);
    CHECK_EQUAL(asked, 2);
    CHECK(condition.is_owned());
    other.join();
}
#endif

static void time_runs_out()
{
    Lock lock;
    Condition condition(lock);
    const std::lock_guard guard(condition);
    CHECK(test::time_of([&] { CHECK(!condition.wait_for(20ms)); }) >= 20ms);
    CHECK(test::time_of([&] { CHECK(!condition.wait_for(20ms, [] { return false; })); }) >= 20ms);
    const auto steady = test::steady::now() + 20ms;
    CHECK(!condition.wait_until(steady));
    CHECK(test::steady::now() >= steady);
    const auto system = std::chrono::system_clock::now() + 20ms;
    CHECK(!condition.wait_until(system, [] { return false; }));
    CHECK(std::chrono::system_clock::now() >= system);
    CHECK(!condition.wait_for(-1s));
    CHECK_ERROR(condition.wait_for(std::chrono::duration<double>(NAN)), errc::value);
    CHECK(lock.locked());
}

static void as_new_after_reinit()
{
    Condition condition;
    std::thread([&] { condition.acquire(); }).join();
    CHECK(!condition.try_acquire());
    condition.at_fork_reinit();
    CHECK(condition.try_acquire());
    condition.release();
}

static const test::Case cases[] = {
    {"waits and notifies need the lock", needs_the_lock},
    {"conditions share a lock, and keep it", shares_its_lock},
    {"a notify wakes as many as told", wakes_as_many_as_told},
    {"a wait gives up all levels", gives_all_levels_up},
    {"a predicate may be any callable", asks_a_predicate_of_any_kind},
#if defined(__cpp_exceptions)
    {"a predicate's exception reaches the caller, the lock held", hands_the_exception_on},
#endif
    {"no time and no moment of a wait is shortened", time_runs_out},
    {"at_fork_reinit makes its lock as new", as_new_after_reinit},
    {"std's guards take and release it", lockable::serves_the_guards<Condition>},
    {"scoped_lock takes several in any order", lockable::several_at_once<Condition>},
    {"no time and no moment of an acquire is shortened", lockable::waits_no_shorter_than_told<Condition>},
    {"max() waits without a limit", lockable::max_waits_for_good<Condition>},
    {"what was moved from is empty, and says so", lockable::moving_leaves_nothing<Condition>},
    {"several objects own one condition", lockable::owners_share_it<Condition>},
};

TEST_MAIN(cases)
