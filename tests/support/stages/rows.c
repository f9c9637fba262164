/* rows: a source of one document with `rows` rows of `columns` numbers 0, 1, 2 …, as `final`, and its middle row as `vector`. */
#include "graph/wire/stage.h"

#include <stddef.h>

struct rows { int64_t rows, columns; struct stage_stream *stream; };

static thea_rc rows_source(struct stage *st, struct thea_err *err)
{
    struct rows *r = stage_state(st);
    (void)err;
    if (r->stream != NULL) return THEA_DONE;
    r->stream = stage_start(st, 0);
    size_t n = (size_t)(r->rows * r->columns);
    float *all = stage_buffer(st, 0, n * sizeof *all);
    for (size_t i = 0; i < n; i++) all[i] = (float)i;
    struct tensor final = tensor_2d("final", TENSOR_F32, all, (uint64_t)r->rows, (uint64_t)r->columns);
    struct tensor vector = tensor_1d("vector", TENSOR_F32, all + r->rows / 2 * r->columns, (uint64_t)r->columns);
    stage_put(st, r->stream, 0, &final);
    stage_put(st, r->stream, 1, &vector);
    stage_finish(st, r->stream);
    return THEA_OK;
}

static const struct stage_option options[] = {
    {.name = "rows", .type = VALUE_INT, .def = "1", .meaning = "rows", .min = 1, .max = 1e6, .offset = offsetof(struct rows, rows)},
    {.name = "columns", .type = VALUE_INT, .def = "1", .meaning = "columns", .min = 1, .max = 1e6, .offset = offsetof(struct rows, columns)},
    {0}};
static const struct stage_port outputs[] = {{.name = "final", .dtype = TENSOR_F32, .shape = "n, hidden", .meaning = "the rows"},
                                            {.name = "vector", .dtype = TENSOR_F32, .shape = "hidden", .meaning = "the middle one"},
                                            {0}};
static const struct stage_ops rows_ops = {.kind = "rows", .summary = "one document of rows", .options = options, .outputs = outputs,
                                          .state_size = sizeof(struct rows), .source = rows_source};
STAGE_MAIN(rows_ops);
