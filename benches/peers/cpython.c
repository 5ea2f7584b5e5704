/* CPython's threading, the module that ours is made after. python.py measures it; here is only who can be
 * asked.
 *
 * The environment variable BENCH_PYTHON says which interpreter, BENCH_SCRIPT where python.py lies; without
 * them there is none. */
#include "../bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The first word is the version, the others are the cases that python.py has. */
static const char *answer(void)
{
    static char text[4096];
    static bool asked;
    if (asked)
        return text;
    asked = true;
    const char *python = getenv("BENCH_PYTHON");
    const char *script = getenv("BENCH_SCRIPT");
    if (python == NULL || script == NULL)
        return text;
    char command[4096];
    snprintf(command, sizeof command, "'%s' '%s' --cases", python, script);
    FILE *in = popen(command, "r");
    if (in == NULL)
        return text;
    size_t length = fread(text, 1, sizeof text - 1, in);
    if (pclose(in) != 0)
        length = 0;
    text[length] = '\0';
    return text;
}

static const char *version(void)
{
    static char text[32];
    snprintf(text, sizeof text, "%.*s", (int)strcspn(answer(), " \n"), answer());
    return text;
}

bool cpython_can(const char *case_name)
{
    size_t length = strlen(case_name);
    for (const char *word = answer(); *word != '\0';) {
        size_t word_length = strcspn(word, " \n");
        if (word_length == length && strncmp(word, case_name, length) == 0)
            return true;
        word += word_length;
        word += strspn(word, " \n");
    }
    return false;
}

const struct peer peer_cpython = {.name = "CPython", .interpreter = true, .version = version};
