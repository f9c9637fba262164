/* shortconv over vec: 16 channels at a time within a few rows, so that a row's lines, fetched for one group
 * of channels, are still near for the next; the taps of a group are transposed once for those rows. */
#include "kernels/shortconv.h"

enum { CONV_TAPS = 8, CONV_ROWS = 32 }; /* more taps than that: the plain kernel */

/* v[t] of the n <= 16 columns from c on (see shortconv.h). */
VEC vec gated_input(const float *bgu, const float *carry, size_t t, size_t C, size_t K, size_t c, size_t n)
{
    if (t < K - 1) return vec_load_first(carry + t * C + c, n);
    const float *row = bgu + (t - (K - 1)) * 3 * C;
    return vec_mul(vec_load_first(row + c, n), vec_load_first(row + 2 * C + c, n));
}

/* taps[j] = w[c .. c+n, j] */
VEC void transpose_taps(vec *taps, const float *w, size_t K, size_t c, size_t n)
{
    for (size_t j = 0; j < K; j++) {
        float column[16] = {0};
        for (size_t l = 0; l < n; l++) column[l] = w[(c + l) * K + j];
        taps[j] = vec_load(column);
    }
}

/* Rows [t0,t1) of columns [c,c+n). K is written out by the caller where it is usual, to unroll the taps. */
VEC void convolve_columns(float *y, size_t ldy, const float *bgu, const float *carry, const vec *taps,
                          vec bias, size_t t0, size_t t1, size_t C, size_t K, size_t c, size_t n)
{
    vec v[CONV_TAPS];
    for (size_t j = 0; j + 1 < K; j++) v[j] = gated_input(bgu, carry, t0 + j, C, K, c, n);
    for (size_t t = t0; t < t1; t++) {
        v[K - 1] = gated_input(bgu, carry, t + K - 1, C, K, c, n);
        vec s = bias;
        for (size_t j = 0; j < K; j++) s = vec_fma(taps[j], v[j], s);
        vec_store_first(y + t * ldy + c, vec_mul(vec_load_first(bgu + t * 3 * C + C + c, n), s), n);
        for (size_t j = 0; j + 1 < K; j++) v[j] = v[j + 1];
    }
}

void KERNEL(shortconv_forward)(float *y, size_t ldy, const float *bgu, float *carry, const float *w,
                               const float *bias, size_t N, size_t C, size_t K, size_t c0, size_t c1)
{
    if (K > CONV_TAPS) {
        shortconv_forward(y, ldy, bgu, carry, w, bias, N, C, K, c0, c1);
        return;
    }
    for (size_t t0 = 0; t0 < N; t0 += CONV_ROWS) {
        size_t t1 = t0 + CONV_ROWS < N ? t0 + CONV_ROWS : N;
        for (size_t c = c0; c < c1; c += 16) {
            size_t n = c1 - c < 16 ? c1 - c : 16;
            vec taps[CONV_TAPS], b = bias ? vec_load_first(bias + c, n) : vec_zero();
            transpose_taps(taps, w, K, c, n);
            if (K == 3 && n == 16)
                convolve_columns(y, ldy, bgu, carry, taps, b, t0, t1, C, 3, c, 16);
            else
                convolve_columns(y, ldy, bgu, carry, taps, b, t0, t1, C, K, c, n);
        }
    }
    shortconv_shift(carry, bgu, N, C, K, c0, c1);
}
