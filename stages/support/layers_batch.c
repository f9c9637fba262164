/* An encoder's batches: which documents, their rows through this part's blocks, and what leaves of each. See
 * layers_encode.c. */
#include "stages/support/layers_encode.h"

#include "graph/log.h"
#include "graph/value.h"
#include "nn/pages.h"

#include <stdlib.h>
#include <string.h>

static thea_rc resize_batch(struct stage *st, struct layers *l, size_t rows, struct thea_err *err)
{
    struct layers_batch *b = &l->batched;
    size_t blocks = model_last(l->model) - model_first(l->model) + 2,
           bytes = rows * l->hidden * sizeof(float);
    if (rows <= b->x_rows) return THEA_OK;
    pages_free(b->x, b->x_bytes);
    free(b->hidden);
    b->hidden = NULL;
    b->x_rows = 0;
    b->x_bytes = bytes;
    b->x = pages_new(bytes);
    bool hidden = stage_connected(st, LAYERS_OUT_HIDDEN);
    if (hidden) b->hidden = reallocarray(NULL, blocks, bytes);
    if (b->x == NULL || (hidden && b->hidden == NULL))
        return thea_fail(err, THEA_EOS, "out of memory for a batch of %zu positions", rows);
    b->x_rows = rows;
    return THEA_OK;
}

/* The first so many that fit the budget; one at least. */
static size_t choose(const struct layers_batch *b, size_t *rows)
{
    size_t count = 0;
    for (*rows = 0; count < b->count; count++) {
        size_t more = layers_gathered_of(b->waiting[count])->rows;
        if (count > 0 && *rows + more > b->budget) break;
        *rows += more;
    }
    return count;
}

/* The document's rows that enter this part's first block. */
static thea_rc enter(struct layers *l, struct layers_gathered *g, struct thea_err *err)
{
    float *x = l->batched.x + g->at * l->hidden;
    if (model_has_embedding(l->model)) return model_embed(l->model, x, g->tokens, NULL, g->rows, 0, err);
    memcpy(x, g->residual, g->rows * l->hidden * sizeof *x);
    free(g->residual);
    g->residual = NULL;
    return THEA_OK;
}

static thea_rc fill_batch(struct stage *st, struct layers *l, size_t count, struct thea_err *err)
{
    struct layers_batch *b = &l->batched;
    struct span *spans = reallocarray(b->spans, count, sizeof *spans);
    if (spans == NULL) return thea_fail(err, THEA_EOS, "out of memory");
    b->spans = spans;
    thea_rc rc = THEA_OK;
    for (size_t i = 0, at = 0; rc == THEA_OK && i < count; i++) {
        struct layers_gathered *g = layers_gathered_of(b->waiting[i]);
        g->at = at;
        spans[i] = (struct span){at, g->rows};
        at += g->rows;
        stage_working_with(st, b->waiting[i]);
        rc = enter(l, g, err);
    }
    return rc;
}

static void keep_hidden(struct layers *l, size_t number, const float *x, size_t n)
{
    struct layers_batch *b = &l->batched;
    if (b->hidden == NULL) return;
    size_t at = number - model_first(l->model);
    memcpy(b->hidden + at * b->x_rows * l->hidden, x, n * l->hidden * sizeof *x);
}

static void after_block(void *context, size_t block, const float *x, size_t n)
{
    keep_hidden(context, block + 1, x, n);
}

/* Once, when it begins to cost: with the second batch. A limit of 0 is meant. */
static void advise(struct layers *l)
{
    struct layers_batch *b = &l->batched;
    uint64_t wanted = model_filters_wanted(l->model), unit = 64 << 20;
    char limit[32], enough[32];
    if (b->many && !b->advised && wanted > 0 && l->filter_memory > 0) {
        b->advised = true;
        thea_warning("filter_memory %s cannot keep the filters of all blocks: they are made again for each "
                     "batch\n  try  filter_memory: %s, if the machine has it",
                     value_format_exact(limit, VALUE_SIZE, l->filter_memory),
                     value_format_exact(enough, VALUE_SIZE, (int64_t)((wanted + unit - 1) / unit * unit)));
    }
    b->many = true;
}

/* Of each document its first row is left, where model_encode_first has put it. */
static void keep_first(const struct layers_batch *b, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct layers_gathered *g = layers_gathered_of(b->waiting[i]);
        g->left_out = g->rows - 1;
        g->at = i;
        g->rows = 1;
    }
}

static thea_rc run_batch(struct stage *st, struct layers *l, size_t count, size_t rows, struct thea_err *err)
{
    struct layers_batch *b = &l->batched;
    thea_rc rc = resize_batch(st, l, rows, err);
    if (rc == THEA_OK) rc = fill_batch(st, l, count, err);
    if (rc != THEA_OK) return rc;
    stage_working_on(st, "a batch of %zu documents, %zu positions", count, rows);
    keep_hidden(l, model_first(l->model), b->x, rows);
    if (b->first_only) {
        rc = model_encode_first(l->model, b->x, rows, b->spans, count, err);
        keep_first(b, count);
    } else {
        rc = model_encode(l->model, b->x, rows, b->spans, count, after_block, l, err);
    }
    if (rc == THEA_OK) advise(l);
    return rc;
}

thea_rc layers_encode_batch(struct stage *st, bool idle, struct thea_err *err)
{
    struct layers *l = stage_state(st);
    struct layers_batch *b = &l->batched;
    if (!idle && b->rows < b->budget) return THEA_OK;
    size_t rows, count = choose(b, &rows);
    thea_rc rc = run_batch(st, l, count, rows, err);
    if (rc != THEA_OK) return rc;
    for (size_t i = 0; i < count; i++) stage_ready(st, b->waiting[i]);
    b->count -= count;
    b->rows -= rows;
    memmove(b->waiting, b->waiting + count, b->count * sizeof *b->waiting);
    return THEA_OK;
}

/* --- what leaves --- */

static void put(struct stage *st, struct stage_stream *s, int port, const char *name, const float *rows,
                size_t n)
{
    size_t C = ((const struct layers *)stage_state(st))->hidden, bytes = n * C * sizeof *rows;
    float *copy = stage_buffer(st, port, bytes);
    memcpy(copy, rows, bytes);
    struct tensor t = tensor_2d(name, TENSOR_F32, copy, n, C);
    stage_put(st, s, port, &t);
}

static void put_tokens(struct stage *st, struct stage_stream *s, int port, size_t n)
{
    const struct layers_gathered *g = layers_gathered_of(s);
    stage_put_position(st, port, g->sent);
    if (!g->has_tokens) return;
    struct tensor t = tensor_1d("tokens", TENSOR_I32, g->tokens + g->sent, n);
    stage_put(st, s, port, &t);
}

static void put_hidden(struct stage *st, struct stage_stream *s, size_t at, size_t n)
{
    const struct layers *l = stage_state(st);
    size_t first = model_first(l->model), last = model_last(l->model);
    for (size_t i = model_has_embedding(l->model) ? first : first + 1; i <= last + 1; i++) {
        const float *rows = l->batched.hidden + ((i - first) * l->batched.x_rows + at) * l->hidden;
        put(st, s, LAYERS_OUT_HIDDEN, l->hidden_names[i], rows, n);
    }
    put_tokens(st, s, LAYERS_OUT_HIDDEN, n);
}

/* The next rows of a document whose batch has run; AGAIN while there are more. */
thea_rc layers_encode_leave(struct stage *st, struct stage_stream *s)
{
    const struct layers *l = stage_state(st);
    struct layers_gathered *g = layers_gathered_of(s);
    size_t left = g->rows - g->sent, n = left < l->step ? left : l->step, at = g->at + g->sent;
    int port = model_has_head(l->model) ? LAYERS_OUT_FINAL : LAYERS_OUT_RESIDUAL;
    if (stage_connected(st, port)) {
        put(st, s, port, port == LAYERS_OUT_FINAL ? "final" : "residual", l->batched.x + at * l->hidden, n);
        put_tokens(st, s, port, n);
    }
    if (stage_connected(st, LAYERS_OUT_HIDDEN)) put_hidden(st, s, at, n);
    if (l->batched.first_only) stage_put_text(st, s, LAYERS_ROWS, LAYERS_ROWS_FIRST);
    g->sent += n;
    stage_count_tokens(st, n + g->left_out);
    return g->sent < g->rows ? THEA_AGAIN : THEA_OK;
}
