/* shortconv over vec: a stretch of columns at a time, row after row, so that memory is read forwards and the
 * K rows that a sum needs are still in L1; the stretch's taps are transposed once. */
#include "kernels/shortconv.h"

enum { CONV_TAPS = 8, CONV_COLUMNS = 256 }; /* more taps than that: the plain kernel */

/* taps[j][i] = w[c + i, j] for i < n. */
VEC void transpose_taps(float taps[CONV_TAPS][CONV_COLUMNS], const float *w, size_t K, size_t c, size_t n)
{
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < K; j++) taps[j][i] = w[(c + i) * K + j];
}

/* v[t] of the n <= 16 columns from c on (see shortconv.h). */
VEC vec gated_input(const float *bgu, const float *carry, size_t t, size_t C, size_t K, size_t c, size_t n)
{
    if (t < K - 1) return vec_load_first(carry + t * C + c, n);
    const float *row = bgu + (t - (K - 1)) * 3 * C;
    return vec_mul(vec_load_first(row + c, n), vec_load_first(row + 2 * C + c, n));
}

/* Row t of the n <= 16 columns from c on; taps: theirs. */
VEC vec convolve(const float *bgu, const float *carry, const float *taps, vec bias, size_t t, size_t C,
                 size_t K, size_t c, size_t n)
{
    vec s = bias;
    for (size_t j = 0; j < K; j++)
        s = vec_fma(vec_load_first(taps + j * CONV_COLUMNS, n), gated_input(bgu, carry, t + j, C, K, c, n),
                    s);
    return vec_mul(vec_load_first(bgu + t * 3 * C + C + c, n), s);
}

/* Row t of columns [c, c1). K is written out by the caller where it is usual, to unroll the taps. */
VEC void convolve_row(float *y, const float *bgu, const float *carry, const float *taps, const float *bias,
                      size_t t, size_t C, size_t K, size_t c, size_t c1)
{
    for (; c + 16 <= c1; c += 16, taps += 16)
        vec_store(y + c, convolve(bgu, carry, taps, bias ? vec_load(bias + c) : vec_zero(), t, C, K, c, 16));
    if (c == c1) return;
    vec b = bias ? vec_load_first(bias + c, c1 - c) : vec_zero();
    vec_store_first(y + c, convolve(bgu, carry, taps, b, t, C, K, c, c1 - c), c1 - c);
}

void KERNEL(shortconv_forward)(float *y, size_t ldy, const float *bgu, float *carry, const float *w,
                               const float *bias, size_t N, size_t C, size_t K, size_t c0, size_t c1)
{
    float taps[CONV_TAPS][CONV_COLUMNS];
    if (K > CONV_TAPS) {
        shortconv_forward(y, ldy, bgu, carry, w, bias, N, C, K, c0, c1);
        return;
    }
    for (size_t c = c0; c < c1; c += CONV_COLUMNS) {
        size_t end = c1 - c < CONV_COLUMNS ? c1 : c + CONV_COLUMNS;
        transpose_taps(taps, w, K, c, end - c);
        for (size_t t = 0; t < N; t++)
            if (K == 3)
                convolve_row(y + t * ldy, bgu, carry, taps[0], bias, t, C, 3, c, end);
            else
                convolve_row(y + t * ldy, bgu, carry, taps[0], bias, t, C, K, c, end);
    }
    shortconv_shift(carry, bgu, N, C, K, c0, c1);
}
