/* Misuse does not crash, and every call returns what it should.
 *
 * Several threads make random calls of all exported functions, with valid and invalid handles and with extreme
 * arguments, and compare each result with a model of the objects, see misuse/model.h. The run consists of rounds;
 * each starts without objects and must free all of them. After the last round the program calls threading_shutdown()
 * and then makes the calls that are still allowed.
 *
 *   misuse [--seconds S] [--count N] [--seed N]
 *   misuse --bytes FILE      makes the calls that the bytes of FILE describe, in one thread, the same each time */
#include "torture.h"

#include <fcntl.h>
#include <sys/prctl.h>

#include "misuse/functions.h"

#define WORKERS 4
#define CALLS_PER_ROUND 40000 /* per worker */
#define CALLS_PER_BATCH 256
#define CALLS_AFTER_SHUTDOWN 20000

_Noreturn static void fail(const char *file, int line, const char *what)
{
    torture_fail(file, line, "%s", what);
}

static uint64_t total_calls, total_invalid_calls, calls_by_function[COUNT(functions)];

static void count_calls(const struct actor *a)
{
    total_calls += a->calls;
    total_invalid_calls += a->invalid_calls;
    for (size_t i = 0; i < COUNT(functions); i++)
        calls_by_function[i] += a->calls_by_function[i];
}

/* --------------------------------------------------------------------------------------------------- completeness */

/* Checks that the table contains every function of the header, which declares them at the beginning of a line. */
static void compare_with_header(void)
{
    char path[4096], line[400];
    size_t declared = 0;
    const char *slash = strrchr(__FILE__, '/');
    snprintf(path, sizeof path, "%.*s/../../include/threading.h", slash != NULL ? (int)(slash - __FILE__) : 1,
             slash != NULL ? __FILE__ : ".");
    FILE *header = fopen(path, "r");
    if (header == NULL)
        torture_fail(__FILE__, __LINE__, "cannot open %s", path);
    while (fgets(line, sizeof line, header) != NULL) {
        char *name = strstr(line, "threading_"), *end;
        if (strchr("abcdefghijklmnopqrstuvwxyz", line[0]) == NULL || strncmp(line, "static", 6) == 0 ||
            strncmp(line, "typedef", 7) == 0)
            continue;
        for (; name != NULL; name = strstr(end, "threading_")) {
            end = name + strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789_");
            if (*end != '(')
                continue;
            *end = '\0';
            size_t i = 0;
            while (i < COUNT(functions) && strcmp(functions[i].name, name) != 0)
                i++;
            if (i == COUNT(functions))
                torture_fail(__FILE__, __LINE__, "%s is declared in threading.h, but missing in the table of functions",
                             name);
            declared++;
            break;
        }
    }
    fclose(header);
    if (declared != COUNT(functions))
        torture_fail(__FILE__, __LINE__, "threading.h declares %zu functions, and the table has %zu", declared,
                     COUNT(functions));
}

/* ---------------------------------------------------------------------------------------------------------- rounds */

static uint64_t sequence_count; /* number of random sequences in use */

static struct bytes next_sequence(void)
{
    return (struct bytes){.seeded = true, .state = random_of(sequence_count++).state};
}

static void make_calls(struct actor *a, uint64_t max_calls)
{
    while (a->calls < max_calls && torture_running()) {
        uint64_t before = a->calls;
        for (int i = 0; i < CALLS_PER_BATCH; i++)
            step(a);
        torture_step(a->calls - before);
    }
}

struct worker {
    struct actor actor;
    struct world *world;
};

static void *run_worker(void *arg)
{
    struct worker *worker = arg;
    begin_actor(&worker->actor, worker->world);
    make_calls(&worker->actor, CALLS_PER_ROUND);
    end_actor(&worker->actor);
    return NULL;
}

static void run_round(void)
{
    static struct worker workers[WORKERS];
    struct world world = {.is_single = false};
    threading_thread *started[WORKERS] = {NULL};
    pthread_t foreign[WORKERS];
    begin_world(&world);
    for (int i = 0; i < WORKERS; i++) {
        bool is_started = i % 2 == 0;
        workers[i] = (struct worker){.actor = {.bytes = next_sequence(), .is_started = is_started}, .world = &world};
        if (is_started) {
            started[i] = threading_thread_new(run_worker, &workers[i]);
            TORTURE_STATUS(threading_thread_start(started[i]), THREADING_OK);
        } else {
            TORTURE_CHECK(pthread_create(&foreign[i], NULL, run_worker, &workers[i]) == 0);
        }
    }
    for (int i = 0; i < WORKERS; i++) {
        if (started[i] != NULL) {
            TORTURE_STATUS(threading_thread_join(started[i]), THREADING_OK);
            TORTURE_STATUS(threading_thread_free(started[i]), THREADING_OK);
        } else {
            TORTURE_CHECK(pthread_join(foreign[i], NULL) == 0);
        }
        count_calls(&workers[i].actor);
    }
    end_world(&world);
    TORTURE_STATUS(threading_set_stack_size(0), THREADING_OK);
    if (atomic_load(&tokens_created) != atomic_load(&tokens_destroyed))
        torture_fail(__FILE__, __LINE__, "of %" PRIu64 " thread-local values, %" PRIu64 " have been destroyed",
                     (uint64_t)atomic_load(&tokens_created), (uint64_t)atomic_load(&tokens_destroyed));
}

/* Memory usage, which must not grow from round to round. */
struct memory {
    size_t in_use; /* bytes allocated with malloc; some blocks stay in the caches of threads */
    size_t mapped; /* resident anonymous bytes, including stacks and the slots of objects, which malloc does not know */
};

/* During the first rounds the library may still allocate what it keeps, such as stacks for new threads. */
#define WARM_UP_ROUNDS 10

#define SLACK_IN_USE (128 * 1024 + MAX_EXITS * 2 * sizeof(void *))
#define SLACK_MAPPED (4 * 1024 * 1024)

static struct memory memory_now(void)
{
    struct memory memory = {.in_use = torture_allocated()};
    FILE *statm = fopen("/proc/self/statm", "r");
    size_t file_pages = 0;
    TORTURE_CHECK(statm != NULL && fscanf(statm, "%*u %zu %zu", &memory.mapped, &file_pages) == 2);
    fclose(statm);
    memory.mapped = (memory.mapped - file_pages) * (size_t)sysconf(_SC_PAGESIZE);
    return memory;
}

static void compare_memory(struct memory before, struct memory now)
{
    if (!torture_measures_memory())
        return;
    if (now.in_use > before.in_use + SLACK_IN_USE || now.mapped > before.mapped + SLACK_MAPPED)
        torture_fail(__FILE__, __LINE__,
                     "%zu bytes are allocated and %zu resident; after the first rounds it was %zu and %zu", now.in_use,
                     now.mapped, before.in_use, before.mapped);
}

/* --------------------------------------------------------------------------------------------------- the shutdown */

static struct actor final_actor;

/* Calls the default excepthook, selected by a NULL hook. It prints, so stderr is redirected for the call. */
static void call_default_hook(void)
{
    int stderr_before = dup(STDERR_FILENO), null = open("/dev/null", O_WRONLY);
    TORTURE_CHECK(stderr_before >= 0 && null >= 0 && dup2(null, STDERR_FILENO) >= 0);
    threading_set_excepthook(NULL, &final_actor);
    TORTURE_CHECK(threading_get_excepthook(NULL) == NULL);
    threading_status status = threading_report_exception(reported_type, reported_message);
    TORTURE_CHECK(dup2(stderr_before, STDERR_FILENO) >= 0);
    close(stderr_before);
    close(null);
    TORTURE_STATUS(status, THREADING_OK);
    threading_set_excepthook(hooks[0], &hook_args[0]);
}

static void run_shutdown(void)
{
    struct world world = {.is_single = true};
    final_actor = (struct actor){.bytes = next_sequence(), .is_main = true};
    begin_world(&world);
    begin_actor(&final_actor, &world);
    for (int i = 0; i < CALLS_PER_BATCH; i++)
        step(&final_actor);
    end_actor(&final_actor);
    call_default_hook();
    TORTURE_STATUS(threading_shutdown_timeout(60), THREADING_OK);
    TORTURE_CHECK(atomic_load(&exits_called) == atomic_load(&exits_registered));
    count_calls(&final_actor);
    final_actor = (struct actor){.bytes = next_sequence(), .is_main = true};
    world.is_shut_down = true;
    begin_actor(&final_actor, &world);
    for (int i = 0; i < CALLS_AFTER_SHUTDOWN; i++)
        step(&final_actor);
    end_actor(&final_actor);
    count_calls(&final_actor);
    end_world(&world);
    TORTURE_CHECK(atomic_load(&tokens_created) == atomic_load(&tokens_destroyed));
}

/* ----------------------------------------------------------------------------------------------------------- main */

static int interpret_file(const char *path)
{
    FILE *file = strcmp(path, "-") == 0 ? stdin : fopen(path, "rb");
    size_t size = 0, room = 1 << 20;
    uint8_t *bytes = malloc(room);
    while (file != NULL && bytes != NULL) {
        size_t got = fread(bytes + size, 1, room - size, file);
        if (got == 0)
            break;
        size += got;
        if (size == room)
            bytes = realloc(bytes, room *= 2);
    }
    if (file == NULL || bytes == NULL || ferror(file)) {
        fprintf(stderr, "misuse: cannot open %s\n", path);
        return 2;
    }
    torture.name = "misuse";
    interpret(bytes, size, true, &final_actor);
    printf("misuse: %zu bytes, %" PRIu64 " calls\n", size, final_actor.calls);
    free(bytes);
    if (file != stdin)
        fclose(file);
    return 0;
}

/* Valgrind does not extend the stack of the main thread for the handler of a dump, which has SA_ONSTACK. So the stack
 * gets its size before. */
static void use_stack(void)
{
    volatile char bytes[1 << 16];
    for (size_t i = 0; i < sizeof bytes; i += 1 << 10)
        bytes[sizeof bytes - 1 - i] = 0;
}

int main(int argc, char **argv)
{
    use_stack();
    if (argc == 3 && strcmp(argv[1], "--bytes") == 0)
        return interpret_file(argv[2]);
    torture_begin("misuse", argc, argv);
    compare_with_header();
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* huge pages would look like a leak */
    struct memory baseline = {0, 0}, now = {0, 0};
    size_t covered = 0;
    int rounds = 0;
    for (; rounds == 0 || torture_running(); rounds++) {
        run_round();
        now = memory_now();
        if (rounds < WARM_UP_ROUNDS)
            baseline = now;
        compare_memory(baseline, now);
    }
    run_shutdown();
    for (size_t i = 0; i < COUNT(functions); i++) {
        covered += calls_by_function[i] > 0;
        if (calls_by_function[i] == 0 && total_calls > 100000)
            torture_fail(__FILE__, __LINE__, "%s was never called", functions[i].name);
    }
    torture_figure("calls", (double)total_calls);
    torture_figure("calls with invalid handles", (double)total_invalid_calls);
    torture_figure("threads", WORKERS);
    torture_figure("functions called", (double)covered);
    torture_figure("rounds", rounds);
    if (torture_measures_memory()) {
        torture_figure("bytes more allocated than after the first rounds",
                       (double)now.in_use - (double)baseline.in_use);
        torture_figure("bytes more resident than after the first rounds", (double)now.mapped - (double)baseline.mapped);
    }
    return torture_end();
}
