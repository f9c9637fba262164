/* One step of `layers`: see layers_step.h. */
#include "stages/support/layers_step.h"

#include <string.h>

static void put_rows(const struct layers_step *w, int port, const char *name, const float *data,
                     size_t columns)
{
    struct tensor t = tensor_2d(name, TENSOR_F32, data, w->n, columns);
    stage_put(w->st, w->s, port, &t);
}

static void put_tokens(const struct layers_step *w, int port)
{
    if (w->tokens == NULL) return;
    struct tensor t = tensor_1d("tokens", TENSOR_I32, w->tokens, w->n);
    stage_put(w->st, w->s, port, &t);
}

static void put_hidden(const struct layers_step *w, size_t number, const float *x)
{
    size_t bytes = w->n * w->l->hidden * sizeof *x;
    float *copy = stage_buffer(w->st, LAYERS_OUT_HIDDEN, bytes);
    memcpy(copy, x, bytes);
    put_rows(w, LAYERS_OUT_HIDDEN, w->l->hidden_names[number], copy, w->l->hidden);
}

static void after_block(void *context, size_t block, const float *x, size_t n)
{
    (void)n;
    put_hidden(context, block + 1, x);
}

/* before [n, hidden]: final states of the positions one earlier. The token at `position` is predicted by the
 * row before it; the document's first has none. */
static thea_rc put_nll(const struct layers_step *w, const float *before, struct thea_err *err)
{
    size_t skip = w->doc->position == 0 ? 1 : 0;
    if (w->tokens == NULL)
        return thea_fail(err, THEA_EFRAME,
                         "nll needs the document's tokens, which did not come along with its residual");
    float *nll = stage_buffer(w->st, LAYERS_OUT_NLL, w->n * sizeof *nll);
    thea_rc rc =
        model_nll(w->l->model, nll, before + skip * w->l->hidden, w->tokens + skip, w->n - skip, err);
    if (rc != THEA_OK) return rc;
    struct tensor t = tensor_1d("nll", TENSOR_F32, nll, w->n - skip);
    stage_put(w->st, w->s, LAYERS_OUT_NLL, &t);
    stage_put_position(w->st, LAYERS_OUT_NLL, w->doc->position + skip);
    put_tokens(w, LAYERS_OUT_NLL);
    return THEA_OK;
}

static void put_logits(const struct layers_step *w, const float *final)
{
    float *logits = stage_buffer(w->st, LAYERS_OUT_LOGITS, w->n * w->l->vocab * sizeof *logits);
    model_logits(w->l->model, logits, final, w->n);
    put_rows(w, LAYERS_OUT_LOGITS, "logits", logits, w->l->vocab);
    put_tokens(w, LAYERS_OUT_LOGITS);
}

void layers_put_next(struct stage *st, struct stage_stream *s)
{
    struct layers *l = stage_state(st);
    struct layers_document *doc = stage_stream_state(s);
    if (!stage_connected(st, LAYERS_OUT_NEXT)) return;
    float *logits = stage_buffer(st, LAYERS_OUT_NEXT, l->vocab * sizeof *logits);
    model_logits(l->model, logits, doc->last, 1);
    struct tensor t = tensor_2d("next", TENSOR_F32, logits, 1, l->vocab);
    stage_put(st, s, LAYERS_OUT_NEXT, &t);
    stage_put_position(st, LAYERS_OUT_NEXT, doc->position - 1);
}

static thea_rc put_head(const struct layers_step *w, struct thea_err *err)
{
    size_t C = w->l->hidden, row = C * sizeof(float);
    float *final = w->l->final + C;
    thea_rc rc = THEA_OK;
    memcpy(w->l->final, w->doc->last, row);
    model_final(w->l->model, final, w->x, w->n);
    if (stage_connected(w->st, LAYERS_OUT_FINAL)) {
        put_rows(w, LAYERS_OUT_FINAL, "final", final, C);
        put_tokens(w, LAYERS_OUT_FINAL);
    }
    if (stage_connected(w->st, LAYERS_OUT_LOGITS)) put_logits(w, final);
    if (stage_connected(w->st, LAYERS_OUT_NLL)) rc = put_nll(w, w->l->final, err);
    memcpy(w->doc->last, final + (w->n - 1) * C, row);
    return rc;
}

static void put_residual(const struct layers_step *w)
{
    put_rows(w, LAYERS_OUT_RESIDUAL, "residual", w->x, w->l->hidden);
    put_tokens(w, LAYERS_OUT_RESIDUAL);
    if (w->mark) stage_put_kind(w->st, LAYERS_OUT_RESIDUAL, FRAME_MARK);
}

/* The room for x: where the next part will read it, if there is one. */
float *layers_room(struct stage *st, struct layers *l, size_t n)
{
    return stage_connected(st, LAYERS_OUT_RESIDUAL)
               ? stage_buffer(st, LAYERS_OUT_RESIDUAL, n * l->hidden * sizeof(float))
               : l->x;
}

/* w->x holds the rows that enter this part. */
thea_rc layers_run(struct layers_step *w, struct thea_err *err)
{
    bool hidden = stage_connected(w->st, LAYERS_OUT_HIDDEN);
    for (int port = 0; port < LAYERS_OUT_COUNT; port++) stage_put_position(w->st, port, w->doc->position);
    if (hidden && model_has_embedding(w->l->model)) put_hidden(w, 0, w->x);
    thea_rc rc = model_forward(w->l->model, w->doc->state, w->x, w->n, hidden ? after_block : NULL, w, err);
    if (rc == THEA_OK && hidden) put_tokens(w, LAYERS_OUT_HIDDEN);
    if (rc == THEA_OK && model_has_head(w->l->model)) {
        rc = put_head(w, err);
    } else if (rc == THEA_OK) {
        put_residual(w);
    }
    if (rc != THEA_OK) return rc;
    w->doc->position += w->n;
    stage_count_tokens(w->st, w->n);
    return THEA_OK;
}

/* "Sample now": the last part answers with the logits of the last position, the others pass the mark on;
 * where there were rows, layers_run has. */
thea_rc layers_answer_mark(struct stage *st, struct stage_stream *s, bool had_rows, struct thea_err *err)
{
    struct layers *l = stage_state(st);
    struct layers_document *doc = stage_stream_state(s);
    doc->marked = true;
    if (doc->position == 0) return thea_fail(err, THEA_EDOC, "an empty prompt has nothing to continue");
    if (model_has_head(l->model)) {
        layers_put_next(st, s);
    } else if (!had_rows) {
        stage_put_kind(st, LAYERS_OUT_RESIDUAL, FRAME_MARK);
    }
    return THEA_OK;
}
