// Shows: a reentrant lock, which the thread that owns it can acquire again.
//
// The lock counts: it is unlocked after as many releases as acquires. A unique_lock releases the lock in its
// destructor if it has acquired it.
#include <iostream>
#include <mutex>

#include <threading.hpp>

int main()
{
    threading::RLock lock;

    const std::unique_lock first(lock);
    std::cout << "First try : " << (first.owns_lock() ? "True" : "False") << '\n';
    const std::unique_lock second(lock, std::try_to_lock);
    std::cout << "Second try: " << second.owns_lock() << '\n';
}
