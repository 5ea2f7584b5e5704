/* Shows: a join that gives up after a second, and asking whether the thread is still alive.
 *
 * The join's status says how it ended: THREADING_OK if the thread did, THREADING_TIMED_OUT if only the time
 * did. That is an answer and no error, so check() lets it pass.
 *
 * Python's join returns nothing, so that its original has to ask isAlive() (today is_alive()) afterwards;
 * this program asks, too, to print the same. The line goes to stdout and the log to stderr, as there.
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
