// The second translation unit of the header's test. It includes threading.h first and is compiled without RTTI.
#include <threading.h>

#include "header.hpp"

#include <stdexcept>

struct Unknown {}; // not derived from std::exception

const std::error_category *category_of_other_unit()
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

threading::Local<int> &local_of_other_unit()
{
    static threading::Local<int> local([] { return 5; });
    return local;
}

int read_local_of_other_unit()
{
    return local_of_other_unit().get();
}

void throw_in_thread_of_other_unit()
{
    for (const bool standard : {true, false}) {
        threading::Thread thread([standard] {
            if (standard)
                throw std::runtime_error("from the other translation unit");
            throw Unknown();
        });
        thread.set_name("other");
        thread.start();
    }
}
