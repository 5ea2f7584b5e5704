/* Shows: log lines with the name of the thread that wrote them.
 *
 * The logger looks up the name, so the functions need not. It is the header logging.h beside this file,
 * which supports the format strings of Python's logging module. Lines are written as a whole, even if
 * several threads log at the same time.
 *
 * The original Python program also configures the level; logging.h writes every message.
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
