// Shows: functions that are called after a delay, one of which is cancelled in time.
//
// A Timer is a Thread: it is named, joined and enumerated as one. The end of a Timer cancels it if it is still
// pending, as a scope's end should leave nothing behind that refers to it. detach() leaves the first timer pending: the
// end of the program waits for it, and so it fires after main() is done, as in Python. cancel() tells by false that the
// function has already begun.
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
