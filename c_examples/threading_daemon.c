/* Shows: a daemon thread, which process exit does not wait for.
 *
 * The program ends with its last non-daemon thread, while the daemon sleeps, so the daemon never prints
 * "Exiting". A daemon can be stopped anywhere, so it should hold no resources that need cleanup.
 *
 * The original Python program has no event. In Python, start() waits until the new thread runs. In C,
 * start does not wait, and the process could exit before the daemon prints its first line. The event makes
 * main() wait for that line. Each side holds its own reference to the event and releases it, so neither
 * needs to know which of them uses the event last.
 */
#include "logging.h"

#include "check.h"

#include <threading.h>

static void *daemon_main(void *arg)
{
    threading_event *started = arg;
    logging_debug("Starting");
    check(threading_event_set(started));
    check(threading_event_free(started));
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

    threading_event *started = check(threading_event_new());
    threading_thread *d = check(threading_thread_new(daemon_main, check(threading_event_ref(started))));
    check(threading_thread_set_name(d, "daemon"));
    check(threading_thread_set_daemon(d, true));

    threading_thread *t = check(threading_thread_new(non_daemon, NULL));
    check(threading_thread_set_name(t, "non-daemon"));

    check(threading_thread_start(d));
    check(threading_event_wait(started));
    check(threading_thread_start(t));

    check(threading_event_free(started));
    check(threading_thread_free(d));
    check(threading_thread_free(t));
    return 0;
}
