/* layernorm over vec: the mean first, then the variance about it (a row stays in the first-level cache), four
 * running sums each. */
#include "kernels/layernorm.h"
#include <math.h>

/* The 16 elements of x + r at c, of which n are there; 0 beyond. */
VEC vec sum_at(const float *x, const float *r, size_t c, size_t n)
{
    vec v = n < 16 ? vec_load_first(x + c, n) : vec_load(x + c);
    if (r == NULL) return v;
    return vec_add(v, n < 16 ? vec_load_first(r + c, n) : vec_load(r + c));
}

VEC void store_at(float *y, size_t c, vec v, size_t n)
{
    if (n < 16)
        vec_store_first(y + c, v, n);
    else
        vec_store(y + c, v);
}

VEC vec load_at(const float *x, size_t c, size_t n)
{
    return n < 16 ? vec_load_first(x + c, n) : vec_load(x + c);
}

VEC float mean_of(const float *x, const float *r, size_t C)
{
    vec sum[4] = {vec_zero(), vec_zero(), vec_zero(), vec_zero()};
    size_t c = 0;
    for (; c + 64 <= C; c += 64)
        for (size_t u = 0; u < 4; u++) sum[u] = vec_add(sum[u], sum_at(x, r, c + 16 * u, 16));
    for (; c < C; c += 16) sum[0] = vec_add(sum[0], sum_at(x, r, c, C - c));
    return vec_hsum(vec_add(vec_add(sum[0], sum[1]), vec_add(sum[2], sum[3]))) / (float)C;
}

VEC float variance_of(const float *x, const float *r, vec mean, size_t C)
{
    vec sum[4] = {vec_zero(), vec_zero(), vec_zero(), vec_zero()};
    size_t c = 0;
    for (; c + 64 <= C; c += 64)
        for (size_t u = 0; u < 4; u++) {
            vec d = vec_sub(sum_at(x, r, c + 16 * u, 16), mean);
            sum[u] = vec_fma(d, d, sum[u]);
        }
    for (; c + 16 <= C; c += 16) {
        vec d = vec_sub(sum_at(x, r, c, 16), mean);
        sum[0] = vec_fma(d, d, sum[0]);
    }
    if (c < C) {
        vec d = vec_select_first(C - c, vec_sub(sum_at(x, r, c, C - c), mean), vec_zero());
        sum[1] = vec_fma(d, d, sum[1]);
    }
    return vec_hsum(vec_add(vec_add(sum[0], sum[1]), vec_add(sum[2], sum[3]))) / (float)C;
}

VEC void norm_row(float *y, float *mean, float *rstd, const float *x, const float *r, const float *w,
                  const float *b, size_t C, float eps)
{
    *mean = mean_of(x, r, C);
    vec m = vec_set(*mean);
    *rstd = 1.0f / sqrtf(variance_of(x, r, m, C) + eps);
    vec s = vec_set(*rstd);
    for (size_t c = 0; c < C; c += 16) {
        size_t n = C - c;
        vec v = vec_mul(load_at(w, c, n), vec_mul(vec_sub(sum_at(x, r, c, n), m), s));
        if (b != NULL) v = vec_add(v, load_at(b, c, n));
        store_at(y, c, v, n);
    }
}

void KERNEL(layernorm_forward)(float *y, float *mean, float *rstd, const float *x, const float *r,
                               const float *w, const float *b, size_t N, size_t C, float eps)
{
    for (size_t i = 0; i < N; i++) {
        float m, s;
        norm_row(y + i * C, &m, &s, x + i * C, r != NULL ? r + i * C : NULL, w, b, C, eps);
        if (mean != NULL) mean[i] = m;
        if (rstd != NULL) rstd[i] = s;
    }
}

/* Sums over a row of g = dy * w and of g times the normed row; dw and db along the way. */
VEC void backward_sums(vec *sum, vec *along, float *dw, float *db, const float *dy, const float *x,
                       const float *r, const float *w, vec mean, vec rstd, size_t C)
{
    *sum = vec_zero(), *along = vec_zero();
    for (size_t c = 0; c < C; c += 16) {
        size_t n = C - c;
        vec d = load_at(dy, c, n), g = vec_mul(d, load_at(w, c, n)); /* 0 beyond the row */
        vec normed = vec_mul(vec_sub(sum_at(x, r, c, n), mean), rstd);
        *sum = vec_add(*sum, g);
        *along = vec_fma(g, normed, *along);
        if (dw != NULL) store_at(dw, c, vec_fma(d, normed, load_at(dw, c, n)), n);
        if (db != NULL) store_at(db, c, vec_add(d, load_at(db, c, n)), n);
    }
}

VEC void backward_row(float *dx, float *dw, float *db, const float *dy, const float *x, const float *r,
                      const float *w, float mean, float rstd, size_t C)
{
    vec m = vec_set(mean), s = vec_set(rstd), sum, along;
    backward_sums(&sum, &along, dw, db, dy, x, r, w, m, s, C);
    sum = vec_set(vec_hsum(sum) / (float)C);
    along = vec_set(vec_hsum(along) / (float)C);
    for (size_t c = 0; c < C; c += 16) {
        size_t n = C - c;
        vec normed = vec_mul(vec_sub(sum_at(x, r, c, n), m), s);
        vec g = vec_sub(vec_mul(load_at(dy, c, n), load_at(w, c, n)), sum);
        store_at(dx, c, vec_mul(s, vec_fnma(normed, along, g)), n);
    }
}

void KERNEL(layernorm_backward)(float *dx, float *dw, float *db, const float *dy, const float *x,
                                const float *r, const float *w, const float *mean, const float *rstd,
                                size_t N, size_t C)
{
    for (size_t i = 0; i < N; i++)
        backward_row(dx + i * C, dw, db, dy + i * C, x + i * C, r != NULL ? r + i * C : NULL, w, mean[i],
                     rstd[i], C);
}
