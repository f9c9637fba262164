/* Linear layers: y = x . W^T + b, W [out, in]. W may be several matrices stacked by rows (q, k and v; gate
 * and up), each where the file has it. */
#ifndef NN_LINEAR_H
#define NN_LINEAR_H

#include "kernels/kernels.h"
#include "nn/workers.h"

enum { LINEAR_PARTS = 3 };

struct linear {
    struct {
        const float *w;
        size_t rows;
    } part[LINEAR_PARTS]; /* w [rows, in] */
    size_t parts;
    size_t in, out;    /* out: sum of rows */
    const float *bias; /* [out] or NULL */
};

/* y [n, out] (rows ldy apart) = x [n, in] (rows ldx apart) . W^T + bias (+ y, if add). Columns of y are
 * shared out over the workers. */
void linear_forward(const struct linear *l, const struct kernels *k, struct workers *workers, float *y,
                    size_t ldy, const float *x, size_t ldx, size_t n, bool add);
/* The same for columns [begin, end) of y alone, by the caller's thread; y [n, end - begin]. */
void linear_columns(const struct linear *l, const struct kernels *k, float *y, size_t ldy, const float *x,
                    size_t ldx, size_t n, size_t begin, size_t end, bool add);

#endif
