/* Shows: joining a daemon thread.
 *
 * Process exit does not wait for a daemon, but a join does: here the daemon prints "Exiting". A thread can
 * be joined any number of times and by any number of threads, even after it has finished. The handle is
 * valid until it is freed. (A pthread can be joined once.)
 *
 * The original Python program sets the daemon flag by setDaemon(True); current programs use daemon=True.
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
