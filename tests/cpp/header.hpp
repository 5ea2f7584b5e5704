// What the second translation unit of the header's test gives to the first.
#ifndef HEADER_HPP
#define HEADER_HPP

#include <threading.hpp>

const std::error_category *category_of_the_other();
bool catches_error(void (*function)());
threading::Local<int> &local_of_the_other();
int read_local_of_the_other();
void throw_in_a_thread_of_the_other();
bool works_beside_macros();

#endif
