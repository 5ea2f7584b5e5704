/* Checks for these programs. A failed check exits with status 2, which differs from the exit status of a tool's
 * report. */
#ifndef SANITIZERS_CHECK_H
#define SANITIZERS_CHECK_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include <threading.h>

static inline void check(bool holds, const char *file, int line, const char *what)
{
    if (!holds) {
        fprintf(stderr, "%s:%d: %s does not hold: %s\n", file, line, what, threading_last_error_message());
        exit(2);
    }
}

#define CHECK(cond) check((cond), __FILE__, __LINE__, #cond)

/* Checks that the call returns THREADING_OK. */
#define CHECK_OK(call) CHECK((call) == THREADING_OK)

#endif
