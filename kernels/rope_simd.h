/* rope over vec. */
#include "kernels/rope.h"

/* Turn the first n <= 16 pairs of (a, b). */
VEC void turn(float *a, float *b, vec c, vec s, size_t n)
{
    vec p = vec_load_first(a, n), q = vec_load_first(b, n);
    vec_store_first(a, vec_fnma(q, s, vec_mul(p, c)), n);
    vec_store_first(b, vec_fma(p, s, vec_mul(q, c)), n);
}

VEC void turn16(float *a, float *b, vec c, vec s)
{
    vec p = vec_load(a), q = vec_load(b);
    vec_store(a, vec_fnma(q, s, vec_mul(p, c)));
    vec_store(b, vec_fma(p, s, vec_mul(q, c)));
}

void KERNEL(rope_forward)(float *x, size_t ldx, const float *cos, const float *sin, size_t N, size_t heads,
                          size_t D)
{
    size_t half = D / 2;
    for (size_t i = 0; i < N; i++) {
        const float *c = cos + i * half, *s = sin + i * half;
        for (size_t h = 0; h < heads; h++) {
            float *a = x + i * ldx + h * D, *b = a + half;
            size_t d = 0;
            for (; d + 16 <= half; d += 16) turn16(a + d, b + d, vec_load(c + d), vec_load(s + d));
            size_t rest = half - d;
            if (rest) turn(a + d, b + d, vec_load_first(c + d, rest), vec_load_first(s + d, rest), rest);
        }
    }
}
