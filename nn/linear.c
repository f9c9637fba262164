/* Linear layers over workers: see linear.h. */
#include "nn/linear.h"
#include <assert.h>

enum {
    COLUMN_GRAIN = 64,
    ROWS_A_WORKER = 48, /* below that a packed layer's workers share columns */
    BACKWARD_ROWS = 192,
    BACKWARD_COLUMNS = 64, /* of a piece: they decide the bits, so no worker does */
};
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

bool linear_shares_rows(const struct workers *workers, size_t n)
{
    return n >= (size_t)workers_count(workers) * ROWS_A_WORKER;
}

static void packed_task(void *context, int i, int count)
{
    const struct job *j = context;
    float *scratch = workers_scratch(j->workers, i);
    size_t begin, end;
    if (linear_shares_rows(j->workers, j->n)) {
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

/* A backward on its way through the workers, in pieces: rows of dx; rows of a part's dw with their biases. */
struct backward_job {
    const struct linear *l;
    const struct kernels *k;
    const struct linear_gradients *g;
    float *dx;
    const float *dy, *x;
    size_t lddx, lddy, ldx, n;
    bool add;
};

static size_t pieces(size_t total, size_t each)
{
    return (total + each - 1) / each;
}

static void input_piece(const struct backward_job *j, size_t begin, size_t end)
{
    const struct linear *l = j->l;
    const float *dy = j->dy + begin * j->lddy;
    for (size_t i = 0; i < l->parts; dy += l->part[i++].rows)
        j->k->matmul_backward_input(j->dx + begin * j->lddx, j->lddx, dy, j->lddy, l->part[i].w, l->in,
                                    end - begin, l->part[i].rows, l->in, j->add || i > 0 ? 1 : 0);
}

/* Rows [begin, end) of part i, whose first column of dy is `first`. */
static void weight_piece(const struct backward_job *j, size_t i, size_t first, size_t begin, size_t end)
{
    const float *dy = j->dy + first + begin;
    float *w = j->g->w[i], *bias = j->g->bias[i];
    if (w != NULL)
        j->k->matmul_backward_weight(w + begin * j->l->in, j->l->in, dy, j->lddy, j->x, j->ldx, j->n,
                                     end - begin, j->l->in);
    if (bias != NULL) add_columns(bias + begin, dy, j->lddy, j->n, end - begin);
}

static void backward_task(void *context, int worker, int count)
{
    const struct backward_job *j = context;
    size_t at, end;
    workers_slice(j->dx != NULL ? pieces(j->n, BACKWARD_ROWS) : 0, 1, worker, count, &at, &end);
    for (; at < end; at++) {
        size_t last = (at + 1) * BACKWARD_ROWS;
        input_piece(j, at * BACKWARD_ROWS, last < j->n ? last : j->n);
    }
    for (size_t i = 0, first = 0; j->g != NULL && i < j->l->parts; first += j->l->part[i++].rows) {
        size_t rows = j->l->part[i].rows;
        workers_slice(pieces(rows, BACKWARD_COLUMNS), 1, count - 1 - worker, count, &at, &end);
        for (; at < end; at++) {
            size_t last = (at + 1) * BACKWARD_COLUMNS;
            weight_piece(j, i, first, at * BACKWARD_COLUMNS, last < rows ? last : rows);
        }
    }
}

void linear_backward(const struct linear *l, const struct kernels *k, struct workers *workers, float *dx,
                     size_t lddx, bool add, const struct linear_gradients *g, const float *dy, size_t lddy,
                     const float *x, size_t ldx, size_t n)
{
    struct backward_job job = {.l = l, .k = k, .g = g, .dx = dx, .dy = dy, .x = x};
    job.lddx = lddx, job.lddy = lddy, job.ldx = ldx, job.n = n, job.add = add;
    workers_run(workers, backward_task, &job);
}
