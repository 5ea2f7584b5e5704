/* The interpreter of tests/torture/misuse as a function that Rust can call. */
#include <stdlib.h>
#include <unistd.h>

#include "../../torture/misuse/functions.h"

void misuse_interpret(const uint8_t *bytes, size_t size);

_Noreturn static void fail(const char *file, int line, const char *what)
{
    fprintf(stderr, "\nFAILED: %s:%d: %s\n", file, line, what);
    abort();
}

void misuse_interpret(const uint8_t *bytes, size_t size)
{
    static struct actor actor; /* static, so that its address is the same for each input */
    interpret(bytes, size, true, &actor);
}
