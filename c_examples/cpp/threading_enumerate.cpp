// Shows: listing all threads that are alive, to join them without keeping their objects.
//
// enumerate() takes a snapshot: the main thread first, then the others in the order in which they were
// started. It returns a vector of ThreadRef, whose destructor does not join the thread. The calling thread is
// in the vector and must be skipped, because a join of the calling thread throws errc::deadlock.
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
        thread.set_daemon(true); // so the destructor does not join it
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
