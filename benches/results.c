/* Medians of the results, and comparisons of the peers. */
#include "results.h"

#include <stdlib.h>
#include <string.h>

int results_peer(const struct results *results, const char *name)
{
    for (int i = 0; i < results->peer_count; i++) {
        if (strcmp(results->peers[i]->name, name) == 0)
            return i;
    }
    return -1;
}

/* Returns the value at half of this index in the sorted rounds: the mean of two values if it is odd. */
static double cell_at(const struct cell *cell, int twice_index)
{
    double sorted[MAX_ROUNDS];
    memcpy(sorted, cell->rounds, (size_t)cell->count * sizeof *sorted);
    qsort(sorted, (size_t)cell->count, sizeof *sorted, compare_doubles);
    return (sorted[twice_index / 2] + sorted[(twice_index + 1) / 2]) / 2;
}

double cell_value(const struct cell *cell)
{
    return cell_at(cell, cell->count - 1);
}

double cell_low(const struct cell *cell)
{
    return cell_at(cell, 0);
}

double cell_high(const struct cell *cell)
{
    return cell_at(cell, 2 * (cell->count - 1));
}

double results_ratio(const struct results *results, int case_index, int peer)
{
    const struct cell *ours = &results->cells[case_index][0];
    const struct cell *theirs = &results->cells[case_index][peer];
    if (ours->count == 0 || theirs->count == 0)
        return 0;
    double our_value = cell_value(ours);
    double their_value = cell_value(theirs);
    if (results->cases[case_index]->more_is_better)
        return their_value > 0 ? our_value / their_value : 0;
    return our_value > 0 ? their_value / our_value : 0;
}

int results_best(const struct results *results, int case_index)
{
    bool more_is_better = results->cases[case_index]->more_is_better;
    int best = -1;
    for (int i = 1; i < results->peer_count; i++) {
        const struct cell *cell = &results->cells[case_index][i];
        const struct peer *peer = results->peers[i];
        if (peer->baseline || peer->interpreter || peer->other || cell->count == 0)
            continue;
        double best_value = best < 0 ? 0 : cell_value(&results->cells[case_index][best]);
        if (best < 0 || (more_is_better ? cell_value(cell) > best_value : cell_value(cell) < best_value))
            best = i;
    }
    return best;
}
