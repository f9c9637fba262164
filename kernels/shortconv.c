/* shortconv, plain. z is not stored: K is small, so computing B * u again for each tap is cheaper than a pass
 * through memory. */
#include "kernels/shortconv.h"

/* v[t] of column c; t counts from the first carried row. */
static float gated_input(const float *bgu, const float *carry, size_t t, size_t C, size_t K, size_t c)
{
    if (t < K - 1) return carry[t * C + c];
    const float *row = bgu + (t - (K - 1)) * 3 * C;
    return row[c] * row[2 * C + c];
}

/* Row j of the new carry is v[N+j]; ascending j reads no row that was already written. */
void shortconv_shift(float *carry, const float *bgu, size_t N, size_t C, size_t K, size_t c0, size_t c1)
{
    if (N == 0) return;
    for (size_t j = 0; j + 1 < K; j++)
        for (size_t c = c0; c < c1; c++) carry[j * C + c] = gated_input(bgu, carry, N + j, C, K, c);
}

void shortconv_forward(float *y, size_t ldy, const float *bgu, float *carry, const float *w,
                       const float *bias, size_t N, size_t C, size_t K, size_t c0, size_t c1)
{
    for (size_t t = 0; t < N; t++)
        for (size_t c = c0; c < c1; c++) {
            float s = bias ? bias[c] : 0.0f;
            for (size_t j = 0; j < K; j++) s += w[c * K + j] * gated_input(bgu, carry, t + j, C, K, c);
            y[t * ldy + c] = bgu[t * 3 * C + C + c] * s;
        }
    shortconv_shift(carry, bgu, N, C, K, c0, c1);
}
