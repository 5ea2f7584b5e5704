/* Shows: trying to acquire a lock without blocking, and continuing with other work if it is not available.
 *
 * A call that may block has three forms: acquire waits indefinitely, acquire_timeout waits until a timeout
 * expires, and try_acquire never waits. The status of try_acquire is THREADING_OK, or
 * THREADING_WOULD_BLOCK if the lock is held.
 *
 * The holder is a daemon that never finishes, so it still uses the lock when the program exits. It has its
 * own reference, which is never released, so the lock is not freed while it is in use.
 *
 * The original Python program writes acquire(0) for try_acquire.
 */
#include "logging.h"

#include "check.h"

#include <stdbool.h>

#include <threading.h>

static void *lock_holder(void *arg)
{
    threading_lock *lock = arg;
    logging_debug("Starting");
    for (;;) {
        check(threading_lock_acquire(lock));
        logging_debug("Holding");
        check(threading_sleep(0.5));
        logging_debug("Not holding");
        check(threading_lock_release(lock));
        check(threading_sleep(0.5));
    }
    return NULL;
}

static void *worker(void *arg)
{
    threading_lock *lock = arg;
    int tries = 0;
    int acquires = 0;

    logging_debug("Starting");
    while (acquires < 3) {
        check(threading_sleep(0.5));
        logging_debug("Trying to acquire");
        bool have_it = check(threading_lock_try_acquire(lock)) == THREADING_OK;
        tries++;
        if (have_it) {
            logging_debug("Iteration %d: Acquired", tries);
            acquires++;
            check(threading_lock_release(lock));
        } else {
            logging_debug("Iteration %d: Not acquired", tries);
        }
    }
    logging_debug("Done after %d iterations", tries);
    check(threading_lock_free(lock));
    return NULL;
}

int main(void)
{
    logging_basic_config("(%(threadName)-10s) %(message)s");

    threading_lock *lock = check(threading_lock_new());

    threading_thread *holder = check(threading_thread_new(lock_holder, check(threading_lock_ref(lock))));
    check(threading_thread_set_name(holder, "LockHolder"));
    check(threading_thread_set_daemon(holder, true));
    check(threading_thread_start(holder));

    threading_thread *worker_thread = check(threading_thread_new(worker, check(threading_lock_ref(lock))));
    check(threading_thread_set_name(worker_thread, "Worker"));
    check(threading_thread_start(worker_thread));

    check(threading_lock_free(lock));
    check(threading_thread_free(holder));
    check(threading_thread_free(worker_thread));
    return 0;
}
