// Shows: a lock that protects a counter which several threads increment.
//
// The lock is a data member beside the value that it protects. std::lock_guard acquires it, and releases it
// on every exit of the function. main() joins the workers, so it can read the value without the lock: the end
// of a thread happens before the return of its join.
#include <chrono>
#include <iomanip>
#include <mutex>
#include <vector>

#include <threading.hpp>

#include "logging.hpp"
#include "random.hpp"

class Counter {
public:
    void increment()
    {
        logging::debug("Waiting for lock");
        const std::lock_guard guard(lock_);
        logging::debug("Acquired lock");
        value_++;
    }

    int value() const { return value_; }

private:
    threading::Lock lock_;
    int value_ = 0;
};

int main()
{
    logging::basic_config("(%(threadName)-10s) %(message)s");

    Counter counter;
    std::vector<threading::Thread> workers;
    for (int i = 0; i < 2; i++) {
        workers.emplace_back([&counter] {
            for (int round = 0; round < 2; round++) {
                const std::chrono::duration<double> pause(random_random());
                logging::debug("Sleeping ", std::fixed, std::setprecision(2), pause.count());
                threading::sleep(pause);
                counter.increment();
            }
            logging::debug("Done");
        }).start();
    }

    logging::debug("Waiting for worker threads");
    for (const threading::Thread &worker : workers)
        worker.join();
    logging::debug("Counter: ", counter.value());
}
