// Shows: a condition, by which threads wait until another thread has made a resource available.
//
// A condition includes its lock, which a lock_guard of the condition acquires. The wait evaluates a
// predicate, which can be any callable, with the lock held. It evaluates the predicate before it waits, so a
// notification that was sent earlier is not missed. An exception thrown by the predicate is rethrown by the
// wait.
#include <chrono>
#include <functional>
#include <mutex>

#include <threading.hpp>

#include "logging.hpp"

using namespace std::chrono_literals;

struct Resource {
    threading::Condition condition;
    bool is_available = false; // protected by the condition's lock
};

static void consumer(Resource &resource)
{
    logging::debug("Starting consumer thread");
    const std::lock_guard guard(resource.condition);
    resource.condition.wait([&resource] { return resource.is_available; });
    logging::debug("Resource is available to consumer");
}

static void producer(Resource &resource)
{
    logging::debug("Starting producer thread");
    const std::lock_guard guard(resource.condition);
    logging::debug("Making resource available");
    resource.is_available = true;
    resource.condition.notify_all();
}

int main()
{
    logging::basic_config("%(asctime)s (%(threadName)-2s) %(message)s");

    Resource resource;
    threading::Thread c1(consumer, std::ref(resource));
    c1.set_name("c1");
    threading::Thread c2(consumer, std::ref(resource));
    c2.set_name("c2");
    threading::Thread p(producer, std::ref(resource));
    p.set_name("p");

    c1.start();
    threading::sleep(2s);
    c2.start();
    threading::sleep(2s);
    p.start();
}
