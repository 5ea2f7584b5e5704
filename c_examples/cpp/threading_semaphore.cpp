// Shows: a semaphore that limits a pool to two of four threads at a time.
//
// The semaphore limits how many threads are active. The pool's own lock protects its list, which the threads
// change. A lock_guard acquires either. The semaphore and the pool are created before the threads and are
// therefore destroyed after them.
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

    threading::Lock lock_; // protects the list
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
