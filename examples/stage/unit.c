/* thea-unit: hidden states of length one: every row divided by its L2 norm. Put it between layers and pool:
 *   thea load notes | thea tokenize -m M | thea layers -m M --emit final | thea unit | thea pool | thea write */
#include "graph/wire/stage.h"

#include <math.h>
#include <stddef.h>

struct unit { double least; }; /* the stage's state: its options are filled in before the first op */

static thea_rc unit_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in, struct thea_err *err)
{
    const struct unit *unit = stage_state(st);
    const struct tensor *x = frame_tensor(in, "final"); /* dtype and shape are as the port below says */
    float *y = stage_buffer(st, 0, x->size_bytes);      /* results go where the next stage reads them */
    uint64_t n = x->shape[0], width = x->shape[1];
    (void)port, (void)err;
    for (uint64_t i = 0; i < n; i++) {
        const float *row = (const float *)x->data + i * width;
        double sum = 0;
        for (uint64_t j = 0; j < width; j++) sum += (double)row[j] * row[j];
        double length = fmax(sqrt(sum), unit->least);
        for (uint64_t j = 0; j < width; j++) y[i * width + j] = (float)(row[j] / length);
    }
    struct tensor out = tensor_2d("final", TENSOR_F32, y, n, width);
    stage_put(st, s, 0, &out); /* text, ids and attributes of the frame pass by themselves */
    return THEA_OK;
}

static const struct stage_option options[] = {
    {.name = "least", .type = VALUE_NUMBER, .def = "1e-12", .meaning = "shorter rows are divided by this", .min = 1e-30, .max = 1,
     .offset = offsetof(struct unit, least)}, {0}};
static const struct stage_port inputs[] = {{.name = "final", .dtype = TENSOR_F32, .shape = "n, hidden", .meaning = "hidden states"}, {0}};
static const struct stage_port outputs[] = {{.name = "final", .dtype = TENSOR_F32, .shape = "n, hidden", .meaning = "each of length one"}, {0}};
static const struct stage_ops unit_ops = {.kind = "unit", .summary = "hidden states of length one", .options = options, .inputs = inputs,
                                          .outputs = outputs, .state_size = sizeof(struct unit), .frame = unit_frame};
STAGE_MAIN(unit_ops);
