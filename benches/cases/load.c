/* Loading a library: the time until its first lock and its first thread have been used, and its memory after that. The
 * program startup is run for each measurement, as a fresh process. */
#include "../bench.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The values that startup prints. */
enum { LOCK_US, THREAD_US, RESIDENT_BYTES, OWN_BYTES, VALUES };

static bool can_load(const struct peer *peer)
{
    return peer->library != NULL && access("/proc/self/smaps_rollup", R_OK) == 0;
}

static void run_startup(const char *program, const struct peer *peer, const char *library)
{
    /* A libthreading.so that the option --beside has loaded into this process. */
    unsetenv("LD_PRELOAD");
    execl(program, program, peer->name, library, (char *)NULL);
    _exit(127);
}

static void start_up(const char *program, const struct peer *peer, double values[VALUES])
{
    int ends[2];
    check(pipe(ends) == 0);
    const char *library = peer->library();
    pid_t pid = fork();
    check(pid >= 0);
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        run_startup(program, peer, library);
    }
    close(ends[1]);
    FILE *from = fdopen(ends[0], "r");
    check(from != NULL);
    check(fscanf(from, "%lf %lf %lf %lf", &values[0], &values[1], &values[2], &values[3]) == VALUES);
    fclose(from);
    int status;
    check(waitpid(pid, &status, 0) == pid && status == 0);
}

static double measure_load(const struct peer *peer, const struct bench_case *bench_case)
{
    enum { RUNS = 15 };
    char program[PATH_MAX];
    ssize_t length = readlink("/proc/self/exe", program, sizeof program - sizeof "startup");
    check(length > 0);
    program[length] = '\0';
    strcpy(strrchr(program, '/') + 1, "startup");
    struct batches batches = {0};
    for (int i = 0; i < RUNS; i++) {
        double values[VALUES];
        start_up(program, peer, values);
        batches_add(&batches, values[bench_case->n]);
    }
    return batches_quantile(&batches, 0.5);
}

#define LOAD(name_, unit_, n_, what_)                                                                        \
    {.name = name_,                                                                                          \
     .unit = unit_,                                                                                          \
     .n = n_,                                                                                                \
     .what = what_,                                                                                          \
     .alone = true,                                                                                          \
     .can = can_load,                                                                                        \
     .measure = measure_load}

const struct bench_case load_cases[] = {
    LOAD("load.lock", "us", LOCK_US, "dlopen, and acquire and release a lock, in a fresh process"),
    LOAD("load.thread", "us", THREAD_US, "the same, and start and join a thread"),
    LOAD("load.resident", "bytes", RESIDENT_BYTES, "resident memory after that, files included"),
    LOAD("load.own", "bytes", OWN_BYTES, "resident memory after that, without files"),
    {0},
};
