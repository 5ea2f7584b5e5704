/* What the programs that tests/dump and tests/probes run and observe have in common: a check, which ends the program
 * with status 99 if it fails, and a wait until another thread has parked, on which the order of their waits depends. */
#ifndef TESTS_PARKED_H
#define TESTS_PARKED_H

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <threading.h>

#include "clock.h"

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                  \
            _Exit(99);                                                                                       \
        }                                                                                                    \
    } while (0)

/* Whether the dump has a line that contains the text, of a thread whose name begins like this. The name of a thread that
 * has none is "thread" and its ID. */
static inline bool dump_has_wait(const char *dump, const char *name, const char *text)
{
    for (const char *end = strchr(dump, '\n'); end != NULL; end = strchr(end + 1, '\n')) {
        const char *line = end + 1, *next = strchr(line, '\n'), *found = strstr(line, text);
        const char *thread = *line == '"' ? line + 1 : line;
        if (strncmp(thread, name, strlen(name)) == 0 && found != NULL && (next == NULL || found < next))
            return true;
    }
    return false;
}

/* Returns when a dump shows that such a thread waits as the text says. Dumps are not in traces. */
static inline void until_thread_waits(const char *name, const char *text)
{
    char dump[1 << 14];
    for (;;) {
        FILE *file = tmpfile();
        CHECK(file != NULL && threading_dump(fileno(file)) == THREADING_OK);
        rewind(file);
        dump[fread(dump, 1, sizeof dump - 1, file)] = '\0';
        CHECK(fclose(file) == 0);
        if (dump_has_wait(dump, name, text))
            return;
        sleep_for(0.001);
    }
}

#endif
