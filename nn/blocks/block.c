/* What all sublayers share: see block.h. */
#include "nn/blocks/block.h"

#include <stdlib.h>

struct job {
    const struct run *run;
    const float *w, *b;
    size_t C;
    float eps;
};

static void rows_task(void *context, int i, int count)
{
    const struct job *j = context;
    size_t begin, end;
    workers_slice(j->run->n, 1, i, count, &begin, &end);
    if (begin == end) return;
    size_t at = begin * j->C;
    j->run->kernels->rmsnorm_forward(j->run->norm + at, NULL, j->run->x + at, j->w, end - begin, j->C,
                                     j->eps);
}

void run_norm(const struct run *run, const float *w, size_t C, float eps)
{
    struct job job = {run, w, NULL, C, eps};
    workers_run(run->workers, rows_task, &job);
}

static void layernorm_task(void *context, int i, int count)
{
    const struct job *j = context;
    const struct run *r = j->run;
    size_t begin, end;
    workers_slice(r->n, 1, i, count, &begin, &end);
    if (begin == end) return;
    float *x = r->x + begin * j->C;
    r->kernels->layernorm_forward(x, NULL, NULL, x, NULL, j->w, j->b, end - begin, j->C, j->eps);
}

void run_layernorm(const struct run *run, const float *w, const float *b, size_t C, float eps)
{
    struct job job = {run, w, b, C, eps};
    workers_run(run->workers, layernorm_task, &job);
}

/* --- rows of any kind --- */

struct rows_job {
    void (*task)(const void *context, size_t begin, size_t end, int worker);
    const void *context;
    size_t n, grain;
};

static void share_task(void *context, int i, int count)
{
    const struct rows_job *j = context;
    size_t begin, end;
    workers_slice(j->n, j->grain, i, count, &begin, &end);
    if (begin < end) j->task(j->context, begin, end, i);
}

void run_rows(const struct run *run, size_t n, size_t grain,
              void (*task)(const void *context, size_t begin, size_t end, int worker), const void *context)
{
    struct rows_job job = {task, context, n, grain};
    workers_run(run->workers, share_task, &job);
}

/* --- backward of a LayerNorm: rows in pieces, each with sums of its own, which are added up in order --- */

enum { NORM_ROWS = 256 };

struct norm_job {
    const struct kernels *k;
    float *d, *y, *sums; /* [pieces]: dw, db [C], and mean, rstd of a piece's rows */
    const float *x, *r, *w;
    size_t n, C;
    float eps;
};

static size_t sums_floats(size_t C)
{
    return (2 * (C + NORM_ROWS) + 15) / 16 * 16;
}

static void norm_task(const void *context, size_t begin, size_t end, int worker)
{
    const struct norm_job *j = context;
    (void)worker;
    for (size_t n; begin < end; begin += n) {
        n = end - begin < NORM_ROWS ? end - begin : NORM_ROWS;
        size_t at = begin * j->C;
        float *dw = j->sums + begin / NORM_ROWS * sums_floats(j->C), *db = dw + j->C, *mean = db + j->C,
              *rstd = mean + NORM_ROWS;
        const float *r = j->r != NULL ? j->r + at : NULL;
        j->k->layernorm_forward(j->y + at, mean, rstd, j->x + at, r, j->w, NULL, n, j->C, j->eps);
        j->k->layernorm_backward(j->d + at, dw, db, j->d + at, j->x + at, r, j->w, mean, rstd, n, j->C);
    }
}

thea_rc run_layernorm_backward(const struct run *run, float *d, float *dw, float *db, const float *x,
                               const float *r, const float *w, float *y, size_t n, size_t C, float eps,
                               struct thea_err *err)
{
    size_t pieces = (n + NORM_ROWS - 1) / NORM_ROWS;
    struct norm_job job = {
        run->kernels, d, y, calloc(pieces + 1, sums_floats(C) * sizeof(float)), x, r, w, n, C, eps};
    if (job.sums == NULL) return thea_fail(err, THEA_EOS, "out of memory for a backward of %zu rows", n);
    run_rows(run, n, NORM_ROWS, norm_task, &job);
    for (size_t i = 0; i < pieces; i++) {
        const float *sums = job.sums + i * sums_floats(C);
        if (dw != NULL) run->kernels->add(dw, sums, C);
        if (db != NULL) run->kernels->add(db, sums + C, C);
    }
    free(job.sums);
    return THEA_OK;
}
