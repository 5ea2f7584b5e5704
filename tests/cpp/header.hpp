// The functions of the other translation units of the header's test.
#ifndef HEADER_HPP
#define HEADER_HPP

#include <threading.hpp>

const std::error_category *category_of_other_unit();
bool catches_error(void (*function)());
threading::Local<int> &local_of_other_unit();
int read_local_of_other_unit();
void throw_in_thread_of_other_unit();
bool works_with_common_macros();

#endif
