/* head: the head of a loop: sends a stream's values on, then a mark, then whatever comes back, until `end`
 * comes back. */
#include "graph/wire/stage.h"

#include <stddef.h>

enum { IN_VALUES, IN_FEEDBACK };

struct head_stream {
    uint64_t position;
};

static thea_rc head_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                          struct thea_err *err)
{
    struct head_stream *h = stage_stream_state(s);
    const struct tensor *t = frame_tensor(in, "values");
    (void)err;
    stage_put(st, s, 0, t);
    if (port == IN_FEEDBACK) stage_put_kind(st, 0, FRAME_MARK);
    stage_put_position(st, 0, h->position);
    h->position += t->shape[0];
    return THEA_OK;
}

static thea_rc head_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    (void)err;
    if (!stage_input_connected(st, IN_FEEDBACK) || stage_held(s)) return THEA_OK;
    stage_put_kind(st, 0, FRAME_MARK);
    stage_hold(st, s);
    return THEA_OK;
}

static const struct stage_port inputs[] = {
    {.name = "values", .dtype = TENSOR_F32, .shape = "n", .meaning = "the prompt"},
    {.name = "feedback",
     .dtype = TENSOR_F32,
     .shape = "n",
     .meaning = "what comes back",
     .tensor = "values",
     .flags = STAGE_OPTIONAL | STAGE_FEEDBACK},
    {0}};
static const struct stage_port outputs[] = {
    {.name = "values", .dtype = TENSOR_F32, .shape = "n", .meaning = "on to the loop"}, {0}};
static const struct stage_ops head_ops = {.kind = "head",
                                          .summary = "the head of a loop",
                                          .inputs = inputs,
                                          .outputs = outputs,
                                          .stream_size = sizeof(struct head_stream),
                                          .frame = head_frame,
                                          .end = head_end};
STAGE_MAIN(head_ops);
