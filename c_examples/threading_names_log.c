/* Shows: log lines that carry the name of the thread that wrote them.
 *
 * The logger asks for the name itself, so that the functions need not; logging.h beside this file is that
 * logger, in one header, with the format strings of Python's. Whole lines come out, whichever threads write
 * at once.
 *
 * Python's original configures the level as well; logging.h writes every message.
 */
#include "logging.h"

#include "check.h"

#include <threading.h>

static void *worker(void *arg)
{
    (void)arg;
    logging_debug("Starting");
    check(threading_sleep(2));
    logging_debug("Exiting");
    return NULL;
}

static void *my_service(void *arg)
{
    (void)arg;
    logging_debug("Starting");
    check(threading_sleep(3));
    logging_debug("Exiting");
    return NULL;
}

int main(void)
{
    logging_basic_config("[%(levelname)s] (%(threadName)-10s) %(message)s");

    threading_thread *t = check(threading_thread_new(my_service, NULL));
    check(threading_thread_set_name(t, "my_service"));
    threading_thread *w = check(threading_thread_new(worker, NULL));
    check(threading_thread_set_name(w, "worker"));
    threading_thread *w2 = check(threading_thread_new(worker, NULL)); /* keeps its default name */

    check(threading_thread_start(w));
    check(threading_thread_start(w2));
    check(threading_thread_start(t));

    check(threading_thread_free(w));
    check(threading_thread_free(w2));
    check(threading_thread_free(t));
    return 0;
}
