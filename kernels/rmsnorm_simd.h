/* rmsnorm over vec: four running sums of squares, added pairwise. */
#include "kernels/rmsnorm.h"
#include <math.h>

VEC float mean_square(const float *x, size_t C)
{
    vec sum[4] = {vec_zero(), vec_zero(), vec_zero(), vec_zero()};
    size_t c = 0;
    for (; c + 64 <= C; c += 64)
        for (int u = 0; u < 4; u++) {
            vec v = vec_load(x + c + 16 * u);
            sum[u] = vec_fma(v, v, sum[u]);
        }
    for (; c + 16 <= C; c += 16) {
        vec v = vec_load(x + c);
        sum[0] = vec_fma(v, v, sum[0]);
    }
    if (c < C) {
        vec v = vec_load_first(x + c, C - c);
        sum[1] = vec_fma(v, v, sum[1]);
    }
    return vec_hsum(vec_add(vec_add(sum[0], sum[1]), vec_add(sum[2], sum[3]))) / (float)C;
}

VEC float norm_row(float *y, const float *x, const float *w, size_t C, float eps)
{
    float rstd = 1.0f / sqrtf(mean_square(x, C) + eps);
    vec r = vec_set(rstd);
    size_t c = 0;
    for (; c + 16 <= C; c += 16) vec_store(y + c, vec_mul(vec_load(w + c), vec_mul(vec_load(x + c), r)));
    if (c < C) {
        vec v = vec_mul(vec_load_first(w + c, C - c), vec_mul(vec_load_first(x + c, C - c), r));
        vec_store_first(y + c, v, C - c);
    }
    return rstd;
}

void KERNEL(rmsnorm_forward)(float *y, float *rstd, const float *x, const float *w, size_t N, size_t C,
                             float eps)
{
    for (size_t i = 0; i < N; i++) {
        float r = norm_row(y + i * C, x + i * C, w, C, eps);
        if (rstd) rstd[i] = r;
    }
}

void KERNEL(headnorm_forward)(float *x, size_t ldx, const float *w, size_t N, size_t heads, size_t D,
                              float eps)
{
    for (size_t i = 0; i < N; i++)
        for (size_t h = 0; h < heads; h++) norm_row(x + i * ldx + h * D, x + i * ldx + h * D, w, D, eps);
}
