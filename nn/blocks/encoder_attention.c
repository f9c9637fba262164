/* An encoder's attention, post-norm: x <- LayerNorm(x + W_o . attention(q, k, v)), bidirectional, with
 * biases. One GEMM output [n, q | k | v] holds all three; attention's output replaces q in it. Work is
 * (document, head): its keys and values are laid out in the worker's scratch and are gone with it. */
#include "nn/blocks/block.h"
#include "nn/blocks/encoder_attention.h"
#include "nn/kv.h"

#include <math.h>
#include <stdlib.h>

static void attention_load(void *self, struct loader *l, const struct model_config *c, const char *prefix,
                           const char *const *names)
{
    struct encoder_attention *a = self;
    size_t D = c->info.head_size, C = c->info.hidden, q = c->info.heads * D;
    a->heads = c->info.heads;
    a->head_size = D;
    a->eps = c->eps;
    a->scale = 1.0f / sqrtf((float)D);
    loader_linear(l, &a->qkv, prefix, names + ENCODER_ATTENTION_Q, names + ENCODER_ATTENTION_Q_BIAS,
                  (const size_t[]){q, q, q}, 3, C);
    loader_linear(l, &a->out, prefix, names + ENCODER_ATTENTION_OUT, names + ENCODER_ATTENTION_OUT_BIAS, &C,
                  1, q);
    loader_pack(l, &a->qkv);
    loader_pack(l, &a->out);
    a->norm = loader_tensor(l, prefix, names[ENCODER_ATTENTION_NORM], (const uint64_t[]){C, 0});
    a->norm_bias = loader_tensor(l, prefix, names[ENCODER_ATTENTION_NORM_BIAS], (const uint64_t[]){C, 0});
}

static size_t attention_width(const struct model_config *c)
{
    return 3 * c->info.heads * c->info.head_size;
}

/* A head's keys and values of the longest document, then what the kernel needs. */
static size_t attention_scratch(const struct model_config *c, const struct kernels *k)
{
    return kv_cache_bytes(c->info.context, 1, c->info.head_size) / sizeof(float) +
           k->attention_scratch(c->info.head_size, 1);
}

struct job {
    const struct encoder_attention *a;
    const struct run *run;
    float *qkv;
};

/* One head of one document; its output goes where its queries were. */
static void attend_head(const void *context, const struct span *s, size_t head, float *scratch)
{
    const struct job *j = context;
    const struct encoder_attention *a = j->a;
    const struct kernels *k = j->run->kernels;
    size_t D = a->head_size, ld = a->qkv.out, wide = a->heads * D;
    float *q = j->qkv + s->at * ld + head * D, *keys = q + wide, *values = keys + wide;
    struct attention_cache cache = kv_cache(scratch, j->run->context, 1, D);
    float *rest = scratch + kv_cache_bytes(j->run->context, 1, D) / sizeof *scratch;
    k->attention_append(&cache, keys, values, ld, 0, s->n, 0, 1);
    k->attention_full_forward(q, ld, q, ld, &cache, s->n, s->n, 1, 0, 1, a->scale, rest);
}

static double span_cost(const struct span *s)
{
    return (double)s->n * ((double)s->n + 16);
}

void encoder_attention_share(const struct encoder_attention *a, const struct run *run, int worker, int count,
                             void (*each)(const void *context, const struct span *s, size_t head,
                                          float *scratch),
                             const void *context)
{
    float *scratch = run->scratch + (size_t)worker * run->scratch_floats;
    double total = 0, at = 0;
    for (size_t s = 0; s < run->span_count; s++) total += span_cost(&run->spans[s]) * (double)a->heads;
    for (size_t s = 0; s < run->span_count; s++) {
        double cost = span_cost(&run->spans[s]);
        for (size_t h = 0; h < a->heads; h++, at += cost)
            if ((int)((at + cost / 2) * count / total) == worker) each(context, &run->spans[s], h, scratch);
    }
}

static void attend_task(void *context, int i, int count)
{
    const struct job *j = context;
    encoder_attention_share(j->a, j->run, i, count, attend_head, j);
}

void encoder_attention_mix(const struct encoder_attention *a, const struct run *run, float *qkv)
{
    struct job job = {a, run, qkv};
    workers_run(run->workers, attend_task, &job);
}

static void attention_forward(const void *self, void *state, const struct run *run)
{
    (void)state;
    const struct encoder_attention *a = self;
    size_t C = a->qkv.in, ld = a->qkv.out;
    linear_forward(&a->qkv, run->kernels, run->workers, run->wide, ld, run->x, C, run->n, false);
    encoder_attention_mix(a, run, run->wide);
    linear_forward(&a->out, run->kernels, run->workers, run->norm, C, run->wide, ld, run->n, false);
    run_layernorm_sum(run, a->norm, a->norm_bias, C, a->eps);
}

static double attention_flop(const struct model_config *c, size_t context)
{
    double C = (double)c->info.hidden, q = (double)(c->info.heads * c->info.head_size),
           seen = (double)(context < c->info.context ? context : c->info.context);
    return 8 * C * q + 4 * q * seen;
}

static uint64_t attention_parameters(const struct model_config *c)
{
    uint64_t C = c->info.hidden, q = c->info.heads * c->info.head_size;
    return 3 * (q * C + q) + C * q + C + 2 * C;
}

const struct sublayer_kind sublayer_encoder_attention = {
    .name = "encoder attention",
    .self_size = sizeof(struct encoder_attention),
    .whole = true,
    .load = attention_load,
    .width = attention_width,
    .scratch = attention_scratch,
    .forward = attention_forward,
    .backward = encoder_attention_backward,
    .flop = attention_flop,
    .parameters = attention_parameters,
};
