/* Misuse never crashes, and never gets a wrong answer.
 *
 * Several threads make random calls of every exported function, with good handles and bad ones and with absurd
 * arguments, and compare each answer with what a model of the objects says: see misuse/model.h. In rounds: each
 * begins with nothing, and must leave nothing behind. After the last one comes the shutdown, and what is still
 * allowed then.
 *
 *   misuse [--seconds S] [--count N] [--seed N]
 *   misuse --bytes FILE      does what the bytes of the file say, in one thread: the same each time
 */
#include "torture.h"

#include <fcntl.h>
#include <malloc.h>
#include <sys/prctl.h>

#include "misuse/functions.h"

#define WORKERS 4
#define CALLS_OF_A_ROUND 40000 /* by each worker */
#define CALLS_AT_A_TIME 256
#define CALLS_AFTER_SHUTDOWN 20000

_Noreturn static void wrong(const char *file, int line, const char *what)
{
    torture_fail(file, line, "%s", what);
}

static uint64_t all_calls, all_bad_calls, made[COUNT(functions)];

static void count_calls(const struct actor *a)
{
    all_calls += a->calls;
    all_bad_calls += a->bad_calls;
    for (size_t i = 0; i < COUNT(functions); i++)
        made[i] += a->made[i];
}

/* ----------------------------------------------------------------------------------------- none must be forgotten */

/* The table has what the header declares: at the beginning of a line, a type, a name and a parenthesis. */
static void compare_with_header(void)
{
    char path[4096], line[400];
    size_t declared = 0;
    const char *slash = strrchr(__FILE__, '/');
    snprintf(path, sizeof path, "%.*s/../../include/threading.h", slash != NULL ? (int)(slash - __FILE__) : 1,
             slash != NULL ? __FILE__ : ".");
    FILE *header = fopen(path, "r");
    if (header == NULL)
        torture_fail(__FILE__, __LINE__, "cannot read %s", path);
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
                torture_fail(__FILE__, __LINE__, "%s is declared, but not in the table of functions", name);
            declared++;
            break;
        }
    }
    fclose(header);
    if (declared != COUNT(functions))
        torture_fail(__FILE__, __LINE__, "%zu functions are declared, and %zu in the table", declared,
                     COUNT(functions));
}

/* ---------------------------------------------------------------------------------------------------------- rounds */

static uint64_t sequences; /* random sequences taken so far */

static struct bytes next_sequence(void)
{
    return (struct bytes){.seeded = true, .state = random_of(sequences++).state};
}

static void make_calls(struct actor *a, uint64_t most)
{
    while (a->calls < most && torture_goes_on()) {
        uint64_t before = a->calls;
        for (int i = 0; i < CALLS_AT_A_TIME; i++)
            step(a);
        torture_step(a->calls - before);
    }
}

struct worker {
    struct actor actor;
    struct world *world;
};

static void *work(void *arg)
{
    struct worker *worker = arg;
    begin_actor(&worker->actor, worker->world);
    make_calls(&worker->actor, CALLS_OF_A_ROUND);
    end_actor(&worker->actor);
    return NULL;
}

static void round_of_calls(void)
{
    static struct worker workers[WORKERS];
    struct world world = {.alone = false};
    threading_thread *started[WORKERS] = {NULL};
    pthread_t foreign[WORKERS];
    begin_world(&world);
    for (int i = 0; i < WORKERS; i++) {
        bool is_started = i % 2 == 0;
        workers[i] = (struct worker){.actor = {.bytes = next_sequence(), .is_started = is_started}, .world = &world};
        if (is_started) {
            started[i] = threading_thread_new(work, &workers[i]);
            TORTURE_STATUS(threading_thread_start(started[i]), THREADING_OK);
        } else {
            TORTURE_CHECK(pthread_create(&foreign[i], NULL, work, &workers[i]) == 0);
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
    if (atomic_load(&tokens_made) != atomic_load(&tokens_destroyed))
        torture_fail(__FILE__, __LINE__, "of %" PRIu64 " thread-local values, %" PRIu64 " have been destroyed",
                     (uint64_t)atomic_load(&tokens_made), (uint64_t)atomic_load(&tokens_destroyed));
}

/* What may not grow from round to round. */
struct memory {
    size_t in_use; /* what malloc has given and not got back; a few blocks lie in caches of threads */
    size_t mapped; /* and resident: the places of objects, which malloc does not know, and stacks */
};

/* So many rounds may make what is made once, such as the stacks that are kept for new threads. */
#define FIRST_ROUNDS 10

#define SLACK_IN_USE (128 * 1024 + MOST_EXITS * 2 * sizeof(void *))
#define SLACK_MAPPED (4 * 1024 * 1024)

static struct memory memory_now(void)
{
    struct memory memory = {.in_use = mallinfo2().uordblks};
    FILE *statm = fopen("/proc/self/statm", "r");
    size_t of_files = 0;
    TORTURE_CHECK(statm != NULL && fscanf(statm, "%*u %zu %zu", &memory.mapped, &of_files) == 2);
    fclose(statm);
    memory.mapped = (memory.mapped - of_files) * (size_t)sysconf(_SC_PAGESIZE);
    return memory;
}

static void compare_memory(struct memory before, struct memory now)
{
    if (!torture_has_levels())
        return;
    if (now.in_use > before.in_use + SLACK_IN_USE || now.mapped > before.mapped + SLACK_MAPPED)
        torture_fail(__FILE__, __LINE__, "%zu bytes are in use and %zu mapped; after the first rounds it was %zu and %zu",
                     now.in_use, now.mapped, before.in_use, before.mapped);
}

/* -------------------------------------------------------------------------------------------------------- the end */

static struct actor last;

/* The default excepthook prints, and so does a hook of NULL: not on the torture's own stderr. */
static void report_to_nobody(void)
{
    int stderr_before = dup(STDERR_FILENO), nobody = open("/dev/null", O_WRONLY);
    TORTURE_CHECK(stderr_before >= 0 && nobody >= 0 && dup2(nobody, STDERR_FILENO) >= 0);
    threading_set_excepthook(NULL, &last);
    TORTURE_CHECK(threading_get_excepthook(NULL) == NULL);
    threading_status status = threading_report_exception(reported_type, reported_message);
    TORTURE_CHECK(dup2(stderr_before, STDERR_FILENO) >= 0);
    close(stderr_before);
    close(nobody);
    TORTURE_STATUS(status, THREADING_OK);
    threading_set_excepthook(hooks[0], &hook_args[0]);
}

static void shut_down(void)
{
    struct world world = {.alone = true};
    last = (struct actor){.bytes = next_sequence(), .is_main = true};
    begin_world(&world);
    begin_actor(&last, &world);
    for (int i = 0; i < CALLS_AT_A_TIME; i++)
        step(&last);
    end_actor(&last);
    report_to_nobody();
    TORTURE_STATUS(threading_shutdown_timeout(60), THREADING_OK);
    TORTURE_CHECK(atomic_load(&exits_called) == atomic_load(&exits_registered));
    count_calls(&last);
    last = (struct actor){.bytes = next_sequence(), .is_main = true};
    world.closed = true;
    begin_actor(&last, &world);
    for (int i = 0; i < CALLS_AFTER_SHUTDOWN; i++)
        step(&last);
    end_actor(&last);
    count_calls(&last);
    end_world(&world);
    TORTURE_CHECK(atomic_load(&tokens_made) == atomic_load(&tokens_destroyed));
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
        fprintf(stderr, "misuse: cannot read %s\n", path);
        return 2;
    }
    torture.name = "misuse";
    interpret(bytes, size, true, &last);
    printf("misuse: %zu bytes, %" PRIu64 " calls\n", size, last.calls);
    free(bytes);
    if (file != stdin)
        fclose(file);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--bytes") == 0)
        return interpret_file(argv[2]);
    torture_begin("misuse", argc, argv);
    compare_with_header();
    prctl(PR_SET_THP_DISABLE, 1, 0, 0, 0); /* a huge page would look like a leak */
    struct memory first = {0, 0}, now = {0, 0};
    size_t covered = 0;
    int rounds = 0;
    for (; rounds == 0 || torture_goes_on(); rounds++) {
        round_of_calls();
        now = memory_now();
        if (rounds < FIRST_ROUNDS)
            first = now;
        compare_memory(first, now);
    }
    shut_down();
    for (size_t i = 0; i < COUNT(functions); i++) {
        covered += made[i] > 0;
        if (made[i] == 0 && all_calls > 100000)
            torture_fail(__FILE__, __LINE__, "%s was never called", functions[i].name);
    }
    torture_figure("calls", (double)all_calls);
    torture_figure("calls with bad handles", (double)all_bad_calls);
    torture_figure("threads", WORKERS);
    torture_figure("functions called", (double)covered);
    torture_figure("rounds", rounds);
    if (torture_has_levels()) {
        torture_figure("bytes more in use than after the first rounds", (double)now.in_use - (double)first.in_use);
        torture_figure("bytes more mapped than after the first rounds", (double)now.mapped - (double)first.mapped);
    }
    return torture_end();
}
