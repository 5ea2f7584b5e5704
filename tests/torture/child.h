/* Child processes: waiting for their end, and reading their output until then. Each fails if the child hangs. */
#ifndef TORTURE_CHILD_H
#define TORTURE_CHILD_H

#include "torture.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>

/* Waits for a child that must exit with status 0. */
static inline void wait_for_child(pid_t pid)
{
    double end = now() + TORTURE_HANG * 0.75;
    int status;
    pid_t ended;
    for (useconds_t delay = 100; (ended = waitpid(pid, &status, WNOHANG)) == 0 || (ended < 0 && errno == EINTR);) {
        if (now() > end) {
            kill(pid, SIGABRT);
            torture_fail(__FILE__, __LINE__, "the child %d hangs", (int)pid);
        }
        usleep(delay);
        delay = delay < 2000 ? delay * 2 : delay;
    }
    TORTURE_CHECK(ended == pid);
    if (WIFSIGNALED(status))
        torture_fail(__FILE__, __LINE__, "the child was killed by signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        torture_fail(__FILE__, __LINE__, "the child exited with status %d", WEXITSTATUS(status));
}

/* Reads what the child writes to the pipe `fd`, up to size - 1 bytes, closes the pipe, and waits for the child. Returns
 * its wait status. */
static inline int read_child(pid_t pid, int fd, const char *description, char *output, size_t size)
{
    double end = now() + TORTURE_HANG / 2;
    size_t length = 0;
    int status;
    for (ssize_t got = 1; got != 0 && length < size - 1;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        if (poll(&ready, 1, 1000) > 0 && (got = read(fd, output + length, size - 1 - length)) > 0)
            length += (size_t)got;
        output[length] = '\0';
        if (now() > end) {
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
