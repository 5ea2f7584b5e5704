// Shows: a thread of one's own kind.
//
// Where Python subclasses Thread and overrides run(), C++ hands a thread an object that can be called. It is
// moved into the thread, and destroyed there after the call. (A class derived from Thread would be gone while
// its thread still runs: destructors go from the derived class to the base, and it is the base that waits.)
#include <vector>

#include <threading.hpp>

#include "logging.hpp"

class MyThread {
public:
    void operator()() { logging::debug("running"); }
};

int main()
{
    logging::basic_config("(%(threadName)-10s) %(message)s");

    std::vector<threading::Thread> threads;
    for (int i = 0; i < 5; i++)
        threads.emplace_back(MyThread()).start();
}
