/* count: a source of numbers: `documents` streams of `frames` frames with `values` values each, counting from
 * 0 in every stream. */
#include "graph/fault.h"
#include "graph/wire/stage.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { OUT_VALUES, OUT_COPIES };

struct count {
    int64_t documents, frames, values, poison;
    bool text;
    int64_t document, frame;
    struct stage_stream *stream;
};

static void put_frame(struct stage *st, struct count *c, int port, const char *name)
{
    size_t n = (size_t)c->values;
    float *out = stage_buffer(st, port, n * sizeof *out);
    for (size_t i = 0; i < n; i++) out[i] = (float)(c->frame * c->values + (int64_t)i);
    struct tensor t = tensor_1d(name, TENSOR_F32, out, n);
    stage_put(st, c->stream, port, &t);
    stage_put_position(st, port, (uint64_t)(c->frame * c->values));
}

static void put_text(struct stage *st, struct count *c)
{
    char *text = stage_buffer(st, OUT_VALUES, 32);
    snprintf(text, 32, "%" PRId64 ";", c->frame);
    struct tensor t = tensor_1d("text", TENSOR_U8, text, strlen(text));
    stage_put(st, c->stream, OUT_VALUES, &t);
}

static thea_rc count_source(struct stage *st, struct thea_err *err)
{
    struct count *c = stage_state(st);
    (void)err;
    if (c->stream == NULL && c->document == c->documents) return THEA_DONE;
    if (c->stream == NULL) {
        char id[32];
        snprintf(id, sizeof id, "doc-%" PRId64, c->document);
        c->stream = stage_start(st, (uint64_t)c->document++);
        c->frame = 0;
        stage_put_text(st, c->stream, "id", id);
    }
    thea_fault("count.piece");
    if (c->document == c->poison + 1) abort();
    if (c->frame < c->frames) {
        put_frame(st, c, OUT_VALUES, "values");
        put_frame(st, c, OUT_COPIES, "copies");
        if (c->text) put_text(st, c);
    }
    if (++c->frame < c->frames) return THEA_AGAIN;
    stage_finish(st, c->stream);
    c->stream = NULL;
    return THEA_OK;
}

static thea_rc count_seek(struct stage *st, uint64_t index, struct thea_err *err)
{
    struct count *c = stage_state(st);
    (void)err;
    c->document = (int64_t)index;
    c->stream = NULL;
    return THEA_OK;
}

static const struct stage_option options[] = {{.name = "documents",
                                               .type = VALUE_INT,
                                               .def = "1",
                                               .meaning = "streams",
                                               .offset = offsetof(struct count, documents)},
                                              {.name = "frames",
                                               .type = VALUE_INT,
                                               .def = "1",
                                               .meaning = "frames of each",
                                               .offset = offsetof(struct count, frames)},
                                              {.name = "values",
                                               .type = VALUE_INT,
                                               .def = "4",
                                               .meaning = "values of each",
                                               .offset = offsetof(struct count, values)},
                                              {.name = "poison",
                                               .type = VALUE_INT,
                                               .def = "-1",
                                               .meaning = "document that the source dies on",
                                               .offset = offsetof(struct count, poison)},
                                              {.name = "text",
                                               .type = VALUE_BOOL,
                                               .def = "false",
                                               .meaning = "a text beside the numbers",
                                               .offset = offsetof(struct count, text)},
                                              {0}};
static const struct stage_port outputs[] = {
    {.name = "values", .dtype = TENSOR_F32, .shape = "n", .meaning = "numbers"},
    {.name = "copies", .dtype = TENSOR_F32, .shape = "n", .meaning = "the same"},
    {0}};
static const struct stage_ops count_ops = {.kind = "count",
                                           .summary = "counts, in many documents",
                                           .options = options,
                                           .outputs = outputs,
                                           .state_size = sizeof(struct count),
                                           .source = count_source,
                                           .seek = count_seek};
STAGE_MAIN(count_ops);
