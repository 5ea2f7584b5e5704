/* Shows: a condition, by which threads wait until another has made something available.
 *
 * A condition belongs to a lock, and the lock guards the state that is waited for. The wait gives up the
 * lock while it sleeps and has it again when it returns. A notify that nobody waits for is lost; that is
 * why the state is kept in a variable, and why the consumers look at it before they wait. (There are no
 * spurious wakeups here; the loop is for the case that another consumer was faster, which every wait should
 * be ready for.)
 *
 * Python's original has no such variable: a consumer that comes after the notify would wait for ever.
 */
#include "logging.h"

#include "check.h"

#include <stdbool.h>

#include <threading.h>

/* Guarded by the condition's lock. Static, as main() returns before the threads are done. */
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
    check(threading_last_error()); /* says why, if the lock could not be taken */
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

/* A thread that owns a reference to the condition. */
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
