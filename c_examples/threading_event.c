/* Shows: an event, by which one thread signals others.
 *
 * One thread waits for the event without a timeout. The other waits for two seconds at a time and does
 * other work in between. The status of the wait is THREADING_OK if the event is set, or
 * THREADING_TIMED_OUT if it is not.
 *
 * main() returns while the threads still use the event, so each of the three threads holds a reference and
 * releases it when it has finished. Python does the same implicitly. For the same reason, the arguments of
 * the second thread are static instead of being on the stack of main().
 */
#include "logging.h"

#include "check.h"

#include <stdbool.h>

#include <threading.h>

struct wait_args {
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
    const struct wait_args *args = arg;
    while (!threading_event_is_set(args->event)) {
        logging_debug("wait_for_event_timeout starting");
        bool is_set = check(threading_event_wait_timeout(args->event, args->seconds)) == THREADING_OK;
        logging_debug("event set: %s", truth(is_set));
        if (is_set) {
            logging_debug("processing event");
        } else {
            logging_debug("doing other work");
        }
    }
    check(threading_event_free(args->event));
    return NULL;
}

int main(void)
{
    logging_basic_config("(%(threadName)-10s) %(message)s");

    threading_event *event = check(threading_event_new());
    threading_thread *t1 = check(threading_thread_new(wait_for_event, check(threading_event_ref(event))));
    check(threading_thread_set_name(t1, "block"));
    check(threading_thread_start(t1));

    static struct wait_args args;
    args = (struct wait_args){.event = check(threading_event_ref(event)), .seconds = 2};
    threading_thread *t2 = check(threading_thread_new(wait_for_event_timeout, &args));
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
