// The same from C++17: the header is C that C++ reads, and its functions have C linkage.
#include <cstring>
#include <iostream>

#include <threading.h>

namespace {

struct Counter {
    threading_lock *lock = threading_lock_new();
    int value = 0;
};

extern "C" void *count(void *arg)
{
    auto *counter = static_cast<Counter *>(arg);
    if (threading_lock_acquire(counter->lock) != THREADING_OK)
        return nullptr;
    ++counter->value;
    return threading_lock_release(counter->lock) == THREADING_OK ? counter : nullptr;
}

} // namespace

int main()
{
    if (std::strcmp(threading_version(), THREADING_VERSION) != 0) {
        std::cerr << "threading.h is of " << THREADING_VERSION << ", the library of " << threading_version() << '\n';
        return 1;
    }
    Counter counter;
    threading_thread *thread = threading_thread_new(count, &counter);
    if (threading_thread_start(thread) != THREADING_OK || threading_thread_join(thread) != THREADING_OK) {
        std::cerr << "threading: " << threading_last_error_message() << '\n';
        return 1;
    }
    const bool held = threading_thread_result(thread) == &counter && counter.value == 1;
    threading_thread_free(thread);
    threading_lock_free(counter.lock);
    std::cout << "libthreading " << threading_version() << ": " << (held ? "works" : "the thread did not count") << '\n';
    return held ? 0 : 1;
}
