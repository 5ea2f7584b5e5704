#include "empty.h"

void *empty_call(void *object)
{
    return object;
}
