/* Shows: a thread of one's own kind, made by overriding what it runs.
 *
 * A thread calls its run function, and the default one calls the target. threading_thread_set_run()
 * replaces it; an override may still call threading_thread_run() to do what the default does. The function
 * gets the thread's own handle, Python's self. A constructor such as my_thread_new() stands for the
 * subclass.
 *
 * Python's original overrides the method run() in a class. What run returns is lost there; here
 * threading_thread_result() gives it to whoever joined the thread.
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
    /* No target, as the override does not call one. */
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
