/* attention, plain: one query row at a time. Also the cache's layout: how large a head is and where a
 * position goes. */
#include "kernels/attention.h"
#include <math.h>
#include <string.h>

size_t attention_head_floats(size_t cap, size_t D)
{
    return attention_round_up(cap, ATTENTION_BLOCK) * attention_round_up(D, 16);
}

static void append_head(float *K, float *V, const float *k, const float *v, size_t ld, size_t pos, size_t n,
                        size_t D)
{
    for (size_t i = 0; i < n; i++) {
        float *kd = K + attention_k_offset(pos + i, 0, D);
        for (size_t d = 0; d < D; d++) kd[d * 16] = k[i * ld + d];
        for (size_t d = 0; d < D; d += 16) {
            size_t width = D - d < 16 ? D - d : 16;
            memcpy(V + attention_v_offset(pos + i, d, D), v + i * ld + d, width * sizeof *v);
        }
    }
}

void attention_append(struct attention_cache *c, const float *k, const float *v, size_t ld, size_t pos,
                      size_t n, size_t g0, size_t g1)
{
    size_t D = c->head_size;
    for (size_t g = g0; g < g1; g++)
        append_head(c->k + g * c->head_stride, c->v + g * c->head_stride, k + g * D, v + g * D, ld, pos, n,
                    D);
}

/* One row's softmax so far: o [D] is the sum of exp(score - max) * value, not yet divided by sum. */
struct row {
    float max, sum, *o;
};

static float dot_key(const float *q, const float *K, size_t p, size_t D)
{
    float s = 0;
    for (size_t d = 0; d < D; d++) s += q[d] * K[attention_k_offset(p, d, D)];
    return s;
}

/* Keys [p0,p1), all of one key block, join the row. scores: room for them. */
static void attend_block(struct row *r, const float *q, const float *K, const float *V, size_t p0, size_t p1,
                         size_t D, float *scores)
{
    float max = r->max;
    for (size_t p = p0; p < p1; p++) {
        scores[p - p0] = dot_key(q, K, p, D);
        if (scores[p - p0] > max) max = scores[p - p0];
    }
    float m = max == -INFINITY ? 0.0f : max; /* all -inf so far: exponentials are 0, not NaN */
    float correction = expf(r->max - m);
    r->sum *= correction;
    for (size_t d = 0; d < D; d++) r->o[d] *= correction;
    for (size_t p = p0; p < p1; p++) {
        float e = expf(scores[p - p0] - m);
        r->sum += e;
        for (size_t d = 0; d < D; d++) r->o[d] += e * V[attention_v_offset(p, d, D)];
    }
    r->max = max;
}

/* scratch: scaled query [D], output [D], scores [ATTENTION_BLOCK]. */
static void attend_row(float *o, const float *q, const float *K, const float *V, size_t keys, size_t D,
                       float scale, float *scratch)
{
    float *scaled = scratch, *scores = scratch + 2 * D;
    struct row r = {.max = -INFINITY, .o = scratch + D};
    for (size_t d = 0; d < D; d++) {
        scaled[d] = q[d] * scale;
        r.o[d] = 0;
    }
    for (size_t p = 0; p < keys; p += ATTENTION_BLOCK) {
        size_t end = p + ATTENTION_BLOCK < keys ? p + ATTENTION_BLOCK : keys;
        attend_block(&r, scaled, K, V, p, end, D, scores);
    }
    float scale_o = 1.0f / r.sum;
    for (size_t d = 0; d < D; d++) o[d] = r.o[d] * scale_o;
}

void attention_forward(float *o, size_t ldo, const float *q, size_t ldq, const struct attention_cache *c,
                       size_t pos, size_t n, size_t H, size_t g0, size_t g1, float scale, float *scratch)
{
    size_t D = c->head_size, per_group = H / c->kv_heads;
    for (size_t i = 0; i < n; i++)
        for (size_t h = g0 * per_group; h < g1 * per_group; h++) {
            size_t head = h / per_group * c->head_stride;
            attend_row(o + i * ldo + h * D, q + i * ldq + h * D, c->k + head, c->v + head, pos + i + 1, D,
                       scale, scratch);
        }
}

size_t attention_scratch(size_t D, size_t heads_per_group)
{
    (void)heads_per_group;
    return 2 * D + ATTENTION_BLOCK;
}
