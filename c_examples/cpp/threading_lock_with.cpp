// Shows: a block that holds a lock and releases it however it is left, beside the same by hand.
//
// Python's with statement is one of the standard's guards: lock_guard for one lock, unique_lock where it is
// given back earlier or only tried, scoped_lock for several at once. They serve a Lock, RLock, Condition and
// Semaphore. By hand, an exception between acquire and release would leave the lock locked.
#include <functional>
#include <mutex>

#include <threading.hpp>

#include "logging.hpp"

static void worker_with(threading::Lock &lock)
{
    const std::lock_guard guard(lock);
    logging::debug("Lock acquired via with");
}

static void worker_no_with(threading::Lock &lock)
{
    lock.acquire();
    logging::debug("Lock acquired directly");
    lock.release();
}

int main()
{
    logging::basic_config("(%(threadName)-10s) %(message)s");

    threading::Lock lock;
    threading::Thread w(worker_with, std::ref(lock));
    threading::Thread nw(worker_no_with, std::ref(lock));

    w.start();
    nw.start();
}
