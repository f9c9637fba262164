/* Exact search: the rows of a matrix with the highest dot products with a query. Reads every row once, in
 * blocks, a slice of them a thread. */
#ifndef RETRIEVAL_SEARCH_H
#define RETRIEVAL_SEARCH_H

#include "kernels/kernels.h"
#include "nn/workers.h"

struct search_rows {
    const float *values; /* [count, dimension] */
    uint64_t count, dimension;
    const uint64_t *holes; /* a bit a row: leave it out; NULL: none */
};
struct search_found {
    uint64_t row;
    float score;
};

/* *out: the `limit` best rows, and all others that have the score of the last of them; by score, highest
 * first, then by row. free() it. Scores do not depend on the number of workers. Errors: THEA_EDATA: a score
 * that is not finite, with its row; THEA_EOS. */
THEA_CHECK thea_rc search_top(struct search_found **out, size_t *count, const struct search_rows *rows,
                              const float *query, size_t limit, const struct kernels *kernels,
                              struct workers *workers, struct thea_err *err);

#endif
