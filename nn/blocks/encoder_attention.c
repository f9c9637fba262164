/* An encoder's attention, post-norm: x <- LayerNorm(x + W_o . attention(q, k, v)), bidirectional, with
 * biases. One GEMM output [n, q | k | v] holds all three; attention's output replaces q in it. A worker takes
 * its documents through all of it, a few at a time, so that what is between the products stays in the cache.
 * Where documents cannot be shared out evenly, workers share rows of the products, and in between (document,
 * head). A head's keys and values are laid out in the worker's scratch and are gone with it. */
#include "nn/blocks/block.h"
#include "nn/blocks/encoder_attention.h"
#include "nn/kv.h"

#include <math.h>
#include <stdlib.h>

enum { STRIP_ROWS = 168 /* of several documents; one may have more */ };

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

/* One head of one document, whose rows are at qkv; its output goes where its queries were. */
static void attend_head(const struct encoder_attention *a, const struct run *r, float *qkv, size_t n,
                        size_t head, float *scratch)
{
    size_t D = a->head_size, ld = a->qkv.out, wide = a->heads * D;
    float *q = qkv + head * D, *keys = q + wide, *values = keys + wide;
    struct attention_cache cache = kv_cache(scratch, r->context, 1, D);
    float *rest = scratch + kv_cache_bytes(r->context, 1, D) / sizeof *scratch;
    r->kernels->attention_append(&cache, keys, values, ld, 0, n, 0, 1);
    r->kernels->attention_full_forward(q, ld, q, ld, &cache, n, n, 1, 0, 1, a->scale, rest);
}

struct job {
    const struct encoder_attention *a;
    const struct run *run;
    float *qkv;
};

/* --- workers share heads --- */

static double head_cost(const struct span *s)
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
    for (size_t s = 0; s < run->span_count; s++) total += head_cost(&run->spans[s]) * (double)a->heads;
    for (size_t s = 0; s < run->span_count; s++) {
        double cost = head_cost(&run->spans[s]);
        for (size_t h = 0; h < a->heads; h++, at += cost)
            if ((int)((at + cost / 2) * count / total) == worker) each(context, &run->spans[s], h, scratch);
    }
}

static void mix_head(const void *context, const struct span *s, size_t head, float *scratch)
{
    const struct job *j = context;
    attend_head(j->a, j->run, j->qkv + s->at * j->a->qkv.out, s->n, head, scratch);
}

static void mix_task(void *context, int i, int count)
{
    const struct job *j = context;
    encoder_attention_share(j->a, j->run, i, count, mix_head, j);
}

void encoder_attention_mix(const struct encoder_attention *a, const struct run *run, float *qkv)
{
    struct job job = {a, run, qkv};
    workers_run(run->workers, mix_task, &job);
}

static void forward_together(const struct encoder_attention *a, const struct run *run)
{
    size_t C = a->qkv.in, ld = a->qkv.out;
    linear_forward(&a->qkv, run->kernels, run->workers, run->wide, ld, run->x, C, run->n, false);
    encoder_attention_mix(a, run, run->wide);
    linear_forward(&a->out, run->kernels, run->workers, run->x, C, run->wide, ld, run->n, true);
    run_layernorm(run, a->norm, a->norm_bias, C, a->eps);
}

/* --- workers share documents --- */

static double document_cost(const struct encoder_attention *a, const struct span *s)
{
    return (double)s->n * (double)(s->n + 2 * a->qkv.in);
}

/* Documents [*begin, *end) are worker i's: those whose middle, counted in work, falls in its share. Their
 * part of all work. */
static double share_of(const struct encoder_attention *a, const struct run *r, int i, int count,
                       size_t *begin, size_t *end)
{
    double total = 0, at = 0, mine = 0;
    for (size_t s = 0; s < r->span_count; s++) total += document_cost(a, &r->spans[s]);
    *begin = *end = r->span_count;
    for (size_t s = 0; s < r->span_count; s++) {
        double cost = document_cost(a, &r->spans[s]), middle = at + cost / 2;
        int owner = (int)(middle * count / total);
        at += cost;
        if (owner > i) *end = *end < s ? *end : s;
        if (owner != i) continue;
        mine += cost;
        *begin = *begin < s ? *begin : s;
    }
    return mine / total;
}

/* No worker has much more than the others. */
static bool documents_are_even(const struct encoder_attention *a, const struct run *r)
{
    int count = workers_count(r->workers);
    size_t begin, end;
    for (int i = 0; i < count; i++)
        if (share_of(a, r, i, count, &begin, &end) * count > 1.1) return false;
    return true;
}

/* As many of the next documents as a strip holds; one at least. */
static size_t strip_documents(const struct span *s, size_t count)
{
    size_t n = 1;
    while (n < count && s[n].at + s[n].n - s[0].at <= STRIP_ROWS) n++;
    return n;
}

/* n documents, whose q, k and v are in the memory of rows `first` and following. */
static void forward_strip(const struct job *j, const struct span *spans, size_t n, size_t first, int worker)
{
    const struct encoder_attention *a = j->a;
    const struct run *r = j->run;
    size_t C = a->qkv.in, ld = a->qkv.out, at = spans[0].at, rows = spans[n - 1].at + spans[n - 1].n - at;
    float *x = r->x + at * C, *qkv = j->qkv + first * ld;
    float *products = workers_scratch(r->workers, worker),
          *scratch = r->scratch + (size_t)worker * r->scratch_floats;
    linear_rows(&a->qkv, qkv, ld, x, C, rows, GEMM_STORE, products);
    for (size_t s = 0; s < n; s++)
        for (size_t h = 0; h < a->heads; h++)
            attend_head(a, r, qkv + (spans[s].at - at) * ld, spans[s].n, h, scratch);
    linear_rows(&a->out, x, C, qkv, ld, rows, GEMM_ADD, products);
    r->kernels->layernorm_forward(x, NULL, NULL, x, NULL, a->norm, a->norm_bias, rows, C, a->eps);
}

static void strips_task(void *context, int i, int count)
{
    const struct job *j = context;
    const struct span *spans = j->run->spans;
    size_t s, end;
    share_of(j->a, j->run, i, count, &s, &end);
    for (size_t first = s < end ? spans[s].at : 0, n; s < end; s += n) {
        n = strip_documents(spans + s, end - s);
        forward_strip(j, spans + s, n, first, i);
    }
}

static void attention_forward(const void *self, void *state, const struct run *run)
{
    (void)state;
    const struct encoder_attention *a = self;
    if (documents_are_even(a, run))
        workers_run(run->workers, strips_task, &(struct job){a, run, run->wide});
    else
        forward_together(a, run);
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
