/* sample: the next token from the logits of the last position; sent on to the reader and back to the head of
 * the loop.
 *
 * Invariant: a stream's tokens depend on its logits, the options and (seed, stream, number of the token)
 * alone, never on what else runs. */
#include "graph/wire/stage.h"
#include "nn/model.h"
#include "nn/weights/find.h"
#include "stages/support/sampler.h"
#include "text/tokenizer.h"

#include <stdlib.h>
#include <string.h>

enum { PORT_NEXT = 0, PORT_TOKEN = 0, ENDS_MAX = 16, CONFIG_BYTES_MAX = 1 << 20 };

struct sample {
    struct sampler_options options;
    int64_t seed, max_tokens;
    struct value_list stop;
    const char *model;

    int64_t ends[ENDS_MAX]; /* ids that end a document */
    size_t end_count;
    struct tokenizer *tokenizer; /* only for stop strings */
    struct sampler_candidate *scratch;
    size_t scratch_size;
};

struct document {
    uint64_t *seen; /* one bit an id: prompt and continuation */
    size_t vocab;   /* 0: no logits came yet */
    uint64_t prompt_tokens;
    int64_t count; /* tokens sampled */
    struct token_decoder *decoder;
    struct buf text; /* end of the continuation: what a stop string may still grow from */
};

#define OPTION(field) offsetof(struct sample, options.field)
static const struct stage_option sample_options[] = {
    {.name = "model",
     .type = VALUE_MODEL,
     .offset = offsetof(struct sample, model),
     .meaning = "its generation_config.json goes before the defaults below and gives the tokens that end a "
                "document"},
    {.name = "greedy",
     .type = VALUE_BOOL,
     .def = "false",
     .offset = OPTION(greedy),
     .meaning = "always the most likely token"},
    {.name = "temperature",
     .type = VALUE_NUMBER,
     .def = "0.8",
     .min = 0,
     .max = 100,
     .offset = OPTION(temperature),
     .meaning = "divides the logits; 0 is greedy"},
    {.name = "top_k",
     .type = VALUE_INT,
     .def = "40",
     .unit = "tokens",
     .min = 0,
     .max = 1e9,
     .offset = OPTION(top_k),
     .meaning = "only the most likely; 0: all"},
    {.name = "top_p",
     .type = VALUE_NUMBER,
     .def = "0.95",
     .min = 0,
     .max = 1,
     .offset = OPTION(top_p),
     .meaning = "then the fewest whose probabilities sum to this; 1: all"},
    {.name = "min_p",
     .type = VALUE_NUMBER,
     .def = "0",
     .min = 0,
     .max = 1,
     .offset = OPTION(min_p),
     .meaning = "then those with this share of the highest probability"},
    {.name = "repetition_penalty",
     .type = VALUE_NUMBER,
     .def = "1",
     .min = 0.01,
     .max = 100,
     .offset = OPTION(repetition_penalty),
     .meaning = "makes tokens of the prompt and the text so far less likely, before all else; 1: none"},
    {.name = "seed",
     .type = VALUE_INT,
     .def = "0",
     .offset = offsetof(struct sample, seed),
     .meaning = "of the draws; the same seed gives the same text"},
    {.name = "max_tokens",
     .type = VALUE_INT,
     .def = "200",
     .unit = "tokens",
     .min = 1,
     .max = 1e9,
     .offset = offsetof(struct sample, max_tokens),
     .meaning = "stop after this many"},
    {.name = "stop",
     .type = VALUE_TEXTS,
     .offset = offsetof(struct sample, stop),
     .meaning = "stop when the continuation contains this text (it is still sent on)"},
    {0},
};
static const struct stage_port sample_inputs[] = {
    {.name = "next", .dtype = TENSOR_F32, .shape = "1, vocab", .meaning = "logits of the last position"},
    {0},
};
static const struct stage_port sample_outputs[] = {
    {.name = "token",
     .dtype = TENSOR_I32,
     .shape = "1",
     .tensor = "tokens",
     .flags = STAGE_FEEDBACK | STAGE_DEFAULT,
     .meaning = "the sampled token, on to the reader and back to layers"},
    {0},
};
static const char *const sample_examples[] = {
    "thea generate -m MODEL --temperature 0.7 \"The pipeline reads\"",
    "thea run generate --set load.text='Once upon a time' --set sample.greedy=true",
    NULL,
};

static thea_rc sample_describe(struct stage *st, struct stage_describe *d, struct thea_err *err)
{
    const struct sample *o = stage_state(st);
    for (size_t i = 0; i < o->stop.count; i++) {
        if (o->stop.items[i][0] == '\0')
            return thea_fail(err, THEA_EUSAGE, "stop: an empty text would stop at once");
    }
    if (o->model == NULL && o->stop.count > 0)
        return thea_fail(err, THEA_EUSAGE, "stop needs the model's tokenizer: give model (-m)");
    if (o->model == NULL) return THEA_OK;
    char *dir = NULL;
    struct model_info info;
    thea_rc rc = model_find(&dir, o->model, FIND_CONFIG, err);
    if (rc == THEA_OK) rc = model_read_info(&info, dir, err);
    if (rc == THEA_OK) {
        stage_describe_dim(d, "vocab", info.vocab);
        stage_describe_resolved(d, "model", dir);
    }
    free(dir);
    return rc;
}

static void add_end(struct sample *o, int64_t id)
{
    if (id >= 0 && o->end_count < ENDS_MAX) o->ends[o->end_count++] = id;
}

/* What the user has not said, the model's makers may have. Values out of range are passed over. */
static void take_defaults(struct stage *st, struct sample *o, const struct json_node *config)
{
    double top_k = (double)o->options.top_k;
    const struct {
        const char *key;
        double *value;
        double min, max;
    } numbers[] = {{"temperature", &o->options.temperature, 0, 100},
                   {"top_k", &top_k, 0, 1e9},
                   {"top_p", &o->options.top_p, 0, 1},
                   {"min_p", &o->options.min_p, 0, 1},
                   {"repetition_penalty", &o->options.repetition_penalty, 0.01, 100}};
    bool chooses = stage_option_set(st, "greedy") || stage_option_set(st, "temperature");
    for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        double value = json_number_or(config, numbers[i].key, *numbers[i].value);
        if (!stage_option_set(st, numbers[i].key) && value >= numbers[i].min && value <= numbers[i].max)
            *numbers[i].value = value;
    }
    o->options.top_k = (int64_t)top_k;
    if (!chooses && !json_bool_or(config, "do_sample", true)) o->options.greedy = true;
}

/* generation_config.json is optional. It may name more than one end token (a chat model's end of turn). */
static thea_rc read_config(struct stage *st, struct sample *o, const char *dir, struct thea_err *err)
{
    struct model_info info;
    thea_rc rc = model_read_info(&info, dir, err);
    if (rc != THEA_OK) return rc;
    add_end(o, info.eos);
    struct buf path = {0};
    struct json_node *config = NULL;
    buf_printf(&path, "%s/generation_config.json", dir);
    rc = json_read_file(&config, buf_text(&path), CONFIG_BYTES_MAX, err);
    buf_fini(&path);
    if (rc != THEA_OK) return rc == THEA_ENOINPUT ? THEA_OK : rc;
    const struct json_node *eos = json_member(config, "eos_token_id");
    if (json_kind(eos) == JSON_INT_) add_end(o, json_int(eos));
    for (size_t i = 0; json_kind(eos) == JSON_LIST_ && i < json_count(eos); i++)
        add_end(o, json_int(json_item(eos, i)));
    take_defaults(st, o, config);
    json_free(config);
    return THEA_OK;
}

static thea_rc sample_open(struct stage *st, struct thea_err *err)
{
    struct sample *o = stage_state(st);
    if (!stage_connected(st, PORT_TOKEN))
        return thea_fail(
            err, THEA_EUSAGE,
            "sample must feed its tokens back to layers: run it from a pipeline with `feedback: sample`\n"
            "  try        thea generate, or thea run generate");
    if (o->model == NULL) return THEA_OK;
    char *dir = NULL;
    thea_rc rc =
        model_find(&dir, o->model, o->stop.count > 0 ? FIND_CONFIG | FIND_TOKENIZER : FIND_CONFIG, err);
    if (rc == THEA_OK) rc = read_config(st, o, dir, err);
    if (rc == THEA_OK && o->stop.count > 0) rc = tokenizer_open(&o->tokenizer, dir, err);
    free(dir);
    return rc;
}

static void mark_seen(struct document *d, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        int32_t id =
            ((const volatile int32_t *)ids)[i]; /* read once: it may lie in another process's memory */
        if (id >= 0 && (size_t)id < d->vocab) d->seen[id / 64] |= (uint64_t)1 << (id % 64);
    }
}

/* The prompt's ids ride beside the first logits; a token that was fed back rides too, and is seen already. */
static thea_rc take_riders(struct document *d, const struct frame *in, struct thea_err *err)
{
    const struct tensor *tokens = frame_tensor(in, "tokens");
    if (tokens == NULL) return THEA_OK;
    if (tokens->dtype != TENSOR_I32) return thea_fail(err, THEA_EDOC, "tokens beside next must be i32");
    size_t n = (size_t)tensor_elements(tokens);
    if (d->count == 0) d->prompt_tokens += n;
    mark_seen(d, tokens->data, n);
    return THEA_OK;
}

static thea_rc first_logits(struct sample *o, struct document *d, size_t vocab, struct thea_err *err)
{
    if (vocab == 0) return thea_fail(err, THEA_EDOC, "no logits to sample from");
    d->vocab = vocab;
    d->seen = calloc(vocab / 64 + 1, sizeof *d->seen);
    if (d->seen == NULL) return thea_fail(err, THEA_EOS, "no memory for %zu tokens", vocab);
    if (vocab > o->scratch_size) {
        free(o->scratch);
        o->scratch = calloc(vocab, sizeof *o->scratch);
        o->scratch_size = o->scratch != NULL ? vocab : 0;
    }
    if (o->scratch == NULL) return thea_fail(err, THEA_EOS, "no memory for %zu logits", vocab);
    return o->tokenizer != NULL ? token_decoder_new(&d->decoder, o->tokenizer, true, err) : THEA_OK;
}

static bool is_end(const struct sample *o, int32_t id)
{
    for (size_t i = 0; i < o->end_count; i++) {
        if (o->ends[i] == id) return true;
    }
    return false;
}

/* Does the continuation, with this token, contain a stop string? Keeps only as much text as one can still
 * begin in. */
static thea_rc stops(bool *found, const struct sample *o, struct document *d, int32_t id,
                     struct thea_err *err)
{
    *found = false;
    if (d->decoder == NULL) return THEA_OK;
    thea_rc rc = token_decoder_push(d->decoder, &id, 1, &d->text, err);
    size_t longest = 0;
    for (size_t i = 0; rc == THEA_OK && i < o->stop.count; i++) {
        size_t n = strlen(o->stop.items[i]);
        longest = n > longest ? n : longest;
        *found = *found || memmem(buf_text(&d->text), d->text.len, o->stop.items[i], n) != NULL;
    }
    if (d->text.len >= longest && longest > 0) buf_drop_front(&d->text, d->text.len - (longest - 1));
    return rc;
}

static void finish(struct stage *st, struct stage_stream *s, const char *reason)
{
    stage_put_text(st, s, "finish_reason", reason);
    stage_finish(st, s);
}

static thea_rc sample_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                            struct thea_err *err)
{
    (void)port;
    struct sample *o = stage_state(st);
    struct document *d = stage_stream_state(s);
    const struct tensor *next = frame_tensor(in, "next");
    size_t vocab = (size_t)next->shape[1];
    thea_rc rc = d->vocab == 0 ? first_logits(o, d, vocab, err) : THEA_OK;
    if (rc == THEA_OK && vocab != d->vocab)
        rc = thea_fail(err, THEA_EDOC, "%zu logits follow %zu", vocab, d->vocab);
    if (rc == THEA_OK) rc = take_riders(d, in, err);
    if (rc != THEA_OK) return rc;
    if (d->count == 0) stage_put_int(st, s, "prompt_tokens", (int64_t)d->prompt_tokens);

    int32_t id = 0;
    double uniform = sampler_uniform(o->seed, stage_stream_id(s), (uint64_t)d->count);
    rc = sampler_choose(&id, &o->options, next->data, vocab, d->seen, uniform, o->scratch, err);
    if (rc != THEA_OK) return rc;
    if (is_end(o, id)) {
        finish(st, s, "stop");
        return THEA_OK;
    }
    mark_seen(d, &id, 1);
    d->count++;
    bool stopped = false;
    rc = stops(&stopped, o, d, id, err);
    if (rc != THEA_OK) return rc;
    int32_t *to = stage_buffer(st, PORT_TOKEN, sizeof *to);
    *to = id;
    struct tensor t = tensor_1d("tokens", TENSOR_I32, to, 1);
    stage_put(st, s, PORT_TOKEN, &t);
    stage_put_position(st, PORT_TOKEN, in->position + 1);
    if (stopped || d->count == o->max_tokens) finish(st, s, stopped ? "stop" : "length");
    return THEA_OK;
}

static void sample_drop(struct stage *st, struct stage_stream *s)
{
    (void)st;
    struct document *d = stage_stream_state(s);
    free(d->seen);
    buf_fini(&d->text);
    token_decoder_free(d->decoder);
}

static void sample_close(struct stage *st)
{
    struct sample *o = stage_state(st);
    tokenizer_close(o->tokenizer);
    free(o->scratch);
}

const struct stage_ops sample_ops = {
    .kind = "sample",
    .summary = "the next token from the logits of the last position, fed back to layers",
    .examples = sample_examples,
    .options = sample_options,
    .inputs = sample_inputs,
    .outputs = sample_outputs,
    .state_size = sizeof(struct sample),
    .stream_size = sizeof(struct document),
    .describe = sample_describe,
    .open = sample_open,
    .frame = sample_frame,
    .drop = sample_drop,
    .close = sample_close,
};
STAGE_MAIN(sample_ops);
