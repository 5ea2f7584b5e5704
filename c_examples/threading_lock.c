/* Shows: a lock that guards a counter which several threads change.
 *
 * Reading, adding and writing back are three steps; without the lock another thread may come in between,
 * and an increment is lost (in C it is undefined behaviour, besides). The lock lives in the struct whose
 * value it guards. main() joins the workers, so it may read the value without the lock: the end of a thread
 * happens before the return of its join.
 *
 * Python's original releases the lock in a finally clause, for an exception may leave increment() at any
 * line. In C a function is left where one can see it; threading_lock_with.c has a block that releases by
 * itself.
 */
#include "logging.h"

#include "check.h"
#include "random.h"

#include <threading.h>

struct counter {
    threading_lock *lock;
    int value;
};

static void counter_increment(struct counter *counter)
{
    logging_debug("Waiting for lock");
    check(threading_lock_acquire(counter->lock));
    logging_debug("Acquired lock");
    counter->value = counter->value + 1;
    check(threading_lock_release(counter->lock));
}

static void *worker(void *arg)
{
    struct counter *counter = arg;
    for (int i = 0; i < 2; i++) {
        double pause = random_random();
        logging_debug("Sleeping %.2f", pause);
        check(threading_sleep(pause));
        counter_increment(counter);
    }
    logging_debug("Done");
    return NULL;
}

int main(void)
{
    logging_basic_config("(%(threadName)-10s) %(message)s");

    struct counter counter = {.lock = check(threading_lock_new()), .value = 0};
    for (int i = 0; i < 2; i++) {
        threading_thread *thread = check(threading_thread_new(worker, &counter));
        check(threading_thread_start(thread));
        check(threading_thread_free(thread));
    }

    logging_debug("Waiting for worker threads");
    threading_thread *main_thread = check(threading_current_thread());
    threading_thread_list *threads = check(threading_enumerate());
    for (size_t i = 0; i < threading_thread_list_len(threads); i++) {
        threading_thread *thread = check(threading_thread_list_get(threads, i));
        if (thread != main_thread) {
            check(threading_thread_join(thread));
        }
    }
    check(threading_thread_list_free(threads));
    logging_debug("Counter: %d", counter.value);

    check(threading_lock_free(counter.lock));
    return 0;
}
