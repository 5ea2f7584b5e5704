/* A function in a shared library that does nothing: what a call costs. */
#ifndef EMPTY_H
#define EMPTY_H

void *empty_call(void *object);

#endif
