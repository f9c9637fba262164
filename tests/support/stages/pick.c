/* pick: the tail of a loop: at every mark it answers with the sum of all values so far, `turns` times, then
 * ends the stream. */
#include "graph/wire/stage.h"

#include <stddef.h>

struct pick {
    int64_t turns;
};
struct pick_stream {
    float sum;
    int64_t turn;
    uint64_t position;
};

static thea_rc pick_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                          struct thea_err *err)
{
    const struct pick *pick = stage_state(st);
    struct pick_stream *p = stage_stream_state(s);
    const struct tensor *t = frame_tensor(in, "values");
    (void)port, (void)err;
    for (uint64_t i = 0; t != NULL && i < t->shape[0]; i++) p->sum += ((const float *)t->data)[i];
    if (t != NULL) p->position += t->shape[0];
    if (in->kind != FRAME_MARK) return THEA_OK;
    float *out = stage_buffer(st, 0, sizeof *out);
    *out = p->sum;
    struct tensor put = tensor_1d("values", TENSOR_F32, out, 1);
    stage_put(st, s, 0, &put);
    stage_put_position(st, 0, p->position);
    if (++p->turn == pick->turns) stage_finish(st, s);
    return THEA_OK;
}

static const struct stage_option options[] = {{.name = "turns",
                                               .type = VALUE_INT,
                                               .def = "3",
                                               .meaning = "answers before the end",
                                               .min = 1,
                                               .max = 1e6,
                                               .offset = offsetof(struct pick, turns)},
                                              {0}};
static const struct stage_port inputs[] = {
    {.name = "values", .dtype = TENSOR_F32, .shape = "n", .meaning = "of the loop"}, {0}};
static const struct stage_port outputs[] = {{.name = "token",
                                             .dtype = TENSOR_F32,
                                             .shape = "1",
                                             .tensor = "values",
                                             .meaning = "on and back",
                                             .flags = STAGE_FEEDBACK | STAGE_DEFAULT},
                                            {0}};
static const struct stage_ops pick_ops = {.kind = "pick",
                                          .summary = "the tail of a loop",
                                          .options = options,
                                          .inputs = inputs,
                                          .outputs = outputs,
                                          .state_size = sizeof(struct pick),
                                          .stream_size = sizeof(struct pick_stream),
                                          .frame = pick_frame};
STAGE_MAIN(pick_ops);
