// Shows: thread names, and the name of the calling thread.
//
// Only the thread without an explicit name is numbered, so it is Thread-1 although it is created last. The
// callable of a thread can be a lambda or, if several threads differ in their arguments only, a function with
// parameters.
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
