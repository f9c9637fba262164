/* Exact search: see search.h. First all scores, and on the way each worker's best `limit`; the limit-th best
 * of all those is the least score that counts, and a second pass over the scores (4 bytes a row) collects the
 * rows that have it. So ties at the end are all there, whoever computed them. */
#include "retrieval/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { BLOCK_ROWS = 64 };

struct heap { /* of the best scores, the least on top */
    float *items;
    size_t count, room;
};

struct search {
    const struct search_rows *rows;
    const float *query;
    const struct kernels *kernels;
    float *scores;      /* [rows]; of holes -inf */
    struct heap *heaps; /* one a worker */
    uint64_t *bad;      /* one a worker: the first row that has no finite score; UINT64_MAX: none */
};

/* --- a heap of scores --- */

static void sift_down(struct heap *h, float value)
{
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < h->count; at = child) {
        if (child + 1 < h->count && h->items[child + 1] < h->items[child]) child++;
        if (h->items[child] >= value) break;
        h->items[at] = h->items[child];
    }
    h->items[at] = value;
}

static void sift_up(struct heap *h, float value)
{
    size_t at = h->count++;
    for (; at > 0 && h->items[(at - 1) / 2] > value; at = (at - 1) / 2) h->items[at] = h->items[(at - 1) / 2];
    h->items[at] = value;
}

static void offer(struct heap *h, float value)
{
    if (h->count < h->room)
        sift_up(h, value);
    else if (value > h->items[0])
        sift_down(h, value);
}

/* --- scores --- */

static bool is_hole(const struct search_rows *rows, uint64_t row)
{
    return rows->holes != NULL && (rows->holes[row / 64] >> row % 64 & 1) != 0;
}

static void take_block(const struct search *s, int worker, uint64_t first, uint64_t n)
{
    for (uint64_t row = first; row < first + n; row++) {
        if (is_hole(s->rows, row))
            s->scores[row] = -INFINITY;
        else if (isfinite(s->scores[row]))
            offer(&s->heaps[worker], s->scores[row]);
        else if (row < s->bad[worker])
            s->bad[worker] = row;
    }
}

static void score_slice(void *context, int worker, int workers)
{
    const struct search *s = context;
    size_t begin, end;
    workers_slice(s->rows->count, BLOCK_ROWS, worker, workers, &begin, &end);
    for (size_t at = begin; at < end; at += BLOCK_ROWS) {
        size_t n = end - at < BLOCK_ROWS ? end - at : BLOCK_ROWS;
        s->kernels->dot_rows(s->scores + at, s->rows->values + at * s->rows->dimension, s->query, n,
                             s->rows->dimension);
        take_block(s, worker, at, n);
    }
}

/* --- the best of them --- */

static int by_score(const void *a, const void *b)
{
    const struct search_found *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return x->row < y->row ? -1 : x->row > y->row;
}

/* The limit-th best score; -inf if there are fewer. */
static float least_score(const struct search *s, int workers, size_t limit)
{
    struct heap *all = &s->heaps[0];
    for (int i = 1; i < workers; i++)
        for (size_t k = 0; k < s->heaps[i].count; k++) offer(all, s->heaps[i].items[k]);
    return all->count < limit ? -INFINITY : all->items[0];
}

static thea_rc collect(struct search_found **out, size_t *count, const struct search *s, float least,
                       struct thea_err *err)
{
    size_t n = 0;
    for (uint64_t row = 0; row < s->rows->count; row++)
        n += s->scores[row] >= least && s->scores[row] > -INFINITY;
    struct search_found *found = calloc(n + 1, sizeof *found);
    if (found == NULL) return thea_fail(err, THEA_EOS, "no memory for %zu results", n);
    n = 0;
    for (uint64_t row = 0; row < s->rows->count; row++)
        if (s->scores[row] >= least && s->scores[row] > -INFINITY)
            found[n++] = (struct search_found){row, s->scores[row]};
    qsort(found, n, sizeof *found, by_score);
    *out = found;
    *count = n;
    return THEA_OK;
}

static thea_rc check_finite(const struct search *s, int workers, struct thea_err *err)
{
    uint64_t bad = UINT64_MAX;
    for (int i = 0; i < workers; i++)
        if (s->bad[i] < bad) bad = s->bad[i];
    if (bad == UINT64_MAX) return THEA_OK;
    return thea_fail(err, THEA_EDATA, "damaged: row %llu has a score that is not finite (%g)",
                     (unsigned long long)bad, (double)s->scores[bad]);
}

/* --- all of it --- */

static thea_rc make_room(struct search *s, int workers, size_t limit, struct thea_err *err)
{
    size_t count = (size_t)workers, bytes = limit * sizeof *s->heaps->items;
    s->scores = malloc((s->rows->count + 1) * sizeof *s->scores);
    s->heaps = calloc(count, sizeof *s->heaps);
    s->bad = malloc(count * sizeof *s->bad);
    bool good = s->scores != NULL && s->heaps != NULL && s->bad != NULL;
    for (size_t i = 0; good && i < count; i++) {
        s->bad[i] = UINT64_MAX;
        s->heaps[i] = (struct heap){.items = malloc(bytes), .room = limit};
        good = s->heaps[i].items != NULL;
    }
    if (good) return THEA_OK;
    return thea_fail(err, THEA_EOS, "no memory to search %llu rows", (unsigned long long)s->rows->count);
}

static void give_back(struct search *s, int workers)
{
    for (int i = 0; s->heaps != NULL && i < workers; i++) free(s->heaps[i].items);
    free(s->heaps);
    free(s->scores);
    free(s->bad);
}

thea_rc search_top(struct search_found **out, size_t *count, const struct search_rows *rows,
                   const float *query, size_t limit, const struct kernels *kernels, struct workers *workers,
                   struct thea_err *err)
{
    int threads = workers_count(workers);
    struct search s = {.rows = rows, .query = query, .kernels = kernels};
    if (limit > rows->count) limit = (size_t)rows->count;
    if (limit == 0) limit = 1;
    thea_rc rc = make_room(&s, threads, limit, err);
    if (rc == THEA_OK) {
        workers_run(workers, score_slice, &s);
        rc = check_finite(&s, threads, err);
    }
    if (rc == THEA_OK) rc = collect(out, count, &s, least_score(&s, threads, limit), err);
    give_back(&s, threads);
    return rc;
}
