// Shows: a thread that calls a function object with several members.
//
// The arguments are members of the function object. In C they are a heap-allocated struct with a destructor.
// Here the thread owns the object, whatever its members are.
#include <map>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include <threading.hpp>

#include "logging.hpp"

class MyThreadWithArgs {
public:
    MyThreadWithArgs(int number, std::map<std::string, std::string> options)
        : number_(number), options_(std::move(options))
    {
    }

    void operator()() const
    {
        std::ostringstream options;
        const char *comma = "";
        for (const auto &[key, value] : options_) {
            options << comma << '\'' << key << "': '" << value << '\'';
            comma = ", ";
        }
        logging::debug("running with (", number_, ",) and {", options.str(), "}");
    }

private:
    int number_;
    std::map<std::string, std::string> options_;
};

int main()
{
    logging::basic_config("(%(threadName)-10s) %(message)s");

    std::vector<threading::Thread> threads;
    for (int i = 0; i < 5; i++) {
        std::map<std::string, std::string> options = {{"a", "A"}, {"b", "B"}};
        threads.emplace_back(MyThreadWithArgs(i, std::move(options))).start();
    }
}
