// The same program in C++17 with threading.hpp: a thread that acquires a lock, and an error of the library that is
// thrown as an exception.
#include <cstring>
#include <iostream>
#include <mutex>

#include <threading.hpp>

int main()
{
    if (std::strcmp(threading_version(), THREADING_VERSION) != 0) {
        std::cerr << "threading.h has version " << THREADING_VERSION << ", the library " << threading_version() << '\n';
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
    bool thrown = false;
    try {
        lock.release();
    } catch (const std::system_error &error) {
        thrown = error.code() == threading::errc::not_acquired;
    }
    const bool correct = value == 1 && thrown;
    std::cout << "libthreading " << threading_version() << ": " << (correct ? "works" : "the thread did not count")
              << '\n';
    return correct ? 0 : 1;
}
