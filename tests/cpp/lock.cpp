// Lock: works with the standard guards, and any thread may release it.
#include "lockable.hpp"

using threading::errc;
using threading::Lock;

static_assert(lockable::has_lockable_properties<Lock>());
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

static void adopts_a_c_handle()
{
    Lock lock(threading::adopt_handle, threading_lock_new());
    lock.acquire();
    CHECK(threading_lock_locked(lock.native_handle()));
    threading_clear_last_error();
    CHECK_ERROR(Lock(threading::adopt_handle, nullptr), errc::handle);
    CHECK_ERROR(threading::Semaphore(threading::adopt_handle, threading_semaphore_new(-1)), errc::value);
}

static void destructor_frees_the_handle()
{
    threading_lock *handle;
    {
        const Lock lock;
        handle = lock.native_handle();
        CHECK(!threading_lock_locked(handle));
    }
    CHECK_EQUAL(threading_lock_acquire(handle), THREADING_ERR_HANDLE);
}

static void destructor_while_threads_are_blocked()
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
    test::let_others_run();
    delete lock; // if the thread is already blocked, this leaks the lock
    if (threading_lock_release(handle) == THREADING_OK) {
        blocked.join();
        CHECK(acquired);
        CHECK_EQUAL(threading_lock_free(handle), THREADING_OK);
    }
}

static void at_fork_reinit_unlocks()
{
    Lock lock;
    lock.acquire();
    lock.at_fork_reinit();
    CHECK(lock.try_acquire());
}

static const test::Case cases[] = {
    {"any thread can release it, but only once", any_thread_releases},
    {"the standard guards lock and unlock it", lockable::works_with_standard_guards<Lock>},
    {"scoped_lock locks two in either order without deadlock", lockable::scoped_lock_does_not_deadlock<Lock>},
    {"no wait is shorter than its timeout", lockable::waits_are_not_too_short<Lock>},
    {"max() waits indefinitely", lockable::max_waits_indefinitely<Lock>},
    {"condition_variable_any waits with it", lockable::works_with_condition_variable_any<Lock>},
    {"a moved-from object is empty, and its functions fail", lockable::moved_from_object_is_empty<Lock>},
    {"two objects share one lock", lockable::objects_share_one_handle<Lock>},
    {"a guard of a lock that was released calls the excepthook", lockable::unlock_error_calls_the_excepthook<Lock>},
    {"it adopts a C handle", adopts_a_c_handle},
    {"the destructor frees the handle", destructor_frees_the_handle},
    {"the destructor leaks a lock on which threads are blocked", destructor_while_threads_are_blocked},
    {"at_fork_reinit unlocks it", at_fork_reinit_unlocks},
};

TEST_MAIN(cases)
