/* shortgate, plain. */
#include "kernels/shortgate.h"

/* One column of one row: x is where the tap on the row itself falls. */
static float convolve(const float *x, const float *w, const float *bias, size_t c, size_t ld)
{
    return bias[c] + w[c] * x[c - 2 * ld] + w[ld + c] * x[c - ld] + w[2 * ld + c] * x[c];
}

void shortgate_forward(float *g, float *x2, size_t ldy, const float *a, const float *w, const float *bias,
                       size_t N, size_t B, size_t columns)
{
    size_t ld = 3 * B;
    for (size_t p = 0; p < N; p++) {
        const float *x = a + (p + 2) * ld;
        for (size_t c = 0; c < columns; c++) {
            g[p * ldy + c] = convolve(x, w, bias, c, ld) * convolve(x, w, bias, 2 * B + c, ld);
            x2[p * ldy + c] = convolve(x, w, bias, B + c, ld);
        }
    }
}

/* dq [3B] of one row. */
static void gate_backward(float *dq, const float *dg, const float *dx2, const float *x, const float *w,
                          const float *bias, size_t B)
{
    size_t ld = 3 * B;
    for (size_t c = 0; c < B; c++) {
        dq[c] = dg[c] * convolve(x, w, bias, 2 * B + c, ld);
        dq[B + c] = dx2[c];
        dq[2 * B + c] = dg[c] * convolve(x, w, bias, c, ld);
    }
}

static void add_products(float *sum, const float *x, const float *y, size_t n)
{
    for (size_t i = 0; i < n; i++) sum[i] += x[i] * y[i];
}

void shortgate_backward(float *da, float *dw, float *dbias, const float *dg, const float *dx2, size_t ldd,
                        const float *a, const float *w, const float *bias, size_t N, size_t B)
{
    size_t ld = 3 * B;
    for (size_t p = 0; p < N; p++) { /* da <- dq, and the sums over rows */
        float *dq = da + p * ld;
        gate_backward(dq, dg + p * ldd, dx2 + p * ldd, a + (p + 2) * ld, w, bias, B);
        for (size_t j = 0; j < SHORTGATE_TAPS; j++) add_products(dw + j * ld, dq, a + (p + j) * ld, ld);
        for (size_t c = 0; c < ld; c++) dbias[c] += dq[c];
    }
    for (size_t p = 0; p < N; p++) /* in place: a row needs itself and the two after it */
        for (size_t c = 0; c < ld; c++) {
            float *d = da + p * ld + c;
            float sum = w[2 * ld + c] * d[0];
            if (p + 1 < N) sum += w[ld + c] * d[ld];
            if (p + 2 < N) sum += w[c] * d[2 * ld];
            *d = sum;
        }
}
