// Shows: a thread that calls a function object.
//
// Where Python derives from Thread and overrides run(), C++ passes a function object to the thread. It is
// moved into the thread and destroyed there after the call. (Do not derive from Thread: the derived part
// would be destroyed while the thread still runs, because the destructor of the base class, which joins the
// thread, runs last.)
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
