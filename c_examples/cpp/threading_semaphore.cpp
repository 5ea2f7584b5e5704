// Shows: a semaphore that lets no more than two of four threads into a pool at a time.
//
// The semaphore limits how many are inside; the pool's own lock keeps its list in order while they come and go.
// Both are taken by a lock_guard. Semaphore and pool are there before the threads, and so they outlive them.
#include <algorithm>
#include <chrono>
#include <functional>
#include <mutex>
#include <string>
#include <vector>

#include <threading.hpp>

#include "logging.hpp"

using namespace std::chrono_literals;

class ActivePool {
public:
    void make_active(const std::string &name)
    {
        const std::lock_guard guard(lock_);
        active_.push_back(name);
        log();
    }

    void make_inactive(const std::string &name)
    {
        const std::lock_guard guard(lock_);
        active_.erase(std::find(active_.begin(), active_.end(), name));
        log();
    }

private:
    void log() const
    {
        std::string names;
        for (const std::string &name : active_)
            names += (names.empty() ? "'" : ", '") + name + "'";
        logging::debug("Running: [", names, "]");
    }

    threading::Lock lock_; // guards the list
    std::vector<std::string> active_;
};

static void worker(threading::Semaphore &semaphore, ActivePool &pool)
{
    logging::debug("Waiting to join the pool");
    const std::lock_guard guard(semaphore);
    const std::string name = threading::current_thread().name();
    pool.make_active(name);
    threading::sleep(100ms);
    pool.make_inactive(name);
}

int main()
{
    logging::basic_config("%(asctime)s (%(threadName)-2s) %(message)s");

    ActivePool pool;
    threading::Semaphore semaphore(2);
    std::vector<threading::Thread> threads;
    for (int i = 0; i < 4; i++) {
        threads.emplace_back(worker, std::ref(semaphore), std::ref(pool));
        threads.back().set_name(std::to_string(i));
        threads.back().start();
    }
}
