/* The figures of a run: for each case and peer one value a round; and who makes and shows them. */
#ifndef RESULTS_H
#define RESULTS_H

#include "bench.h"

#include <stdio.h>

enum { ROUNDS_MOST = 100, PEERS_MOST = 32, CASES_MOST = 128 };

struct cell {
    int count;
    double rounds[ROUNDS_MOST];
    char failure[256]; /* what went wrong; empty if nothing */
};

struct results {
    int peer_count;
    const struct peer *peers[PEERS_MOST]; /* the first is ours */
    int case_count;
    const struct bench_case *cases[CASES_MOST];
    struct cell cells[CASES_MOST][PEERS_MOST];
};

/* Of a cell that has a value: the median of the rounds, and the extremes. */
double cell_value(const struct cell *cell);
double cell_low(const struct cell *cell);
double cell_high(const struct cell *cell);

/* How many times as good ours is as that one; above 1 ours is better, for times and for rates. 0: not
 * known. */
double results_ratio(const struct results *results, int case_index, int peer);
int results_best(const struct results *results, int case_index); /* the best peer in the race, or -1 */

/* process.c: measures one case with these peers in processes of their own. */
void process_round(struct results *results, int case_index, int round);

void table_print(const struct results *results, FILE *out);
bool csv_write(const struct results *results, const char *file);
void machine_describe(FILE *out, const char *prefix, const struct results *results);

#endif
