/* What all sublayers share: see block.h. */
#include "nn/blocks/block.h"

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

static void sum_task(void *context, int i, int count)
{
    const struct job *j = context;
    const struct run *r = j->run;
    size_t begin, end;
    workers_slice(r->n, 1, i, count, &begin, &end);
    if (begin == end) return;
    float *x = r->x + begin * j->C;
    r->kernels->layernorm_forward(x, NULL, NULL, x, r->norm + begin * j->C, j->w, j->b, end - begin, j->C,
                                  j->eps);
}

void run_layernorm_sum(const struct run *run, const float *w, const float *b, size_t C, float eps)
{
    struct job job = {run, w, b, C, eps};
    workers_run(run->workers, sum_task, &job);
}
