/* Shows: a block that holds a lock and releases it however it is left, beside the same by hand.
 *
 * THREADING_WITH takes a lock, rlock, condition or semaphore, and needs GCC or Clang. The lock is released
 * on falling out of the block, by return and by goto; break and continue leave the block and not a loop
 * around it. If the lock cannot be taken, the block is skipped and the last error says why, so that is what
 * to check afterwards. (Every error ends this program, so none can be left over from an earlier call.)
 *
 * Python's original is the with statement, and try with finally. As there, main() ends first, so each
 * thread has a reference to the lock and gives it back.
 */
#include "logging.h"

#include "check.h"

#include <threading.h>

static void *worker_with(void *arg)
{
    threading_lock *lock = arg;
    THREADING_WITH(lock) {
        logging_debug("Lock acquired via with");
    }
    check(threading_last_error());
    check(threading_lock_free(lock));
    return NULL;
}

static void *worker_no_with(void *arg)
{
    threading_lock *lock = arg;
    check(threading_lock_acquire(lock));
    logging_debug("Lock acquired directly");
    check(threading_lock_release(lock));
    check(threading_lock_free(lock));
    return NULL;
}

int main(void)
{
    logging_basic_config("(%(threadName)-10s) %(message)s");

    threading_lock *lock = check(threading_lock_new());
    threading_thread *w = check(threading_thread_new(worker_with, check(threading_lock_ref(lock))));
    threading_thread *nw = check(threading_thread_new(worker_no_with, check(threading_lock_ref(lock))));

    check(threading_thread_start(w));
    check(threading_thread_start(nw));

    check(threading_lock_free(lock));
    check(threading_thread_free(w));
    check(threading_thread_free(nw));
    return 0;
}
