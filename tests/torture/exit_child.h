/* What exit.c and exit_dlopen.c share: reading the output of a child process until it ends. */
#ifndef EXIT_CHILD_H
#define EXIT_CHILD_H

#include "torture.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

/* Reads what the child writes to the pipe `fd`, up to size - 1 bytes, closes the pipe, and waits for the child. Fails
 * if the child hangs. Returns its wait status. */
static inline int read_child(pid_t pid, int fd, const char *description, char *output, size_t size)
{
    double end = torture_now() + TORTURE_HANG / 2;
    size_t length = 0;
    int status;
    for (ssize_t got = 1; got != 0 && length < size - 1;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, 1000) > 0 && (got = read(fd, output + length, size - 1 - length)) > 0)
            length += (size_t)got;
        output[length] = '\0';
        if (torture_now() > end) {
            kill(pid, SIGABRT);
            torture_fail(__FILE__, __LINE__, "%s hangs, after the output \"%s\"", description, output);
        }
    }
    close(fd);
    while (waitpid(pid, &status, 0) < 0)
        TORTURE_CHECK(errno == EINTR);
    return status;
}

#endif
