/* Grouped-query attention over a KV cache: x += W_o . attention(rope(norm_D(q)), rope(norm_D(k)), v) of
 * rmsnorm(x), causal. The norms of q and k are there in some families. One GEMM output [n, q | k | v] holds
 * all three; attention's output replaces q in it. */
#include "nn/blocks/block.h"
#include "nn/families/family.h"
#include "nn/kv.h"

#include <math.h>

enum { ROW_GRAIN = 16 };

struct attention {
    const float *norm, *q_norm, *k_norm;
    struct linear qkv, out;
    size_t heads, kv_heads, head_size;
    float eps, scale;
};

static void attention_load(void *self, struct loader *l, const struct model_config *c, const char *prefix,
                           const char *const *names)
{
    struct attention *a = self;
    const struct model_info *info = &c->info;
    size_t D = info->head_size, C = info->hidden, q = info->heads * D, kv = info->kv_heads * D;
    a->heads = info->heads;
    a->kv_heads = info->kv_heads;
    a->head_size = D;
    a->eps = c->eps;
    a->scale = 1.0f / sqrtf((float)D);
    a->norm = loader_tensor(l, prefix, names[ATTENTION_NORM], (const uint64_t[]){C, 0});
    if (c->head_norm) {
        a->q_norm = loader_tensor(l, prefix, names[ATTENTION_Q_NORM], (const uint64_t[]){D, 0});
        a->k_norm = loader_tensor(l, prefix, names[ATTENTION_K_NORM], (const uint64_t[]){D, 0});
    }
    loader_linear(l, &a->qkv, prefix, names + ATTENTION_Q,
                  c->attention_bias ? names + ATTENTION_Q_BIAS : NULL, (const size_t[]){q, kv, kv}, 3, C);
    loader_linear(l, &a->out, prefix, names + ATTENTION_OUT,
                  c->attention_bias ? names + ATTENTION_OUT_BIAS : NULL, &C, 1, q);
}

static size_t row_floats(const struct model_info *info)
{
    return (info->heads + 2 * info->kv_heads) * info->head_size;
}

static size_t attention_width(const struct model_config *c)
{
    return row_floats(&c->info);
}

static size_t attention_state(const struct model_config *c, size_t context)
{
    return kv_cache_bytes(context, c->info.kv_heads, c->info.head_size);
}

static size_t attention_touched(const struct model_config *c, size_t positions)
{
    return kv_touched_bytes(positions, c->info.kv_heads, c->info.head_size);
}

static size_t scratch_floats(const struct model_config *c, const struct kernels *k)
{
    return k->attention_scratch(c->info.head_size, c->info.heads / c->info.kv_heads);
}

struct job {
    const struct attention *a;
    const struct run *run;
    struct attention_cache cache;
    float *q, *k, *v; /* in the GEMM's output, rows ld apart */
    size_t ld;
};

/* Rows of one worker: norm, rotate, write into the cache. Slices begin at absolute multiples of the cache's
 * tile, so no two workers share one. */
static void append_task(void *context, int i, int count)
{
    const struct job *j = context;
    const struct attention *a = j->a;
    const struct run *r = j->run;
    size_t skew = r->position % ROW_GRAIN, begin, end;
    workers_slice(skew + r->n, ROW_GRAIN, i, count, &begin, &end);
    if (begin == end) return;
    begin = begin > skew ? begin - skew : 0;
    end -= skew;
    size_t n = end - begin, D = a->head_size;
    float *q = j->q + begin * j->ld, *k = j->k + begin * j->ld;
    const float *cos = r->cos + begin * (D / 2), *sin = r->sin + begin * (D / 2);
    if (a->q_norm != NULL) {
        r->kernels->headnorm_forward(q, j->ld, a->q_norm, n, a->heads, D, a->eps);
        r->kernels->headnorm_forward(k, j->ld, a->k_norm, n, a->kv_heads, D, a->eps);
    }
    r->kernels->rope_forward(q, j->ld, cos, sin, n, a->heads, D);
    r->kernels->rope_forward(k, j->ld, cos, sin, n, a->kv_heads, D);
    struct attention_cache cache = j->cache;
    r->kernels->attention_append(&cache, k, j->v + begin * j->ld, j->ld, r->position + begin, n, 0,
                                 a->kv_heads);
}

/* Work is (kv head, rows): whole heads first, a head's rows are cut only where the workers do not divide the
 * heads. */
static void attend_task(void *context, int i, int count)
{
    const struct job *j = context;
    const struct attention *a = j->a;
    const struct run *r = j->run;
    size_t at, end;
    workers_slice(a->kv_heads * r->n, count == 1 || a->kv_heads % (size_t)count == 0 ? r->n : ROW_GRAIN, i,
                  count, &at, &end);
    float *scratch = r->scratch + (size_t)i * r->scratch_floats;
    while (at < end) {
        size_t g = at / r->n, row = at % r->n, rows = r->n - row, heads = 1;
        if (rows > end - at) rows = end - at;
        if (row == 0 && rows == r->n) heads = (end - at) / r->n;
        float *q = j->q + row * j->ld;
        r->kernels->attention_forward(q, j->ld, q, j->ld, &j->cache, r->position + row, rows, a->heads, g,
                                      g + heads, a->scale, scratch);
        at += heads > 1 ? heads * r->n : rows;
    }
}

static void attention_forward(const void *self, void *state, const struct run *run)
{
    const struct attention *a = self;
    size_t q = a->heads * a->head_size, kv = a->kv_heads * a->head_size, ld = q + 2 * kv;
    struct job job = {a,         run,           kv_cache(state, run->context, a->kv_heads, a->head_size),
                      run->wide, run->wide + q, run->wide + q + kv,
                      ld};
    size_t C = a->qkv.in;
    run_norm(run, a->norm, C, a->eps);
    linear_forward(&a->qkv, run->kernels, run->workers, run->wide, ld, run->norm, C, run->n, false);
    workers_run(run->workers, append_task, &job);
    workers_run(run->workers, attend_task, &job);
    linear_forward(&a->out, run->kernels, run->workers, run->x, C, run->wide, ld, run->n, true);
}

static double attention_flop(const struct model_config *c, size_t context)
{
    double C = (double)c->info.hidden, q = (double)(c->info.heads * c->info.head_size),
           kv = (double)(c->info.kv_heads * c->info.head_size);
    return 2 * C * (2 * q + 2 * kv) + 4 * q * ((double)context + 1) / 2;
}

static uint64_t attention_parameters(const struct model_config *c)
{
    uint64_t C = c->info.hidden, D = c->info.head_size, q = c->info.heads * D, kv = c->info.kv_heads * D;
    return C + C * (2 * q + 2 * kv) + (c->head_norm ? 2 * D : 0) + (c->attention_bias ? q + 2 * kv + C : 0);
}

const struct sublayer_kind sublayer_attention = {
    .name = "attention",
    .self_size = sizeof(struct attention),
    .load = attention_load,
    .width = attention_width,
    .state_bytes = attention_state,
    .state_touched = attention_touched,
    .scratch = scratch_floats,
    .forward = attention_forward,
    .flop = attention_flop,
    .parameters = attention_parameters,
};
