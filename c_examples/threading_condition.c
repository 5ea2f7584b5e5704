/* Shows: a condition, by which threads wait until another thread has made a resource available.
 *
 * A condition has a lock, which protects the awaited state. A wait releases the lock while it blocks and
 * holds it again when it returns. A notification is lost if no thread waits for it. Therefore the state is
 * stored in a variable, and the consumers check it before they wait. There are no spurious wakeups here.
 * The loop is needed because another consumer may have changed the state before this one has reacquired
 * the lock; every wait should use such a loop.
 *
 * The original Python program does not have this variable: a consumer that arrives after the notification
 * would wait indefinitely.
 */
#include "logging.h"

#include "check.h"

#include <stdbool.h>

#include <threading.h>

/* Protected by the condition's lock. Static, because main() returns before the threads have finished. */
static bool resource_is_available = false;

static void *consumer(void *arg)
{
    threading_condition *condition = arg;
    logging_debug("Starting consumer thread");
    THREADING_WITH(condition) {
        while (!resource_is_available) {
            check(threading_condition_wait(condition));
        }
        logging_debug("Resource is available to consumer");
    }
    check(threading_last_error()); /* fails if the lock could not be acquired */
    check(threading_condition_free(condition));
    return NULL;
}

static void *producer(void *arg)
{
    threading_condition *condition = arg;
    logging_debug("Starting producer thread");
    THREADING_WITH(condition) {
        logging_debug("Making resource available");
        resource_is_available = true;
        check(threading_condition_notify_all(condition));
    }
    check(threading_last_error());
    check(threading_condition_free(condition));
    return NULL;
}

/* Creates a thread that owns a reference to the condition. */
static threading_thread *thread_new(const char *name, threading_target target, threading_condition *condition)
{
    threading_thread *thread = check(threading_thread_new(target, check(threading_condition_ref(condition))));
    check(threading_thread_set_name(thread, name));
    return thread;
}

int main(void)
{
    logging_basic_config("%(asctime)s (%(threadName)-2s) %(message)s");

    threading_condition *condition = check(threading_condition_new());
    threading_thread *c1 = thread_new("c1", consumer, condition);
    threading_thread *c2 = thread_new("c2", consumer, condition);
    threading_thread *p = thread_new("p", producer, condition);

    check(threading_thread_start(c1));
    check(threading_sleep(2));
    check(threading_thread_start(c2));
    check(threading_sleep(2));
    check(threading_thread_start(p));

    check(threading_condition_free(condition));
    check(threading_thread_free(c1));
    check(threading_thread_free(c2));
    check(threading_thread_free(p));
    return 0;
}
