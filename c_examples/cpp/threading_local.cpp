// Shows: a variable that has a separate value in each thread.
//
// All threads share one Local, but not its value: the workers do not see what main() sets. get_if() returns a
// pointer to the value if there is one; get() would create one. Values can be of any type and are destroyed
// when their thread exits.
//
// A thread_local variable does the same if there is one for the whole program. A Local can be a data member
// or, as here, a local variable.
#include <functional>
#include <vector>

#include <threading.hpp>

#include "logging.hpp"
#include "random.hpp"

static void show_value(const threading::Local<int> &data)
{
    if (const int *value = data.get_if())
        logging::debug("value=", *value);
    else
        logging::debug("No value yet");
}

static void worker(const threading::Local<int> &data)
{
    show_value(data);
    data.set(random_randint(1, 100));
    show_value(data);
}

int main()
{
    logging::basic_config("(%(threadName)-10s) %(message)s");

    const threading::Local<int> local_data;
    show_value(local_data);
    local_data.set(1000);
    show_value(local_data);

    std::vector<threading::Thread> threads;
    for (int i = 0; i < 2; i++)
        threads.emplace_back(worker, std::cref(local_data)).start();
}
