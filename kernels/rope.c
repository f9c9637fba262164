/* rope, plain. */
#include "kernels/rope.h"

void rope_forward(float *x, size_t ldx, const float *cos, const float *sin, size_t N, size_t heads, size_t D)
{
    size_t half = D / 2;
    for (size_t i = 0; i < N; i++) {
        const float *c = cos + i * half, *s = sin + i * half;
        for (size_t h = 0; h < heads; h++) {
            float *a = x + i * ldx + h * D, *b = a + half;
            for (size_t d = 0; d < half; d++) {
                float p = a[d], q = b[d];
                a[d] = p * c[d] - q * s[d];
                b[d] = q * c[d] + p * s[d];
            }
        }
    }
}
