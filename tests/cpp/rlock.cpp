// RLock: its owner may take it again, nobody else may release it.
#include "lockable.hpp"

using threading::errc;
using threading::RLock;

static_assert(lockable::has_the_properties<RLock>());
static_assert(noexcept(std::declval<RLock &>().locked()) && noexcept(std::declval<RLock &>().is_owned())
              && noexcept(std::declval<RLock &>().recursion_count()));

static void nests()
{
    RLock rlock;
    CHECK_EQUAL(rlock.recursion_count(), 0U);
    {
        const std::lock_guard outer(rlock);
        CHECK(rlock.try_acquire());
        CHECK(rlock.try_acquire_for(1s));
        CHECK_EQUAL(rlock.recursion_count(), 3U);
        rlock.release();
        rlock.release();
        CHECK(rlock.is_owned() && rlock.locked());
        CHECK(!lockable::is_free(rlock));
    }
    CHECK(!rlock.is_owned() && !rlock.locked());
    CHECK(lockable::is_free(rlock));
}

static void only_its_owner_releases()
{
    RLock rlock;
    CHECK_ERROR(rlock.release(), errc::not_owner);
    rlock.acquire();
    std::thread([&] {
        CHECK(!rlock.is_owned() && rlock.locked());
        CHECK_EQUAL(rlock.recursion_count(), 0U);
        CHECK_ERROR(rlock.release(), errc::not_owner);
    }).join();
    rlock.release();
}

static void as_new_after_reinit()
{
    RLock rlock;
    std::thread([&] { rlock.acquire(); }).join();
    CHECK(!rlock.try_acquire());
    rlock.at_fork_reinit();
    CHECK(rlock.try_acquire());
    rlock.release();
}

static const test::Case cases[] = {
    {"its owner takes it again, and releases it as often", nests},
    {"nobody but its owner releases it", only_its_owner_releases},
    {"std's guards take and release it", lockable::serves_the_guards<RLock>},
    {"scoped_lock takes several in any order", lockable::several_at_once<RLock>},
    {"no time and no moment is shortened", lockable::waits_no_shorter_than_told<RLock>},
    {"max() waits without a limit", lockable::max_waits_for_good<RLock>},
    {"condition_variable_any waits with it", lockable::serves_condition_variable_any<RLock>},
    {"what was moved from is empty, and says so", lockable::moving_leaves_nothing<RLock>},
    {"several objects own one lock", lockable::owners_share_it<RLock>},
    {"a guard of a lock that was released is told to the excepthook", lockable::misuse_of_a_guard_is_told<RLock>},
    {"at_fork_reinit makes it as new", as_new_after_reinit},
};

TEST_MAIN(cases)
