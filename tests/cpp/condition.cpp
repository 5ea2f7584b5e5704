// Condition: a wait releases the lock and holds it again when it returns or throws.
#include "lockable.hpp"

#include <memory>
#include <stdexcept>

using threading::Condition;
using threading::errc;
using threading::Lock;
using threading::RLock;

static_assert(lockable::has_lockable_properties<Condition>());
static_assert(noexcept(std::declval<Condition &>().locked()) && noexcept(std::declval<Condition &>().is_owned()));

static void wait_and_notify_need_the_lock()
{
    RLock rlock;
    Lock lock;
    Condition own, over_lock(lock), over_rlock(rlock);
    for (Condition *condition : {&own, &over_lock, &over_rlock}) {
        bool evaluated = false;
        CHECK(!condition->is_owned() && !condition->locked());
        CHECK_ERROR(condition->wait(), errc::not_owner);
        CHECK_ERROR(condition->wait([&] { return evaluated = true; }), errc::not_owner);
        CHECK(!evaluated);
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

static void conditions_share_a_lock()
{
    auto lock = std::make_unique<Lock>();
    Condition not_empty(*lock), not_full(*lock);
    lock->acquire();
    CHECK(not_empty.is_owned() && not_full.is_owned());
    lock.reset(); // the conditions keep the lock alive
    CHECK(not_empty.locked());
    not_full.release();
    CHECK(!not_empty.locked());
    Lock moved;
    const Lock taken(std::move(moved));
    CHECK_ERROR(Condition(moved), errc::handle); // NOLINT(bugprone-use-after-move)
}

static void notify_wakes_n_waiters()
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
    test::let_others_run();
    CHECK_EQUAL(locked(woken), 3);
    notified([&] { condition.notify_all(); });
    for (auto &thread : threads)
        thread.join();
    CHECK_EQUAL(woken, 5);
}

static void wait_releases_all_recursion_levels()
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

static void predicate_may_be_any_callable()
{
    struct Countdown { // move-only and stateful, and its result is not a bool
        std::unique_ptr<int> left;
        int operator()() { return *left == 0 ? 1 : ((*left)--, 0); }
    };
    Condition condition;
    const std::lock_guard guard(condition);
    CHECK(condition.wait_for(0s, [] { return true; }));
    CHECK(condition.wait_until(test::steady::time_point::max(), [] { return true; }));
    condition.wait(Countdown{std::make_unique<int>(0)});
    CHECK(!condition.wait_for(10ms, Countdown{std::make_unique<int>(1000)}));

    // Evaluated before the wait and after the notification.
    auto other = threading::Thread::started([&] {
        const std::lock_guard notifying(condition);
        condition.notify_one();
    });
    condition.wait(Countdown{std::make_unique<int>(1)});
    other.join();
}

#if defined(__cpp_exceptions)
static void null_predicates_are_errors()
{
    bool (*none)() = nullptr;
    Condition condition;
    const std::lock_guard guard(condition);
    CHECK_ERROR(condition.wait(none), errc::value);
    CHECK_ERROR(condition.wait_for(1s, none), errc::value);
    CHECK_ERROR(condition.wait_until(test::steady::now(), none), errc::value);
    CHECK(condition.is_owned());
}

// The wait rethrows the exception of the predicate with all recursion levels of the lock held.
static void predicate_exception_reaches_the_caller()
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

    // An exception of an evaluation after a wait is rethrown, too.
    int evaluations = 0;
    auto other = threading::Thread::started([&] {
        const std::lock_guard guard(condition);
        condition.notify_one();
    });
    CHECK_THROWS(condition.wait_until(test::steady::now() + 1h,
                                      [&]() -> bool {
                                          if (++evaluations == 2)
                                              throw std::string("later");
                                          return false;
                                      }),
                 std::string);
    CHECK_EQUAL(evaluations, 2);
    CHECK(condition.is_owned());
    other.join();
}
#endif

static void timeouts_expire()
{
    Lock lock;
    Condition condition(lock);
    const std::lock_guard guard(condition);
    CHECK(test::duration_of([&] { CHECK(!condition.wait_for(20ms)); }) >= 20ms);
    CHECK(test::duration_of([&] { CHECK(!condition.wait_for(20ms, [] { return false; })); }) >= 20ms);
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

static void at_fork_reinit_unlocks()
{
    Condition condition;
    std::thread([&] { condition.acquire(); }).join();
    CHECK(!condition.try_acquire());
    condition.at_fork_reinit();
    CHECK(condition.try_acquire());
    condition.release();
}

static const test::Case cases[] = {
    {"wait and notify fail unless the lock is held", wait_and_notify_need_the_lock},
    {"conditions share a lock and keep it alive", conditions_share_a_lock},
    {"notify wakes the given number of waiters", notify_wakes_n_waiters},
    {"a wait releases all recursion levels", wait_releases_all_recursion_levels},
    {"a predicate may be any callable", predicate_may_be_any_callable},
#if defined(__cpp_exceptions)
    {"a predicate that is a null pointer is an error", null_predicates_are_errors},
    {"an exception of the predicate reaches the caller, with the lock held", predicate_exception_reaches_the_caller},
#endif
    {"no wait is shorter than its timeout", timeouts_expire},
    {"at_fork_reinit unlocks its lock", at_fork_reinit_unlocks},
    {"the standard guards lock and unlock it", lockable::works_with_standard_guards<Condition>},
    {"scoped_lock locks two in either order without deadlock", lockable::scoped_lock_does_not_deadlock<Condition>},
    {"no acquire is shorter than its timeout", lockable::waits_are_not_too_short<Condition>},
    {"max() waits indefinitely", lockable::max_waits_indefinitely<Condition>},
    {"a moved-from object is empty, and its functions fail", lockable::moved_from_object_is_empty<Condition>},
    {"two objects share one condition", lockable::objects_share_one_handle<Condition>},
};

TEST_MAIN(cases)
