/* score: how well a model predicts a document, as one record: bits per byte, perplexity, its most surprising
 * lines.
 *
 * Invariant: sums are made in double, in the order of the positions, so the result does not depend on how the
 * frames were cut. */
#include "graph/wire/stage.h"
#include "stages/support/surprise.h"
#include "stages/support/chars.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PORT_NLL = 0, PORT_RECORD = 0, LINE_BYTES_MAX = 512, DIGITS = 9 };

struct score {
    int64_t top, min_bytes;
};

struct document {
    double nats;
    uint64_t count;  /* predictions */
    uint64_t first;  /* position of the first of them */
    uint64_t tokens; /* token ids that rode along */
    uint64_t text_bytes;
    struct buf text, ends, nll; /* kept for the lines, if there are to be any */
};

static const struct stage_option score_options[] = {
    {.name = "top",
     .type = VALUE_INT,
     .def = "0",
     .unit = "lines",
     .min = 0,
     .max = 10000,
     .offset = offsetof(struct score, top),
     .meaning = "this many most surprising lines of each document"},
    {.name = "min_bytes",
     .type = VALUE_INT,
     .def = "16",
     .unit = "bytes",
     .min = 0,
     .max = 1e9,
     .offset = offsetof(struct score, min_bytes),
     .meaning = "shorter lines do not count (blanks at their ends left out)"},
    {0},
};
static const struct stage_port score_inputs[] = {
    {.name = "nll", .dtype = TENSOR_F32, .shape = "n", .meaning = "-log p of each token, nats"},
    {0},
};
static const struct stage_port score_outputs[] = {
    {.name = "record",
     .dtype = TENSOR_U8,
     .shape = "n",
     .flags = STAGE_DEFAULT,
     .meaning = "{id, tokens, bytes, bits_per_byte, perplexity, top: [{line, bits_per_byte, text}]}, JSON"},
    {0},
};
static const char *const score_examples[] = {
    "thea load README.md | thea tokenize -m MODEL | thea layers -m MODEL | thea score --top 5 | thea write",
    NULL,
};

/* Text, its tokens' ends and the tokens ride on frames of any kind, the last of them maybe on `end`. */
static thea_rc take_riders(const struct score *o, struct document *d, const struct frame *in,
                           struct thea_err *err)
{
    const struct tensor *text = frame_tensor(in, "text"), *ends = frame_tensor(in, "ends"),
                        *tokens = frame_tensor(in, "tokens");
    if ((text != NULL && text->dtype != TENSOR_U8) || (ends != NULL && ends->dtype != TENSOR_I64))
        return thea_fail(err, THEA_EDOC, "text and ends beside nll must be u8 and i64");
    if (tokens != NULL) d->tokens += tensor_elements(tokens);
    if (text != NULL) d->text_bytes += text->size_bytes;
    if (o->top == 0) return THEA_OK;
    if (text != NULL) buf_add(&d->text, text->data, text->size_bytes);
    if (ends != NULL) buf_add(&d->ends, ends->data, ends->size_bytes);
    return THEA_OK;
}

static thea_rc score_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                           struct thea_err *err)
{
    (void)port;
    const struct score *o = stage_state(st);
    struct document *d = stage_stream_state(s);
    thea_rc rc = take_riders(o, d, in, err);
    const struct tensor *nll = frame_tensor(in, "nll");
    if (rc != THEA_OK || nll == NULL) return rc;
    const float *values = nll->data;
    uint64_t n = tensor_elements(nll);
    if (d->count == 0) d->first = in->position;
    if (n > 0 && in->position != d->first + d->count)
        return thea_fail(err, THEA_EDOC, "nll of position %llu follows %llu: frames are missing",
                         (unsigned long long)in->position, (unsigned long long)d->first + d->count);
    for (uint64_t i = 0; i < n; i++) {
        if (!isfinite(values[i]))
            return thea_fail(err, THEA_EDOC, "nll of position %llu is not a finite number",
                             (unsigned long long)in->position + i);
        d->nats += (double)values[i];
    }
    d->count += n;
    if (o->top > 0) buf_add(&d->nll, values, n * sizeof *values);
    return THEA_OK;
}

static struct json_node *line_node(const struct surprise_line *line)
{
    struct json_node *map = json_new_map();
    size_t len = chars_cut(line->text, line->len, LINE_BYTES_MAX);
    json_put(map, "line", json_new_int((int64_t)line->number));
    json_put(map, "bits_per_byte", json_new_number(line->bits_per_byte));
    json_put(map, "text", json_new_text(line->text, len));
    return map;
}

/* Lines need an end for every token up to the last prediction, and in order; documents of token ids have
 * none. */
static bool has_lines(const struct document *d)
{
    size_t ends = d->ends.len / sizeof(int64_t);
    const int64_t *at = (const void *)d->ends.data;
    if (d->count == 0 || d->text.len == 0 || ends < d->first + d->count) return false;
    for (size_t i = 1; i < ends; i++) {
        if (at[i] < at[i - 1]) return false;
    }
    return true;
}

static struct json_node *top_lines(const struct score *o, const struct document *d)
{
    struct json_node *list = json_new_list();
    if (!has_lines(d)) return list;
    struct surprise_line *lines = calloc((size_t)o->top, sizeof *lines);
    if (lines == NULL) abort();
    size_t n = surprise_lines(lines, (size_t)o->top, (size_t)o->min_bytes, d->text.data, d->text.len,
                              (const void *)d->nll.data, d->count, d->first, (const void *)d->ends.data);
    for (size_t i = 0; i < n; i++) json_append(list, line_node(&lines[i]));
    free(lines);
    return list;
}

/* A document with nothing predicted has no figures: null, not NaN. */
static struct json_node *record_of(const struct score *o, const struct document *d, const char *id,
                                   int64_t bytes)
{
    struct json_node *map = json_new_map();
    uint64_t tokens = d->tokens > 0 ? d->tokens : d->count > 0 ? d->first + d->count : 0;
    bool predicted = d->count > 0;
    json_put(map, "id", json_new_string(id));
    json_put(map, "tokens", json_new_int((int64_t)tokens));
    json_put(map, "bytes", bytes >= 0 ? json_new_int(bytes) : json_new_null());
    json_put(map, "bits_per_byte",
             predicted && bytes > 0 ? json_new_number(d->nats / M_LN2 / (double)bytes) : json_new_null());
    json_put(map, "perplexity",
             predicted ? json_new_number(exp(d->nats / (double)d->count)) : json_new_null());
    if (o->top > 0) json_put(map, "top", top_lines(o, d));
    return map;
}

static thea_rc score_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    const struct score *o = stage_state(st);
    struct document *d = stage_stream_state(s);
    const struct frame *in = stage_frame(st);
    thea_rc rc = in != NULL && in->kind == FRAME_END ? take_riders(o, d, in, err) : THEA_OK;
    if (rc != THEA_OK) return rc;
    int64_t bytes = stage_stream_int(s, "bytes", d->text_bytes > 0 ? (int64_t)d->text_bytes : -1);
    struct json_node *record = record_of(o, d, stage_stream_text(s, "id", NULL), bytes);
    char *text = json_print(record, 0, DIGITS);
    size_t len = strlen(text);
    char *to = stage_buffer(st, PORT_RECORD, len + 1);
    memcpy(to, text, len + 1);
    struct tensor t = tensor_1d("record", TENSOR_U8, to, len);
    stage_put(st, s, PORT_RECORD, &t);
    stage_put_position(st, PORT_RECORD, 0);
    free(text);
    json_free(record);
    return THEA_OK;
}

static void score_drop(struct stage *st, struct stage_stream *s)
{
    (void)st;
    struct document *d = stage_stream_state(s);
    buf_fini(&d->text);
    buf_fini(&d->ends);
    buf_fini(&d->nll);
}

const struct stage_ops score_ops = {
    .kind = "score",
    .summary = "bits per byte and perplexity of each document, and its most surprising lines",
    .examples = score_examples,
    .options = score_options,
    .inputs = score_inputs,
    .outputs = score_outputs,
    .state_size = sizeof(struct score),
    .stream_size = sizeof(struct document),
    .aggregates = true,
    .frame = score_frame,
    .end = score_end,
    .drop = score_drop,
};
STAGE_MAIN(score_ops);
