// A translation unit of the header's test that defines macros with common names, as the headers of some systems and
// libraries do.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <system_error>
#include <tuple>
#include <vector>

#define min(a, b) ((a) < (b) ? (a) : (b))
#define max(a, b) ((a) > (b) ? (a) : (b))
#define MIN(a, b) min(a, b)
#define MAX(a, b) max(a, b)
#define major(number) ((number) >> 8)
#define minor(number) ((number) & 255)
#define None 0L
#define Bool int
#define Status int
#define Success 0
#define Always 2
#define unix 1
#define linux 1

#include "header.hpp"

bool works_with_common_macros()
{
    threading::Event event;
    int sum = 0;
    threading::Thread thread([&](int number) { sum = max(number, sum); }, 5);
    thread.start();
    thread.join();
    return sum == 5 && !event.wait_for(std::chrono::milliseconds(1)) && (threading::Semaphore::max)() > 0;
}
