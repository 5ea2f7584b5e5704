// Shows: a variable of which each thread has a value of its own.
//
// The local is one object that all threads share, the value in it is not: what main() sets the workers do not
// see. get_if() tells the value if there is one; get() would make one. Values may be of any type, and are
// destroyed at their thread's end.
//
// A thread_local variable does the same where one is enough for the whole program; a Local may be a member or a
// local variable, as here.
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
