/* Runs each measurement in its own process, so that cases do not affect each other, and a peer that crashes
 * or hangs loses only its own value. */
#include "results.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static const double SECONDS = 15;

/* What has been read from a process, and the peer that it is measuring. */
struct reader {
    struct results *results;
    int case_index;
    int peer; /* -1: none yet */
    char line[512];
    size_t length;
    bool failed;
};

static void note_failure(struct reader *reader, const char *what)
{
    reader->failed = true;
    if (reader->peer < 0) {
        fprintf(stderr, "bench: %s: %s\n", reader->results->cases[reader->case_index]->name, what);
        return;
    }
    struct cell *cell = &reader->results->cells[reader->case_index][reader->peer];
    cell->count = 0;
    snprintf(cell->failure, sizeof cell->failure, "%s", what);
}

static void parse_line(struct reader *reader)
{
    double value;
    int name = 0;
    if (strncmp(reader->line, "begin ", 6) == 0) {
        reader->peer = results_peer(reader->results, reader->line + 6);
    } else if (sscanf(reader->line, "value %lf %n", &value, &name) == 1 && name > 0) {
        int peer = results_peer(reader->results, reader->line + name);
        if (peer >= 0) {
            struct cell *cell = &reader->results->cells[reader->case_index][peer];
            if (cell->count < MAX_ROUNDS)
                cell->rounds[cell->count++] = value;
        }
    } else if (strncmp(reader->line, "failure ", 8) == 0) {
        note_failure(reader, reader->line + 8);
    } else {
        fprintf(stderr, "%s\n", reader->line);
    }
}

/* Reads until the process closes its end of the pipe, and returns true, or until the process has written
 * nothing for too long, and returns false. The time is counted in short steps, so that a stall of the whole
 * machine does not count. */
static bool read_report(struct reader *reader, int from, double seconds)
{
    const int step_ms = 100;
    int steps = 0;
    for (;;) {
        struct pollfd ready = {.fd = from, .events = POLLIN};
        if (poll(&ready, 1, step_ms) == 0) {
            if (++steps * step_ms > seconds * 1e3)
                return false;
            continue;
        }
        steps = 0;
        char text[512];
        ssize_t length = read(from, text, sizeof text);
        if (length == 0)
            return true;
        if (length < 0 && errno == EINTR)
            continue;
        if (length < 0)
            return true;
        for (ssize_t i = 0; i < length; i++) {
            if (text[i] != '\n') {
                if (reader->length < sizeof reader->line - 1)
                    reader->line[reader->length++] = text[i];
                continue;
            }
            reader->line[reader->length] = '\0';
            reader->length = 0;
            parse_line(reader);
        }
    }
}

/* `preload` is a library; it may be NULL. */
static pid_t spawn(char *const command[], const char *preload, int *from)
{
    int ends[2];
    if (pipe(ends) != 0)
        return -1;
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDOUT_FILENO);
        close(ends[0]);
        close(ends[1]);
        if (preload != NULL)
            setenv("LD_PRELOAD", preload, 1);
        execvp(command[0], command);
        perror(command[0]);
        _exit(127);
    }
    close(ends[1]);
    *from = ends[0];
    return pid;
}

/* Runs the command. Returns false if it did not measure all peers. */
static bool measure(struct reader *reader, char *const command[], const char *preload)
{
    int from;
    pid_t pid = spawn(command, preload, &from);
    if (pid < 0) {
        note_failure(reader, strerror(errno));
        return false;
    }
    const struct bench_case *bench_case = reader->results->cases[reader->case_index];
    double seconds = bench_case->seconds > 0 ? bench_case->seconds : SECONDS;
    bool silent = !read_report(reader, from, seconds);
    if (silent) {
        char text[64];
        snprintf(text, sizeof text, "no result within %.0f s", seconds);
        kill(pid, SIGKILL);
        note_failure(reader, text);
    }
    close(from);
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (status != 0 && !reader->failed) {
        char text[64];
        if (WIFSIGNALED(status))
            snprintf(text, sizeof text, "killed by signal %d (%s)", WTERMSIG(status),
                     strsignal(WTERMSIG(status)));
        else
            snprintf(text, sizeof text, "exited with status %d", WEXITSTATUS(status));
        note_failure(reader, text);
    }
    return !reader->failed;
}

/* Measures these peers in one process. If one of them fails, the others are measured again without it. */
static void measure_peers(struct results *results, int case_index, int *chosen, int count)
{
    while (count > 0) {
        char names[1024];
        size_t length = 0;
        int before[MAX_PEERS];
        for (int i = 0; i < count; i++) {
            before[i] = results->cells[case_index][chosen[i]].count;
            length += (size_t)snprintf(names + length, sizeof names - length, "%s%s", i > 0 ? "," : "",
                                       results->peers[chosen[i]]->name);
        }
        struct reader reader = {.results = results, .case_index = case_index, .peer = -1};
        char *name = (char *)results->cases[case_index]->name;
        char *ours[] = {"/proc/self/exe", "--measure", name, names, NULL};
        char *python[] = {getenv("BENCH_PYTHON"), getenv("BENCH_SCRIPT"), name, NULL};
        const struct peer *first = results->peers[chosen[0]];
        const char *preload = first->other ? getenv("BENCH_OTHER") : NULL;
        if (measure(&reader, first->interpreter ? python : ours, preload) || reader.peer < 0)
            return;
        int left = 0;
        for (int i = 0; i < count; i++) {
            const struct cell *cell = &results->cells[case_index][chosen[i]];
            if (cell->failure[0] == '\0' && cell->count == before[i])
                chosen[left++] = chosen[i];
        }
        count = left;
    }
}

void process_round(struct results *results, int case_index, int round)
{
    int chosen[MAX_PEERS];
    int count = 0;
    for (int i = 0; i < results->peer_count; i++) {
        int peer = (i + round) % results->peer_count;
        if (results->cells[case_index][peer].failure[0] != '\0' ||
            !case_can(results->cases[case_index], results->peers[peer]))
            continue;
        if (results->cases[case_index]->alone || results->peers[peer]->interpreter || results->peers[peer]->other)
            measure_peers(results, case_index, &peer, 1);
        else
            chosen[count++] = peer;
    }
    measure_peers(results, case_index, chosen, count);
}
