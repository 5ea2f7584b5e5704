/* The results of a run: for each case and peer, one value per round. */
#ifndef RESULTS_H
#define RESULTS_H

#include "bench.h"

#include <stdio.h>

enum { MAX_ROUNDS = 100, MAX_PEERS = 32, MAX_CASES = 128 };

struct cell {
    int count;
    double rounds[MAX_ROUNDS];
    char failure[256]; /* the reason for a failure; empty if there was none */
};

struct results {
    int peer_count;
    const struct peer *peers[MAX_PEERS]; /* the first is libthreading */
    int case_count;
    const struct bench_case *cases[MAX_CASES];
    struct cell cells[MAX_CASES][MAX_PEERS];
};

int results_peer(const struct results *results, const char *name); /* the index of a peer, or -1 */

/* The median, minimum and maximum of the rounds, of a cell that has a value. */
double cell_value(const struct cell *cell);
double cell_low(const struct cell *cell);
double cell_high(const struct cell *cell);

/* The performance of libthreading relative to a peer: above 1 if libthreading is better, for times and for
 * rates; 0 if one of them has no value. */
double results_ratio(const struct results *results, int case_index, int peer);
int results_best(const struct results *results, int case_index); /* the best of the compared peers, or -1 */

/* Measures one round of a case with all peers, in separate processes. */
void process_round(struct results *results, int case_index, int round);

void table_print(const struct results *results, FILE *out);
bool csv_write(const struct results *results, const char *file);
void machine_describe(FILE *out, const char *prefix, const struct results *results);

#endif
