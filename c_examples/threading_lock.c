/* Shows: a lock that protects a counter which several threads increment.
 *
 * Reading, adding and writing are three steps. Without the lock, another thread may run in between, and an
 * increment is lost (in C this is also undefined behavior). The lock is stored in the same struct as the
 * value that it protects. main() joins the workers, so it can read the value without the lock: the end of
 * a thread happens before the return of its join.
 *
 * The original Python program releases the lock in a finally clause, because an exception can leave
 * increment() at any line. A C function has no hidden exits; threading_lock_with.c shows a block that
 * releases the lock automatically.
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
