/* shortgate over vec, row after row: the three rows that a sum needs and all taps are in L1. */
#include "kernels/shortgate.h"

/* q of n <= 16 columns from c on; x: the row that the last tap falls on. n is written out where it is 16. */
VEC vec convolve(const float *x, const float *w, const float *bias, size_t c, size_t ld, size_t n)
{
    if (n == 16) {
        vec q = vec_fma(vec_load(w + c), vec_load(x + c - 2 * ld), vec_load(bias + c));
        q = vec_fma(vec_load(w + ld + c), vec_load(x + c - ld), q);
        return vec_fma(vec_load(w + 2 * ld + c), vec_load(x + c), q);
    }
    vec q = vec_fma(vec_load_first(w + c, n), vec_load_first(x + c - 2 * ld, n), vec_load_first(bias + c, n));
    q = vec_fma(vec_load_first(w + ld + c, n), vec_load_first(x + c - ld, n), q);
    return vec_fma(vec_load_first(w + 2 * ld + c, n), vec_load_first(x + c, n), q);
}

VEC void gate_row(float *g, float *x2, const float *x, const float *w, const float *bias, size_t B,
                  size_t columns)
{
    size_t ld = 3 * B, c = 0;
    for (; c + 16 <= columns; c += 16) {
        vec_store(g + c, vec_mul(convolve(x, w, bias, c, ld, 16), convolve(x, w, bias, 2 * B + c, ld, 16)));
        vec_store(x2 + c, convolve(x, w, bias, B + c, ld, 16));
    }
    if (c == columns) return;
    size_t n = columns - c;
    vec product = vec_mul(convolve(x, w, bias, c, ld, n), convolve(x, w, bias, 2 * B + c, ld, n));
    vec_store_first(g + c, product, n);
    vec_store_first(x2 + c, convolve(x, w, bias, B + c, ld, n), n);
}

void KERNEL(shortgate_forward)(float *g, float *x2, size_t ldy, const float *a, const float *w,
                               const float *bias, size_t N, size_t B, size_t columns)
{
    for (size_t p = 0; p < N; p++)
        gate_row(g + p * ldy, x2 + p * ldy, a + (p + 2) * 3 * B, w, bias, B, columns);
}
