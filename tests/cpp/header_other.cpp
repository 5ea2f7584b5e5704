// The second translation unit of the header's test: threading.h first, and compiled without RTTI.
#include <threading.h>

#include "header.hpp"

#include <stdexcept>

struct Unknown {}; // no standard exception

const std::error_category *category_of_the_other()
{
    return &threading::category();
}

bool catches_error(void (*function)())
{
    try {
        function();
    } catch (const threading::error &) {
        return true;
    } catch (...) {
        return false;
    }
    return false;
}

threading::Local<int> &local_of_the_other()
{
    static threading::Local<int> local([] { return 5; });
    return local;
}

int read_local_of_the_other()
{
    return local_of_the_other().get();
}

void throw_in_a_thread_of_the_other()
{
    for (const bool known : {true, false}) {
        threading::Thread thread([known] {
            if (known)
                throw std::runtime_error("from the other part");
            throw Unknown();
        });
        thread.set_name("other");
        thread.start();
    }
}
