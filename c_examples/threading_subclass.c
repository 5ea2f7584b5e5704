/* Shows: a thread that overrides its run function.
 *
 * A thread calls its run function, and the default run function calls the target.
 * threading_thread_set_run() replaces it. An override can call threading_thread_run() to run the default.
 * The function gets the handle of the thread, which is Python's self. A constructor such as
 * my_thread_new() represents the subclass.
 *
 * The original Python program overrides the method run() in a class and cannot use its return value. Here
 * threading_thread_result() returns it to a thread that has joined.
 */
#include "logging.h"

#include "check.h"

#include <threading.h>

static void *my_thread_run(threading_thread *self, void *arg)
{
    (void)self;
    (void)arg;
    logging_debug("running");
    return NULL;
}

static threading_thread *my_thread_new(void)
{
    /* There is no target, because the override does not call it. */
    threading_thread *self = check(threading_thread_new(NULL, NULL));
    check(threading_thread_set_run(self, my_thread_run));
    return self;
}

int main(void)
{
    logging_basic_config("(%(threadName)-10s) %(message)s");

    for (int i = 0; i < 5; i++) {
        threading_thread *thread = my_thread_new();
        check(threading_thread_start(thread));
        check(threading_thread_free(thread));
    }
    return 0;
}
