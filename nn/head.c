/* The head: see head.h. Each worker runs through its share of the vocabulary in tiles, with a running max and
 * sum a row; shares are joined in the workers' order. */
#include "nn/head.h"

#include "nn/families/family.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { ROWS = 512, COLUMNS = 2048, GRAIN = 64 };

thea_rc head_load(struct head *h, struct loader *l, const struct model_config *c, struct workers *workers,
                  struct thea_err *err)
{
    *h = (struct head){
        .C = c->info.hidden, .V = c->info.vocab, .eps = c->eps, .kernels = l->kernels, .workers = workers};
    const char *name = c->info.tied ? c->embedding_name : c->head_name;
    h->norm = loader_tensor(l, "", c->final_norm_name, (const uint64_t[]){h->C, 0});
    loader_linear(l, &h->logits, "", &name, NULL, &h->V, 1, h->C);
    size_t columns = h->V < COLUMNS ? (h->V + 15) / 16 * 16 : COLUMNS;
    h->worker_floats = ROWS * (columns + 3);
    h->memory = aligned_alloc(64, h->worker_floats * sizeof(float) * (size_t)workers_count(workers));
    return h->memory != NULL ? THEA_OK : thea_fail(err, THEA_EOS, "out of memory for the head's tiles");
}

void head_free(struct head *h)
{
    free(h->memory);
}

struct norm_job {
    const struct head *h;
    float *y;
    const float *x;
    size_t n;
};

static void norm_task(void *context, int i, int count)
{
    const struct norm_job *j = context;
    size_t begin, end, C = j->h->C;
    workers_slice(j->n, 1, i, count, &begin, &end);
    if (begin < end)
        j->h->kernels->rmsnorm_forward(j->y + begin * C, NULL, j->x + begin * C, j->h->norm, end - begin, C,
                                       j->h->eps);
}

void head_norm(const struct head *h, float *y, const float *x, size_t n)
{
    struct norm_job job = {h, y, x, n};
    workers_run(h->workers, norm_task, &job);
}

struct nll_job {
    const struct head *h;
    const float *final;
    const int32_t *targets;
    size_t n; /* <= ROWS */
};

struct share { /* one worker's statistics of the rows */
    float *tile, *max, *sum, *target;
};

static struct share share_of(const struct head *h, int i)
{
    float *memory = h->memory + (size_t)i * h->worker_floats, *rows = memory + h->worker_floats - 3 * ROWS;
    return (struct share){memory, rows, rows + ROWS, rows + 2 * ROWS};
}

static void vocabulary_task(void *context, int i, int count)
{
    const struct nll_job *j = context;
    const struct head *h = j->h;
    struct share s = share_of(h, i);
    for (size_t t = 0; t < j->n; t++) {
        s.max[t] = -INFINITY;
        s.sum[t] = 0;
        s.target[t] = -INFINITY; /* not in this share */
    }
    size_t begin, end;
    workers_slice(h->V, GRAIN, i, count, &begin, &end);
    for (size_t v = begin; v < end; v += COLUMNS) {
        size_t width = end - v < COLUMNS ? end - v : COLUMNS;
        linear_columns(&h->logits, h->kernels, s.tile, width, j->final, h->C, j->n, v, v + width, false);
        h->kernels->logsumexp_update(s.max, s.sum, s.tile, width, j->n, width);
        for (size_t t = 0; t < j->n; t++) {
            size_t target = (size_t)j->targets[t];
            if (target >= v && target < v + width) s.target[t] = s.tile[t * width + (target - v)];
        }
    }
}

static float join_shares(const struct head *h, size_t t)
{
    int count = workers_count(h->workers);
    float max = -INFINITY, target = -INFINITY;
    bool broken = false; /* NaN logits give NaN, not a plausible number */
    for (int i = 0; i < count; i++) {
        struct share s = share_of(h, i);
        broken = broken || isnan(s.sum[t]) || isnan(s.target[t]);
        max = fmaxf(max, s.max[t]);
        target = fmaxf(target, s.target[t]);
    }
    double sum = 0;
    for (int i = 0; i < count; i++) {
        struct share s = share_of(h, i);
        if (s.sum[t] > 0) sum += s.sum[t] * exp((double)s.max[t] - max);
    }
    return broken ? NAN : (float)((double)max - target + log(sum));
}

void head_nll(const struct head *h, float *nll, const float *final, const int32_t *targets, size_t n)
{
    size_t tiles = (n + ROWS - 1) / ROWS;
    for (size_t i = 0, at = 0; i < tiles; i++) {
        size_t rows = (n - at + (tiles - i) - 1) / (tiles - i); /* even tiles: no short last one */
        struct nll_job job = {h, final + at * h->C, targets + at, rows};
        workers_run(h->workers, vocabulary_task, &job);
        for (size_t t = 0; t < rows; t++) nll[at + t] = join_shares(h, t);
        at += rows;
    }
}
