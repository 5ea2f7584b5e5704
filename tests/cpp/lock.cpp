// Lock: std's guards serve it, and any thread may release it.
#include "lockable.hpp"

using threading::errc;
using threading::Lock;

static_assert(lockable::has_the_properties<Lock>());
static_assert(noexcept(std::declval<Lock &>().locked()));

static void any_thread_releases()
{
    Lock lock;
    CHECK(!lock.locked());
    lock.acquire();
    CHECK(lock.locked());
    CHECK(!lock.try_acquire());
    std::thread([&] { lock.release(); }).join();
    CHECK(!lock.locked());
    CHECK_ERROR(lock.release(), errc::not_acquired);
}

static void adopts_what_c_made()
{
    Lock lock(threading::adopt_handle, threading_lock_new());
    lock.acquire();
    CHECK(threading_lock_locked(lock.native_handle()));
    threading_clear_last_error();
    CHECK_ERROR(Lock(threading::adopt_handle, nullptr), errc::handle);
    CHECK_ERROR(threading::Semaphore(threading::adopt_handle, threading_semaphore_new(-1)), errc::value);
}

static void gives_its_reference_back()
{
    threading_lock *handle;
    {
        const Lock lock;
        handle = lock.native_handle();
        CHECK(!threading_lock_locked(handle));
    }
    CHECK_EQUAL(threading_lock_acquire(handle), THREADING_ERR_HANDLE);
}

static void ends_while_threads_are_blocked()
{
    auto *lock = new Lock;
    threading_lock *handle = lock->native_handle();
    lock->acquire();
    std::atomic<bool> acquired{false};
    threading::Thread blocked([&] {
        acquired = threading_lock_acquire(handle) == THREADING_OK;
        (void)threading_lock_release(handle);
    });
    blocked.start();
    test::give_others_a_chance();
    delete lock; // refused by the library if the thread is blocked by now
    if (threading_lock_release(handle) == THREADING_OK) {
        blocked.join();
        CHECK(acquired);
        CHECK_EQUAL(threading_lock_free(handle), THREADING_OK);
    }
}

static void as_new_after_reinit()
{
    Lock lock;
    lock.acquire();
    lock.at_fork_reinit();
    CHECK(lock.try_acquire());
}

static const test::Case cases[] = {
    {"any thread releases it, once", any_thread_releases},
    {"std's guards take and release it", lockable::serves_the_guards<Lock>},
    {"scoped_lock takes several in any order", lockable::several_at_once<Lock>},
    {"no time and no moment is shortened", lockable::waits_no_shorter_than_told<Lock>},
    {"max() waits without a limit", lockable::max_waits_for_good<Lock>},
    {"condition_variable_any waits with it", lockable::serves_condition_variable_any<Lock>},
    {"what was moved from is empty, and says so", lockable::moving_leaves_nothing<Lock>},
    {"several objects own one lock", lockable::owners_share_it<Lock>},
    {"a guard of a lock that was released is told to the excepthook", lockable::misuse_of_a_guard_is_told<Lock>},
    {"it adopts what C made", adopts_what_c_made},
    {"its end is that of the handle", gives_its_reference_back},
    {"its end while threads are blocked ends nothing", ends_while_threads_are_blocked},
    {"at_fork_reinit makes it as new", as_new_after_reinit},
};

TEST_MAIN(cases)
