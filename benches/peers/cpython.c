/* CPython's threading module, the model of libthreading. python.py measures it; this file only determines its
 * cases.
 *
 * The environment variable BENCH_PYTHON is the path of the interpreter, and BENCH_SCRIPT that of python.py.
 * Without them, CPython is not measured. */
#include "../bench.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Returns the output of `python.py --cases`: first the version, then the cases. */
static const char *version_and_cases(void)
{
    static char text[4096];
    static bool done;
    if (done)
        return text;
    done = true;
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
    snprintf(text, sizeof text, "%.*s", (int)strcspn(version_and_cases(), " \n"),
             version_and_cases());
    return text;
}

bool cpython_can(const char *case_name)
{
    size_t length = strlen(case_name);
    for (const char *word = version_and_cases(); *word != '\0';) {
        size_t word_length = strcspn(word, " \n");
        if (word_length == length && strncmp(word, case_name, length) == 0)
            return true;
        word += word_length;
        word += strspn(word, " \n");
    }
    return false;
}

const struct peer peer_cpython = {.name = "CPython", .interpreter = true, .version = version};
