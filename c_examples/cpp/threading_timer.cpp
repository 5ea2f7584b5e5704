// Shows: functions that are called after a delay, one of which is cancelled first.
//
// A Timer is a Thread: it can be named, joined and enumerated. The destructor of a pending Timer cancels it,
// because its function may refer to objects of the same scope. detach() leaves the first timer pending:
// process exit waits for it, so it fires after main() has returned, as in Python. cancel() returns false if
// the function has already been called.
#include <chrono>

#include <threading.hpp>

#include "logging.hpp"

using namespace std::chrono_literals;

static void delayed()
{
    logging::debug("worker running");
}

int main()
{
    logging::basic_config("(%(threadName)-10s) %(message)s");

    threading::Timer t1(3s, delayed);
    t1.set_name("t1");
    threading::Timer t2(3s, delayed);
    t2.set_name("t2");

    logging::debug("starting timers");
    t1.start();
    t2.start();

    logging::debug("waiting before canceling ", t2.name());
    threading::sleep(2s);
    logging::debug("canceling ", t2.name());
    t2.cancel();
    t1.detach();
    logging::debug("done");
}
