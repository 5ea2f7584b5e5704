/* Shows: trying to take a lock without waiting for it, and going on with other work if it is taken.
 *
 * A call that may wait comes in three forms: acquire waits, acquire_timeout waits so long, try_acquire
 * never waits. What try_acquire answers is a status: THREADING_OK, or THREADING_WOULD_BLOCK if somebody
 * holds the lock.
 *
 * The holder is a daemon and never ends, so it is still using the lock when the program exits. It has a
 * reference of its own, which nobody gives back, and therefore the lock is never freed under its hands.
 *
 * Python's original writes acquire(0) for the try.
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

    threading_thread *trier = check(threading_thread_new(worker, check(threading_lock_ref(lock))));
    check(threading_thread_set_name(trier, "Worker"));
    check(threading_thread_start(trier));

    check(threading_lock_free(lock));
    check(threading_thread_free(holder));
    check(threading_thread_free(trier));
    return 0;
}
