// RLock: the owner may acquire it again, and only the owner may release it.
#include "lockable.hpp"

using threading::errc;
using threading::RLock;

static_assert(lockable::has_lockable_properties<RLock>());
static_assert(noexcept(std::declval<RLock &>().locked()) && noexcept(std::declval<RLock &>().is_owned())
              && noexcept(std::declval<RLock &>().recursion_count()));

static void owner_acquires_again()
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

static void only_the_owner_releases()
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

static void at_fork_reinit_unlocks()
{
    RLock rlock;
    std::thread([&] { rlock.acquire(); }).join();
    CHECK(!rlock.try_acquire());
    rlock.at_fork_reinit();
    CHECK(rlock.try_acquire());
    rlock.release();
}

static const test::Case cases[] = {
    {"the owner can acquire it again, and releases it as many times", owner_acquires_again},
    {"only the owner can release it", only_the_owner_releases},
    {"the standard guards lock and unlock it", lockable::works_with_standard_guards<RLock>},
    {"scoped_lock locks two in either order without deadlock", lockable::scoped_lock_does_not_deadlock<RLock>},
    {"no wait is shorter than its timeout", lockable::waits_are_not_too_short<RLock>},
    {"max() waits indefinitely", lockable::max_waits_indefinitely<RLock>},
    {"condition_variable_any waits with it", lockable::works_with_condition_variable_any<RLock>},
    {"a moved-from object is empty, and its functions fail", lockable::moved_from_object_is_empty<RLock>},
    {"two objects share one lock", lockable::objects_share_one_handle<RLock>},
    {"a guard of a lock that was released calls the excepthook", lockable::unlock_error_calls_the_excepthook<RLock>},
    {"at_fork_reinit unlocks it", at_fork_reinit_unlocks},
};

TEST_MAIN(cases)
