/* See toy.h. */
#include "tests/graph/wire/toy.h"

#include <stddef.h>

static const char *const colors[] = {"red", "green", "blue", NULL};
#define FIELD(name) offsetof(struct toy, name)
static const struct stage_option options[] = {
    {.name = "piece",
     .type = VALUE_INT,
     .def = "0",
     .meaning = "values in one output frame, 0: all",
     .unit = "values",
     .min = 0,
     .max = 100,
     .offset = FIELD(piece)},
    {.name = "scale_by", .type = VALUE_NUMBER, .def = "2", .meaning = "factor", .offset = FIELD(scale)},
    {.name = "quiet_end", .type = VALUE_BOOL, .def = "false", .meaning = "no sum", .offset = FIELD(quiet)},
    {.name = "loud", .type = VALUE_BOOL, .def = "true", .meaning = "sum", .offset = FIELD(loud)},
    {.name = "text", .type = VALUE_TEXT, .meaning = "any text", .offset = FIELD(text)},
    {.name = "output", .type = VALUE_PATH, .def = "-", .meaning = "a path", .offset = FIELD(path)},
    {.name = "model", .type = VALUE_MODEL, .meaning = "a model", .offset = FIELD(model)},
    {.name = "choice",
     .type = VALUE_CHOICE,
     .def = "green",
     .meaning = "a color",
     .choices = colors,
     .offset = FIELD(choice)},
    {.name = "size", .type = VALUE_SIZE, .def = "1KiB", .meaning = "a size", .offset = FIELD(size)},
    {.name = "time", .type = VALUE_TIME, .def = "1s", .meaning = "a time", .offset = FIELD(time)},
    {.name = "range", .type = VALUE_RANGE, .def = "all", .meaning = "a range", .offset = FIELD(range)},
    {.name = "texts", .type = VALUE_TEXTS, .meaning = "texts", .offset = FIELD(texts)},
    {.name = "paths",
     .type = VALUE_PATHS,
     .meaning = "paths",
     .offset = FIELD(paths),
     .flags = STAGE_OPERANDS},
    {.name = "names",
     .type = VALUE_NAMES,
     .def = "red,blue",
     .meaning = "colors",
     .choices = colors,
     .offset = FIELD(names)},
    {0}};
static const struct stage_port inputs[] = {
    {.name = "values", .dtype = TENSOR_F32, .shape = "n", .meaning = "numbers"},
    {.name = "other", .dtype = TENSOR_F32, .shape = "n", .meaning = "more numbers", .flags = STAGE_OPTIONAL},
    {.name = "back",
     .dtype = TENSOR_F32,
     .shape = "n",
     .meaning = "what comes back",
     .tensor = "values",
     .flags = STAGE_FEEDBACK},
    {0}};
static const struct stage_port outputs[] = {
    {.name = "doubled", .dtype = TENSOR_F32, .shape = "n", .meaning = "each, doubled"},
    {.name = "sum", .dtype = TENSOR_F32, .shape = "1", .meaning = "their sum, at the end", .tensor = "total"},
    {.name = "feedback",
     .dtype = TENSOR_F32,
     .shape = "n",
     .meaning = "back",
     .flags = STAGE_FEEDBACK | STAGE_OPTIONAL},
    {0}};

static thea_rc open_toy(struct stage *st, struct thea_err *err)
{
    struct toy *toy = stage_state(st);
    (void)err;
    toy->opened++;
    return THEA_OK;
}

/* NaN: bad document. Infinity: the stream is finished. */
static thea_rc judge(struct stage *st, struct stage_stream *s, float v, struct thea_err *err)
{
    if (v != v)
        return thea_fail(err, THEA_EDOC, "value %lld is not a number",
                         (long long)((struct toy_stream *)stage_stream_state(s))->done);
    if (v > 1e38f) stage_finish(st, s);
    if (v < -1e38f) return thea_fail(err, THEA_EDATA, "minus infinity");
    return THEA_OK;
}

static thea_rc frame_toy(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                         struct thea_err *err)
{
    struct toy *toy = stage_state(st);
    struct toy_stream *mine = stage_stream_state(s);
    const struct tensor *t = frame_tensor(in, port == TOY_OTHER ? "other" : "values");
    const float *values = t->data;
    uint64_t from = toy->piece > 0 ? (uint64_t)mine->done : 0, n = t->shape[0] - from;
    if (toy->piece > 0 && n > (uint64_t)toy->piece) n = (uint64_t)toy->piece;
    if (port == TOY_OTHER) return THEA_OK; /* taken, nothing to say yet */
    float *out = stage_buffer(st, TOY_DOUBLED, n * sizeof *out);
    for (uint64_t i = 0; i < n; i++) {
        thea_rc rc = judge(st, s, values[from + i], err);
        if (rc != THEA_OK) return rc;
        out[i] = values[from + i] * (float)toy->scale;
        mine->last += values[from + i];
    }
    struct tensor put = tensor_1d("doubled", TENSOR_F32, out, n);
    stage_put(st, s, TOY_DOUBLED, &put);
    stage_put_position(st, TOY_DOUBLED, in->position + from);
    mine->done = (int64_t)(from + n);
    if (toy->piece > 0 && from + n < t->shape[0]) return THEA_AGAIN;
    mine->done = 0;
    return THEA_OK;
}

static thea_rc end_toy(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    struct toy *toy = stage_state(st);
    struct toy_stream *mine = stage_stream_state(s);
    (void)err;
    mine->ends++;
    if (stage_input_connected(st, TOY_BACK) && !stage_held(s)) {
        stage_put_kind(st, TOY_DOUBLED, FRAME_MARK);
        stage_hold(st, s);
        return THEA_OK;
    }
    struct tensor put = tensor_1d("total", TENSOR_F32, &mine->last, 1);
    if (!toy->quiet) stage_put(st, s, TOY_SUM, &put);
    stage_put_int(st, s, "ends", mine->ends);
    return THEA_OK;
}

static void drop_toy(struct stage *st, struct stage_stream *s)
{
    (void)s;
    ((struct toy *)stage_state(st))->closed_streams++;
}

static thea_rc finish_toy(struct stage *st, struct thea_err *err)
{
    (void)err;
    ((struct toy *)stage_state(st))->finished++;
    return THEA_OK;
}

static const char *const examples[] = {"thea load x | thea toy | thea write", NULL};
const struct stage_ops toy_ops = {.kind = "toy",
                                  .summary = "doubles numbers",
                                  .examples = examples,
                                  .options = options,
                                  .inputs = inputs,
                                  .outputs = outputs,
                                  .state_size = sizeof(struct toy),
                                  .stream_size = sizeof(struct toy_stream),
                                  .open = open_toy,
                                  .frame = frame_toy,
                                  .end = end_toy,
                                  .drop = drop_toy,
                                  .finish = finish_toy};

struct tensor toy_values(const char *name, const float *values, uint64_t n)
{
    return tensor_1d(name, TENSOR_F32, values, n);
}

struct frame toy_frame(frame_kind kind, uint64_t stream, uint64_t position, struct tensor *tensors,
                       size_t count)
{
    return (struct frame){.kind = kind,
                          .stream = stream,
                          .position = position,
                          .port = "values",
                          .tensors = tensors,
                          .tensor_count = count};
}
