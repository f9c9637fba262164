/* Backward of an encoder's attention: see encoder_attention.c. Plain and on one thread. */
#include "nn/blocks/encoder_attention.h"

#include <stdlib.h>
#include <string.h>

/* What forward made, and gradients: rows of the batch. */
struct work {
    float *qkv;         /* [n, 3q] */
    float *o;           /* [n, q]: attention's output */
    float *sum;         /* [n, C]: out(o) */
    float *y;           /* [n, C]: LayerNorm(x + sum); after that the gradient of o, [n, q] */
    float *dqkv;        /* [n, 3q] */
    float *mean, *rstd; /* [n] */
    float *scratch;     /* [2 n] */
};

static thea_rc work_init(struct work *w, const struct encoder_attention *a, size_t n, struct thea_err *err)
{
    size_t C = a->qkv.in, ld = a->qkv.out, q = ld / 3, y = C > q ? C : q;
    float *at = reallocarray(NULL, n, (2 * ld + q + C + y + 4) * sizeof *at);
    if (at == NULL) return thea_fail(err, THEA_EOS, "out of memory for a backward of %zu rows", n);
    w->qkv = at, at += n * ld;
    w->o = at, at += n * q;
    w->sum = at, at += n * C;
    w->y = at, at += n * y;
    w->dqkv = at, at += n * ld;
    w->mean = at, at += n;
    w->rstd = at, at += n;
    w->scratch = at;
    return THEA_OK;
}

/* Forward again, keeping q, k and v: attention works on a copy, which lies in dqkv until that is needed. */
static void recompute(struct work *w, const struct encoder_attention *a, const struct run *run,
                      const float *x)
{
    size_t C = a->qkv.in, ld = a->qkv.out, q = ld / 3;
    linear_forward(&a->qkv, run->kernels, run->workers, w->qkv, ld, x, C, run->n, false);
    memcpy(w->dqkv, w->qkv, run->n * ld * sizeof *w->qkv);
    encoder_attention_mix(a, run, w->dqkv);
    for (size_t i = 0; i < run->n; i++) memcpy(w->o + i * q, w->dqkv + i * ld, q * sizeof *w->o);
    linear_forward(&a->out, run->kernels, run->workers, w->sum, C, w->o, q, run->n, false);
}

static float *of(const struct run *run, struct gradients *g, int role, size_t n)
{
    return gradients_of(g, run->prefix, run->names[role], n);
}

/* d: the gradient of the output becomes that of x + out(o). */
static void norm_backward(struct work *w, const struct encoder_attention *a, const struct run *run,
                          const float *x, float *d, struct gradients *g)
{
    size_t C = a->qkv.in;
    run->kernels->layernorm_forward(w->y, w->mean, w->rstd, x, w->sum, a->norm, a->norm_bias, run->n, C,
                                    a->eps);
    run->kernels->layernorm_backward(d, of(run, g, ENCODER_ATTENTION_NORM, C),
                                     of(run, g, ENCODER_ATTENTION_NORM_BIAS, C), d, x, w->sum, a->norm,
                                     w->mean, w->rstd, run->n, C);
}

/* w->dqkv, of the gradient of o in w->y. */
static void mix_backward(struct work *w, const struct encoder_attention *a, const struct run *run)
{
    size_t D = a->head_size, ld = a->qkv.out, q = ld / 3;
    for (size_t s = 0; s < run->span_count; s++) {
        const struct span *span = &run->spans[s];
        for (size_t h = 0; h < a->heads; h++) {
            size_t at = span->at * ld + h * D;
            float *dq = w->dqkv + at;
            const float *head = w->qkv + at, *dout = w->y + span->at * q + h * D;
            run->kernels->attention_full_backward(dq, dq + q, dq + 2 * q, ld, dout, q, head, head + q,
                                                  head + 2 * q, ld, span->n, D, a->scale, w->scratch);
        }
    }
}

/* w->y: the gradient of o. */
static void out_backward(struct work *w, const struct encoder_attention *a, const struct run *run,
                         const float *d, struct gradients *g)
{
    size_t C = a->qkv.in, q = a->qkv.out / 3;
    const struct linear_gradients of_out = {{of(run, g, ENCODER_ATTENTION_OUT, C * q)},
                                            {of(run, g, ENCODER_ATTENTION_OUT_BIAS, C)}};
    linear_backward(&a->out, run->kernels, w->y, q, false, &of_out, d, C, w->o, q, run->n);
}

/* Rows [row, row + rows) of W, which are one tensor of the file, as a layer. */
static struct linear one_tensor(const struct linear *l, size_t row, size_t rows)
{
    struct linear one = {.parts = 1, .in = l->in, .out = rows};
    size_t first = 0, i = 0;
    while (row >= first + l->part[i].rows) first += l->part[i++].rows;
    one.part[0].w = l->part[i].w + (row - first) * l->in;
    one.part[0].rows = rows;
    return one;
}

static void qkv_backward(const struct work *w, const struct encoder_attention *a, const struct run *run,
                         const float *x, float *d, struct gradients *g)
{
    size_t C = a->qkv.in, ld = a->qkv.out, q = ld / 3;
    for (int i = 0; i < 3; i++) {
        struct linear one = one_tensor(&a->qkv, (size_t)i * q, q);
        const struct linear_gradients of_one = {{of(run, g, ENCODER_ATTENTION_Q + i, q * C)},
                                                {of(run, g, ENCODER_ATTENTION_Q_BIAS + i, q)}};
        linear_backward(&one, run->kernels, d, C, true, &of_one, w->dqkv + (size_t)i * q, ld, x, C, run->n);
    }
}

thea_rc encoder_attention_backward(const void *self, const struct run *run, const float *x_in, float *d,
                                   struct gradients *g, struct thea_err *err)
{
    const struct encoder_attention *a = self;
    struct work w;
    thea_rc rc = work_init(&w, a, run->n, err);
    if (rc != THEA_OK) return rc;
    recompute(&w, a, run, x_in);
    norm_backward(&w, a, run, x_in, d, g);
    out_backward(&w, a, run, d, g);
    mix_backward(&w, a, run);
    qkv_backward(&w, a, run, x_in, d, g);
    free(w.qkv);
    return THEA_OK;
}
