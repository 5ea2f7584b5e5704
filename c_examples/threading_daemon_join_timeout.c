/* Shows: a join with a timeout of one second, and a check whether the thread is still alive.
 *
 * The status of the join is THREADING_OK if the thread has finished, or THREADING_TIMED_OUT if the timeout
 * expired. The latter is not an error, so check() accepts it.
 *
 * In Python, join() returns None, so the original program has to call isAlive() (now is_alive())
 * afterwards. This program makes the same call to print the same output. That line is printed to stdout
 * and the log to stderr, as in the original.
 */
#include "logging.h"

#include "check.h"

#include <stdio.h>

#include <threading.h>

static void *daemon_main(void *arg)
{
    (void)arg;
    logging_debug("Starting");
    check(threading_sleep(2));
    logging_debug("Exiting");
    return NULL;
}

static void *non_daemon(void *arg)
{
    (void)arg;
    logging_debug("Starting");
    logging_debug("Exiting");
    return NULL;
}

int main(void)
{
    logging_basic_config("(%(threadName)-10s) %(message)s");

    threading_thread *d = check(threading_thread_new(daemon_main, NULL));
    check(threading_thread_set_name(d, "daemon"));
    check(threading_thread_set_daemon(d, true));

    threading_thread *t = check(threading_thread_new(non_daemon, NULL));
    check(threading_thread_set_name(t, "non-daemon"));

    check(threading_thread_start(d));
    check(threading_thread_start(t));

    check(threading_thread_join_timeout(d, 1));
    printf("d.isAlive() %s\n", threading_thread_is_alive(d) ? "True" : "False");
    check(threading_thread_join(t));

    check(threading_thread_free(d));
    check(threading_thread_free(t));
    return 0;
}
