/* rows: a source of one document with `rows` rows of `columns` numbers 0, 1, 2 …, as `final`, and its middle
 * row as `vector`. */
#include "graph/wire/stage.h"

#include <stddef.h>

struct rows {
    int64_t rows, columns, piece, sent;
    struct stage_stream *stream;
};

static thea_rc rows_source(struct stage *st, struct thea_err *err)
{
    struct rows *r = stage_state(st);
    (void)err;
    if (r->sent == r->rows) return THEA_DONE;
    if (r->stream == NULL) r->stream = stage_start(st, 0);
    int64_t left = r->rows - r->sent, now = r->piece > 0 && r->piece < left ? r->piece : left;
    size_t n = (size_t)(now * r->columns), middle = (size_t)(r->rows / 2 * r->columns);
    float *some = stage_buffer(st, 0, n * sizeof *some),
          *vector = stage_buffer(st, 1, (size_t)r->columns * sizeof *vector);
    for (size_t i = 0; i < n; i++) some[i] = (float)(r->sent * r->columns + (int64_t)i);
    struct tensor final = tensor_2d("final", TENSOR_F32, some, (uint64_t)now, (uint64_t)r->columns);
    stage_put(st, r->stream, 0, &final);
    stage_put_position(st, 0, (uint64_t)r->sent);
    r->sent += now;
    if (r->sent < r->rows) return THEA_AGAIN;
    for (size_t i = 0; i < (size_t)r->columns; i++) vector[i] = (float)(middle + i);
    struct tensor t = tensor_1d("vector", TENSOR_F32, vector, (uint64_t)r->columns);
    stage_put(st, r->stream, 1, &t);
    stage_put_position(st, 1, (uint64_t)(r->sent - now));
    stage_finish(st, r->stream);
    return THEA_OK;
}

static const struct stage_option options[] = {{.name = "rows",
                                               .type = VALUE_INT,
                                               .def = "1",
                                               .meaning = "rows",
                                               .min = 1,
                                               .max = 1e6,
                                               .offset = offsetof(struct rows, rows)},
                                              {.name = "columns",
                                               .type = VALUE_INT,
                                               .def = "1",
                                               .meaning = "columns",
                                               .min = 1,
                                               .max = 1e6,
                                               .offset = offsetof(struct rows, columns)},
                                              {.name = "piece",
                                               .type = VALUE_INT,
                                               .def = "0",
                                               .meaning = "rows in a frame, 0: all",
                                               .offset = offsetof(struct rows, piece)},
                                              {0}};
static const struct stage_port outputs[] = {
    {.name = "final", .dtype = TENSOR_F32, .shape = "n, hidden", .meaning = "the rows"},
    {.name = "vector", .dtype = TENSOR_F32, .shape = "hidden", .meaning = "the middle one"},
    {0}};
static const struct stage_ops rows_ops = {.kind = "rows",
                                          .summary = "one document of rows",
                                          .options = options,
                                          .outputs = outputs,
                                          .state_size = sizeof(struct rows),
                                          .source = rows_source};
STAGE_MAIN(rows_ops);
