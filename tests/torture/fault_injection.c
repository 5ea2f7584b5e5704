/* Refusals: memory, mappings and threads run out, one at a time and for good, during each call of the library:
 * it returns its error and nothing has changed, or does without; the same call succeeds afterwards, nothing
 * leaks, and all else works.
 *
 * Each run of a scenario is a process of its own, in which the library is used for the
 * first time. How many calls there are that can be refused is counted; then the first of them is refused, the
 * second, and so on; then all from the first on, from the second. What the library holds in the end may not
 * be more than in the run in which nothing was refused. When all is done once, and time is left, one in a few
 * is refused by chance. */
#include "torture.h"

#include "fault_injection_scenarios.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

/* Who makes the calls. */
enum { BY_MAIN, BY_FOREIGN, BY_WORKER, BY_CHILD, CALLERS };

/* What a process reports. */
struct report {
    long calls, made, blocks, mapped;
    size_t slots[KINDS];
};

static struct {
    int caller;
    enum refusing refusing;
    long n;
    uint64_t seed;
} run;

enum { REPORT = 3, TRIES = 6 };

const struct scenario *scenario;

static const struct {
    const struct scenario *scenarios;
    const size_t *count;
} groups[] = {
    {object_scenarios, &object_scenarios_count}, {thread_scenarios, &thread_scenarios_count},
    {local_scenarios, &local_scenarios_count},   {wait_scenarios, &wait_scenarios_count},
    {other_scenarios, &other_scenarios_count},
};

/* NULL if there are not so many. */
static const struct scenario *scenario_at(size_t index)
{
    for (size_t i = 0; i < sizeof groups / sizeof *groups; index -= *groups[i++].count)
        if (index < *groups[i].count)
            return &groups[i].scenarios[index];
    return NULL;
}

_Noreturn void refusals_fail(const char *file, int line, const char *format, ...)
{
    char what[400];
    va_list values;
    long calls = refusals_disarm();
    va_start(values, format);
    vsnprintf(what, sizeof what, format, values);
    va_end(values);
    torture_fail(file, line, "%s, in \"%s\" by %s, %s %ld, %ld of %ld calls refused, %s last", what,
                 scenario->name, (const char *[]){"main", "a foreign thread", "a worker", "a child"}[run.caller],
                 (const char *[]){"nothing refused", "refused number", "refused from", "refused one in"}[run.refusing],
                 run.n, refusals_made(), calls, refusals_last());
}

/* ------------------------------------------------------------------------------------------- in the process */

static struct report report;

static void *try_until_done(void *arg)
{
    scenario->prepare();
    for (int tries = 0;; tries++) {
        /* The last is left in peace. */
        refusals_arm(tries < TRIES ? run.refusing : NOTHING, run.n, run.seed, scenario->everybody);
        threading_clear_last_error();
        threading_status status = scenario->call();
        long calls = refusals_disarm();
        if (tries == 0)
            report.calls = calls;
        report.made += refusals_made();
        if (status == THREADING_OK)
            break;
        if (refusals_made() == 0 || !(((scenario->errors & NO_MEMORY) != 0 && status == THREADING_ERR_NO_MEMORY) ||
                                      ((scenario->errors & SYSTEM) != 0 && status == THREADING_ERR_SYSTEM)))
            refusals_fail(__FILE__, __LINE__, "%s", threading_status_name(status));
        STATUS(threading_last_error(), status);
        if (scenario->unchanged != NULL)
            scenario->unchanged();
    }
    if (scenario->done != NULL)
        scenario->done();
    return arg;
}

static int run_here(size_t index, int argc, char **argv)
{
    pthread_t thread;
    torture.name = "fault_injection";
    scenario = scenario_at(index);
    if (argc != 7 || scenario == NULL)
        return 2;
    run.caller = atoi(argv[3]);
    run.refusing = (enum refusing)atoi(argv[4]);
    run.n = atol(argv[5]);
    torture.seed = run.seed = strtoull(argv[6], NULL, 10);
    switch (run.caller) {
    case BY_FOREIGN:
        CHECK(pthread_create(&thread, NULL, try_until_done, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        break;
    case BY_WORKER: {
        threading_thread *worker = threading_thread_new(try_until_done, &run);
        OK(threading_thread_start(worker));
        OK(threading_thread_join(worker));
        CHECK(threading_thread_result(worker) == &run);
        OK(threading_thread_free(worker));
        break;
    }
    case BY_CHILD: {
        pid_t child = fork();
        int status;
        CHECK(child >= 0);
        if (child == 0)
            break; /* goes on as main does */
        CHECK(waitpid(child, &status, 0) == child);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
    default:
        break;
    }
    if (run.caller == BY_MAIN || run.caller == BY_CHILD)
        try_until_done(NULL);
    report.blocks = refusals_blocks();
    report.mapped = refusals_mapped();
    if (!scenario->last) {
        look_at_slots(report.slots);
        use_everything();
    }
    if (write(REPORT, &report, sizeof report) != sizeof report)
        return 2;
    return 0;
}

/* --------------------------------------------------------------------------------------- from one to the next */

extern char **environ;

/* Runs a scenario in a new process and takes its report. */
static struct report run_process(size_t index)
{
    struct report got;
    char numbers[5][24], *argv[] = {"fault_injection", "--run", numbers[0], numbers[1], numbers[2], numbers[3],
                                    numbers[4], NULL};
    int fds[2], status;
    pid_t pid;
    posix_spawn_file_actions_t actions;
    scenario = scenario_at(index);
    snprintf(numbers[0], sizeof numbers[0], "%zu", index);
    snprintf(numbers[1], sizeof numbers[1], "%d", run.caller);
    snprintf(numbers[2], sizeof numbers[2], "%d", (int)run.refusing);
    snprintf(numbers[3], sizeof numbers[3], "%ld", run.n);
    snprintf(numbers[4], sizeof numbers[4], "%" PRIu64, run.seed);
    TORTURE_CHECK(pipe2(fds, O_CLOEXEC) == 0);
    TORTURE_CHECK(posix_spawn_file_actions_init(&actions) == 0);
    TORTURE_CHECK(posix_spawn_file_actions_adddup2(&actions, fds[1], REPORT) == 0);
    TORTURE_CHECK(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    /* Ended is who has closed the pipe. */
    struct pollfd ended = {.fd = fds[0], .events = POLLIN};
    for (double until = torture_now() + TORTURE_HANG / 2; poll(&ended, 1, 1000) <= 0;)
        if (torture_now() > until) {
            kill(pid, SIGKILL);
            refusals_fail(__FILE__, __LINE__, "it hangs");
        }
    ssize_t size = read(fds[0], &got, sizeof got);
    for (double until = torture_now() + TORTURE_HANG / 2; waitpid(pid, &status, WNOHANG) != pid; usleep(100))
        if (torture_now() > until) {
            kill(pid, SIGKILL);
            refusals_fail(__FILE__, __LINE__, "its exit hangs");
        }
    close(fds[0]);
    if (WIFSIGNALED(status))
        refusals_fail(__FILE__, __LINE__, "it dies of signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) != 0 || size != sizeof got)
        refusals_fail(__FILE__, __LINE__, "it exits with %d", WEXITSTATUS(status));
    torture_step(1);
    return got;
}

static long refused;
static uint64_t seen[1024]; /* functions, by what their names come to */
static size_t seen_count;

static void see(const char *functions)
{
    for (const char *end; *functions != '\0'; functions = *end == ' ' ? end + 1 : end) {
        uint64_t name = 14695981039346656037u;
        for (end = functions; *end != '\0' && *end != ' '; end++)
            name = (name ^ (uint64_t)(unsigned char)*end) * 1099511628211u;
        size_t i = 0;
        while (i < seen_count && seen[i] != name)
            i++;
        if (i == seen_count && seen_count < sizeof seen / sizeof *seen)
            seen[seen_count++] = name;
    }
}

/* The threads that run timers keep a slot or two of a thread's and a timer's at times; what leaks at each try is
 * more. */
static size_t spare(size_t kind)
{
    bool timers = strstr(scenario->name, "timer") != NULL || strstr(scenario->name, "enumerate") != NULL;
    return (kind == THREAD || kind == TIMER) && timers ? 3 * 128 : 0;
}

/* Where the system refuses to map several blocks together, one is mapped, and the next ones later. */
enum { BLOCKS = 2 * 64 * 1024 };

static void compare(const struct report *got, const struct report *unrefused)
{
    refused += got->made;
    if (got->blocks > unrefused->blocks)
        refusals_fail(__FILE__, __LINE__, "%ld blocks of memory leak", got->blocks - unrefused->blocks);
    if (got->mapped > unrefused->mapped + BLOCKS)
        refusals_fail(__FILE__, __LINE__, "%ld bytes of mappings leak", got->mapped - unrefused->mapped);
    for (size_t kind = 0; kind < KINDS; kind++)
        if (got->slots[kind] > unrefused->slots[kind] + spare(kind))
            refusals_fail(__FILE__, __LINE__, "objects of kind %zu leak: %zu instead of %zu bytes are used", kind,
                          got->slots[kind], unrefused->slots[kind]);
}

/* Each scenario by each caller, with nothing refused. */
static struct report (*unrefused)[CALLERS];
static size_t scenario_count;

static bool refuse_each(size_t index, enum refusing how, long calls)
{
    /* Where many threads each do the same, some of them will do. */
    long step = scenario_at(index)->everybody ? 1 + calls / 16 : 1;
    run.refusing = how;
    for (run.n = 1; run.n <= calls; run.n += step) {
        if (!torture_running())
            return false;
        struct report got = run_process(index);
        compare(&got, &unrefused[index][run.caller]);
    }
    return true;
}

/* Each scenario by each caller, in an order that the seed decides. To see one again: FAULT_INJECTION_ONLY is a part of
 * its name. */
static bool refuse_all(void)
{
    const char *only = getenv("FAULT_INJECTION_ONLY");
    size_t pairs = scenario_count * CALLERS, *order = calloc(pairs, sizeof *order);
    struct random random = random_of(0);
    bool all = true;
    TORTURE_CHECK(order != NULL);
    for (size_t i = 0; i < pairs; i++) {
        size_t j = random_below(&random, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (size_t i = 0; i < pairs && (all = torture_running()); i++) {
        size_t index = order[i] / CALLERS;
        if (only != NULL && strstr(scenario_at(index)->name, only) == NULL)
            continue;
        run.caller = (int)(order[i] % CALLERS);
        run.refusing = NOTHING;
        struct report *nothing = &unrefused[index][run.caller];
        *nothing = run_process(index);
        see(scenario_at(index)->functions);
        /* What threads of their own ask for may come to a few more, or less, from run to run. */
        long calls = nothing->calls + (scenario_at(index)->everybody ? 4 : 0);
        if (!(all = refuse_each(index, ONCE, calls) && refuse_each(index, FROM_THEN, calls)))
            break;
    }
    free(order);
    return all;
}

static void refuse_by_chance(void)
{
    const char *only = getenv("FAULT_INJECTION_ONLY");
    struct random random = random_of(1);
    while (torture_running()) {
        size_t i = random_below(&random, scenario_count);
        if (only != NULL && strstr(scenario_at(i)->name, only) == NULL)
            continue;
        run.caller = (int)random_below(&random, CALLERS);
        run.refusing = NOW_AND_THEN;
        run.n = 2 + (long)random_below(&random, 6);
        run.seed = random_next(&random);
        struct report got = run_process(i);
        compare(&got, &unrefused[i][run.caller]);
    }
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "--run") == 0)
        return run_here((size_t)atol(argv[2]), argc, argv);
    const char *park = getenv("THREADING_PARK");
    torture_begin("fault_injection", argc, argv);
    if (park != NULL && strcmp(park, "portable") == 0) {
        printf("fault_injection: skipped: the portable backend ends the process where a wait has no memory\n");
        return torture_end();
    }
    while (scenario_at(scenario_count) != NULL)
        scenario_count++;
    unrefused = calloc(scenario_count, sizeof *unrefused);
    TORTURE_CHECK(unrefused != NULL);
    if (refuse_all()) {
        printf("fault_injection: each call was refused once, in %.1f s\n", torture_now() - torture.began);
        refuse_by_chance();
    }
    torture_figure("fault_injection", (double)refused);
    torture_figure("processes", (double)atomic_load(&torture.steps));
    torture_figure("scenarios", (double)scenario_count);
    torture_figure("functions", (double)seen_count);
    free(unrefused);
    return torture_end();
}
