// Shows: arguments for each thread.
//
// The arguments are copied or moved into the thread, which keeps them as long as it needs them. So no thread
// sees the loop variable change. In C, one pointer has to hold them.
#include <iostream>
#include <string>
#include <vector>

#include <threading.hpp>

static void worker(int number)
{
    std::cout << "Worker: " + std::to_string(number) + "\n"; // a single write, so lines do not mix
}

int main()
{
    std::vector<threading::Thread> threads;
    for (int i = 0; i < 5; i++)
        threads.emplace_back(worker, i).start();
}
