/* An empty function in a shared library, which measures the cost of a call. */
#ifndef EMPTY_H
#define EMPTY_H

void *empty_call(void *object);

#endif
