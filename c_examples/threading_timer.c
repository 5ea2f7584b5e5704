/* Shows: functions that are called after a delay, one of which is cancelled first.
 *
 * A timer is a thread: threading_timer_thread() returns a borrowed handle, by which the timer can be
 * named, joined or enumerated. Process exit waits for a pending timer as for any non-daemon thread, so the
 * first timer fires after main() has returned.
 *
 * Python's cancel() returns None. Here THREADING_TOO_LATE reports that the function has already been
 * called. Python uses an OS thread for each pending timer; this library does not.
 */
#include "logging.h"

#include "check.h"

#include <threading.h>

static void *delayed(void *arg)
{
    (void)arg;
    logging_debug("worker running");
    return NULL;
}

int main(void)
{
    logging_basic_config("(%(threadName)-10s) %(message)s");

    threading_timer *t1 = check(threading_timer_new(3, delayed, NULL));
    check(threading_thread_set_name(threading_timer_thread(t1), "t1"));
    threading_timer *t2 = check(threading_timer_new(3, delayed, NULL));
    check(threading_thread_set_name(threading_timer_thread(t2), "t2"));

    logging_debug("starting timers");
    check(threading_timer_start(t1));
    check(threading_timer_start(t2));

    const char *t2_name = check(threading_thread_name(threading_timer_thread(t2)));
    logging_debug("waiting before canceling %s", t2_name);
    check(threading_sleep(2));
    logging_debug("canceling %s", t2_name);
    check(threading_timer_cancel(t2));
    logging_debug("done");

    check(threading_timer_free(t1));
    check(threading_timer_free(t2));
    return 0;
}
