/* Linear layers over workers: see linear.h. */
#include "nn/linear.h"
#include <assert.h>

enum { COLUMN_GRAIN = 64, ROWS_A_WORKER = 48 /* below that a packed layer's workers share columns */ };
_Static_assert((size_t)WORKERS_SCRATCH >= (size_t)GEMM_SCRATCH,
               "a worker's scratch serves the packed product");

void linear_columns(const struct linear *l, const struct kernels *k, float *y, size_t ldy, const float *x,
                    size_t ldx, size_t n, size_t begin, size_t end, bool add)
{
    size_t first = 0; /* row of W where this part begins */
    for (size_t i = 0; i < l->parts; first += l->part[i].rows, i++) {
        size_t from = begin > first ? begin : first;
        size_t last = first + l->part[i].rows;
        size_t to = end < last ? end : last;
        if (from >= to) continue;
        k->matmul(y + (from - begin), ldy, x, ldx, l->part[i].w + (from - first) * l->in, l->in, n, to - from,
                  l->in, add ? 1 : 0);
    }
    if (l->bias != NULL && end > begin) k->add_bias(y, ldy, l->bias + begin, n, end - begin);
}

/* A product on its way through the workers. */
struct job {
    const struct linear *l, *up; /* up: the linear part of a GLU, NULL if it is none */
    const struct kernels *k;
    struct workers *workers;
    float *y;
    const float *x, *x_up;
    size_t ldy, ldx, n;
    gemm_epilogue epilogue;
};

static void columns_task(void *context, int i, int count)
{
    const struct job *j = context;
    size_t begin, end;
    workers_slice(j->l->out, COLUMN_GRAIN, i, count, &begin, &end);
    if (begin == end) return;
    linear_columns(j->l, j->k, j->y + begin, j->ldy, j->x, j->ldx, j->n, begin, end, j->epilogue == GEMM_ADD);
    if (j->epilogue == GEMM_GELU)
        j->k->gelu_forward(j->y + begin, j->ldy, j->y + begin, j->ldy, j->n, end - begin);
}

static struct gemm_weights weights_of(const struct linear *l)
{
    return (struct gemm_weights){l->panels, l->bias, l->out, l->in};
}

/* Rows [m0, m1), columns [n0, n1). */
static void multiply_packed(const struct job *j, size_t m0, size_t m1, size_t n0, size_t n1, float *scratch)
{
    const struct kernels *k = j->l->packed_for;
    struct gemm_weights w = weights_of(j->l);
    float *y = j->y + m0 * j->ldy;
    const float *x = j->x + m0 * j->ldx;
    if (m0 >= m1 || n0 >= n1) return;
    if (j->up == NULL) {
        k->gemm(y, j->ldy, x, j->ldx, &w, m1 - m0, n0, n1, j->epilogue, scratch);
        return;
    }
    struct gemm_weights up = weights_of(j->up);
    k->gemm_geglu(y, j->ldy, x, j->x_up + m0 * j->ldx, j->ldx, &w, &up, m1 - m0, n0, n1, scratch);
}

static void packed_task(void *context, int i, int count)
{
    const struct job *j = context;
    float *scratch = workers_scratch(j->workers, i);
    size_t begin, end;
    if (j->n >= (size_t)count * ROWS_A_WORKER) {
        workers_slice(j->n, 1, i, count, &begin, &end);
        multiply_packed(j, begin, end, 0, j->l->out, scratch);
    } else {
        workers_slice(j->l->out, j->l->packed_for->gemm_width, i, count, &begin, &end);
        multiply_packed(j, 0, j->n, begin, end, scratch);
    }
}

static void forward(struct job *job)
{
    workers_run(job->workers, job->l->panels != NULL ? packed_task : columns_task, job);
}

void linear_forward(const struct linear *l, const struct kernels *k, struct workers *workers, float *y,
                    size_t ldy, const float *x, size_t ldx, size_t n, bool add)
{
    forward(&(struct job){l, NULL, k, workers, y, x, NULL, ldy, ldx, n, add ? GEMM_ADD : GEMM_STORE});
}

void linear_gelu(const struct linear *l, const struct kernels *k, struct workers *workers, float *y,
                 size_t ldy, const float *x, size_t ldx, size_t n)
{
    forward(&(struct job){l, NULL, k, workers, y, x, NULL, ldy, ldx, n, GEMM_GELU});
}

void linear_geglu(const struct linear *gate, const struct linear *up, struct workers *workers, float *y,
                  size_t ldy, const float *x_gate, const float *x_up, size_t ldx, size_t n)
{
    assert(gate->panels != NULL && up->panels != NULL && gate->packed_for == up->packed_for);
    forward(&(struct job){gate, up, gate->packed_for, workers, y, x_gate, x_up, ldy, ldx, n, GEMM_STORE});
}

void linear_rows(const struct linear *l, float *y, size_t ldy, const float *x, size_t ldx, size_t n,
                 gemm_epilogue epilogue, float *scratch)
{
    assert(l->panels != NULL);
    struct job job = {l, NULL, l->packed_for, NULL, y, x, NULL, ldy, ldx, n, epilogue};
    multiply_packed(&job, 0, n, 0, l->out, scratch);
}

void linear_geglu_rows(const struct linear *gate, const struct linear *up, float *y, size_t ldy,
                       const float *x_gate, const float *x_up, size_t ldx, size_t n, float *scratch)
{
    assert(gate->panels != NULL && up->panels != NULL && gate->packed_for == up->packed_for);
    struct job job = {gate, up, gate->packed_for, NULL, y, x_gate, x_up, ldy, ldx, n, GEMM_STORE};
    multiply_packed(&job, 0, n, 0, gate->out, scratch);
}

static bool complete(const struct linear *l)
{
    for (size_t i = 0; i < l->parts; i++)
        if (l->part[i].w == NULL) return false;
    return l->parts > 0;
}

size_t linear_packed_floats(const struct linear *l, const struct kernels *k)
{
    return complete(l) ? gemm_floats(k, l->out, l->in) : 0;
}

void linear_pack(struct linear *l, const struct kernels *k, float *memory)
{
    if (!complete(l)) return;
    size_t first = 0;
    for (size_t i = 0; i < l->parts; first += l->part[i].rows, i++)
        gemm_pack(k, memory, l->part[i].w, l->in, first, l->part[i].rows, l->out, l->in);
    l->panels = memory;
    l->packed_for = k;
}

static void add_columns(float *sum, const float *dy, size_t lddy, size_t n, size_t columns)
{
    for (size_t i = 0; i < n; i++)
        for (size_t c = 0; c < columns; c++) sum[c] += dy[i * lddy + c];
}

void linear_backward(const struct linear *l, const struct kernels *k, float *dx, size_t lddx, bool add,
                     const struct linear_gradients *g, const float *dy, size_t lddy, const float *x,
                     size_t ldx, size_t n)
{
    size_t first = 0;
    for (size_t i = 0; i < l->parts; first += l->part[i].rows, i++) {
        size_t rows = l->part[i].rows;
        const float *d = dy + first;
        if (dx != NULL)
            k->matmul_backward_input(dx, lddx, d, lddy, l->part[i].w, l->in, n, rows, l->in,
                                     add || i > 0 ? 1 : 0);
        if (g != NULL && g->w[i] != NULL)
            k->matmul_backward_weight(g->w[i], l->in, d, lddy, x, ldx, n, rows, l->in);
        if (g != NULL && g->bias[i] != NULL) add_columns(g->bias[i], d, lddy, n, rows);
    }
}
