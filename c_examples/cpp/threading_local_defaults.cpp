// Shows: a variable of which each thread has a value of its own, with the same value to begin with.
//
// The function given to the local makes the value, once in each thread, at that thread's first get(). The
// address in the log is that of the local's handle: one local, three threads.
#include <functional>
#include <vector>

#include <threading.hpp>

#include "logging.hpp"
#include "random.hpp"

static void show_value(const threading::Local<int> &data)
{
    logging::debug("value=", data.get());
}

static void worker(const threading::Local<int> &data)
{
    show_value(data);
    data.get() = random_randint(1, 100);
    show_value(data);
}

int main()
{
    logging::basic_config("(%(threadName)-10s) %(message)s");

    const threading::Local<int> local_data([&local_data] {
        logging::debug("Initializing <MyLocal object at ", static_cast<void *>(local_data.native_handle()), ">");
        return 1000;
    });
    show_value(local_data);

    std::vector<threading::Thread> threads;
    for (int i = 0; i < 2; i++)
        threads.emplace_back(worker, std::cref(local_data)).start();
}
