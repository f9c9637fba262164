/* show: a sink that prints a line for every frame, so that tests can read what came: stream, position,
 * tensors with their first and last value, attributes. */
#include "graph/wire/stage.h"

#include <inttypes.h>
#include <stddef.h>
#include <stdio.h>

struct show {
    int64_t limit, seen;
    bool quiet;
};

static void show_tensor(const struct tensor *t)
{
    char shape[128];
    printf(" %s=%s", t->name, tensor_describe(shape, t));
    uint64_t n = tensor_elements(t);
    if (t->dtype == TENSOR_U8) printf("'%.*s'", (int)t->size_bytes, (const char *)t->data);
    if (t->dtype == TENSOR_F32 && n > 0)
        printf("%g..%g", (double)((const float *)t->data)[0], (double)((const float *)t->data)[n - 1]);
}

static thea_rc show_line(struct stage *st, const struct frame *in)
{
    struct show *show = stage_state(st);
    printf("%s stream %" PRIu64 " position %" PRIu64, frame_kind_name(in->kind), in->stream, in->position);
    for (size_t i = 0; i < in->tensor_count; i++) show_tensor(&in->tensors[i]);
    for (size_t i = 0; i < in->attr_count; i++)
        if (in->attrs[i].type == ATTR_TEXT)
            printf(" %s='%s'", in->attrs[i].key, in->attrs[i].text);
        else if (in->attrs[i].type == ATTR_INT)
            printf(" %s=%" PRId64, in->attrs[i].key, in->attrs[i].integer);
    putchar('\n');
    fflush(stdout);
    if (++show->seen == show->limit) stage_enough(st);
    return THEA_OK;
}

static thea_rc show_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                          struct thea_err *err)
{
    (void)s, (void)port, (void)err;
    return show_line(st, in);
}

static thea_rc show_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    (void)s, (void)err;
    return show_line(st, stage_frame(st));
}

static thea_rc show_failed(struct stage *st, struct stage_stream *s, const struct frame *in,
                           struct thea_err *err)
{
    (void)s, (void)err;
    return show_line(st, in);
}

static thea_rc show_finish(struct stage *st, struct thea_err *err)
{
    (void)st, (void)err;
    puts("finished");
    return THEA_OK;
}

static const struct stage_option options[] = {{.name = "limit",
                                               .type = VALUE_INT,
                                               .def = "0",
                                               .meaning = "stop after so many frames, 0: never",
                                               .offset = offsetof(struct show, limit)},
                                              {0}};
static const struct stage_port inputs[] = {
    {.name = "values", .dtype = TENSOR_F32, .shape = "*", .meaning = "numbers", .flags = STAGE_ONE_OF},
    {.name = "copies", .dtype = TENSOR_F32, .shape = "*", .meaning = "numbers", .flags = STAGE_ONE_OF},
    {.name = "centered", .dtype = TENSOR_F32, .shape = "*", .meaning = "numbers", .flags = STAGE_ONE_OF},
    {0}};
static const struct stage_ops show_ops = {.kind = "show",
                                          .summary = "prints a line a frame",
                                          .options = options,
                                          .inputs = inputs,
                                          .state_size = sizeof(struct show),
                                          .frame = show_frame,
                                          .end = show_end,
                                          .failed = show_failed,
                                          .finish = show_finish};
STAGE_MAIN(show_ops);
