// Shows: joining a daemon thread.
//
// Neither process exit nor the destructor of a Thread waits for a daemon, but a join does: here the daemon
// prints "Exiting". A thread can be joined any number of times, even after it has finished.
#include <chrono>

#include <threading.hpp>

#include "logging.hpp"

using namespace std::chrono_literals;

int main()
{
    logging::basic_config("(%(threadName)-10s) %(message)s");

    threading::Thread d([] {
        logging::debug("Starting");
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
    t.start();

    d.join();
    t.join();
}
