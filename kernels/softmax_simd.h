/* softmax and log-sum-exp over vec. Sums run in 16 lanes or 32, each a float chain of terms of at most 1. */
#include "kernels/softmax.h"
#include "kernels/vec_exp.h"
#include <math.h>

/* NaN is passed over: it shows in the sum. */
VEC float row_max(const float *x, size_t n, float start)
{
    vec m = vec_set(start), m2 = m;
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        m = vec_max(vec_load(x + i), m);
        m2 = vec_max(vec_load(x + i + 16), m2);
    }
    for (; i + 16 <= n; i += 16) m = vec_max(vec_load(x + i), m);
    if (i < n) m2 = vec_max(vec_select_first(n - i, vec_load_first(x + i, n - i), m2), m2);
    return vec_hmax(vec_max(m, m2));
}

/* x = exp((x - max) * scale); the sum of them. */
VEC float row_exp(float *x, size_t n, float max, float scale)
{
    vec sum = vec_zero(), m = vec_set(max), k = vec_set(scale);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) {
        vec e = vec_exp(vec_mul(vec_sub(vec_load(x + i), m), k));
        sum = vec_add(sum, e);
        vec_store(x + i, e);
    }
    if (i < n) {
        vec e = vec_exp(vec_mul(vec_sub(vec_load_first(x + i, n - i), m), k));
        sum = vec_add(sum, vec_select_first(n - i, e, vec_zero()));
        vec_store_first(x + i, e, n - i);
    }
    return vec_hsum(sum);
}

/* exp(x - max) as 2^((x - max) log2 e): the product's rounding grows with the distance from max, but the term
 * falls faster. */
VEC vec term(vec x, vec max)
{
    return vec_exp2_weight(vec_mul(vec_sub(x, max), vec_set(0x1.715476p+0f)));
}

/* The sum of exp(x - max). */
VEC float row_exp_sum(const float *x, size_t n, float max)
{
    vec sum = vec_zero(), sum2 = sum, m = vec_set(max);
    size_t i = 0;
    for (; i + 32 <= n; i += 32) {
        sum = vec_add(sum, term(vec_load(x + i), m));
        sum2 = vec_add(sum2, term(vec_load(x + i + 16), m));
    }
    for (; i + 16 <= n; i += 16) sum = vec_add(sum, term(vec_load(x + i), m));
    if (i < n)
        sum2 = vec_add(sum2, vec_select_first(n - i, term(vec_load_first(x + i, n - i), m), vec_zero()));
    return vec_hsum(vec_add(sum, sum2));
}

VEC float finite_max(float m)
{
    return m == -INFINITY ? 0.0f : m;
} /* as in softmax.c */

void KERNEL(softmax_forward)(float *x, size_t n, float temperature)
{
    float m = finite_max(row_max(x, n, -INFINITY));
    float sum = row_exp(x, n, m, 1.0f / temperature);
    vec scale = vec_set(1.0f / sum);
    size_t i = 0;
    for (; i + 16 <= n; i += 16) vec_store(x + i, vec_mul(vec_load(x + i), scale));
    if (i < n) vec_store_first(x + i, vec_mul(vec_load_first(x + i, n - i), scale), n - i);
}

void KERNEL(logsumexp_update)(float *max, float *sum, const float *logits, size_t ld, size_t N, size_t V)
{
    for (size_t i = 0; i < N; i++) {
        float grown = row_max(logits + i * ld, V, max[i]), m = finite_max(grown);
        sum[i] = sum[i] * expf(max[i] - m) + row_exp_sum(logits + i * ld, V, m);
        max[i] = grown;
    }
}
