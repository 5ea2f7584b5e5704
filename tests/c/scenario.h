/* Scenarios: each runs as the main function of a process, whose output and exit status are checked. */
#ifndef TEST_SCENARIO_H
#define TEST_SCENARIO_H

#include "child.h"

#include <fcntl.h>
#include <poll.h>
#if defined(__GLIBC__)
#include <gnu/libc-version.h>
#endif

struct scenario {
    const char *name;
    int (*main)(void);
    int status;         /* the expected exit status */
    const char *output; /* the expected output */
    int times;          /* how often the scenario runs; 0 is once */
    int needs;          /* one of the following, or 0 */
};

enum {
    TWO_EXITS = 1, /* two threads can call handlers of exit at the same time */
    ONE_EXIT,      /* if they cannot, the library finds threads that are blocked in exit */
    BLOCKED        /* the library finds threads that are blocked in libc */
};

/* ---------------------------------------------------------------------------------------- what scenarios do */

/* Unbuffered: _exit does not flush stdio, so buffered output would be lost. */
static inline void print_line(const char *line)
{
    char text[100];
    int length = snprintf(text, sizeof text, "%s\n", line);
    CHECK(write(STDOUT_FILENO, text, (size_t)length) == length);
}

static threading_event *may_work; /* workers and slow callbacks wait for it, if the scenario creates it */

static inline void release_workers(void)
{
    CHECK_STATUS(threading_event_set(may_work), THREADING_OK);
}

/* Slow enough that a process that does not wait for the worker exits first. */
static inline void *work(void *arg)
{
    if (may_work != NULL)
        CHECK_STATUS(threading_event_wait(may_work), THREADING_OK);
    sleep_for(0.1);
    print_line("worker done");
    return arg;
}

static inline void *sleep_forever(void *arg)
{
    CHECK_STATUS(threading_sleep(arg == NULL ? THREADING_FOREVER : INFINITY), THREADING_OK);
    print_line("slept");
    return NULL;
}

static inline void start_worker(threading_target target, int daemon)
{
    threading_thread *thread = threading_thread_new(target, NULL);
    CHECK(thread != NULL);
    CHECK_STATUS(threading_thread_set_daemon(thread, daemon), THREADING_OK);
    CHECK_STATUS(threading_thread_start(thread), THREADING_OK);
    CHECK_STATUS(threading_thread_free(thread), THREADING_OK);
}

static inline threading_timer *start_timer(double interval, threading_target function, int daemon)
{
    threading_timer *timer = threading_timer_new(interval, function, NULL);
    CHECK(timer != NULL);
    CHECK_STATUS(threading_thread_set_daemon(threading_timer_thread(timer), daemon), THREADING_OK);
    CHECK_STATUS(threading_timer_start(timer), THREADING_OK);
    return timer;
}

/* Starts a worker that waits until exit has begun: a handler that is registered after the first start runs before the
 * joins. */
static inline void start_worker_released_at_exit(void)
{
    may_work = event_new();
    start_worker(work, 0);
    CHECK_INT(atexit(release_workers), 0);
}

static inline void print_callback(void *line)
{
    print_line(line);
}

static inline void print_early(void)
{
    print_line("early");
}

static inline void print_late(void)
{
    print_line("late");
}

static inline void *call_exit(void *arg)
{
    (void)arg;
    print_line("exit");
    exit(5);
}

static inline void first_callback(void *arg)
{
    print_line(arg);
    release_workers();
}

static inline void *shut_down(void *arg)
{
    CHECK_STATUS(threading_shutdown(), THREADING_OK);
    return arg;
}

/* ---------------------------------------------------------------------------------- running the scenarios */

/* Since glibc 2.41, exit blocks while another thread is in exit, so that the library does not learn of that call. */
static inline bool has_one_exit(void)
{
#if defined(__GLIBC__)
    int major = 0, minor = 0;
    CHECK_INT(sscanf(gnu_get_libc_version(), "%d.%d", &major, &minor), 2);
    return major > 2 || minor >= 41;
#else
    return false;
#endif
}

/* The library finds threads that are blocked in exit by such a file, which some systems and sandboxes do not have. */
static inline bool shows_system_calls(void)
{
    char number[20], text[sizeof number] = "";
    int fd = open("/proc/self/syscall", O_RDONLY | O_CLOEXEC), length;
    if (fd < 0)
        return false;
    length = snprintf(number, sizeof number, "%ld ", (long)SYS_read);
    CHECK(read(fd, text, sizeof text - 1) >= 0);
    close(fd);
    return strncmp(text, number, (size_t)length) == 0;
}

/* Reads the output until the process closes its end of the pipe, which it does at its exit. Returns its wait status. */
static inline int read_until_end(int fd, pid_t pid, char *output, size_t size)
{
    double end = now() + TEST_LIMIT;
    size_t length = 0;
    int status;
    for (;;) {
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        ssize_t got;
        if (now() > end) {
            kill(pid, SIGKILL);
            output[length] = '\0';
            test_fail(__FILE__, __LINE__, "the process does not exit; its output is \"%s\"", output);
        }
        if (poll(&ready, 1, 100) <= 0)
            continue;
        got = read(fd, output + length, size - 1 - length);
        if (got <= 0)
            break;
        length += (size_t)got;
    }
    output[length] = '\0';
    while (waitpid(pid, &status, 0) < 0)
        CHECK(errno == EINTR);
    return status;
}

static inline void run_scenario(const struct scenario *scenario)
{
    char output[4096];
    int fds[2], status;
    pid_t pid;
    CHECK_INT(pipe(fds), 0);
    pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        dup2(fds[1], STDOUT_FILENO);
        close(fds[0]);
        close(fds[1]);
        execlp(test_state.argv[0], test_state.argv[0], "--scenario", scenario->name, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    status = read_until_end(fds[0], pid, output, sizeof output);
    close(fds[0]);
    CHECK_STR(output, scenario->output);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), scenario->status);
}

/* The scenarios of this program. */
static struct {
    const struct scenario *all;
    size_t count;
} scenarios_of_program;

static inline const struct scenario *find_scenario(const char *name)
{
    for (size_t i = 0; i < scenarios_of_program.count; i++)
        if (strcmp(scenarios_of_program.all[i].name, name) == 0)
            return &scenarios_of_program.all[i];
    return NULL;
}

static inline void run_case(void)
{
    const struct scenario *scenario = find_scenario(test_state.chosen[test_state.current]->name);
    int times = scenario->times > 0 ? scenario->times : 1;
    if (scenario->needs == TWO_EXITS && has_one_exit())
        SKIP("exit of this libc blocks while another thread is in exit");
    if ((scenario->needs == BLOCKED || (scenario->needs == ONE_EXIT && has_one_exit())) && !shows_system_calls())
        SKIP("the system does not show in which system call a thread is blocked");
    for (int i = 0; i < times; i++)
        run_scenario(scenario);
}

/* Runs one scenario in this process if the arguments say so, and otherwise all of them as cases. */
static inline int run_scenarios(int argc, char **argv, const struct scenario *scenarios, struct test_case *cases,
                                size_t count)
{
    scenarios_of_program.all = scenarios;
    scenarios_of_program.count = count;
    if (argc == 3 && strcmp(argv[1], "--scenario") == 0)
        return find_scenario(argv[2])->main();
    for (size_t i = 0; i < count; i++)
        cases[i] = (struct test_case){scenarios[i].name, run_case};
    return test_run(argc, argv, cases, count);
}

#define SCENARIO_MAIN(scenarios)                                                                        \
    int main(int argc, char **argv)                                                                     \
    {                                                                                                   \
        struct test_case cases[TEST_COUNT(scenarios)];                                                  \
        return run_scenarios(argc, argv, scenarios, cases, TEST_COUNT(cases));                          \
    }

#endif
