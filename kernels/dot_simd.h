/* dot over vec: four running sums a row, added pairwise. The rows are read from memory once and in order,
 * which is all that costs time; the vector stays in L1. */
#include "kernels/dot.h"

VEC float dot_row(const float *row, const float *x, size_t d)
{
    vec sum[4] = {vec_zero(), vec_zero(), vec_zero(), vec_zero()};
    size_t c = 0;
    for (; c + 64 <= d; c += 64)
        for (size_t u = 0; u < 4; u++)
            sum[u] = vec_fma(vec_load(row + c + 16 * u), vec_load(x + c + 16 * u), sum[u]);
    for (; c + 16 <= d; c += 16) sum[0] = vec_fma(vec_load(row + c), vec_load(x + c), sum[0]);
    if (c < d) sum[1] = vec_fma(vec_load_first(row + c, d - c), vec_load_first(x + c, d - c), sum[1]);
    return vec_hsum(vec_add(vec_add(sum[0], sum[1]), vec_add(sum[2], sum[3])));
}

void KERNEL(dot_rows)(float *y, const float *rows, const float *x, size_t n, size_t d)
{
    for (size_t i = 0; i < n; i++) y[i] = dot_row(rows + i * d, x, d);
}
