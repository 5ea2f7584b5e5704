// Shows: waiting for a daemon thread by joining it.
//
// Neither the end of the program nor that of its Thread waits for a daemon, but a join does: now the daemon
// gets to say "Exiting". A thread may be joined any number of times, also after its end.
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
