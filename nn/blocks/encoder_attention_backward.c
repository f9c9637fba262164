/* Backward of an encoder's attention: see encoder_attention.c. */
#include "nn/blocks/encoder_attention.h"

#include <stdlib.h>
#include <string.h>

/* What forward made, and gradients: rows of the batch. */
struct work {
    float *qkv;  /* [n, 3q] */
    float *o;    /* [n, q]: attention's output */
    float *sum;  /* [n, C]: out(o) */
    float *y;    /* [n, C]: LayerNorm(x + sum); after that the gradient of o, [n, q] */
    float *dqkv; /* [n, 3q] */
};

static thea_rc work_init(struct work *w, const struct encoder_attention *a, size_t n, struct thea_err *err)
{
    size_t C = a->qkv.in, ld = a->qkv.out, q = ld / 3, y = C > q ? C : q;
    float *at = reallocarray(NULL, n, (2 * ld + q + C + y) * sizeof *at);
    if (at == NULL) return thea_fail(err, THEA_EOS, "out of memory for a backward of %zu rows", n);
    w->qkv = at, at += n * ld;
    w->o = at, at += n * q;
    w->sum = at, at += n * C;
    w->y = at, at += n * y;
    w->dqkv = at;
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
static thea_rc norm_backward(struct work *w, const struct encoder_attention *a, const struct run *run,
                             const float *x, float *d, struct gradients *g, struct thea_err *err)
{
    size_t C = a->qkv.in;
    return run_layernorm_backward(run, d, of(run, g, ENCODER_ATTENTION_NORM, C),
                                  of(run, g, ENCODER_ATTENTION_NORM_BIAS, C), x, w->sum, a->norm, w->y,
                                  run->n, C, a->eps, err);
}

struct job {
    const struct work *w;
    const struct encoder_attention *a;
    const struct run *run;
};

/* One head of one document: w->dqkv, of the gradient of o in w->y. The scratch has room for a document's keys
 * and values, so for two numbers a row. */
static void head_backward(const void *context, const struct span *s, size_t head, float *scratch)
{
    const struct job *j = context;
    const struct work *w = j->w;
    size_t D = j->a->head_size, ld = j->a->qkv.out, q = ld / 3, at = s->at * ld + head * D;
    float *dq = w->dqkv + at;
    const float *of_head = w->qkv + at, *dout = w->y + s->at * q + head * D;
    j->run->kernels->attention_full_backward(dq, dq + q, dq + 2 * q, ld, dout, q, of_head, of_head + q,
                                             of_head + 2 * q, ld, s->n, D, j->a->scale, scratch);
}

static void mix_backward_task(void *context, int i, int count)
{
    const struct job *j = context;
    encoder_attention_share(j->a, j->run, i, count, head_backward, j);
}

static void mix_backward(const struct work *w, const struct encoder_attention *a, const struct run *run)
{
    struct job job = {w, a, run};
    workers_run(run->workers, mix_backward_task, &job);
}

/* w->y: the gradient of o. */
static void out_backward(struct work *w, const struct encoder_attention *a, const struct run *run,
                         const float *d, struct gradients *g)
{
    size_t C = a->qkv.in, q = a->qkv.out / 3;
    const struct linear_gradients of_out = {{of(run, g, ENCODER_ATTENTION_OUT, C * q)},
                                            {of(run, g, ENCODER_ATTENTION_OUT_BIAS, C)}};
    linear_backward(&a->out, run->kernels, run->workers, w->y, q, false, &of_out, d, C, w->o, q, run->n);
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
        linear_backward(&one, run->kernels, run->workers, d, C, true, &of_one, w->dqkv + (size_t)i * q, ld, x,
                        C, run->n);
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
    rc = norm_backward(&w, a, run, x_in, d, g, err);
    if (rc == THEA_OK) {
        out_backward(&w, a, run, d, g);
        mix_backward(&w, a, run);
        qkv_backward(&w, a, run, x_in, d, g);
    }
    free(w.qkv);
    return rc;
}
