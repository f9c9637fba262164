/* Hits: see index.h. Ids of all rows that are among the best are looked up, so that ties are settled by id;
 * texts only of those that are left. */
#include "retrieval/index_impl.h"
#include "retrieval/search.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static char *copy(const char *text, size_t n)
{
    char *to = text != NULL ? malloc(n + 1) : NULL;
    if (text == NULL) return NULL;
    if (to == NULL) abort();
    memcpy(to, text, n);
    to[n] = '\0';
    return to;
}

static void hit_fini(struct index_hit *hit)
{
    free(hit->id);
    free(hit->path);
    free(hit->text);
}

void index_hits_fini(struct index_hits *hits)
{
    for (size_t i = 0; i < hits->count; i++) hit_fini(&hits->items[i]);
    free(hits->items);
    *hits = (struct index_hits){0};
}

static int by_score_and_id(const void *a, const void *b)
{
    const struct index_hit *x = a, *y = b;
    if (x->score != y->score) return x->score > y->score ? -1 : 1;
    return strcmp(x->id, y->id);
}

static thea_rc check_query(const struct index_reader *r, const float *query, size_t dimension,
                           struct thea_err *err)
{
    if (dimension != r->info.model.dimension)
        return thea_fail(err, THEA_EDATA, "the query has %zu numbers; the index's vectors have %llu",
                         dimension, (unsigned long long)r->info.model.dimension);
    for (size_t i = 0; i < dimension; i++)
        if (!isfinite(query[i])) return thea_fail(err, THEA_EDATA, "the query's vector is not finite");
    return THEA_OK;
}

static thea_rc find_ids(struct index_hits *hits, struct index_reader *r, const struct search_found *found,
                        size_t count, struct thea_err *err)
{
    struct db_query *q = NULL;
    hits->items = calloc(count + 1, sizeof *hits->items);
    if (hits->items == NULL) abort();
    thea_rc rc = db_prepare(&q, r->db, "SELECT id FROM documents WHERE row = ?1", err);
    for (size_t i = 0; rc == THEA_OK && i < count; i++) {
        size_t n;
        db_bind_int(q, 1, (int64_t)found[i].row);
        rc = db_step(q, err);
        if (rc == THEA_DONE)
            rc = thea_fail(err, THEA_EDATA, "damaged: row %llu is neither a document's nor a hole",
                           (unsigned long long)found[i].row);
        if (rc != THEA_OK) break;
        const char *id = db_text(q, 0, &n);
        if (id == NULL)
            rc = thea_fail(err, THEA_EDATA, "damaged: the document in row %llu has no id",
                           (unsigned long long)found[i].row);
        else
            hits->items[hits->count++] = (struct index_hit){.score = found[i].score, .id = copy(id, n)};
        db_reset(q);
    }
    db_finish(q);
    return rc;
}

static thea_rc find_texts(struct index_hits *hits, struct index_reader *r, struct thea_err *err)
{
    struct db_query *q = NULL;
    thea_rc rc = db_prepare(&q, r->db, "SELECT path, text FROM documents WHERE id = ?1", err);
    for (size_t i = 0; rc == THEA_OK && i < hits->count; i++) {
        struct index_hit *hit = &hits->items[i];
        size_t n;
        db_bind_string(q, 1, hit->id);
        rc = db_step(q, err);
        if (rc == THEA_DONE)
            rc = thea_fail(err, THEA_EDATA, "damaged: there is no document '%s', but a row of it", hit->id);
        if (rc != THEA_OK) break;
        const char *path = db_text(q, 0, &n);
        hit->path = copy(path, n);
        const char *text = db_text(q, 1, &hit->text_len);
        hit->text = copy(text, hit->text_len);
        db_reset(q);
    }
    db_finish(q);
    return rc;
}

static void keep_best(struct index_hits *hits, size_t limit)
{
    qsort(hits->items, hits->count, sizeof *hits->items, by_score_and_id);
    while (hits->count > limit) hit_fini(&hits->items[--hits->count]);
}

thea_rc index_search(struct index_hits *out, struct index_reader *r, const float *query, size_t dimension,
                     size_t limit, const struct kernels *kernels, struct workers *workers,
                     struct thea_err *err)
{
    struct search_found *found = NULL;
    size_t count = 0;
    struct search_rows rows = {r->rows, r->info.rows, r->info.model.dimension, r->holes};
    *out = (struct index_hits){0};
    thea_rc rc = check_query(r, query, dimension, err);
    if (rc == THEA_OK) rc = search_top(&found, &count, &rows, query, limit, kernels, workers, err);
    if (rc == THEA_OK) rc = find_ids(out, r, found, count, err);
    if (rc == THEA_OK) {
        keep_best(out, limit);
        rc = find_texts(out, r, err);
    }
    free(found);
    if (rc == THEA_OK) return rc;
    index_hits_fini(out);
    return index_fail(rc, r->dir, err);
}
