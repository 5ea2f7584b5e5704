/* The interpreter of the misuse torture, as a function. */
#include <stdlib.h>
#include <unistd.h>

#include "../../torture/misuse/functions.h"

void misuse_interpret(const uint8_t *bytes, size_t size);

_Noreturn static void wrong(const char *file, int line, const char *what)
{
    fprintf(stderr, "\nFAILED: %s:%d: %s\n", file, line, what);
    abort();
}

void misuse_interpret(const uint8_t *bytes, size_t size)
{
    static struct actor actor; /* at the same address each time, as far as that can be seen */
    interpret(bytes, size, true, &actor);
}
