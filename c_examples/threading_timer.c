/* Shows: functions that are called after a delay, one of which is cancelled in time.
 *
 * A timer is a thread: threading_timer_thread() lends the handle under which it is named, joined or
 * enumerated. The program's end waits for a timer that is pending, as it does for any thread that is no
 * daemon, and so the first timer fires after main() is done.
 *
 * Python's cancel() says nothing; here THREADING_TOO_LATE tells that the function has already begun. Python
 * spends a system thread on each timer that waits, this library does not.
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
