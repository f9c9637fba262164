/* Block-diagonal GLU feed-forward (M2-BERT): x <- LayerNorm(W_down . (gelu(gate) * lin) + bias + x) with
 * (gate | lin) = W_up . x. Both matrices have n blocks on their diagonal and nothing else, so slice j of the
 * F columns in the middle, F / n wide, is made of two blocks of x and makes one block of the output:
 *
 *   x block j/2        --gate--> [F/n] --gelu--\
 *                                               * --down--> output block j
 *   x block (n + j)/2  --lin---> [F/n] --------/
 *
 * Rows go through in tiles, slice by slice, so that what is between the products stays in the cache. */
#include "nn/blocks/monarch.h"
#include "nn/families/family.h"

#include <stdlib.h>
#include <string.h>

enum { TILE_ROWS = 168 }; /* a multiple of the GEMM kernels' 6 and 14 rows */

struct mlp {
    struct linear gate[MONARCH_BLOCKS_MAX], lin[MONARCH_BLOCKS_MAX], down[MONARCH_BLOCKS_MAX];
    const float *norm, *norm_bias;
    size_t C, F, blocks;
    float eps;
};

static size_t slice_width(const struct mlp *m)
{
    return m->F / m->blocks;
}

/* Columns of x that slice j's gate and lin read, and of the output that it makes. */
static size_t gate_column(const struct mlp *m, size_t j)
{
    return j / 2 * (m->C / m->blocks);
}
static size_t lin_column(const struct mlp *m, size_t j)
{
    return (m->blocks + j) / 2 * (m->C / m->blocks);
}
static size_t out_column(const struct mlp *m, size_t j)
{
    return j * (m->C / m->blocks);
}

static struct linear block_linear(const float *w, size_t rows, size_t in, const float *bias)
{
    return (struct linear){.part = {{w, rows}}, .parts = 1, .in = in, .out = rows, .bias = bias};
}

static void mlp_load(void *self, struct loader *l, const struct model_config *c, const char *prefix,
                     const char *const *names)
{
    struct mlp *m = self;
    size_t C = m->C = c->info.hidden, F = m->F = c->info.feed_forward, n = m->blocks = c->monarch.blocks;
    size_t p = C / n, f = F / n;
    m->eps = c->eps;
    const float *up = loader_tensor(l, prefix, names[MONARCH_MLP_UP], (const uint64_t[]){n, 2 * f, p, 0}),
                *down = loader_tensor(l, prefix, names[MONARCH_MLP_DOWN], (const uint64_t[]){n, p, f, 0}),
                *bias = loader_tensor(l, prefix, names[MONARCH_MLP_DOWN_BIAS], (const uint64_t[]){C, 0});
    m->norm = loader_tensor(l, prefix, names[MONARCH_MLP_NORM], (const uint64_t[]){C, 0});
    m->norm_bias = loader_tensor(l, prefix, names[MONARCH_MLP_NORM_BIAS], (const uint64_t[]){C, 0});
    if (up == NULL || down == NULL || bias == NULL) return;
    for (size_t j = 0; j < n; j++) {
        m->gate[j] = block_linear(up + j * f * p, f, p, NULL);
        m->lin[j] = block_linear(up + (F + j * f) * p, f, p, NULL);
        m->down[j] = block_linear(down + j * p * f, p, f, bias + j * p);
        loader_pack(l, &m->gate[j]);
        loader_pack(l, &m->lin[j]);
        loader_pack(l, &m->down[j]);
    }
}

static size_t no_width(const struct model_config *c)
{
    (void)c;
    return 0;
}

/* A worker's tile: one slice, and the output. */
static size_t tile_floats(const struct model_config *c, const struct kernels *k)
{
    (void)k;
    return TILE_ROWS * (c->info.feed_forward / c->monarch.blocks + c->info.hidden);
}

/* y [n, C] = W_down . (gelu(gate) * lin) + bias of x [n, C]; act [n, f] and scratch (GEMM_SCRATCH) are for a
 * slice. */
static void tile_products(const struct mlp *m, float *y, float *act, const float *x, size_t n, float *scratch)
{
    size_t C = m->C, f = slice_width(m);
    for (size_t j = 0; j < m->blocks; j++) {
        linear_geglu_rows(&m->gate[j], &m->lin[j], act, f, x + gate_column(m, j), x + lin_column(m, j), C, n,
                          scratch);
        linear_rows(&m->down[j], y + out_column(m, j), C, act, f, n, GEMM_STORE, scratch);
    }
}

struct job {
    const struct mlp *m;
    const struct run *run;
};

static void rows_task(void *context, int i, int count)
{
    const struct job *j = context;
    const struct mlp *m = j->m;
    const struct run *r = j->run;
    size_t at, end;
    workers_slice(r->n, TILE_ROWS, i, count, &at, &end);
    float *act = r->scratch + (size_t)i * r->scratch_floats, *y = act + TILE_ROWS * slice_width(m);
    for (size_t n; at < end; at += n) {
        n = end - at < TILE_ROWS ? end - at : TILE_ROWS;
        float *x = r->x + at * m->C;
        tile_products(m, y, act, x, n, workers_scratch(r->workers, i));
        r->kernels->layernorm_forward(x, NULL, NULL, x, y, m->norm, m->norm_bias, n, m->C, m->eps);
    }
}

static void mlp_forward(const void *self, void *state, const struct run *run)
{
    (void)state;
    struct job job = {self, run};
    workers_run(run->workers, rows_task, &job);
}

/* --- backward --- */

/* The gradients' sums, by role. */
struct sums {
    float *up, *down, *down_bias, *norm, *norm_bias;
};

static struct sums sums_of(const struct mlp *m, const struct run *r, struct gradients *g)
{
    size_t C = m->C, F = m->F, p = C / m->blocks;
    return (struct sums){
        .up = gradients_of(g, r->prefix, r->names[MONARCH_MLP_UP], 2 * F * p),
        .down = gradients_of(g, r->prefix, r->names[MONARCH_MLP_DOWN], F * p),
        .down_bias = gradients_of(g, r->prefix, r->names[MONARCH_MLP_DOWN_BIAS], C),
        .norm = gradients_of(g, r->prefix, r->names[MONARCH_MLP_NORM], C),
        .norm_bias = gradients_of(g, r->prefix, r->names[MONARCH_MLP_NORM_BIAS], C),
    };
}

static float *at_or_null(float *sum, size_t at)
{
    return sum != NULL ? sum + at : NULL;
}

/* Rows that go through together, and what is made of them. */
enum { PASS_ROWS = 8 * TILE_ROWS };
struct pass {
    const struct mlp *m;
    const struct run *run;
    const float *x;
    float *d; /* [n,C] */
    size_t n;
    float *up, *act, *dact, *y, *dx; /* [n,2f], [n,f], [n,f], [n,C], [n,C] */
};

static void products_task(const void *context, size_t begin, size_t end, int worker)
{
    const struct pass *p = context;
    size_t C = p->m->C;
    for (size_t n; begin < end; begin += n) {
        n = end - begin < TILE_ROWS ? end - begin : TILE_ROWS;
        tile_products(p->m, p->y + begin * C, p->act + begin * slice_width(p->m), p->x + begin * C, n,
                      workers_scratch(p->run->workers, worker));
    }
}

struct slice {
    const struct pass *p;
    size_t j;
};

static void slice_forward_task(const void *context, size_t begin, size_t end, int worker)
{
    const struct slice *s = context;
    const struct pass *p = s->p;
    const struct mlp *m = p->m;
    size_t C = m->C, f = slice_width(m), n = end - begin;
    const float *x = p->x + begin * C;
    float *up = p->up + begin * 2 * f, *scratch = workers_scratch(p->run->workers, worker);
    linear_rows(&m->gate[s->j], up, 2 * f, x + gate_column(m, s->j), C, n, GEMM_STORE, scratch);
    linear_rows(&m->lin[s->j], up + f, 2 * f, x + lin_column(m, s->j), C, n, GEMM_STORE, scratch);
    p->run->kernels->geglu_forward(p->act + begin * f, f, up, up + f, 2 * f, n, f);
}

static void slice_backward_task(const void *context, size_t begin, size_t end, int worker)
{
    const struct slice *s = context;
    size_t f = slice_width(s->p->m);
    float *up = s->p->up + begin * 2 * f;
    (void)worker;
    s->p->run->kernels->geglu_backward(up, up + f, 2 * f, s->p->dact + begin * f, f, up, up + f, 2 * f,
                                       end - begin, f);
}

/* p->dx += what slice j gives of the gradient p->d of W_down's output. */
static void slice_backward(const struct pass *p, size_t j, const struct sums *s)
{
    const struct mlp *m = p->m;
    const struct kernels *k = p->run->kernels;
    struct workers *workers = p->run->workers;
    struct slice slice = {p, j};
    size_t C = m->C, f = slice_width(m), width = C / m->blocks, gate = gate_column(m, j),
           lin = lin_column(m, j);
    const struct linear_gradients to_down = {{at_or_null(s->down, j * width * f)},
                                             {at_or_null(s->down_bias, j * width)}},
                                  to_gate = {{at_or_null(s->up, j * f * width)}, {NULL}},
                                  to_lin = {{at_or_null(s->up, (m->F + j * f) * width)}, {NULL}};
    run_rows(p->run, p->n, 1, slice_forward_task, &slice);
    linear_backward(&m->down[j], k, workers, p->dact, f, false, &to_down, p->d + out_column(m, j), C, p->act,
                    f, p->n);
    run_rows(p->run, p->n, 1, slice_backward_task, &slice);
    linear_backward(&m->gate[j], k, workers, p->dx + gate, C, true, &to_gate, p->up, 2 * f, p->x + gate, C,
                    p->n);
    linear_backward(&m->lin[j], k, workers, p->dx + lin, C, true, &to_lin, p->up + f, 2 * f, p->x + lin, C,
                    p->n);
}

static thea_rc pass_backward(const struct pass *p, const struct sums *s, struct thea_err *err)
{
    const struct mlp *m = p->m;
    size_t C = m->C;
    run_rows(p->run, p->n, TILE_ROWS, products_task, p);
    thea_rc rc = run_layernorm_backward(p->run, p->d, s->norm, s->norm_bias, p->x, p->y, m->norm, p->dx, p->n,
                                        C, m->eps, err);
    if (rc != THEA_OK) return rc;
    memset(p->dx, 0, p->n * C * sizeof *p->dx);
    for (size_t j = 0; j < m->blocks; j++) slice_backward(p, j, s);
    p->run->kernels->add(p->d, p->dx, p->n * C);
    return THEA_OK;
}

static void lay_out(struct pass *p, float *memory, size_t rows)
{
    size_t f = slice_width(p->m), C = p->m->C;
    p->up = memory;
    p->act = p->up + rows * 2 * f;
    p->dact = p->act + rows * f;
    p->y = p->dact + rows * f;
    p->dx = p->y + rows * C;
}

static thea_rc mlp_backward(const void *self, const struct run *run, const float *x_in, float *d,
                            struct gradients *g, struct thea_err *err)
{
    const struct mlp *m = self;
    size_t rows = run->n < PASS_ROWS ? run->n : PASS_ROWS;
    float *memory = reallocarray(NULL, rows + 1, (4 * slice_width(m) + 2 * m->C) * sizeof *memory);
    if (memory == NULL) return thea_fail(err, THEA_EOS, "out of memory for a backward of %zu rows", rows);
    struct sums s = sums_of(m, run, g);
    struct pass p = {.m = m, .run = run};
    thea_rc rc = THEA_OK;
    lay_out(&p, memory, rows);
    for (size_t at = 0; at < run->n && rc == THEA_OK; at += p.n) {
        p.n = run->n - at < PASS_ROWS ? run->n - at : PASS_ROWS;
        p.x = x_in + at * m->C;
        p.d = d + at * m->C;
        rc = pass_backward(&p, &s, err);
    }
    free(memory);
    return rc;
}

static double mlp_flop(const struct model_config *c, size_t context)
{
    (void)context;
    return 6.0 * (double)c->info.hidden * (double)c->info.feed_forward / (double)c->monarch.blocks;
}

static uint64_t mlp_parameters(const struct model_config *c)
{
    uint64_t C = c->info.hidden, F = c->info.feed_forward;
    return 3 * F * (C / c->monarch.blocks) + 3 * C;
}

const struct sublayer_kind sublayer_monarch_mlp = {
    .name = "monarch mlp",
    .self_size = sizeof(struct mlp),
    .whole = true, /* not for its sake: its tiles are its own, so it takes rows as they come */
    .load = mlp_load,
    .width = no_width,
    .scratch = tile_floats,
    .forward = mlp_forward,
    .backward = mlp_backward,
    .flop = mlp_flop,
    .parameters = mlp_parameters,
};
