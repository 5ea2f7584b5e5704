/* The table that people read, and the file that programs read. */
#include "results.h"

#include <string.h>
#include <sys/utsname.h>

static const char *number(double value, char *text, size_t size)
{
    int digits = value < 10 ? 2 : value < 100 ? 1 : 0;
    snprintf(text, size, "%.*f", digits, value);
    return text;
}

static const char *ratio(double value, char *text, size_t size)
{
    if (value <= 0)
        return "";
    return number(value, text, size);
}

static int find_peer(const struct results *results, const char *name)
{
    for (int i = 0; i < results->peer_count; i++) {
        if (strcmp(results->peers[i]->name, name) == 0)
            return i;
    }
    return -1;
}

static bool peer_is_shown(const struct results *results, int peer)
{
    for (int row = 0; row < results->row_count; row++) {
        if (results->cells[row][peer].count > 0 || results->cells[row][peer].failure[0] != '\0')
            return true;
    }
    return false;
}

static void print_ratio(const struct results *results, int row, const char *name, FILE *out)
{
    char text[32];
    int peer = find_peer(results, name);
    fprintf(out, " %9s", peer < 0 ? "" : ratio(results_ratio(results, row, peer), text, sizeof text));
}

static void print_row(const struct results *results, int row, FILE *out)
{
    char text[32];
    const struct cell *ours = &results->cells[row][0];
    fprintf(out, "%-26s %-8s %9s", results->rows[row]->name, results->rows[row]->unit,
            ours->count > 0            ? number(cell_value(ours), text, sizeof text)
            : ours->failure[0] != '\0' ? "failed"
                                       : "-");
    print_ratio(results, row, "pthread", out);
    int best = results_best(results, row);
    fprintf(out, " %9s %-12s", best < 0 ? "" : ratio(results_ratio(results, row, best), text, sizeof text),
            best < 0 ? "" : results->peers[best]->name);
    print_ratio(results, row, "inline limit", out);
    print_ratio(results, row, "CPython", out);
    fputs("  |", out);
    for (int i = 1; i < results->peer_count; i++) {
        if (!peer_is_shown(results, i))
            continue;
        const struct cell *cell = &results->cells[row][i];
        fprintf(out, " %12s",
                cell->count > 0            ? number(cell_value(cell), text, sizeof text)
                : cell->failure[0] != '\0' ? "failed"
                                           : "-");
    }
    fputc('\n', out);
}

void table_print(const struct results *results, FILE *out)
{
    machine_describe(out, "", results);
    fprintf(out, "\n%-26s %-8s %9s %9s %9s %-12s %9s %9s  |", "", "unit", "ours", "x pthread", "x best",
            "(which)", "x limit", "x CPython");
    for (int i = 1; i < results->peer_count; i++) {
        if (peer_is_shown(results, i))
            fprintf(out, " %12s", results->peers[i]->name);
    }
    fputc('\n', out);
    for (int row = 0; row < results->row_count; row++)
        print_row(results, row, out);
    fputs("\nA ratio above 1 means that ours is better, for times and for rates.\n", out);
    for (int row = 0; row < results->row_count; row++) {
        for (int i = 0; i < results->peer_count; i++) {
            if (results->cells[row][i].failure[0] != '\0')
                fprintf(out, "FAILED: %s: %s: %s\n", results->rows[row]->name, results->peers[i]->name,
                        results->cells[row][i].failure);
        }
    }
}

static void describe_processor(FILE *out, const char *prefix)
{
    char line[256];
    FILE *info = fopen("/proc/cpuinfo", "r");
    while (info != NULL && fgets(line, sizeof line, info) != NULL) {
        if (strncmp(line, "model name", 10) == 0 && strchr(line, ':') != NULL) {
            fprintf(out, "%sprocessor: %d x%s", prefix, cores(), strchr(line, ':') + 1);
            break;
        }
    }
    if (info != NULL)
        fclose(info);
}

void machine_describe(FILE *out, const char *prefix, const struct results *results)
{
    describe_processor(out, prefix);
    struct utsname system;
    if (uname(&system) == 0)
        fprintf(out, "%skernel: %s %s\n", prefix, system.sysname, system.release);
    fprintf(out, "%scompiler: %s\n", prefix, COMPILER);
    for (int i = 0; i < results->peer_count; i++)
        fprintf(out, "%s%s: %s\n", prefix, results->peers[i]->name, results->peers[i]->version());
}

bool csv_write(const struct results *results, const char *file)
{
    FILE *out = fopen(file, "w");
    if (out == NULL)
        return false;
    machine_describe(out, "# ", results);
    fputs("row,unit,better,peer,value,low,high\n", out);
    for (int row = 0; row < results->row_count; row++) {
        for (int i = 0; i < results->peer_count; i++) {
            const struct cell *cell = &results->cells[row][i];
            if (cell->count > 0)
                fprintf(out, "%s,%s,%s,%s,%.5g,%.5g,%.5g\n", results->rows[row]->name,
                        results->rows[row]->unit, results->rows[row]->more_is_better ? "more" : "less",
                        results->peers[i]->name, cell_value(cell), cell_low(cell), cell_high(cell));
        }
    }
    return fclose(out) == 0;
}
