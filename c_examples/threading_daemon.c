/* Shows: a daemon thread, for which the end of the program does not wait.
 *
 * The program ends with its last thread that is no daemon, while the daemon sleeps: "Exiting" of the daemon
 * is never seen. A daemon may be cut off anywhere, so it should hold nothing that must be put in order at
 * the end.
 *
 * Python's original has no event. Its start() waits until the new thread runs; a start in C costs no such
 * wait, and this daemon could be left behind before its first word. With the event main() waits for that
 * word. Each side holds a reference to the event and gives back its own, so neither needs to know who is
 * done with it last.
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
