// Shows: arguments for each thread, which tell it what to work on.
//
// They are copied or moved into the thread, which keeps them for as long as it needs them, so that no thread
// sees the loop's variable change. In C one pointer has to hold them.
#include <iostream>
#include <string>
#include <vector>

#include <threading.hpp>

static void worker(int number)
{
    std::cout << "Worker: " + std::to_string(number) + "\n"; // one piece, which does not tear
}

int main()
{
    std::vector<threading::Thread> threads;
    for (int i = 0; i < 5; i++)
        threads.emplace_back(worker, i).start();
}
