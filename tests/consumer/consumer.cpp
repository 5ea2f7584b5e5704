// The same from C++17, by threading.hpp: a thread under a lock, and an error of the library that becomes an
// exception.
#include <cstring>
#include <iostream>
#include <mutex>

#include <threading.hpp>

int main()
{
    if (std::strcmp(threading_version(), THREADING_VERSION) != 0) {
        std::cerr << "threading.h is of " << THREADING_VERSION << ", the library of " << threading_version() << '\n';
        return 1;
    }
    threading::Lock lock;
    int value = 0;
    threading::Thread thread([&] {
        const std::lock_guard guard(lock);
        ++value;
    });
    thread.start();
    thread.join();
    bool refused = false;
    try {
        lock.release();
    } catch (const std::system_error &error) {
        refused = error.code() == threading::errc::not_acquired;
    }
    const bool held = value == 1 && refused;
    std::cout << "libthreading " << threading_version() << ": " << (held ? "works" : "the thread did not count") << '\n';
    return held ? 0 : 1;
}
