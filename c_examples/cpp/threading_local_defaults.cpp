// Shows: a variable that has a separate value in each thread, with a common initial value.
//
// The function that is passed to the Local creates the value, once in each thread, when the thread first
// calls get(). The address in the log is the handle of the Local: three threads use one Local.
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
