/* layers of an encoder: see layers_encode.h.
 *
 *   frames ──> gathered document ──end──> cut, filled up ──> waits ──batch──> its rows of x ──end──> frames
 *
 * Invariant: a document's rows do not depend on its batch mates: nn/model.h promises that of model_encode,
 * and all else here is done for each document by itself. */
#include "stages/support/layers_encode.h"

#include "graph/value.h"
#include "nn/pages.h"
#include "stages/support/model_tokenizer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

static bool is_number(const char *text)
{
    return text[0] != '\0' && strspn(text, "0123456789_") == strlen(text);
}

thea_rc layers_read_pad(size_t *out, const char *pad, const struct model_info *info, struct thea_err *err)
{
    bool family = pad == NULL, fills = info->padding == MODEL_PAD_MAX;
    *out = family && fills ? info->context : 0;
    if (family || strcmp(pad, "none") == 0) return THEA_OK;
    if (info->causal || !fills)
        return thea_fail(err, THEA_EUSAGE, "--pad %s: %s\n  accepted  none", pad,
                         info->causal
                             ? "a causal model's documents are not filled up"
                             : "this model's attention passes padding over, so it would change nothing");
    if (strcmp(pad, "max") == 0) {
        *out = info->context;
        return THEA_OK;
    }
    struct value v;
    struct value_limits limits = {1, (double)info->context, NULL};
    if (!is_number(pad) || value_parse(&v, VALUE_INT, &limits, pad, err) != THEA_OK)
        return thea_fail(err, THEA_EUSAGE,
                         "--pad '%s'\n  accepted  max, none, or a number of 1 to %zu tokens", pad,
                         info->context);
    *out = (size_t)v.integer;
    return THEA_OK;
}

/* `--rows first` is about what the last block gives; the parts before it give every row on. */
static thea_rc read_rows(const struct stage *st, struct layers *l, struct thea_err *err)
{
    l->batched.first_only = l->rows == LAYERS_GIVE_FIRST && model_has_head(l->model);
    if (!l->batched.first_only || !stage_connected(st, LAYERS_OUT_HIDDEN)) return THEA_OK;
    return thea_fail(err, THEA_EUSAGE,
                     "--rows first: hidden has every position, and no block is done for some of them\n  "
                     "accepted  --rows all");
}

thea_rc layers_encode_open(struct stage *st, struct thea_err *err)
{
    struct layers *l = stage_state(st);
    struct layers_batch *b = &l->batched;
    size_t most = model_batch_rows(l->model);
    b->budget = (size_t)l->batch < most ? (size_t)l->batch : most;
    thea_rc rc = read_rows(st, l, err);
    return rc == THEA_OK ? layers_read_pad(&b->pad, l->pad, model_info(l->model), err) : rc;
}

void layers_encode_close(struct layers *l)
{
    free(l->batched.waiting);
    free(l->batched.spans);
    pages_free(l->batched.x, l->batched.x_bytes);
    free(l->batched.hidden);
}

struct layers_gathered *layers_gathered_of(struct stage_stream *s)
{
    return &((struct layers_document *)stage_stream_state(s))->gathered;
}

void layers_encode_drop(struct stage *st, struct stage_stream *s)
{
    struct layers_batch *b = &((struct layers *)stage_state(st))->batched;
    struct layers_gathered *g = layers_gathered_of(s);
    size_t kept = 0;
    for (size_t i = 0; i < b->count; i++) {
        if (b->waiting[i] == s)
            b->rows -= g->rows;
        else
            b->waiting[kept++] = b->waiting[i];
    }
    b->count = kept;
    free(g->tokens);
    free(g->residual);
}

/* --- gathering --- */

/* Room for `rows` rows: doubled, so that a document is moved a few times only. */
static thea_rc make_room(const struct layers *l, struct layers_gathered *g, size_t rows, struct thea_err *err)
{
    if (rows <= g->room) return THEA_OK;
    size_t context = model_info(l->model)->context, room = 2 * g->room;
    if (room > context) room = context;
    if (room < rows) room = rows;
    int32_t *tokens = reallocarray(g->tokens, room, sizeof *tokens);
    if (tokens != NULL) g->tokens = tokens;
    float *residual =
        model_has_embedding(l->model) ? NULL : reallocarray(g->residual, room, l->hidden * sizeof *residual);
    if (residual != NULL) g->residual = residual;
    if (tokens == NULL || (residual == NULL && !model_has_embedding(l->model)))
        return thea_fail(err, THEA_EOS, "out of memory for a document of %zu positions", rows);
    g->room = room;
    return THEA_OK;
}

static thea_rc check_position(const struct frame *in, const struct layers_gathered *g, struct thea_err *err)
{
    if (in->position == g->came) return THEA_OK;
    return thea_fail(err, THEA_EFRAME, "a frame at position %" PRIu64 " came where %" PRIu64 " was next",
                     in->position, g->came);
}

/* Of a document that is too long only its front is needed, and its last token if that is [SEP]; and of what
 * passes by only what is beside its front, or the memory for a document would have no bound. */
static thea_rc gather_tokens(struct stage *st, struct layers_gathered *g, const struct frame *in,
                             struct thea_err *err)
{
    const struct layers *l = stage_state(st);
    const struct tensor *ids = frame_tensor(in, "tokens");
    size_t n = ids != NULL ? ids->shape[0] : 0, most = model_info(l->model)->max_length;
    if (n == 0) return THEA_OK;
    thea_rc rc = check_position(in, g, err);
    size_t keep = most - g->rows < n ? most - g->rows : n;
    if (rc == THEA_OK) rc = make_room(l, g, g->rows + keep, err);
    if (rc != THEA_OK) return rc;
    if (keep == 0) stage_pass_nothing(st);
    const int32_t *tokens = ids->data;
    memcpy(g->tokens + g->rows, tokens, keep * sizeof *tokens);
    g->rows += keep;
    g->came += n;
    g->last = tokens[n - 1];
    g->has_tokens = true;
    return THEA_OK;
}

static thea_rc check_beside(const struct layers_gathered *g, const struct tensor *ids, size_t n,
                            struct thea_err *err)
{
    if (g->rows > 0 && g->has_tokens != (ids != NULL))
        return thea_fail(err, THEA_EFRAME,
                         "tokens came beside some rows of a residual and not beside others (from row %zu on)",
                         g->rows);
    if (ids == NULL || (ids->dtype == TENSOR_I32 && ids->rank == 1 && ids->shape[0] == n)) return THEA_OK;
    char found[128];
    return thea_fail(err, THEA_EFRAME, "tokens beside a residual of %zu rows: expected i32 [%zu], found %s",
                     n, n, tensor_describe(found, ids));
}

static thea_rc gather_residual(const struct layers *l, struct layers_gathered *g, const struct frame *in,
                               struct thea_err *err)
{
    const struct tensor *rows = frame_tensor(in, "residual"), *ids = frame_tensor(in, "tokens");
    size_t n = rows != NULL ? rows->shape[0] : 0, context = model_info(l->model)->context;
    if (n == 0) return THEA_OK;
    thea_rc rc = check_position(in, g, err);
    if (rc == THEA_OK) rc = check_beside(g, ids, n, err);
    if (rc == THEA_OK && n > context - g->rows)
        rc = thea_fail(err, THEA_EDOC, "longer than the model's %zu positions (max_position_embeddings)",
                       context);
    if (rc == THEA_OK) rc = make_room(l, g, g->rows + n, err);
    if (rc != THEA_OK) return rc;
    assert(rows != NULL);
    memcpy(g->residual + g->rows * l->hidden, rows->data, n * l->hidden * sizeof *g->residual);
    if (ids != NULL) memcpy(g->tokens + g->rows, ids->data, n * sizeof *g->tokens);
    g->has_tokens = ids != NULL;
    g->rows += n;
    g->came += n;
    return THEA_OK;
}

thea_rc layers_encode_frame(struct stage *st, struct stage_stream *s, const struct frame *in,
                            struct thea_err *err)
{
    const struct layers *l = stage_state(st);
    if (in->kind == FRAME_MARK)
        return thea_fail(err, THEA_EFRAME, "an encoder has no next token: it cannot be in a loop");
    return model_has_embedding(l->model) ? gather_tokens(st, layers_gathered_of(s), in, err)
                                         : gather_residual(l, layers_gathered_of(s), in, err);
}

/* --- a whole document --- */

/* Is this the token that ends a document of this model ([SEP])? Its tokenizer knows, which is asked when the
 * first document is cut. Ids for a model without one were made elsewhere, for models whose tokenizers end
 * documents. */
static bool ends_document(struct layers *l, int32_t token)
{
    struct layers_batch *b = &l->batched;
    if (!b->asked_closing) b->knows_closing = model_tokenizer_closing(&b->closing, l->dir);
    b->asked_closing = true;
    return !b->knows_closing || token == b->closing;
}

/* [SEP] ends what is left of a document, where it ended the whole: one that was made without special tokens
 * has a word there, which belongs to no other place. */
static void cut(struct stage *st, struct stage_stream *s, struct layers_gathered *g)
{
    if (g->came <= g->rows) return;
    if (ends_document(stage_state(st), g->last)) g->tokens[g->rows - 1] = g->last;
    stage_put_int(st, s, LAYERS_TRUNCATED_FROM, (int64_t)g->came);
}

static thea_rc fill_up(struct stage *st, struct stage_stream *s, struct layers_gathered *g,
                       struct thea_err *err)
{
    const struct layers *l = stage_state(st);
    size_t to = l->batched.pad, from = g->rows;
    if (from >= to) return THEA_OK;
    thea_rc rc = make_room(l, g, to, err);
    if (rc != THEA_OK) return rc;
    while (g->rows < to) g->tokens[g->rows++] = model_info(l->model)->pad;
    stage_put_int(st, s, LAYERS_PADDED_FROM, (int64_t)from);
    stage_put_int(st, s, LAYERS_PADDED_TO, (int64_t)to);
    return THEA_OK;
}

static thea_rc check_tokens(const struct layers *l, const struct layers_gathered *g, struct thea_err *err)
{
    for (size_t i = 0; i < g->rows; i++) {
        if (g->tokens[i] >= 0 && (size_t)g->tokens[i] < l->vocab) continue;
        return thea_fail(err, THEA_EDOC, "token %d is not in the vocabulary of %zu", g->tokens[i], l->vocab);
    }
    return THEA_OK;
}

static thea_rc wait_for_batch(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    struct layers_batch *b = &((struct layers *)stage_state(st))->batched;
    if (b->count == b->room) {
        size_t room = b->room > 0 ? 2 * b->room : 64;
        struct stage_stream **grown = reallocarray(b->waiting, room, sizeof(void *));
        if (grown == NULL) return thea_fail(err, THEA_EOS, "out of memory");
        b->waiting = grown;
        b->room = room;
    }
    b->waiting[b->count++] = s;
    b->rows += layers_gathered_of(s)->rows;
    stage_gather(st, s);
    return THEA_OK;
}

static thea_rc whole(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    struct layers_gathered *g = layers_gathered_of(s);
    const struct layers *l = stage_state(st);
    thea_rc rc = THEA_OK;
    if (g->rows == 0) return thea_fail(err, THEA_EDOC, "an empty document has nothing to encode");
    if (model_has_embedding(l->model)) {
        cut(st, s, g);
        rc = check_tokens(l, g, err);
        if (rc == THEA_OK) rc = fill_up(st, s, g, err);
    }
    return rc == THEA_OK ? wait_for_batch(st, s, err) : rc;
}

thea_rc layers_encode_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    return stage_gathered(s) ? layers_encode_leave(st, s) : whole(st, s, err);
}
