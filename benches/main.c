/* The main program of the benchmark: options and rounds. See `run` for the options. */
#include "results.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

struct options {
    int rounds;
    int hogs;
    const char *peers; /* names separated by commas; NULL: all */
    const char *csv;
    const char *beside; /* the path of another libthreading.so; NULL: none */
    int prefix_count;
    char **prefixes; /* of the names of the cases to run; none: all */
};

static noreturn void usage(const char *wrong)
{
    fprintf(stderr, "bench: %s; for the options, run: sh benches/run --help\n", wrong);
    exit(2);
}

static int parse_number(const char *text, int min, int max)
{
    char *end;
    long value = strtol(text, &end, 10);
    if (*text == '\0' || *end != '\0' || value < min || value > max)
        usage("a number is out of range");
    return (int)value;
}

/* ---- selection ---- */

/* Returns true if the list contains the name. In the list, - and _ stand for spaces, and case does not
 * matter. */
static bool is_listed(const char *name, const char *list)
{
    while (*list != '\0') {
        size_t length = strcspn(list, ",");
        bool same = length == strlen(name);
        for (size_t i = 0; same && i < length; i++) {
            char c = list[i] == '-' || list[i] == '_' ? ' ' : list[i];
            char d = name[i] == '-' || name[i] == '_' ? ' ' : name[i];
            same = strncasecmp(&c, &d, 1) == 0;
        }
        if (same)
            return true;
        list += length + (list[length] == ',');
    }
    return false;
}

static void choose_peers(struct results *results, const struct options *options)
{
    for (int i = 0; peers[i] != NULL; i++) {
        if (peers[i]->interpreter && peers[i]->version()[0] == '\0') {
            fprintf(stderr, "bench: Python was not found; it is not measured\n");
            continue;
        }
        if (peers[i]->other ? options->beside != NULL
                            : i == 0 || options->peers == NULL || is_listed(peers[i]->name, options->peers))
            results->peers[results->peer_count++] = peers[i];
    }
}

static bool is_wanted(const struct bench_case *bench_case, const struct options *options)
{
    for (int i = 0; i < options->prefix_count; i++) {
        if (strncmp(bench_case->name, options->prefixes[i], strlen(options->prefixes[i])) == 0)
            return true;
    }
    return options->prefix_count == 0;
}

static void choose_cases(struct results *results, const struct options *options)
{
    for (int t = 0; case_tables[t] != NULL; t++) {
        for (const struct bench_case *bench_case = case_tables[t]; bench_case->name != NULL; bench_case++) {
            if (!is_wanted(bench_case, options))
                continue;
            if (bench_case->two_cores && cores() < 2) {
                fprintf(stderr, "bench: %s is skipped: it needs two cores\n", bench_case->name);
                continue;
            }
            if (results->case_count < MAX_CASES)
                results->cases[results->case_count++] = bench_case;
        }
    }
    if (results->case_count == 0)
        usage("no case matches");
}

static void list_cases(void)
{
    for (int t = 0; case_tables[t] != NULL; t++) {
        for (const struct bench_case *bench_case = case_tables[t]; bench_case->name != NULL; bench_case++)
            printf("%-26s %-8s %s\n", bench_case->name, bench_case->unit, bench_case->what);
    }
    for (int i = 0; peers[i] != NULL; i++)
        printf("%s%s", i == 0 ? "\npeers: " : ", ", peers[i]->name);
    printf("\n");
}

/* ---- busy processes ---- */

enum { MAX_HOGS = 64 };
static pid_t hogs[MAX_HOGS];

static void start_hogs(int count)
{
    for (int i = 0; i < count; i++) {
        pid_t parent = getpid();
        hogs[i] = fork();
        if (hogs[i] != 0)
            continue;
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        pin(i % cores());
        while (getppid() == parent) {
            for (volatile long n = 0; n < 100000000; n++)
                ;
        }
        _exit(0);
    }
}

static void stop_hogs(int count)
{
    for (int i = 0; i < count; i++) {
        if (hogs[i] > 0) {
            kill(hogs[i], SIGKILL);
            waitpid(hogs[i], NULL, 0);
        }
    }
}

/* ---- the rounds ---- */

static int rounds_of(const struct bench_case *bench_case, int rounds)
{
    return bench_case->max_rounds > 0 && bench_case->max_rounds < rounds ? bench_case->max_rounds : rounds;
}

/* On a terminal, the line is overwritten; elsewhere, a line is printed every ten seconds. */
static void show_progress(const struct results *results, int round, int rounds, int case_index, double start)
{
    static double shown;
    double time = now();
    bool terminal = isatty(STDERR_FILENO);
    if (!terminal && time - shown < 10e9)
        return;
    shown = time;
    fprintf(stderr, "%sround %d of %d, case %d of %d: %s (%.0f s so far)%s", terminal ? "\r\033[K" : "",
            round + 1, rounds, case_index + 1, results->case_count, results->cases[case_index]->name,
            (time - start) / 1e9, terminal ? "" : "\n");
    fflush(stderr);
}

static void run(struct results *results, const struct options *options)
{
    double start = now();
    start_hogs(options->hogs);
    for (int round = 0; round < options->rounds; round++) {
        for (int case_index = 0; case_index < results->case_count; case_index++) {
            if (round >= rounds_of(results->cases[case_index], options->rounds))
                continue;
            show_progress(results, round, options->rounds, case_index, start);
            process_round(results, case_index, round);
        }
    }
    stop_hogs(options->hogs);
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    fprintf(stderr, "%d rounds in %.0f s\n", options->rounds, (now() - start) / 1e9);
}

/* ---- the measuring process ---- */

static int measure(const char *case_name, const char *names)
{
    const struct peer *chosen[MAX_PEERS];
    int count = 0;
    const struct bench_case *bench_case = case_find(case_name);
    while (*names != '\0' && count < MAX_PEERS) {
        size_t length = strcspn(names, ",");
        const struct peer *peer = peer_find(names, length);
        if (peer == NULL)
            usage("--measure is for the benchmark's own use");
        /* The other libthreading.so may be older, and only this process knows what it has. */
        if (bench_case != NULL && case_can(bench_case, peer))
            chosen[count++] = peer;
        names += length + (names[length] == ',');
    }
    if (bench_case == NULL)
        usage("--measure is for the benchmark's own use");
    if (count > 0)
        measure_case(bench_case, chosen, count);
    fflush(stdout);
    /* The exit handlers of peers are not part of a case, and may wait for their threads. */
    _exit(0);
}

int main(int argc, char **argv)
{
    if (argc == 4 && strcmp(argv[1], "--measure") == 0)
        return measure(argv[2], argv[3]);
    struct options options = {.rounds = 5};
    static const char *const with_argument[] = {"--rounds", "--hogs", "--peers", "--csv", "--beside", NULL};
    int i;
    for (i = 1; i < argc && strncmp(argv[i], "--", 2) == 0; i++) {
        const char *option = argv[i];
        for (int k = 0; with_argument[k] != NULL; k++) {
            if (strcmp(option, with_argument[k]) == 0 && ++i == argc)
                usage("an option needs an argument");
        }
        if (strcmp(option, "--rounds") == 0)
            options.rounds = parse_number(argv[i], 1, MAX_ROUNDS);
        else if (strcmp(option, "--quick") == 0)
            options.rounds = 2;
        else if (strcmp(option, "--hogs") == 0)
            options.hogs = parse_number(argv[i], 0, MAX_HOGS);
        else if (strcmp(option, "--peers") == 0)
            options.peers = argv[i];
        else if (strcmp(option, "--csv") == 0)
            options.csv = argv[i];
        else if (strcmp(option, "--beside") == 0)
            options.beside = argv[i];
        else if (strcmp(option, "--list") == 0)
            return list_cases(), 0;
        else
            usage("unknown option");
    }
    options.prefix_count = argc - i;
    options.prefixes = argv + i;

    static struct results results;
    if (options.beside != NULL)
        check(setenv("BENCH_OTHER", options.beside, 1) == 0);
    choose_peers(&results, &options);
    choose_cases(&results, &options);
    run(&results, &options);
    table_print(&results, stdout);
    if (options.csv != NULL && !csv_write(&results, options.csv)) {
        perror(options.csv);
        return 1;
    }
    for (int case_index = 0; case_index < results.case_count; case_index++) {
        if (results.cells[case_index][0].failure[0] != '\0')
            return 1;
    }
    return 0;
}
