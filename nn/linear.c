/* Linear layers over workers: see linear.h. */
#include "nn/linear.h"

enum { COLUMN_GRAIN = 64 };

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

struct job {
    const struct linear *l;
    const struct kernels *k;
    float *y;
    const float *x;
    size_t ldy, ldx, n;
    bool add;
};

static void columns_task(void *context, int i, int count)
{
    const struct job *j = context;
    size_t begin, end;
    workers_slice(j->l->out, COLUMN_GRAIN, i, count, &begin, &end);
    if (begin < end) linear_columns(j->l, j->k, j->y + begin, j->ldy, j->x, j->ldx, j->n, begin, end, j->add);
}

void linear_forward(const struct linear *l, const struct kernels *k, struct workers *workers, float *y,
                    size_t ldy, const float *x, size_t ldx, size_t n, bool add)
{
    struct job job = {l, k, y, x, ldy, ldx, n, add};
    workers_run(workers, columns_task, &job);
}
