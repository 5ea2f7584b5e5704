// Shows: a block that holds a lock and releases it on every exit, compared to explicit calls.
//
// The equivalents of Python's with statement are the standard lock classes: lock_guard for one lock,
// unique_lock to release the lock early or to try it, and scoped_lock for several locks. They work with a
// Lock, RLock, Condition or Semaphore. With explicit calls, an exception between acquire and release would
// leave the lock locked.
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
