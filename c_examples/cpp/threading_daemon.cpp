// Shows: a daemon thread, which process exit does not wait for.
//
// The destructor of a Thread joins it, unless it is a daemon. The program ends with its last non-daemon
// thread, while the daemon sleeps, so the daemon never prints "Exiting".
//
// A daemon must not refer to variables of main(), which are destroyed before the daemon stops. It has its own
// Event object for the event, created by ref(). The original Python program has no event, because Python's
// start() waits until the new thread runs.
#include <chrono>

#include <threading.hpp>

#include "logging.hpp"

using namespace std::chrono_literals;

int main()
{
    logging::basic_config("(%(threadName)-10s) %(message)s");

    threading::Event started;
    threading::Thread d([started = started.ref()]() mutable {
        logging::debug("Starting");
        started.set();
        threading::sleep(2s);
        logging::debug("Exiting");
    });
    d.set_name("daemon");
    d.set_daemon(true);

    threading::Thread t([] {
        logging::debug("Starting");
        logging::debug("Exiting");
    });
    t.set_name("non-daemon");

    d.start();
    started.wait();
    t.start();
}
