// Shows: finding all threads that are alive, in order to join them without having kept them.
//
// enumerate() takes a snapshot: main first, then the others in the order of their start. It is a vector of
// ThreadRef, whose ends wait for nobody. The calling thread is in it and must be skipped: joining oneself is
// errc::deadlock.
#include <chrono>

#include <threading.hpp>

#include "logging.hpp"
#include "random.hpp"

static void worker()
{
    const std::chrono::seconds pause(random_randint(1, 5));
    logging::debug("sleeping ", pause.count());
    threading::sleep(pause);
    logging::debug("ending");
}

int main()
{
    logging::basic_config("(%(threadName)-10s) %(message)s");

    for (int i = 0; i < 3; i++) {
        threading::Thread thread(worker);
        thread.set_daemon(true); // so its Thread may end here
        thread.start();
    }

    const threading::ThreadRef main_thread = threading::current_thread();
    for (const threading::ThreadRef &thread : threading::enumerate()) {
        if (thread == main_thread)
            continue;
        logging::debug("joining ", thread.name());
        thread.join();
    }
}
