/* tokenize: documents of text to token ids; those that are ids already pass. A document is gathered whole
 * (merges and normalizers may look any distance ahead); at its end it is encoded and leaves, step by step, in
 * frames of at most FRAME_TOKENS, each with the text its tokens cover. A prompt is encoded with the text, as
 * one, but is no part of it: its tokens cover nothing. */
#include "graph/json.h"
#include "graph/wire/stage.h"
#include "stages/support/model_tokenizer.h"

#include <stdlib.h>
#include <string.h>

enum { PORT_TOKENS = 0, FRAME_TOKENS = 4096 };
enum { PORT_DOCS, PORT_IDS };

struct tokenize {
    const char *model;
    const char *wanted; /* option prompt */
    bool special;
    struct tokenizer *tokenizer;
    char *prompt; /* "": none */
    size_t prompt_len;
};

struct document {
    struct buf text; /* begins with the prompt, as soon as it has text */
    size_t prompt;   /* bytes of that */
    struct token_walk walk;
    struct token_list tokens; /* those made last */
    size_t taken;             /* of them have left */
    size_t sent;              /* tokens that have left */
    size_t text_sent;         /* bytes of text that have, from the prompt's end on */
    bool encoded;             /* there are no more tokens than those */
    size_t passed;            /* ids that came as ids */
};

static const struct stage_option tokenize_options[] = {
    {.name = "model",
     .type = VALUE_MODEL,
     .offset = offsetof(struct tokenize, model),
     .meaning = "whose tokenizer.json (or vocab.txt) to use (default: $THEA_MODEL)",
     .flags = STAGE_REQUIRED},
    {.name = "special",
     .type = VALUE_BOOL,
     .def = "true",
     .offset = offsetof(struct tokenize, special),
     .meaning = "add the special tokens the model expects around a text (those written in the text are found "
                "either way)"},
    {.name = "prompt",
     .type = VALUE_TEXT,
     .offset = offsetof(struct tokenize, wanted),
     .meaning = "put in front of each text: query, document or another name that "
                "config_sentence_transformers.json has one by, or the prompt itself; default: what that file "
                "says"},
    {0},
};
static const struct stage_port tokenize_inputs[] = {
    {.name = "docs",
     .dtype = TENSOR_U8,
     .shape = "n",
     .tensor = "text",
     .meaning = "text of documents, UTF-8"},
    {.name = "ids",
     .dtype = TENSOR_I32,
     .shape = "n",
     .tensor = "tokens",
     .meaning = "documents that are token ids already: they pass as they are",
     .flags = STAGE_OPTIONAL},
    {0},
};
static const struct stage_port tokenize_outputs[] = {
    {.name = "tokens",
     .dtype = TENSOR_I32,
     .shape = "n",
     .flags = STAGE_DEFAULT,
     .meaning = "token ids; with them text, and ends: byte offsets after each"},
    {0},
};
static const char *const tokenize_examples[] = {
    "thea load notes/*.md | thea tokenize -m MODEL | thea layers -m MODEL | thea score | thea write",
    "thea load --format jsonl texts.jsonl | thea tokenize -m MODEL --no-special | thea write --format jsonl",
    NULL,
};

static thea_rc tokenize_describe(struct stage *st, struct stage_describe *d, struct thea_err *err)
{
    const struct tokenize *state = stage_state(st);
    char *prompt = NULL;
    thea_rc rc = model_tokenizer_describe(d, state->model, err);
    if (rc == THEA_OK && state->model != NULL)
        rc = model_tokenizer_prompt(&prompt, state->model, state->wanted, err);
    if (rc == THEA_OK && prompt != NULL && prompt[0] != '\0')
        stage_describe_note(d, "prompt", json_new_string(prompt));
    free(prompt);
    return rc;
}

static thea_rc tokenize_open(struct stage *st, struct thea_err *err)
{
    struct tokenize *state = stage_state(st);
    thea_rc rc = model_tokenizer_open(&state->tokenizer, state->model, err);
    if (rc == THEA_OK) rc = model_tokenizer_prompt(&state->prompt, state->model, state->wanted, err);
    if (rc == THEA_OK) state->prompt_len = strlen(state->prompt);
    return rc;
}

static thea_rc pass_ids(struct stage *st, struct stage_stream *s, struct document *d, const struct frame *in,
                        struct thea_err *err)
{
    const struct tensor *ids = frame_tensor(in, "tokens");
    if (ids == NULL) return THEA_OK;
    if (d->text.len > 0) return thea_fail(err, THEA_EDOC, "both text and token ids came of it");
    size_t n = (size_t)ids->shape[0];
    stage_put(st, s, PORT_TOKENS, ids);
    stage_put_position(st, PORT_TOKENS, d->passed);
    stage_count_tokens(st, n);
    d->passed += n;
    return THEA_OK;
}

static thea_rc tokenize_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                              struct thea_err *err)
{
    const struct tokenize *state = stage_state(st);
    struct document *d = stage_stream_state(s);
    if (port == PORT_IDS) return pass_ids(st, s, d, in, err);
    const struct tensor *text = frame_tensor(in, "text");
    if (text == NULL || text->size_bytes == 0) return THEA_OK;
    if (d->text.len == 0) {
        buf_add(&d->text, state->prompt, state->prompt_len);
        d->prompt = state->prompt_len;
    }
    buf_add(&d->text, text->data, text->size_bytes);
    return THEA_OK;
}

/* Put the next tokens; the last frame also takes the text after the last token (what a tokenizer drops). */
static void put_tokens(struct stage *st, struct stage_stream *s, struct document *d)
{
    const struct token_list *list = &d->tokens;
    size_t left = list->count - d->taken, n = left < FRAME_TOKENS ? left : FRAME_TOKENS;
    size_t text_end = n == left ? d->text.len - d->prompt : (size_t)list->ends[d->taken + n - 1];
    const char *own = buf_text(&d->text) + d->prompt;
    struct tensor tokens = tensor_1d("tokens", TENSOR_I32, list->ids + d->taken, n);
    struct tensor ends = tensor_1d("ends", TENSOR_I64, list->ends + d->taken, n);
    struct tensor text = tensor_1d("text", TENSOR_U8, own + d->text_sent, text_end - d->text_sent);
    stage_put(st, s, PORT_TOKENS, &tokens);
    stage_put(st, s, PORT_TOKENS, &text);
    stage_put(st, s, PORT_TOKENS, &ends);
    stage_put_position(st, PORT_TOKENS, d->sent);
    stage_count_tokens(st, n);
    d->taken += n;
    d->sent += n;
    d->text_sent = text_end;
}

/* More tokens, behind those that have not left. Ends count from the text's first byte behind the prompt. */
static thea_rc encode_more(struct tokenize *state, struct document *d, struct thea_err *err)
{
    struct token_list *list = &d->tokens;
    size_t left = list->count - d->taken;
    if (d->taken > 0) {
        memmove(list->ids, list->ids + d->taken, left * sizeof *list->ids);
        memmove(list->ends, list->ends + d->taken, left * sizeof *list->ends);
    }
    list->count = left;
    d->taken = 0;
    thea_rc rc = tokenizer_encode_next(state->tokenizer, buf_text(&d->text), d->text.len, state->special,
                                       &d->walk, FRAME_TOKENS, list, err);
    int64_t prompt = (int64_t)d->prompt;
    for (size_t i = left; i < list->count; i++)
        list->ends[i] = list->ends[i] > prompt ? list->ends[i] - prompt : 0;
    d->encoded = rc == THEA_OK;
    return rc == THEA_AGAIN ? THEA_OK : rc;
}

static thea_rc tokenize_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    struct tokenize *state = stage_state(st);
    struct document *d = stage_stream_state(s);
    thea_rc rc = THEA_OK;
    if (d->passed > 0) return THEA_OK;
    while (rc == THEA_OK && !d->encoded && d->tokens.count - d->taken <= FRAME_TOKENS)
        rc = encode_more(state, d, err);
    if (rc != THEA_OK || (d->tokens.count == 0 && d->text.len == 0)) return rc;
    if (d->sent == 0 && d->prompt > 0) /* vectors are alike only if made alike */
        stage_put_text(st, s, "prompt", state->prompt);
    put_tokens(st, s, d);
    return d->encoded && d->taken == d->tokens.count ? THEA_OK : THEA_AGAIN;
}

static void tokenize_drop(struct stage *st, struct stage_stream *s)
{
    (void)st;
    struct document *d = stage_stream_state(s);
    buf_fini(&d->text);
    token_list_fini(&d->tokens);
}

static void tokenize_close(struct stage *st)
{
    struct tokenize *state = stage_state(st);
    tokenizer_close(state->tokenizer);
    free(state->prompt);
}

const struct stage_ops tokenize_ops = {
    .kind = "tokenize",
    .summary = "text to token ids",
    .examples = tokenize_examples,
    .options = tokenize_options,
    .inputs = tokenize_inputs,
    .outputs = tokenize_outputs,
    .state_size = sizeof(struct tokenize),
    .stream_size = sizeof(struct document),
    .describe = tokenize_describe,
    .open = tokenize_open,
    .frame = tokenize_frame,
    .end = tokenize_end,
    .drop = tokenize_drop,
    .close = tokenize_close,
};
STAGE_MAIN(tokenize_ops);
