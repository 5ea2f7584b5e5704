// Shows: a daemon thread, for which the end of the program does not wait.
//
// The end of a Thread waits for it, unless it is a daemon. The program ends with its last thread that is no
// daemon, while the daemon sleeps: "Exiting" of the daemon is never seen.
//
// So a daemon must not refer to variables of main(), which are gone before it is. It has an owner of the event
// for itself, made by ref(). Python's original has no event: its start() waits until the new thread runs.
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
