/* Fault injection: during each call of the library, allocations, mappings and thread creations fail, first single
 * ones and then all. The call returns its error and has changed nothing, or succeeds without the resource; the same
 * call succeeds afterwards, nothing leaks, and everything else works.
 *
 * Each run of a scenario is a process of its own, in which the library is used for the first time. The first run
 * counts the calls that can fail. In the next runs the first of them fails, then the second, and so on; then all
 * calls from the first, from the second, and so on. At the end of a run the library must not hold more memory than
 * in the run without faults. When all this is done and there is time left, calls fail at random. */
#include "torture.h"

#include "dumps_files.h"
#include "fault_injection_scenarios.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <sys/wait.h>

/* The thread that makes the calls. */
enum { BY_MAIN, BY_FOREIGN, BY_WORKER, BY_CHILD, CALLERS };

/* The report of a process. */
struct report {
    long calls, faults, blocks, mapped, dumps;
    size_t slots[KINDS];
};

static struct {
    int caller;
    enum fault_mode fault_mode;
    long n;
    uint64_t seed;
} run;

enum { REPORT_FD = 3, FAULTY_TRIES = 6 };

const struct scenario *scenario;

static const struct {
    const struct scenario *scenarios;
    const size_t *count;
} groups[] = {
    {object_scenarios, &object_scenarios_count},   {thread_scenarios, &thread_scenarios_count},
    {local_scenarios, &local_scenarios_count},     {wait_scenarios, &wait_scenarios_count},
    {process_scenarios, &process_scenarios_count},
};

/* NULL if `index` is out of range. */
static const struct scenario *scenario_at(size_t index)
{
    for (size_t i = 0; i < sizeof groups / sizeof *groups; index -= *groups[i++].count)
        if (index < *groups[i].count)
            return &groups[i].scenarios[index];
    return NULL;
}

_Noreturn void scenario_fail(const char *file, int line, const char *format, ...)
{
    char what[400];
    va_list values;
    long calls = stop_faults();
    va_start(values, format);
    vsnprintf(what, sizeof what, format, values);
    va_end(values);
    torture_fail(file, line, "%s, in \"%s\" by %s, %s %ld, %ld of %ld calls failed, %s last", what, scenario->name,
                 (const char *[]){"main", "a foreign thread", "a worker", "a child"}[run.caller],
                 (const char *[]){"no faults", "fault in call", "faults from call", "faults in one of"}[run.fault_mode],
                 run.n, injected_faults(), calls, last_fault());
}

/* ------------------------------------------------------------------------------------- in the child process */

static struct report own_report;

/* A dump allocates nothing, also after a fault and in a thread that has called nothing else. No thread is deadlocked. */
static void check_dump(void)
{
    static struct dump dump;
    int fd = memory_file();
    inject_faults(FAIL_FROM, 1, run.seed, false);
    threading_status status = threading_dump(fd);
    stop_faults();
    STATUS(status, THREADING_ERR_SYSTEM);
    inject_faults(NO_FAULTS, 0, run.seed, false);
    status = threading_dump(fd);
    stop_faults();
    OK(status);
    CHECK(memory_calls() == 0);
    take_dump(fd, &dump);
    CHECK(dump.deadlocked == 0 && dump.cycle_lines == 0);
    CHECK(close(fd) == 0);
    own_report.dumps++;
}

static void *call_until_success(void *arg)
{
    check_dump();
    scenario->prepare();
    for (int tries = 0;; tries++) {
        /* Nothing fails in the last try. */
        inject_faults(tries < FAULTY_TRIES ? run.fault_mode : NO_FAULTS, run.n, run.seed, scenario->all_threads);
        threading_clear_last_error();
        threading_status status = scenario->call();
        long calls = stop_faults();
        if (tries == 0)
            own_report.calls = calls;
        long faults = injected_faults();
        own_report.faults += faults;
        if (status == THREADING_OK)
            break;
        if (faults == 0 || !(((scenario->errors & NO_MEMORY) != 0 && status == THREADING_ERR_NO_MEMORY) ||
                                        ((scenario->errors & SYSTEM) != 0 && status == THREADING_ERR_SYSTEM)))
            scenario_fail(__FILE__, __LINE__, "%s", threading_status_name(status));
        STATUS(threading_last_error(), status);
        check_dump();
        if (scenario->check_unchanged != NULL)
            scenario->check_unchanged();
    }
    check_dump();
    if (scenario->finish != NULL)
        scenario->finish();
    return arg;
}

static int run_child(size_t index, int argc, char **argv)
{
    pthread_t thread;
    torture.name = "fault_injection";
    scenario = scenario_at(index);
    if (argc != 7 || scenario == NULL)
        return 2;
    dump_counts_new();
    run.caller = atoi(argv[3]);
    run.fault_mode = (enum fault_mode)atoi(argv[4]);
    run.n = atol(argv[5]);
    torture.seed = run.seed = strtoull(argv[6], NULL, 10);
    switch (run.caller) {
    case BY_FOREIGN:
        CHECK(pthread_create(&thread, NULL, call_until_success, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        break;
    case BY_WORKER: {
        threading_thread *worker = threading_thread_new(call_until_success, &run);
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
        /* continues like main */
        if (child == 0)
            break;
        CHECK(waitpid(child, &status, 0) == child);
        _exit(WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
    }
    default:
        break;
    }
    if (run.caller == BY_MAIN || run.caller == BY_CHILD)
        call_until_success(NULL);
    own_report.blocks = live_blocks();
    own_report.mapped = mapped_bytes();
    if (!scenario->ends_process) {
        measure_slots(own_report.slots);
        use_everything();
    }
    if (write(REPORT_FD, &own_report, sizeof own_report) != sizeof own_report)
        return 2;
    return 0;
}

/* -------------------------------------------------------------------------------------- running the processes */

extern char **environ;

static long total_dumps;

/* Runs a scenario in a new process and returns its report. */
static struct report run_process(size_t index)
{
    struct report report;
    char numbers[5][24],
        *argv[] = {"fault_injection", "--run", numbers[0], numbers[1], numbers[2], numbers[3], numbers[4], NULL};
    int fds[2], status;
    pid_t pid;
    posix_spawn_file_actions_t actions;
    scenario = scenario_at(index);
    snprintf(numbers[0], sizeof numbers[0], "%zu", index);
    snprintf(numbers[1], sizeof numbers[1], "%d", run.caller);
    snprintf(numbers[2], sizeof numbers[2], "%d", (int)run.fault_mode);
    snprintf(numbers[3], sizeof numbers[3], "%ld", run.n);
    snprintf(numbers[4], sizeof numbers[4], "%" PRIu64, run.seed);
    TORTURE_CHECK(pipe2(fds, O_CLOEXEC) == 0);
    TORTURE_CHECK(posix_spawn_file_actions_init(&actions) == 0);
    TORTURE_CHECK(posix_spawn_file_actions_adddup2(&actions, fds[1], REPORT_FD) == 0);
    TORTURE_CHECK(posix_spawn(&pid, "/proc/self/exe", &actions, NULL, argv, environ) == 0);
    posix_spawn_file_actions_destroy(&actions);
    close(fds[1]);
    /* The pipe is closed when the process ends. */
    struct pollfd closed = {.fd = fds[0], .events = POLLIN};
    for (double until = now() + TORTURE_HANG / 2; poll(&closed, 1, 1000) <= 0;)
        if (now() > until) {
            kill(pid, SIGKILL);
            scenario_fail(__FILE__, __LINE__, "the process hangs");
        }
    ssize_t size = read(fds[0], &report, sizeof report);
    for (double until = now() + TORTURE_HANG / 2; waitpid(pid, &status, WNOHANG) != pid; usleep(100))
        if (now() > until) {
            kill(pid, SIGKILL);
            scenario_fail(__FILE__, __LINE__, "the exit hangs");
        }
    close(fds[0]);
    if (WIFSIGNALED(status))
        scenario_fail(__FILE__, __LINE__, "killed by signal %d", WTERMSIG(status));
    if (WEXITSTATUS(status) != 0 || size != sizeof report)
        scenario_fail(__FILE__, __LINE__, "exit status %d", WEXITSTATUS(status));
    total_dumps += report.dumps;
    torture_step(1);
    return report;
}

static long total_faults;
static uint64_t function_hashes[1024]; /* hashes of the names of the functions called */
static size_t function_count;

static void record_functions(const char *functions)
{
    for (const char *end; *functions != '\0'; functions = *end == ' ' ? end + 1 : end) {
        uint64_t hash = 14695981039346656037u;
        for (end = functions; *end != '\0' && *end != ' '; end++)
            hash = (hash ^ (uint64_t)(unsigned char)*end) * 1099511628211u;
        size_t i = 0;
        while (i < function_count && function_hashes[i] != hash)
            i++;
        if (i == function_count && function_count < sizeof function_hashes / sizeof *function_hashes)
            function_hashes[function_count++] = hash;
    }
}

/* The timer threads sometimes keep one or two slots of a thread and a timer; a leak in each try uses more. */
static size_t slot_tolerance(size_t kind)
{
    bool timers = strstr(scenario->name, "timer") != NULL || strstr(scenario->name, "enumerate") != NULL;
    return (kind == THREAD || kind == TIMER) && timers ? 3 * 128 : 0;
}

/* If several blocks cannot be mapped together, the library maps one, and the others later. */
enum { MAPPING_TOLERANCE = 2 * 64 * 1024 };

static void check_report(const struct report *report, const struct report *without_faults)
{
    total_faults += report->faults;
    if (report->blocks > without_faults->blocks)
        scenario_fail(__FILE__, __LINE__, "%ld blocks of memory leaked", report->blocks - without_faults->blocks);
    if (report->mapped > without_faults->mapped + MAPPING_TOLERANCE)
        scenario_fail(__FILE__, __LINE__, "%ld bytes of mappings leaked", report->mapped - without_faults->mapped);
    for (size_t kind = 0; kind < KINDS; kind++)
        if (report->slots[kind] > without_faults->slots[kind] + slot_tolerance(kind))
            scenario_fail(__FILE__, __LINE__, "objects of kind %zu leaked: they use %zu instead of %zu bytes", kind,
                          report->slots[kind], without_faults->slots[kind]);
}

/* The reports without faults, by scenario and caller. */
static struct report (*without_faults)[CALLERS];
static size_t scenario_count;

static bool fail_each_call(size_t index, enum fault_mode how, long calls)
{
    /* If many threads do the same, test only some of the faults. */
    long step = scenario_at(index)->all_threads ? 1 + calls / 16 : 1;
    run.fault_mode = how;
    for (run.n = 1; run.n <= calls; run.n += step) {
        if (!torture_running())
            return false;
        struct report report = run_process(index);
        check_report(&report, &without_faults[index][run.caller]);
    }
    return true;
}

/* Runs each scenario with each caller, in a random order, with faults in each call. FAULT_INJECTION_ONLY in the
 * environment selects the scenarios whose name contains it. */
static bool fail_all_calls(void)
{
    const char *filter = getenv("FAULT_INJECTION_ONLY");
    size_t pairs = scenario_count * CALLERS, *order = calloc(pairs, sizeof *order);
    struct random random = random_of(0);
    bool completed = true;
    TORTURE_CHECK(order != NULL);
    for (size_t i = 0; i < pairs; i++) {
        size_t j = random_below(&random, i + 1);
        order[i] = order[j];
        order[j] = i;
    }
    for (size_t i = 0; i < pairs && (completed = torture_running()); i++) {
        size_t index = order[i] / CALLERS;
        if (filter != NULL && strstr(scenario_at(index)->name, filter) == NULL)
            continue;
        run.caller = (int)(order[i] % CALLERS);
        run.fault_mode = NO_FAULTS;
        struct report *report = &without_faults[index][run.caller];
        *report = run_process(index);
        record_functions(scenario_at(index)->functions);
        /* The number of calls made by other threads varies from run to run. */
        long calls = report->calls + (scenario_at(index)->all_threads ? 4 : 0);
        if (!(completed = fail_each_call(index, FAIL_ONE, calls) && fail_each_call(index, FAIL_FROM, calls)))
            break;
    }
    free(order);
    return completed;
}

static void fail_random_calls(void)
{
    const char *filter = getenv("FAULT_INJECTION_ONLY");
    struct random random = random_of(1);
    while (torture_running()) {
        size_t i = random_below(&random, scenario_count);
        if (filter != NULL && strstr(scenario_at(i)->name, filter) == NULL)
            continue;
        run.caller = (int)random_below(&random, CALLERS);
        run.fault_mode = FAIL_RANDOMLY;
        run.n = 2 + (long)random_below(&random, 6);
        run.seed = random_next(&random);
        struct report report = run_process(i);
        check_report(&report, &without_faults[i][run.caller]);
    }
}

int main(int argc, char **argv)
{
    if (argc > 2 && strcmp(argv[1], "--run") == 0)
        return run_child((size_t)atol(argv[2]), argc, argv);
    const char *park = getenv("THREADING_PARK");
    torture_begin("fault_injection", argc, argv);
    if (park != NULL && strcmp(park, "portable") == 0) {
        printf("fault_injection: skipped: the portable backend aborts if a wait cannot allocate memory\n");
        return torture_end();
    }
    while (scenario_at(scenario_count) != NULL)
        scenario_count++;
    without_faults = calloc(scenario_count, sizeof *without_faults);
    TORTURE_CHECK(without_faults != NULL);
    if (fail_all_calls()) {
        printf("fault_injection: each call has failed once, in %.1f s\n", now() - torture.began);
        fail_random_calls();
    }
    torture_figure("faults injected", (double)total_faults);
    torture_figure("dumps beside it, none with a deadlock", (double)total_dumps);
    torture_figure("processes", (double)atomic_load(&torture.steps));
    torture_figure("scenarios", (double)scenario_count);
    torture_figure("functions", (double)function_count);
    free(without_faults);
    return torture_end();
}
