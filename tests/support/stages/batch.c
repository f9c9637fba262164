/* batch: sums numbers, of many documents at once, and may die on one of them: for tests of stages that
 * gather. A batch that had not one document, but the poisoned one among many, does not tell which it was. */
#include "graph/wire/stage.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum { WAITING_MAX = 256 };

struct batch {
    int64_t size, poison;
    struct stage_stream *waiting[WAITING_MAX];
    size_t count;
};
struct batch_stream {
    float sum;
};

static thea_rc batch_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                           struct thea_err *err)
{
    const struct tensor *t = frame_tensor(in, "values");
    struct batch_stream *b = stage_stream_state(s);
    (void)st, (void)port, (void)err;
    for (uint64_t i = 0; t != NULL && i < t->shape[0]; i++) b->sum += ((const float *)t->data)[i];
    return THEA_OK;
}

static thea_rc batch_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    struct batch *b = stage_state(st);
    const struct batch_stream *own = stage_stream_state(s);
    (void)err;
    if (!stage_gathered(s)) {
        if (b->count == WAITING_MAX) abort();
        b->waiting[b->count++] = s;
        stage_gather(st, s);
        return THEA_OK;
    }
    float *out = stage_buffer(st, 0, sizeof *out);
    *out = own->sum;
    struct tensor t = tensor_1d("vector", TENSOR_F32, out, 1);
    stage_put(st, s, 0, &t);
    stage_put_position(st, 0, 0);
    return THEA_OK;
}

static thea_rc batch_batch(struct stage *st, bool idle, struct thea_err *err)
{
    struct batch *b = stage_state(st);
    (void)err;
    if (!idle && b->count < (size_t)b->size) return THEA_OK;
    size_t n = b->count < (size_t)b->size ? b->count : (size_t)b->size;
    for (size_t i = 0; i < n; i++) stage_working_with(st, b->waiting[i]);
    for (size_t i = 0; i < n; i++) {
        if ((int64_t)(stage_stream_id(b->waiting[i]) & 0xffffffff) == b->poison) abort();
        stage_ready(st, b->waiting[i]);
    }
    b->count -= n;
    memmove(b->waiting, b->waiting + n, b->count * sizeof *b->waiting);
    return THEA_OK;
}

static void batch_drop(struct stage *st, struct stage_stream *s)
{
    struct batch *b = stage_state(st);
    size_t kept = 0;
    for (size_t i = 0; i < b->count; i++)
        if (b->waiting[i] != s) b->waiting[kept++] = b->waiting[i];
    b->count = kept;
}

static const struct stage_option options[] = {{.name = "size",
                                               .type = VALUE_INT,
                                               .def = "20",
                                               .min = 1,
                                               .max = WAITING_MAX,
                                               .meaning = "documents of a batch, at most",
                                               .offset = offsetof(struct batch, size)},
                                              {.name = "poison",
                                               .type = VALUE_INT,
                                               .def = "-1",
                                               .meaning = "document that it dies on",
                                               .offset = offsetof(struct batch, poison)},
                                              {0}};
static const struct stage_port inputs[] = {
    {.name = "values", .dtype = TENSOR_F32, .shape = "n", .meaning = "numbers"}, {0}};
static const struct stage_port outputs[] = {
    {.name = "vector", .dtype = TENSOR_F32, .shape = "1", .meaning = "their sum", .flags = STAGE_DEFAULT},
    {0}};
static const struct stage_ops batch_ops = {.kind = "batch",
                                           .summary = "sums numbers, many documents at once",
                                           .options = options,
                                           .inputs = inputs,
                                           .outputs = outputs,
                                           .state_size = sizeof(struct batch),
                                           .stream_size = sizeof(struct batch_stream),
                                           .frame = batch_frame,
                                           .end = batch_end,
                                           .batch = batch_batch,
                                           .drop = batch_drop};
STAGE_MAIN(batch_ops);
