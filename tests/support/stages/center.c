/* center: hidden states minus their pooled vector. Joins two inputs of one stream, of which the second comes
 * only at the stream's end: what a diamond (hidden states beside a vector made of them) needs. It keeps the
 * hidden states until then. */
#include "graph/wire/stage.h"

#include "graph/buf.h"
#include <stddef.h>

enum { IN_FINAL, IN_VECTOR };
enum { OUT_CENTERED };
enum { ROWS_A_FRAME = 256 };

struct center_stream {
    struct buf hidden; /* f32 [rows, columns] */
    struct buf vector; /* f32 [columns] */
    uint64_t columns;
    uint64_t sent; /* rows that have left */
};

static thea_rc center_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                            struct thea_err *err)
{
    struct center_stream *c = stage_stream_state(s);
    const struct tensor *t = frame_tensor(in, port == IN_FINAL ? "final" : "vector");
    uint64_t columns = t->shape[t->rank - 1];
    (void)st;
    if (c->columns != 0 && c->columns != columns)
        return thea_fail(err, THEA_EDOC, "rows of %llu and of %llu numbers", (unsigned long long)c->columns,
                         (unsigned long long)columns);
    c->columns = columns;
    buf_add(port == IN_FINAL ? &c->hidden : &c->vector, t->data, t->size_bytes);
    return THEA_OK;
}

static thea_rc center_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    struct center_stream *c = stage_stream_state(s);
    size_t row_bytes = c->columns * sizeof(float);
    uint64_t rows = row_bytes > 0 ? c->hidden.len / row_bytes : 0, n = rows - c->sent;
    if (rows > 0 && c->vector.len != row_bytes)
        return thea_fail(err, THEA_EDOC, "hidden states without their vector");
    if (n == 0) return THEA_OK;
    if (n > ROWS_A_FRAME) n = ROWS_A_FRAME;
    const float *hidden = (const float *)(const void *)c->hidden.data + c->sent * c->columns;
    const float *vector = (const float *)(const void *)c->vector.data;
    float *out = stage_buffer(st, OUT_CENTERED, n * row_bytes);
    for (uint64_t i = 0; i < n; i++)
        for (uint64_t j = 0; j < c->columns; j++)
            out[i * c->columns + j] = hidden[i * c->columns + j] - vector[j];
    struct tensor t = tensor_2d("centered", TENSOR_F32, out, n, c->columns);
    stage_put(st, s, OUT_CENTERED, &t);
    stage_put_position(st, OUT_CENTERED, c->sent);
    c->sent += n;
    return c->sent < rows ? THEA_AGAIN : THEA_OK;
}

static void center_drop(struct stage *st, struct stage_stream *s)
{
    struct center_stream *c = stage_stream_state(s);
    (void)st;
    buf_fini(&c->hidden);
    buf_fini(&c->vector);
}

static const struct stage_port inputs[] = {
    {.name = "final", .dtype = TENSOR_F32, .shape = "n, hidden", .meaning = "hidden states"},
    {.name = "vector", .dtype = TENSOR_F32, .shape = "hidden", .meaning = "what to take from each"},
    {0}};
static const struct stage_port outputs[] = {
    {.name = "centered", .dtype = TENSOR_F32, .shape = "n, hidden", .meaning = "final - vector"}, {0}};
static const struct stage_ops center_ops = {.kind = "center",
                                            .summary = "hidden states minus their pooled vector",
                                            .inputs = inputs,
                                            .outputs = outputs,
                                            .stream_size = sizeof(struct center_stream),
                                            .frame = center_frame,
                                            .end = center_end,
                                            .drop = center_drop};
STAGE_MAIN(center_ops);
