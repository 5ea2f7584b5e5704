/* Prints the results as a table, and writes them to a CSV file. */
#include "results.h"

#include <string.h>
#include <sys/utsname.h>

static const char *format_number(double value, char *text, size_t size)
{
    int digits = value < 10 ? 2 : value < 100 ? 1 : 0;
    snprintf(text, size, "%.*f", digits, value);
    return text;
}

static const char *format_ratio(double value, char *text, size_t size)
{
    if (value <= 0)
        return "";
    return format_number(value, text, size);
}

static bool peer_is_shown(const struct results *results, int peer)
{
    for (int case_index = 0; case_index < results->case_count; case_index++) {
        if (results->cells[case_index][peer].count > 0 || results->cells[case_index][peer].failure[0] != '\0')
            return true;
    }
    return false;
}

static void print_ratio(const struct results *results, int case_index, const char *name, FILE *out)
{
    char text[32];
    int peer = results_peer(results, name);
    fprintf(out, " %9s", peer < 0 ? "" : format_ratio(results_ratio(results, case_index, peer), text, sizeof text));
}

static void print_case(const struct results *results, int case_index, FILE *out)
{
    char text[32];
    const struct cell *ours = &results->cells[case_index][0];
    fprintf(out, "%-26s %-8s %9s", results->cases[case_index]->name, results->cases[case_index]->unit,
            ours->count > 0            ? format_number(cell_value(ours), text, sizeof text)
            : ours->failure[0] != '\0' ? "failed"
                                       : "-");
    print_ratio(results, case_index, "pthread", out);
    int best = results_best(results, case_index);
    fprintf(out, " %9s %-12s",
            best < 0 ? "" : format_ratio(results_ratio(results, case_index, best), text, sizeof text),
            best < 0 ? "" : results->peers[best]->name);
    print_ratio(results, case_index, "inline limit", out);
    print_ratio(results, case_index, "CPython", out);
    print_ratio(results, case_index, "other libthreading", out);
    fputs("  |", out);
    for (int i = 1; i < results->peer_count; i++) {
        if (!peer_is_shown(results, i))
            continue;
        const struct cell *cell = &results->cells[case_index][i];
        fprintf(out, " %12s",
                cell->count > 0            ? format_number(cell_value(cell), text, sizeof text)
                : cell->failure[0] != '\0' ? "failed"
                                           : "-");
    }
    fputc('\n', out);
}

void table_print(const struct results *results, FILE *out)
{
    machine_describe(out, "", results);
    fprintf(out, "\n%-26s %-8s %9s %9s %9s %-12s %9s %9s %9s  |", "", "unit", "ours", "x pthread", "x best",
            "(which)", "x limit", "x CPython", "x other");
    for (int i = 1; i < results->peer_count; i++) {
        if (peer_is_shown(results, i))
            fprintf(out, " %12s", results->peers[i]->name);
    }
    fputc('\n', out);
    for (int case_index = 0; case_index < results->case_count; case_index++)
        print_case(results, case_index, out);
    fputs("\nRatios above 1 mean that libthreading is better, for times and for rates.\n", out);
    for (int case_index = 0; case_index < results->case_count; case_index++) {
        for (int i = 0; i < results->peer_count; i++) {
            if (results->cells[case_index][i].failure[0] != '\0')
                fprintf(out, "FAILED: %s: %s: %s\n", results->cases[case_index]->name, results->peers[i]->name,
                        results->cells[case_index][i].failure);
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
    for (int case_index = 0; case_index < results->case_count; case_index++) {
        for (int i = 0; i < results->peer_count; i++) {
            const struct cell *cell = &results->cells[case_index][i];
            if (cell->count > 0)
                fprintf(out, "%s,%s,%s,%s,%.5g,%.5g,%.5g\n", results->cases[case_index]->name,
                        results->cases[case_index]->unit, results->cases[case_index]->more_is_better ? "more" : "less",
                        results->peers[i]->name, cell_value(cell), cell_low(cell), cell_high(cell));
        }
    }
    return fclose(out) == 0;
}
