/* Shows: an event, by which one thread tells others that something has happened.
 *
 * One thread waits for it for as long as it takes; the other waits two seconds at a time and does other
 * work in between. The wait's status is the answer: THREADING_OK if the event is set, THREADING_TIMED_OUT
 * if it is not yet.
 *
 * main() returns while the threads still use the event, so each of the three holds a reference and gives it
 * back when done: what Python does unseen, there as here. For the same reason the second thread's arguments
 * are static and not on main's stack.
 */
#include "logging.h"

#include "check.h"

#include <stdbool.h>

#include <threading.h>

struct patience {
    threading_event *event;
    double seconds;
};

static const char *truth(bool value)
{
    return value ? "True" : "False";
}

static void *wait_for_event(void *arg)
{
    threading_event *event = arg;
    logging_debug("wait_for_event starting");
    bool is_set = check(threading_event_wait(event)) == THREADING_OK;
    logging_debug("event set: %s", truth(is_set));
    check(threading_event_free(event));
    return NULL;
}

static void *wait_for_event_timeout(void *arg)
{
    const struct patience *patience = arg;
    while (!threading_event_is_set(patience->event)) {
        logging_debug("wait_for_event_timeout starting");
        bool is_set = check(threading_event_wait_timeout(patience->event, patience->seconds)) == THREADING_OK;
        logging_debug("event set: %s", truth(is_set));
        if (is_set) {
            logging_debug("processing event");
        } else {
            logging_debug("doing other work");
        }
    }
    check(threading_event_free(patience->event));
    return NULL;
}

int main(void)
{
    logging_basic_config("(%(threadName)-10s) %(message)s");

    threading_event *event = check(threading_event_new());
    threading_thread *t1 = check(threading_thread_new(wait_for_event, check(threading_event_ref(event))));
    check(threading_thread_set_name(t1, "block"));
    check(threading_thread_start(t1));

    static struct patience patience;
    patience = (struct patience){.event = check(threading_event_ref(event)), .seconds = 2};
    threading_thread *t2 = check(threading_thread_new(wait_for_event_timeout, &patience));
    check(threading_thread_set_name(t2, "non-block"));
    check(threading_thread_start(t2));

    logging_debug("Waiting before calling Event.set()");
    check(threading_sleep(3));
    check(threading_event_set(event));
    logging_debug("Event is set");

    check(threading_event_free(event));
    check(threading_thread_free(t1));
    check(threading_thread_free(t2));
    return 0;
}
