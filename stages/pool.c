/* pool: one vector a document from its hidden states. Sums are made in double, in the order of the positions.
 */
#include "graph/wire/stage.h"
#include "nn/model.h"
#include "nn/weights/find.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PORT_FINAL = 0, PORT_VECTOR = 0 };
enum { POOLING_MEAN, POOLING_LAST, POOLING_CLS, POOLING_POOLER };

struct pool {
    int pooling;
    bool normalize;
    const char *model;
};

struct document {
    double *sum;   /* [hidden]: the sum, or the one row that was chosen */
    size_t hidden; /* 0: no row came yet */
    uint64_t rows;
};

static const char *const poolings[] = {"mean", "last", "cls", "pooler", NULL};
static const struct stage_option pool_options[] = {
    {.name = "model",
     .type = VALUE_MODEL,
     .offset = offsetof(struct pool, model),
     .meaning =
         "whose hidden states these are: fixes the width of the vectors, so that it is checked before a run"},
    {.name = "pooling",
     .type = VALUE_CHOICE,
     .def = "mean",
     .choices = poolings,
     .offset = offsetof(struct pool, pooling),
     .meaning = "mean of all positions, the last, the first (cls); pooler: an encoder's own"},
    {.name = "normalize",
     .type = VALUE_BOOL,
     .def = "true",
     .offset = offsetof(struct pool, normalize),
     .meaning = "divide the vector by its length (L2)"},
    {0},
};
static const struct stage_port pool_inputs[] = {
    {.name = "final",
     .dtype = TENSOR_F32,
     .shape = "n, hidden",
     .meaning = "hidden states after the final norm"},
    {0},
};
static const struct stage_port pool_outputs[] = {
    {.name = "vector",
     .dtype = TENSOR_F32,
     .shape = "hidden",
     .flags = STAGE_DEFAULT,
     .meaning = "one vector a document"},
    {0},
};
static const char *const pool_examples[] = {
    "thea load notes/*.md | thea tokenize -m MODEL | thea layers -m MODEL --emit final | thea pool | thea "
    "write -o notes.npy",
    NULL,
};

static thea_rc pool_describe(struct stage *st, struct stage_describe *d, struct thea_err *err)
{
    const struct pool *p = stage_state(st);
    if (p->pooling == POOLING_POOLER)
        return thea_fail(
            err, THEA_EUSAGE,
            "pooling 'pooler' needs an encoder with a pooler; this version has causal models alone\n"
            "  accepted   mean, last, cls");
    if (p->model == NULL) return THEA_OK;
    char *dir = NULL;
    struct model_info info;
    thea_rc rc = model_find(&dir, p->model, FIND_CONFIG, err);
    if (rc == THEA_OK) rc = model_read_info(&info, dir, err);
    if (rc == THEA_OK) {
        stage_describe_dim(d, "hidden", info.hidden);
        stage_describe_resolved(d, "model", dir);
    }
    free(dir);
    return rc;
}

static void take_row(struct document *d, const float *row, int pooling)
{
    bool first = d->rows++ == 0;
    if (pooling == POOLING_CLS && !first) return;
    for (size_t i = 0; i < d->hidden; i++)
        d->sum[i] = pooling == POOLING_MEAN ? d->sum[i] + (double)row[i] : (double)row[i];
}

static thea_rc pool_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                          struct thea_err *err)
{
    (void)port;
    const struct pool *p = stage_state(st);
    struct document *d = stage_stream_state(s);
    const struct tensor *final = frame_tensor(in, "final");
    if (final == NULL || final->shape[0] == 0) return THEA_OK;
    if (d->sum == NULL) {
        d->hidden = (size_t) final->shape[1];
        d->sum = calloc(d->hidden + 1, sizeof *d->sum);
        if (d->sum == NULL) return thea_fail(err, THEA_EOS, "no memory for a vector of %zu", d->hidden);
    }
    if (final->shape[1] != d->hidden)
        return thea_fail(err, THEA_EDOC, "hidden states of width %llu follow ones of width %zu",
                         (unsigned long long) final->shape[1], d->hidden);
    const float *rows = final->data;
    for (uint64_t i = 0; i < final->shape[0]; i++) take_row(d, rows + i * d->hidden, p->pooling);
    return THEA_OK;
}

/* out [hidden] = the pooled row, divided by its length if wanted; a vector of zeros stays one. */
static thea_rc pooled(float *out, const struct pool *p, const struct document *d, struct thea_err *err)
{
    double rows = p->pooling == POOLING_MEAN ? (double)d->rows : 1, squares = 0;
    for (size_t i = 0; i < d->hidden; i++) squares += d->sum[i] / rows * (d->sum[i] / rows);
    if (!isfinite(squares)) return thea_fail(err, THEA_EDOC, "the pooled vector is not finite");
    double length = p->normalize && squares > 0 ? sqrt(squares) : 1;
    for (size_t i = 0; i < d->hidden; i++) out[i] = (float)(d->sum[i] / rows / length);
    return THEA_OK;
}

static thea_rc pool_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    const struct pool *p = stage_state(st);
    const struct document *d = stage_stream_state(s);
    if (d->rows == 0) return thea_fail(err, THEA_EDOC, "an empty document has no vector");
    float *to = stage_buffer(st, PORT_VECTOR, d->hidden * sizeof *to);
    thea_rc rc = pooled(to, p, d, err);
    if (rc != THEA_OK) return rc;
    struct tensor t = tensor_1d("vector", TENSOR_F32, to, d->hidden);
    stage_put(st, s, PORT_VECTOR, &t);
    stage_put_position(st, PORT_VECTOR, 0);
    return THEA_OK;
}

static void pool_drop(struct stage *st, struct stage_stream *s)
{
    (void)st;
    struct document *d = stage_stream_state(s);
    free(d->sum);
}

const struct stage_ops pool_ops = {
    .kind = "pool",
    .summary = "one vector a document from its hidden states",
    .examples = pool_examples,
    .options = pool_options,
    .inputs = pool_inputs,
    .outputs = pool_outputs,
    .state_size = sizeof(struct pool),
    .stream_size = sizeof(struct document),
    .aggregates = true,
    .describe = pool_describe,
    .frame = pool_frame,
    .end = pool_end,
    .drop = pool_drop,
};
STAGE_MAIN(pool_ops);
