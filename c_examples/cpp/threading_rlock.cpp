// Shows: a re-entrant lock, which the thread that holds it may take again.
//
// The lock counts: others can have it after as many releases as there were acquires. A unique_lock releases it
// if it has it, and so asks before it does.
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
