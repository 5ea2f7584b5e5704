/* Checks that run in a child process, with its own memory and resource limits. */
#ifndef TEST_CHILD_H
#define TEST_CHILD_H

#include "test.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <sys/syscall.h>
#include <sys/wait.h>

/* The exit statuses of a child that forks in a call and has gone on there, and of one that cannot run its check on this
 * system. Not 0, with which a child exits that has run on elsewhere. */
enum { CHILD_PASSED = 7, CHILD_SKIPPED = 77 };

/* Uses the memory that a call that was left by longjmp had on the stack. */
static inline void overwrite_stack(void)
{
    volatile unsigned char bytes[16 * 1024];
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = 0x5a;
}

/* Longer than TEST_LIMIT, because a check may wait for several states. */
#define CHILD_LIMIT (3 * TEST_LIMIT)

/* Waits up to CHILD_LIMIT seconds for a child and returns its exit status. A child in which a check fails prints the
 * message itself and exits with 1. */
#define child_status(pid) test_child_status(__FILE__, __LINE__, (pid))

static inline int test_child_status(const char *file, int line, pid_t pid)
{
    double end = now() + CHILD_LIMIT;
    int status;
    pid_t ended;
    if (pid < 0)
        test_fail(file, line, "fork failed: %s", strerror(errno));
    while ((ended = waitpid(pid, &status, WNOHANG)) == 0 || (ended < 0 && errno == EINTR)) {
        if (now() > end) {
            kill(pid, SIGKILL);
            test_fail(file, line, "the child process does not end");
        }
        sleep_for(0.0005);
    }
    test_check_int(file, line, "waitpid", ended, pid);
    if (WIFSIGNALED(status))
        test_fail(file, line, "signal %d killed the child process", WTERMSIG(status));
    return WEXITSTATUS(status);
}

/* Runs a check in a forked child. Returns false if the child exits with CHILD_SKIPPED. */
#define run_in_child(check) test_run_in_child(__FILE__, __LINE__, (check))

static inline bool test_run_in_child(const char *file, int line, void (*check)(void))
{
    int status;
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        check();
        _exit(0);
    }
    status = test_child_status(file, line, pid);
    if (status != CHILD_SKIPPED)
        test_check_int(file, line, "the child's exit status", status, 0);
    return status != CHILD_SKIPPED;
}

/* Runs a check with an argument in a forked child. */
#define run_in_child_with(check, arg) test_run_in_child_with(__FILE__, __LINE__, (check), (arg))

static inline void test_run_in_child_with(const char *file, int line, void (*check)(void *), void *arg)
{
    pid_t pid = fork();
    if (pid == 0) {
        check(arg);
        _exit(0);
    }
    test_check_int(file, line, "the child's exit status", test_child_status(file, line, pid), 0);
}

/* Returns whether a user-mode emulator runs this program: /proc then shows the system calls of another processor. */
static inline bool is_emulated(void)
{
    char text[32] = "";
    int file = open("/proc/thread-self/syscall", O_RDONLY | O_CLOEXEC);
    ssize_t length = file < 0 ? -1 : read(file, text, sizeof text - 1);
    close(file);
    return length > 0 && strtol(text, NULL, 10) != SYS_read;
}

#define SKIP_THREADS_IN_CHILD_IF_EMULATED()                                                                  \
    do {                                                                                                     \
        if (is_emulated())                                                                                   \
            SKIP("QEMU cannot start threads in a child of a process with threads");                          \
    } while (0)

/* Stores the size of the process's resident memory, if the system reports it exactly: in statm, some kernels add
 * counters of the CPUs that may be out of date. */
static inline void read_exact_resident(size_t *resident)
{
    char line[128];
    unsigned long kilobytes;
    FILE *file = fopen("/proc/self/smaps_rollup", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL)
        if (sscanf(line, "Rss: %lu kB", &kilobytes) == 1)
            *resident = kilobytes * 1024;
    if (file != NULL)
        fclose(file);
}

/* Stores the sizes of the process's address space and of its resident memory in bytes. Returns false if the system does
 * not report them. */
static inline bool process_size(size_t *addresses, size_t *resident)
{
    unsigned long pages[2];
    FILE *file = fopen("/proc/self/statm", "r");
    bool known = file != NULL && fscanf(file, "%lu %lu", &pages[0], &pages[1]) == 2;
    if (file != NULL)
        fclose(file);
    if (known) {
        *addresses = pages[0] * (size_t)sysconf(_SC_PAGESIZE);
        *resident = pages[1] * (size_t)sysconf(_SC_PAGESIZE);
        read_exact_resident(resident);
    }
    return known;
}

/* Gives up the privileges of the superuser, if the process has them. Returns false if that fails. */
static inline bool drop_privileges(void)
{
    return geteuid() != 0 || (setgroups(0, NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
}

#endif
