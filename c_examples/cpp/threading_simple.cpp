// Shows: five threads that run the same function.
//
// A Thread is made and then started, as in Python. Its end waits for the thread, so the vector's end, at the
// end of main(), waits for all five. In the C twin it is the process's exit that does.
#include <iostream>
#include <vector>

#include <threading.hpp>

static void worker()
{
    std::cout << "Worker\n";
}

int main()
{
    std::vector<threading::Thread> threads;
    for (int i = 0; i < 5; i++)
        threads.emplace_back(worker).start();
}
