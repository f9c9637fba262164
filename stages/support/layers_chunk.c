/* layers of a causal model: see layers_chunk.h.
 *
 *   tokens ──> cut into chunks ──> embedding ─┐
 *   residual (of the part before) ────────────┴─> layers_run
 */
#include "stages/support/layers_chunk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

thea_rc layers_chunk_begin(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    const struct layers *l = stage_state(st);
    struct layers_document *doc = stage_stream_state(s);
    doc->tokens = malloc(l->step * sizeof *doc->tokens);
    doc->last = calloc(l->hidden, sizeof *doc->last);
    if (doc->tokens == NULL || doc->last == NULL)
        return thea_fail(err, THEA_EOS, "out of memory for a document");
    return model_state_new(&doc->state, l->model, err);
}

void layers_chunk_drop(struct stage_stream *s)
{
    struct layers_document *doc = stage_stream_state(s);
    model_state_free(doc->state);
    free(doc->tokens);
    free(doc->last);
}

/* Run the tokens gathered so far. */
static thea_rc run_tokens(struct stage *st, struct stage_stream *s, bool mark, struct thea_err *err)
{
    struct layers *l = stage_state(st);
    struct layers_document *doc = stage_stream_state(s);
    struct layers_step w = {
        .st = st, .s = s, .l = l, .doc = doc, .tokens = doc->tokens, .n = doc->filled, .mark = mark};
    if (w.n > 0) {
        w.x = layers_room(st, l, w.n);
        thea_rc rc = model_embed(l->model, w.x, doc->tokens, NULL, w.n, doc->position, err);
        if (rc == THEA_OK) rc = layers_run(&w, err);
        if (rc != THEA_OK) return rc;
    }
    doc->filled = 0;
    return mark ? layers_answer_mark(st, s, w.n > 0, err) : THEA_OK;
}

static thea_rc check_position(const struct frame *in, uint64_t expected, struct thea_err *err)
{
    if (in->position == expected) return THEA_OK;
    return thea_fail(err, THEA_EFRAME, "a frame at position %llu came where %llu was next",
                     (unsigned long long)in->position, (unsigned long long)expected);
}

static thea_rc tokens_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                            struct thea_err *err)
{
    struct layers *l = stage_state(st);
    struct layers_document *doc = stage_stream_state(s);
    const struct tensor *ids = frame_tensor(in, "tokens");
    size_t count = ids != NULL ? ids->shape[0] : 0;
    bool flush = port == LAYERS_IN_FEEDBACK || in->kind == FRAME_MARK;
    if (doc->taken == 0 && port == LAYERS_IN_TOKENS && count > 0) {
        thea_rc rc = check_position(in, doc->position + doc->filled, err);
        if (rc != THEA_OK) return rc;
    }
    size_t room = l->step - (doc->position + doc->filled) % l->step, n = count - doc->taken;
    if (n > room) n = room;
    assert(n == 0 || ids != NULL);
    if (n > 0)
        memcpy(doc->tokens + doc->filled, (const int32_t *)ids->data + doc->taken, n * sizeof *doc->tokens);
    doc->filled += n;
    doc->taken += n;
    bool all = doc->taken == count;
    thea_rc rc = n == room || (all && flush) ? run_tokens(st, s, all && flush, err) : THEA_OK;
    if (all) doc->taken = 0;
    return rc != THEA_OK || all ? rc : THEA_AGAIN;
}

/* Tokens beside a residual: one for each row, or none. Copied: what is in a frame may change under us. */
static thea_rc tokens_beside(const int32_t **out, struct layers_document *doc, const struct frame *in,
                             size_t rows, size_t n, struct thea_err *err)
{
    const struct tensor *ids = frame_tensor(in, "tokens");
    *out = NULL;
    if (ids == NULL) return THEA_OK;
    if (ids->dtype != TENSOR_I32 || ids->rank != 1 || ids->shape[0] != rows) {
        char found[128];
        return thea_fail(err, THEA_EFRAME,
                         "tokens beside a residual of %zu rows: expected i32 [%zu], found %s", rows, rows,
                         tensor_describe(found, ids));
    }
    memcpy(doc->tokens, (const int32_t *)ids->data + doc->taken, n * sizeof *doc->tokens);
    *out = doc->tokens;
    return THEA_OK;
}

static thea_rc residual_rows(struct stage *st, struct stage_stream *s, const struct frame *in,
                             const struct tensor *rows, size_t n, bool mark, struct thea_err *err)
{
    struct layers *l = stage_state(st);
    struct layers_document *doc = stage_stream_state(s);
    struct layers_step w = {.st = st, .s = s, .l = l, .doc = doc, .n = n, .mark = mark};
    thea_rc rc = tokens_beside(&w.tokens, doc, in, rows->shape[0], n, err);
    if (rc != THEA_OK) return rc;
    w.x = layers_room(st, l, n);
    memcpy(w.x, (const float *)rows->data + doc->taken * l->hidden, n * l->hidden * sizeof *w.x);
    return layers_run(&w, err);
}

static thea_rc residual_frame(struct stage *st, struct stage_stream *s, const struct frame *in,
                              struct thea_err *err)
{
    struct layers *l = stage_state(st);
    struct layers_document *doc = stage_stream_state(s);
    const struct tensor *rows = frame_tensor(in, "residual");
    size_t count = rows != NULL ? rows->shape[0] : 0, n = count - doc->taken;
    if (count > 0 && doc->taken == 0) {
        thea_rc rc = check_position(in, doc->position, err);
        if (rc != THEA_OK) return rc;
    }
    if (n > l->step) n = l->step;
    assert(n == 0 || rows != NULL);
    bool all = doc->taken + n == count, mark = all && in->kind == FRAME_MARK;
    thea_rc rc = n > 0 ? residual_rows(st, s, in, rows, n, mark, err) : THEA_OK;
    if (rc == THEA_OK && mark) rc = layers_answer_mark(st, s, n > 0, err);
    doc->taken = all ? 0 : doc->taken + n;
    return rc != THEA_OK || all ? rc : THEA_AGAIN;
}

thea_rc layers_chunk_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                           struct thea_err *err)
{
    return port == LAYERS_IN_RESIDUAL ? residual_frame(st, s, in, err) : tokens_frame(st, s, port, in, err);
}

/* The end of a document; at a loop's head the end of its prompt, which becomes a mark, and later the end that
 * comes back. */
thea_rc layers_chunk_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    struct layers_document *doc = stage_stream_state(s);
    if (stage_held(s)) return THEA_OK;
    bool loop = stage_input_connected(st, LAYERS_IN_FEEDBACK);
    thea_rc rc = doc->filled > 0 || loop ? run_tokens(st, s, loop, err) : THEA_OK;
    if (rc != THEA_OK) return rc;
    if (loop) {
        stage_hold(st, s);
    } else if (!doc->marked && doc->position > 0) {
        layers_put_next(st, s);
    }
    return THEA_OK;
}
