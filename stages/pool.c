/* pool: one vector a document from its hidden states. Sums are made in double, in the order of the positions.
 * Positions that only fill a document up (attribute padded_from) do not count. */
#include "graph/json.h"
#include "graph/wire/stage.h"
#include "nn/pooler.h"
#include "nn/weights/find.h"
#include "stages/support/layers_encode.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { PORT_FINAL = 0, PORT_VECTOR = 0 };

struct pool {
    /* options */
    int pooling;
    bool normalize;
    const char *model;
    /* open */
    char *dir;
    struct pooling as;
    struct pooler *pooler;
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
         "whose hidden states these are: knows how its vectors are made (modules.json, else its family), and "
         "how wide they are"},
    {.name = "pooling",
     .type = VALUE_CHOICE,
     .choices = poolings,
     .offset = offsetof(struct pool, pooling),
     .meaning = "mean of all positions, the last, the first (cls); pooler: an encoder's own; default: the "
                "model's, else mean"},
    {.name = "normalize",
     .type = VALUE_BOOL,
     .offset = offsetof(struct pool, normalize),
     .meaning = "divide the vector by its length (L2); default: as the model's vectors are, else true"},
    {0},
};
static const struct stage_port pool_inputs[] = {
    {.name = "final",
     .dtype = TENSOR_F32,
     .shape = "n, hidden",
     .meaning = "hidden states after the final norm, or an encoder's last block"},
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
    "thea load --format tokens ids.jsonl | thea layers -m ENCODER | thea pool -m ENCODER | thea write "
    "--format "
    "jsonl",
    NULL,
};

/* What the user says wins over what the model says. */
static thea_rc choose(struct pooling *out, const struct stage *st, const struct pool *p, const char *dir,
                      struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    *out = (struct pooling){MODEL_POOL_MEAN, true};
    if (dir != NULL) rc = pooling_read(out, dir, err);
    if (stage_option_set(st, "pooling")) out->how = (model_pooling)p->pooling;
    if (stage_option_set(st, "normalize")) out->normalize = p->normalize;
    if (rc != THEA_OK || out->how != MODEL_POOL_POOLER) return rc;
    if (dir == NULL)
        return thea_fail(err, THEA_EUSAGE,
                         "pooling 'pooler' needs the model whose pooler it is: --model DIR\n"
                         "  without    mean, last, cls");
    return pooler_check(dir, err);
}

static bool takes_first(model_pooling how)
{
    return how == MODEL_POOL_CLS || how == MODEL_POOL_POOLER;
}

static thea_rc describe_model(struct stage_describe *d, const struct pooling *as, const char *dir,
                              struct thea_err *err)
{
    struct model_info info;
    thea_rc rc = model_read_info(&info, dir, err);
    if (rc != THEA_OK) return rc;
    stage_describe_dim(d, "hidden", info.hidden);
    stage_describe_resolved(d, "model", dir);
    stage_describe_note(d, "pooling", json_new_string(pooling_name(as->how)));
    stage_describe_note(d, "normalize", json_new_bool(as->normalize));
    return THEA_OK;
}

static thea_rc pool_describe(struct stage *st, struct stage_describe *d, struct thea_err *err)
{
    const struct pool *p = stage_state(st);
    struct pooling as;
    char *dir = NULL;
    thea_rc rc = p->model != NULL ? model_find(&dir, p->model, FIND_CONFIG, err) : THEA_OK;
    if (rc == THEA_OK) rc = choose(&as, st, p, dir, err);
    if (rc == THEA_OK && dir != NULL) rc = describe_model(d, &as, dir, err);
    if (rc == THEA_OK) stage_describe_reads(d, PORT_FINAL, takes_first(as.how));
    free(dir);
    return rc;
}

static thea_rc open_pooler(struct pool *p, struct thea_err *err)
{
    const struct kernels *kernels = kernels_select(NULL);
    if (kernels == NULL)
        return thea_fail(
            err, THEA_EUSAGE,
            "THEA_KERNELS=%s: this CPU has no such kernels; there are plain, avx2 and avx512 (thea "
            "doctor)",
            getenv("THEA_KERNELS"));
    return pooler_open(&p->pooler, p->dir, kernels, err);
}

static thea_rc pool_open(struct stage *st, struct thea_err *err)
{
    struct pool *p = stage_state(st);
    thea_rc rc = p->model != NULL ? model_find(&p->dir, p->model, FIND_CONFIG, err) : THEA_OK;
    if (rc == THEA_OK) rc = choose(&p->as, st, p, p->dir, err);
    return rc == THEA_OK && p->as.how == MODEL_POOL_POOLER ? open_pooler(p, err) : rc;
}

static void pool_close(struct stage *st)
{
    struct pool *p = stage_state(st);
    pooler_close(p->pooler);
    free(p->dir);
}

static void take_row(struct document *d, const float *row, model_pooling how)
{
    bool first = d->rows++ == 0;
    if (takes_first(how) && !first) return;
    for (size_t i = 0; i < d->hidden; i++)
        d->sum[i] = how == MODEL_POOL_MEAN ? d->sum[i] + (double)row[i] : (double)row[i];
}

/* Of `layers --rows first` a mean would be one of too little. `check` knows it of a pipeline. */
static thea_rc check_rows(const struct pool *p, const struct stage_stream *s, struct thea_err *err)
{
    bool first = strcmp(stage_stream_text(s, LAYERS_ROWS, ""), LAYERS_ROWS_FIRST) == 0;
    if (!first || takes_first(p->as.how)) return THEA_OK;
    return thea_fail(err, THEA_EUSAGE,
                     "pooling '%s' needs every position, and `layers --rows first` gives the first alone\n"
                     "  accepted   layers --rows all, or pooling cls or pooler",
                     pooling_name(p->as.how));
}

static thea_rc pool_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                          struct thea_err *err)
{
    (void)port;
    const struct pool *p = stage_state(st);
    struct document *d = stage_stream_state(s);
    const struct tensor *final = frame_tensor(in, "final");
    if (final == NULL || final->shape[0] == 0) return THEA_OK;
    thea_rc rc = check_rows(p, s, err);
    if (rc != THEA_OK) return rc;
    if (d->sum == NULL) {
        d->hidden = (size_t) final->shape[1];
        d->sum = calloc(d->hidden + 1, sizeof *d->sum);
        if (d->sum == NULL) return thea_fail(err, THEA_EOS, "no memory for a vector of %zu", d->hidden);
    }
    if (final->shape[1] != d->hidden)
        return thea_fail(err, THEA_EDOC, "hidden states of width %llu follow ones of width %zu",
                         (unsigned long long) final->shape[1], d->hidden);
    const float *rows = final->data;
    uint64_t real = (uint64_t)stage_stream_int(s, LAYERS_PADDED_FROM, INT64_MAX);
    for (uint64_t i = 0; i < final->shape[0] && d->rows < real; i++)
        take_row(d, rows + i * d->hidden, p->as.how);
    return THEA_OK;
}

/* The model's own pooler takes the first row, which is in d->sum as it came; result there, too. */
static thea_rc apply_pooler(const struct pool *p, struct document *d, struct thea_err *err)
{
    size_t C = d->hidden;
    if (p->pooler == NULL) return THEA_OK;
    if (pooler_width(p->pooler) != C)
        return thea_fail(err, THEA_EDOC, "hidden states of width %zu are not of %s, whose width is %zu", C,
                         p->dir, pooler_width(p->pooler));
    float *h = malloc(2 * C * sizeof *h), *y = h + C;
    if (h == NULL) return thea_fail(err, THEA_EOS, "no memory for a vector of %zu", C);
    for (size_t i = 0; i < C; i++) h[i] = (float)d->sum[i];
    pooler_forward(p->pooler, y, h);
    for (size_t i = 0; i < C; i++) d->sum[i] = (double)y[i];
    free(h);
    return THEA_OK;
}

/* out [hidden] = the pooled row, divided by its length if wanted; a vector of zeros stays one. */
static thea_rc pooled(float *out, const struct pool *p, const struct document *d, struct thea_err *err)
{
    double rows = p->as.how == MODEL_POOL_MEAN ? (double)d->rows : 1, squares = 0;
    for (size_t i = 0; i < d->hidden; i++) squares += d->sum[i] / rows * (d->sum[i] / rows);
    if (!isfinite(squares)) return thea_fail(err, THEA_EDOC, "the pooled vector is not finite");
    double length = p->as.normalize && squares > 0 ? sqrt(squares) : 1;
    for (size_t i = 0; i < d->hidden; i++) out[i] = (float)(d->sum[i] / rows / length);
    return THEA_OK;
}

static thea_rc pool_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    const struct pool *p = stage_state(st);
    struct document *d = stage_stream_state(s);
    if (d->rows == 0) return thea_fail(err, THEA_EDOC, "an empty document has no vector");
    float *to = stage_buffer(st, PORT_VECTOR, d->hidden * sizeof *to);
    thea_rc rc = apply_pooler(p, d, err);
    if (rc == THEA_OK) rc = pooled(to, p, d, err);
    if (rc != THEA_OK) return rc;
    struct tensor t = tensor_1d("vector", TENSOR_F32, to, d->hidden);
    stage_put(st, s, PORT_VECTOR, &t);
    stage_put_position(st, PORT_VECTOR, 0);
    stage_put_text(st, s, "pooling", pooling_name(p->as.how)); /* vectors are alike only if made alike */
    stage_put_int(st, s, "normalized", p->as.normalize);
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
    .open = pool_open,
    .frame = pool_frame,
    .end = pool_end,
    .drop = pool_drop,
    .close = pool_close,
};
STAGE_MAIN(pool_ops);
