/* Whether a thread sleeps, for programs that end a wait only when it blocks. */
#ifndef TORTURE_ASLEEP_H
#define TORTURE_ASLEEP_H

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Returns true if a thread sleeps in the kernel. A thread that is about to wait sleeps for no other reason. */
static inline bool is_asleep(long tid)
{
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%ld/stat", tid);
    FILE *file = fopen(path, "r");
    bool read = file != NULL && fgets(line, sizeof line, file) != NULL;
    if (file != NULL)
        fclose(file);
    const char *name_end = strrchr(line, ')');
    return read && name_end != NULL && strncmp(name_end, ") S", 3) == 0;
}

#endif
