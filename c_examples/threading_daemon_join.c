/* Shows: waiting for a daemon thread by joining it.
 *
 * The end of the program does not wait for a daemon, but a join does: now the daemon gets to say "Exiting".
 * A thread may be joined any number of times and by any number of threads, also after its end; the handle
 * stays good until it is given back. (A pthread can be joined once.)
 *
 * Python's original sets the daemon flag by setDaemon(True), today by daemon=True.
 */
#include "logging.h"

#include "check.h"

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

    check(threading_thread_join(d));
    check(threading_thread_join(t));

    check(threading_thread_free(d));
    check(threading_thread_free(t));
    return 0;
}
