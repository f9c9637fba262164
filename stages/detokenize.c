/* detokenize: token ids back to text, whole characters as soon as they are certain. */
#include "graph/wire/stage.h"
#include "stages/support/model_tokenizer.h"

#include <stdlib.h>

enum { PORT_TEXT = 0 };

struct detokenize {
    const char *model;
    bool special, echo;
    struct tokenizer *tokenizer;
};

struct document {
    struct token_decoder *decoder;
    struct buf text;   /* of the frame being made */
    uint64_t position; /* bytes that have left */
    bool begun;        /* tokens have come */
};

static const struct stage_option detokenize_options[] = {
    {.name = "model",
     .type = VALUE_MODEL,
     .offset = offsetof(struct detokenize, model),
     .meaning = "whose tokenizer.json (or vocab.txt) to use (default: $THEA_MODEL)",
     .flags = STAGE_REQUIRED},
    {.name = "special",
     .type = VALUE_BOOL,
     .def = "true",
     .offset = offsetof(struct detokenize, special),
     .meaning = "keep special tokens in the text"},
    {.name = "echo",
     .type = VALUE_BOOL,
     .def = "false",
     .offset = offsetof(struct detokenize, echo),
     .meaning = "before a continuation, the text that is continued (it rides with the first token)"},
    {0},
};
static const struct stage_port detokenize_inputs[] = {
    {.name = "tokens",
     .dtype = TENSOR_I32,
     .shape = "n",
     .meaning = "token ids, as many at a time as there are"},
    {0},
};
static const struct stage_port detokenize_outputs[] = {
    {.name = "text",
     .dtype = TENSOR_U8,
     .shape = "n",
     .flags = STAGE_DEFAULT,
     .meaning = "decoded text, whole characters; position counts its bytes"},
    {0},
};
static const char *const detokenize_examples[] = {
    "thea load --format tokens ids.jsonl | thea detokenize -m MODEL --no-special | thea write --format text",
    NULL,
};

static thea_rc detokenize_describe(struct stage *st, struct stage_describe *d, struct thea_err *err)
{
    const struct detokenize *state = stage_state(st);
    return model_tokenizer_describe(d, state->model, err);
}

static thea_rc detokenize_open(struct stage *st, struct thea_err *err)
{
    struct detokenize *state = stage_state(st);
    return model_tokenizer_open(&state->tokenizer, state->model, err);
}

static thea_rc detokenize_begin(struct stage *st, struct stage_stream *s, const struct frame *in,
                                struct thea_err *err)
{
    (void)in;
    const struct detokenize *state = stage_state(st);
    struct document *d = stage_stream_state(s);
    return token_decoder_new(&d->decoder, state->tokenizer, !state->special, err);
}

static void put_text(struct stage *st, struct stage_stream *s, struct document *d)
{
    struct tensor text = tensor_1d("text", TENSOR_U8, buf_text(&d->text), d->text.len);
    stage_put(st, s, PORT_TEXT, &text);
    stage_put_position(st, PORT_TEXT, d->position);
    d->position += d->text.len;
}

/* Some decoders take the space off a text's first word. A continuation's first word is in the middle of a
 * text: let them have seen one. */
static thea_rc skip_beginning(const struct detokenize *state, struct document *d, struct thea_err *err)
{
    struct token_list word = {0};
    thea_rc rc = tokenizer_encode(state->tokenizer, "a", 1, false, &word, err);
    if (rc == THEA_OK) rc = token_decoder_push(d->decoder, word.ids, word.count, &d->text, err);
    buf_clear(&d->text);
    token_list_fini(&word);
    return rc;
}

/* Tokens at position 0 are a whole text's; others, with text beside them, continue that text. */
static thea_rc begin_text(const struct detokenize *state, struct document *d, const struct frame *in,
                          struct thea_err *err)
{
    const struct tensor *before = frame_tensor(in, "text");
    d->begun = true;
    if (in->position == 0 || before == NULL || before->size_bytes == 0) return THEA_OK;
    thea_rc rc = skip_beginning(state, d, err);
    if (rc == THEA_OK && state->echo) buf_add(&d->text, before->data, before->size_bytes);
    return rc;
}

/* Text that came with the tokens is the source's: ours takes its place, even while there is none yet. */
static thea_rc detokenize_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                                struct thea_err *err)
{
    (void)port;
    struct document *d = stage_stream_state(s);
    const struct tensor *tokens = frame_tensor(in, "tokens");
    if (tokens == NULL) return THEA_OK;
    buf_clear(&d->text);
    thea_rc rc = d->begun ? THEA_OK : begin_text(stage_state(st), d, in, err);
    if (rc == THEA_OK)
        rc = token_decoder_push(d->decoder, tokens->data, (size_t)tokens->shape[0], &d->text, err);
    if (rc != THEA_OK) return rc;
    if (d->text.len > 0 || frame_tensor(in, "text") != NULL) put_text(st, s, d);
    stage_count_tokens(st, tokens->shape[0]);
    return THEA_OK;
}

static thea_rc detokenize_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    struct document *d = stage_stream_state(s);
    buf_clear(&d->text);
    thea_rc rc = token_decoder_flush(d->decoder, &d->text, err);
    if (rc == THEA_OK && d->text.len > 0) put_text(st, s, d);
    return rc;
}

static void detokenize_drop(struct stage *st, struct stage_stream *s)
{
    (void)st;
    struct document *d = stage_stream_state(s);
    token_decoder_free(d->decoder);
    buf_fini(&d->text);
}

static void detokenize_close(struct stage *st)
{
    struct detokenize *state = stage_state(st);
    tokenizer_close(state->tokenizer);
}

const struct stage_ops detokenize_ops = {
    .kind = "detokenize",
    .summary = "token ids to text",
    .examples = detokenize_examples,
    .options = detokenize_options,
    .inputs = detokenize_inputs,
    .outputs = detokenize_outputs,
    .state_size = sizeof(struct detokenize),
    .stream_size = sizeof(struct document),
    .describe = detokenize_describe,
    .open = detokenize_open,
    .begin = detokenize_begin,
    .frame = detokenize_frame,
    .end = detokenize_end,
    .drop = detokenize_drop,
    .close = detokenize_close,
};
STAGE_MAIN(detokenize_ops);
