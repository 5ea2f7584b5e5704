// Shows: an event, by which one thread signals others.
//
// One thread waits for the event without a timeout. The other waits for two seconds at a time and does other
// work in between. The event is created before the threads and is therefore destroyed after they have
// finished: they can refer to it, where the C program counts references.
#include <chrono>
#include <functional>

#include <threading.hpp>

#include "logging.hpp"

using namespace std::chrono_literals;

static const char *truth(bool value)
{
    return value ? "True" : "False";
}

static void wait_for_event(const threading::Event &event)
{
    logging::debug("wait_for_event starting");
    event.wait();
    logging::debug("event set: ", truth(event.is_set()));
}

static void wait_for_event_timeout(const threading::Event &event, std::chrono::seconds time)
{
    while (!event.is_set()) {
        logging::debug("wait_for_event_timeout starting");
        const bool is_set = event.wait_for(time);
        logging::debug("event set: ", truth(is_set));
        logging::debug(is_set ? "processing event" : "doing other work");
    }
}

int main()
{
    logging::basic_config("(%(threadName)-10s) %(message)s");

    threading::Event event;
    threading::Thread t1(wait_for_event, std::cref(event));
    t1.set_name("block");
    t1.start();

    threading::Thread t2(wait_for_event_timeout, std::cref(event), 2s);
    t2.set_name("non-block");
    t2.start();

    logging::debug("Waiting before calling Event.set()");
    threading::sleep(3s);
    event.set();
    logging::debug("Event is set");
}
