// Shows: naming threads, and asking for the name of the thread that runs.
//
// Only the thread without a name of its own takes a number, therefore it is Thread-1 although it is made last.
// What a thread runs may be a lambda; where several run the same with another number, a function that takes it.
#include <chrono>
#include <iostream>
#include <string>

#include <threading.hpp>

using namespace std::chrono_literals;

static void say(const std::string &what)
{
    std::cout << threading::current_thread().name() + " " + what + "\n" << std::flush;
}

static void work_for(std::chrono::seconds time)
{
    say("Starting");
    threading::sleep(time);
    say("Exiting");
}

int main()
{
    threading::Thread t(work_for, 3s);
    t.set_name("my_service");
    threading::Thread w(work_for, 2s);
    w.set_name("worker");
    threading::Thread w2(work_for, 2s); // keeps its default name

    w.start();
    w2.start();
    t.start();
}
