/* An encoder's feed-forward, post-norm: x <- LayerNorm(x + W_down . f(W_up . x)), with biases; f is GELU or
 * ReLU. Rows go through all of it in strips, so that what is between the products stays in the cache. */
#include "nn/blocks/block.h"
#include "nn/families/family.h"

#include <stdlib.h>
#include <string.h>

struct mlp {
    struct linear up, down;
    const float *norm, *norm_bias;
    size_t C, F;
    float eps;
    activation activation;
};

static void mlp_load(void *self, struct loader *l, const struct model_config *c, const char *prefix,
                     const char *const *names)
{
    struct mlp *m = self;
    m->C = c->info.hidden;
    m->F = c->info.feed_forward;
    m->eps = c->eps;
    m->activation = c->activation;
    loader_linear(l, &m->up, prefix, names + ENCODER_MLP_UP, names + ENCODER_MLP_UP_BIAS, &m->F, 1, m->C);
    loader_linear(l, &m->down, prefix, names + ENCODER_MLP_DOWN, names + ENCODER_MLP_DOWN_BIAS, &m->C, 1,
                  m->F);
    loader_pack(l, &m->up);
    loader_pack(l, &m->down);
    m->norm = loader_tensor(l, prefix, names[ENCODER_MLP_NORM], (const uint64_t[]){m->C, 0});
    m->norm_bias = loader_tensor(l, prefix, names[ENCODER_MLP_NORM_BIAS], (const uint64_t[]){m->C, 0});
}

static size_t mlp_width(const struct model_config *c)
{
    return c->info.feed_forward;
}

/* y [n, F] = f(x [n, F]); y may be x. */
static void activate(const struct mlp *m, const struct kernels *k, float *y, const float *x, size_t n)
{
    size_t F = m->F;
    switch (m->activation) {
    case ACTIVATION_GELU: k->gelu_forward(y, F, x, F, n, F); break;
    case ACTIVATION_GELU_TANH: k->gelu_tanh_forward(y, F, x, F, n, F); break;
    case ACTIVATION_RELU:
        for (size_t i = 0; i < n * F; i++) y[i] = x[i] < 0 ? 0 : x[i];
        break;
    }
}

/* d [n, F] of f's output becomes that of its input x. */
static void activate_backward(const struct mlp *m, const struct kernels *k, float *d, const float *x,
                              size_t n)
{
    size_t F = m->F;
    switch (m->activation) {
    case ACTIVATION_GELU: k->gelu_backward(d, F, d, F, x, F, n, F); break;
    case ACTIVATION_GELU_TANH: k->gelu_tanh_backward(d, F, d, F, x, F, n, F); break;
    case ACTIVATION_RELU:
        for (size_t i = 0; i < n * F; i++) d[i] = x[i] > 0 ? d[i] : 0;
        break;
    }
}

/* f over rows: y of x, or back: y, the gradient of f's output, becomes that of x. */
struct job {
    const struct mlp *m;
    const struct kernels *k;
    float *y;
    const float *x;
};

static void activate_task(const void *context, size_t begin, size_t end, int worker)
{
    const struct job *j = context;
    size_t at = begin * j->m->F;
    (void)worker;
    activate(j->m, j->k, j->y + at, j->x + at, end - begin);
}

static void activate_backward_task(const void *context, size_t begin, size_t end, int worker)
{
    const struct job *j = context;
    size_t at = begin * j->m->F;
    (void)worker;
    activate_backward(j->m, j->k, j->y + at, j->x + at, end - begin);
}

/* Too few rows for the workers: they share columns. */
static void forward_together(const struct mlp *m, const struct run *run)
{
    if (m->activation == ACTIVATION_GELU) {
        linear_gelu(&m->up, run->kernels, run->workers, run->wide, m->F, run->x, m->C, run->n);
    } else {
        linear_forward(&m->up, run->kernels, run->workers, run->wide, m->F, run->x, m->C, run->n, false);
        run_rows(run, run->n, 1, activate_task, &(struct job){m, run->kernels, run->wide, run->wide});
    }
    linear_forward(&m->down, run->kernels, run->workers, run->x, m->C, run->wide, m->F, run->n, true);
    run_layernorm(run, m->norm, m->norm_bias, m->C, m->eps);
}

/* Rows [at, at + n), between the products in the memory of rows `first` and following. */
static void forward_strip(const struct mlp *m, const struct run *r, size_t first, size_t at, size_t n,
                          float *scratch)
{
    float *x = r->x + at * m->C, *wide = r->wide + first * m->F;
    bool gelu = m->activation == ACTIVATION_GELU;
    linear_rows(&m->up, wide, m->F, x, m->C, n, gelu ? GEMM_GELU : GEMM_STORE, scratch);
    if (!gelu) activate(m, r->kernels, wide, wide, n);
    linear_rows(&m->down, x, m->C, wide, m->F, n, GEMM_ADD, scratch);
    r->kernels->layernorm_forward(x, NULL, NULL, x, NULL, m->norm, m->norm_bias, n, m->C, m->eps);
}

struct strips {
    const struct mlp *m;
    const struct run *run;
};

static void strips_task(const void *context, size_t begin, size_t end, int worker)
{
    const struct strips *s = context;
    for (size_t at = begin, n; at < end; at += n) {
        n = strip_rows(end - at);
        forward_strip(s->m, s->run, begin, at, n, workers_scratch(s->run->workers, worker));
    }
}

static void mlp_forward(const void *self, void *state, const struct run *run)
{
    (void)state;
    const struct mlp *m = self;
    if (linear_shares_rows(run->workers, run->n))
        run_rows(run, run->n, 1, strips_task, &(struct strips){m, run});
    else
        forward_together(m, run);
}

/* What forward made, and gradients. */
struct work {
    float *up, *act, *dact; /* [n, F] before and after f, and the gradient of either */
    float *sum, *y;         /* [n, C] */
};

static thea_rc work_init(struct work *w, const struct mlp *m, size_t n, struct thea_err *err)
{
    float *at = reallocarray(NULL, n, (3 * m->F + 2 * m->C) * sizeof *at);
    if (at == NULL) return thea_fail(err, THEA_EOS, "out of memory for a backward of %zu rows", n);
    w->up = at, at += n * m->F;
    w->act = at, at += n * m->F;
    w->dact = at, at += n * m->F;
    w->sum = at, at += n * m->C;
    w->y = at;
    return THEA_OK;
}

static float *of(const struct run *run, struct gradients *g, int role, size_t n)
{
    return gradients_of(g, run->prefix, run->names[role], n);
}

static thea_rc mlp_backward_with(struct work *w, const struct mlp *m, const struct run *run, const float *x,
                                 float *d, struct gradients *g, struct thea_err *err)
{
    const struct kernels *k = run->kernels;
    size_t n = run->n, C = m->C, F = m->F;
    linear_forward(&m->up, k, run->workers, w->up, F, x, C, n, false);
    run_rows(run, n, 1, activate_task, &(struct job){m, k, w->act, w->up});
    linear_forward(&m->down, k, run->workers, w->sum, C, w->act, F, n, false);
    thea_rc rc =
        run_layernorm_backward(run, d, of(run, g, ENCODER_MLP_NORM, C), of(run, g, ENCODER_MLP_NORM_BIAS, C),
                               x, w->sum, m->norm, w->y, n, C, m->eps, err);
    if (rc != THEA_OK) return rc;
    const struct linear_gradients of_down = {{of(run, g, ENCODER_MLP_DOWN, C * F)},
                                             {of(run, g, ENCODER_MLP_DOWN_BIAS, C)}},
                                  of_up = {{of(run, g, ENCODER_MLP_UP, F * C)},
                                           {of(run, g, ENCODER_MLP_UP_BIAS, F)}};
    linear_backward(&m->down, k, run->workers, w->dact, F, false, &of_down, d, C, w->act, F, n);
    run_rows(run, n, 1, activate_backward_task, &(struct job){m, k, w->dact, w->up});
    linear_backward(&m->up, k, run->workers, d, C, true, &of_up, w->dact, F, x, C, n);
    return THEA_OK;
}

static thea_rc mlp_backward(const void *self, const struct run *run, const float *x_in, float *d,
                            struct gradients *g, struct thea_err *err)
{
    struct work w;
    thea_rc rc = work_init(&w, self, run->n, err);
    if (rc != THEA_OK) return rc;
    rc = mlp_backward_with(&w, self, run, x_in, d, g, err);
    free(w.up);
    return rc;
}

static double mlp_flop(const struct model_config *c, size_t context)
{
    (void)context;
    return 4.0 * (double)c->info.hidden * (double)c->info.feed_forward;
}

static uint64_t mlp_parameters(const struct model_config *c)
{
    uint64_t C = c->info.hidden, F = c->info.feed_forward;
    return 2 * C * F + F + C + 2 * C;
}

const struct sublayer_kind sublayer_encoder_mlp = {
    .name = "encoder feed-forward",
    .self_size = sizeof(struct mlp),
    .load = mlp_load,
    .width = mlp_width,
    .forward = mlp_forward,
    .backward = mlp_backward,
    .flop = mlp_flop,
    .parameters = mlp_parameters,
};
