/* attention_full, plain: one query row at a time, its weights in one piece. */
#include "kernels/attention_full.h"

#include "kernels/attention.h"
#include <math.h>

/* Scores become weights that sum to 1. */
static void normalise(float *w, size_t n)
{
    float max = w[0];
    double sum = 0;
    for (size_t j = 1; j < n; j++) max = w[j] > max ? w[j] : max;
    for (size_t j = 0; j < n; j++) {
        w[j] = expf(w[j] - max);
        sum += (double)w[j];
    }
    for (size_t j = 0; j < n; j++) w[j] = (float)((double)w[j] / sum);
}

static float score(const float *q, const float *K, size_t p, size_t D)
{
    float s = 0;
    for (size_t d = 0; d < D; d++) s += q[d] * K[attention_k_offset(p, d, D)];
    return s;
}

/* Goes over the keys twice, so that no room for all scores is needed. scratch: scaled query [D], output [D].
 */
static void attend_row(float *o, const float *q, const float *K, const float *V, size_t keys, size_t D,
                       float scale, float *scratch)
{
    float *scaled = scratch, *out = scratch + D, max = -INFINITY;
    double sum = 0;
    for (size_t d = 0; d < D; d++) {
        scaled[d] = q[d] * scale;
        out[d] = 0;
    }
    for (size_t p = 0; p < keys; p++) {
        float s = score(scaled, K, p, D);
        max = s > max ? s : max;
    }
    for (size_t p = 0; p < keys; p++) {
        float e = expf(score(scaled, K, p, D) - max);
        sum += (double)e;
        for (size_t d = 0; d < D; d++) out[d] += e * V[attention_v_offset(p, d, D)];
    }
    for (size_t d = 0; d < D; d++) o[d] = (float)((double)out[d] / sum);
}

void attention_full_forward(float *o, size_t ldo, const float *q, size_t ldq, const struct attention_cache *c,
                            size_t keys, size_t n, size_t H, size_t g0, size_t g1, float scale,
                            float *scratch)
{
    size_t D = c->head_size, per_group = H / c->kv_heads;
    for (size_t i = 0; i < n; i++)
        for (size_t h = g0 * per_group; h < g1 * per_group; h++) {
            size_t head = h / per_group * c->head_stride;
            attend_row(o + i * ldo + h * D, q + i * ldq + h * D, c->k + head, c->v + head, keys, D, scale,
                       scratch);
        }
}

static float dot(const float *a, const float *b, size_t n)
{
    float s = 0;
    for (size_t i = 0; i < n; i++) s += a[i] * b[i];
    return s;
}

static void add_scaled(float *y, float a, const float *x, size_t n)
{
    for (size_t i = 0; i < n; i++) y[i] += a * x[i];
}

/* One query row: its weights P and their gradient dP give the scores' gradient P (dP - sum P dP). w, dw [n].
 */
static void backward_row(float *dq, float *dk, float *dv, size_t ldd, const float *dout, const float *q,
                         const float *k, const float *v, size_t ld, size_t n, size_t D, float scale, float *w,
                         float *dw)
{
    double along = 0;
    for (size_t j = 0; j < n; j++) {
        w[j] = dot(q, k + j * ld, D) * scale;
        dw[j] = dot(dout, v + j * ld, D);
    }
    normalise(w, n);
    for (size_t j = 0; j < n; j++) along += (double)w[j] * (double)dw[j];
    for (size_t j = 0; j < n; j++) {
        float ds = w[j] * (dw[j] - (float)along) * scale;
        add_scaled(dq, ds, k + j * ld, D);
        add_scaled(dk + j * ldd, ds, q, D);
        add_scaled(dv + j * ldd, w[j], dout, D);
    }
}

void attention_full_backward(float *dq, float *dk, float *dv, size_t ldd, const float *dout, size_t ldo,
                             const float *q, const float *k, const float *v, size_t ld, size_t n, size_t D,
                             float scale, float *scratch)
{
    for (size_t i = 0; i < n; i++)
        for (size_t d = 0; d < D; d++) dq[i * ldd + d] = dk[i * ldd + d] = dv[i * ldd + d] = 0;
    for (size_t i = 0; i < n; i++)
        backward_row(dq + i * ldd, dk, dv, ldd, dout + i * ldo, q + i * ld, k, v, ld, n, D, scale, scratch,
                     scratch + n);
}
