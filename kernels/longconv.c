/* longconv: its sizes, the definition summed in double, and the fast version for any CPU. */
#include "kernels/longconv.h"
#include "kernels/lanes.h"
#include "kernels/longconv_simd.h"

size_t longconv_size(size_t L)
{
    size_t N = FFT_MIN;
    while (N < 2 * L) N *= 2;
    return N;
}

/* y[p] of channel c. */
static double sum_at(const float *x, size_t ldx, const struct longconv_kernel *k, size_t n, size_t L,
                     size_t p, size_t c)
{
    double sum = k->skip ? (double)k->skip[c] * x[p * ldx + c] : 0;
    for (size_t j = 0; j <= p && j < n; j++) sum += (double)k->fwd[j * k->ld + c] * x[(p - j) * ldx + c];
    for (size_t j = 0; p + 1 + j < L && j < n; j++)
        sum += (double)k->rev[j * k->ld + c] * x[(p + 1 + j) * ldx + c];
    return sum;
}

void longconv_direct_forward(float *y, size_t ldy, const float *x, size_t ldx,
                             const struct longconv_kernel *k, size_t n, size_t L, size_t C)
{
    for (size_t p = 0; p < L; p++)
        for (size_t c = 0; c < C; c++) y[p * ldy + c] = (float)sum_at(x, ldx, k, n, L, p, c);
}

/* dx[s]: every output that x[s] went into. */
static double gradient_at(const float *dy, size_t lddy, const struct longconv_kernel *k, size_t n, size_t L,
                          size_t s, size_t c)
{
    double sum = k->skip ? (double)k->skip[c] * dy[s * lddy + c] : 0;
    for (size_t p = s; p < L && p - s < n; p++) sum += (double)k->fwd[(p - s) * k->ld + c] * dy[p * lddy + c];
    for (size_t p = 0; p < s; p++)
        if (s - p - 1 < n) sum += (double)k->rev[(s - p - 1) * k->ld + c] * dy[p * lddy + c];
    return sum;
}

/* sum_p dy[p] x[p - lag], or x[p + lag] when ahead. */
static double correlation(const float *dy, size_t lddy, const float *x, size_t ldx, size_t L, size_t lag,
                          int ahead, size_t c)
{
    double sum = 0;
    for (size_t p = lag; p < L; p++)
        sum += ahead ? (double)dy[(p - lag) * lddy + c] * x[p * ldx + c]
                     : (double)dy[p * lddy + c] * x[(p - lag) * ldx + c];
    return sum;
}

void longconv_direct_backward(float *dx, size_t lddx, const struct longconv_kernel_gradient *dk, float *dskip,
                              const float *dy, size_t lddy, const float *x, size_t ldx,
                              const struct longconv_kernel *k, size_t n, size_t L, size_t C)
{
    for (size_t c = 0; c < C; c++) {
        for (size_t s = 0; s < L; s++) dx[s * lddx + c] = (float)gradient_at(dy, lddy, k, n, L, s, c);
        for (size_t j = 0; dk && j < n && j < L; j++) {
            dk->fwd[j * dk->ld + c] += (float)correlation(dy, lddy, x, ldx, L, j, 0, c);
            dk->rev[j * dk->ld + c] += (float)correlation(dy, lddy, x, ldx, L, j + 1, 1, c);
        }
        if (dskip) dskip[c] += (float)correlation(dy, lddy, x, ldx, L, 0, 0, c);
    }
}
