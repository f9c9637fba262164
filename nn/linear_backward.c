/* Backward of linear layers, plain: sums of rows, which compilers make into vectors. */
#include "nn/linear_backward.h"

#include <string.h>

/* y [n] += a * x [n] */
static void add_scaled(float *y, float a, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}

void linear_backward_input(const struct linear *l, float *dx, size_t ldx, const float *dy, size_t ldy,
                           size_t n, bool add)
{
    for (size_t i = 0; i < n; i++) {
        const float *d = dy + i * ldy;
        if (!add) memset(dx + i * ldx, 0, l->in * sizeof *dx);
        for (size_t p = 0; p < l->parts; p++) {
            for (size_t r = 0; r < l->part[p].rows; r++)
                add_scaled(dx + i * ldx, *d++, l->part[p].w + r * l->in, l->in);
        }
    }
}

void linear_backward_weight(const struct linear *l, float *dw, float *db, const float *dy, size_t ldy,
                            const float *x, size_t ldx, size_t n, size_t row, size_t rows)
{
    for (size_t i = 0; i < n; i++) {
        const float *d = dy + i * ldy + row;
        for (size_t r = 0; dw != NULL && r < rows; r++) add_scaled(dw + r * l->in, d[r], x + i * ldx, l->in);
        if (db != NULL) add_scaled(db, 1, d, rows);
    }
}
