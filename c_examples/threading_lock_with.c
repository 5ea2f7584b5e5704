/* Shows: a block that holds a lock and releases it on every exit, compared to explicit calls.
 *
 * THREADING_WITH accepts a lock, rlock, condition or semaphore, and requires GCC or Clang. The lock is
 * released when control leaves the block at its end, by return or by goto. break and continue leave the
 * block, not a loop around it. If the lock cannot be acquired, the block is skipped and the last error is
 * set, so the program checks the last error afterwards. (Every error ends this program, so the last error
 * cannot be from an earlier call.)
 *
 * The original Python program uses the with statement, and try with finally. As there, main() returns
 * first, so each thread holds a reference to the lock and releases it.
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
