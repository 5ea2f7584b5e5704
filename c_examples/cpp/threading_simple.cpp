// Shows: five threads that run the same function.
//
// As in Python, a Thread is created and then started. Its destructor joins the thread, so the destructor of
// the vector at the end of main() waits for all five. In the C program, process exit waits for them.
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
