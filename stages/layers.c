/* layers: blocks of a model, with the embedding, final norm and head that belong to them.
 *
 *   tokens ──> embedding ───────────┐
 *   residual (of the part before) ──┴─> blocks ──> residual, or
 *                                                  final norm ──> nll, final, logits, next
 *
 * A causal model takes a document chunk by chunk (support/layers_chunk.c), an encoder sees it whole
 * (support/layers_encode.c). */
#include "nn/weights/find.h"
#include "stages/support/layers_chunk.h"
#include "stages/support/layers_encode.h"

#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { CHUNK_MAX = 65536, FRAME_GOAL = 64 << 20, COST_CONTEXT = 2048 };

static const char *const dtypes[] = {"f32", NULL};
static const char *const row_choices[] = {[LAYERS_GIVE_ALL] = "all", [LAYERS_GIVE_FIRST] = "first", NULL};
static const struct stage_option layers_options[] = {
    {.name = "model",
     .type = VALUE_MODEL,
     .meaning = "directory or name of the model",
     .offset = offsetof(struct layers, model_name),
     .flags = STAGE_REQUIRED},
    {.name = "blocks",
     .type = VALUE_RANGE,
     .def = "all",
     .meaning = "which blocks, from 0: 0-7, 8-, 3",
     .offset = offsetof(struct layers, blocks)},
    {.name = "chunk",
     .type = VALUE_INT,
     .def = "512",
     .meaning = "positions in one frame",
     .unit = "positions",
     .min = 1,
     .max = CHUNK_MAX,
     .offset = offsetof(struct layers, chunk)},
    {.name = "split",
     .type = VALUE_INT,
     .def = "1",
     .meaning = "cut into this many processes, blocks shared out by cost",
     .min = 1,
     .max = 1024,
     .offset = offsetof(struct layers, split)},
    {.name = "pad",
     .type = VALUE_TEXT,
     .meaning =
         "encoders: fill documents up with pad tokens: max (to the model's length), none, or to so many "
         "tokens; default: what the model was made for",
     .unit = "tokens",
     .offset = offsetof(struct layers, pad)},
    {.name = "batch",
     .type = VALUE_INT,
     .def = "4096",
     .meaning =
         "encoders: positions of documents that are computed together; at most 4096, or one longest document",
     .unit = "positions",
     .min = 1,
     .max = 1 << 20,
     .offset = offsetof(struct layers, batch)},
    {.name = "rows",
     .type = VALUE_CHOICE,
     .def = "all",
     .meaning =
         "of an encoder's final: all positions, or the first alone, which is all that pooling cls and pooler "
         "read, and costs less; in a pipeline, unless it is set, the stages that read it decide",
     .choices = row_choices,
     .offset = offsetof(struct layers, rows)},
    {.name = "filter_memory",
     .type = VALUE_SIZE,
     .def = "1GiB",
     .max = 1e18,
     .meaning =
         "long convolutions: spectra of filters that are kept; the others are made again for each batch",
     .offset = offsetof(struct layers, filter_memory)},
    {.name = "dtype",
     .type = VALUE_CHOICE,
     .def = "f32",
     .meaning = "arithmetic",
     .choices = dtypes,
     .offset = offsetof(struct layers, dtype)},
    {0},
};

static const struct stage_port layers_inputs[] = {
    [LAYERS_IN_TOKENS] = {.name = "tokens",
                          .dtype = TENSOR_I32,
                          .shape = "n",
                          .meaning = "token ids, for the part with block 0",
                          .flags = STAGE_ONE_OF},
    [LAYERS_IN_RESIDUAL] = {.name = "residual",
                            .dtype = TENSOR_F32,
                            .shape = "n, hidden",
                            .meaning = "from the part before",
                            .flags = STAGE_ONE_OF},
    [LAYERS_IN_FEEDBACK] = {.name = "feedback",
                            .dtype = TENSOR_I32,
                            .shape = "n",
                            .tensor = "tokens",
                            .meaning = "sampled tokens",
                            .flags = STAGE_OPTIONAL | STAGE_FEEDBACK},
    {0},
};

static const struct stage_port layers_outputs[] = {
    [LAYERS_OUT_NLL] = {.name = "nll",
                        .dtype = TENSOR_F32,
                        .shape = "n",
                        .meaning = "-log p of each token, nats; from the second token on"},
    [LAYERS_OUT_FINAL] = {.name = "final",
                          .dtype = TENSOR_F32,
                          .shape = "n, hidden",
                          .meaning = "after the final norm, or an encoder's last block"},
    [LAYERS_OUT_LOGITS] = {.name = "logits",
                           .dtype = TENSOR_F32,
                           .shape = "n, vocab",
                           .meaning = "of every position"},
    [LAYERS_OUT_HIDDEN] = {.name = "hidden",
                           .dtype = TENSOR_F32,
                           .shape = "n, hidden",
                           .tensor = "hidden.*",
                           .meaning = "after the embedding and after every block of this part"},
    [LAYERS_OUT_NEXT] = {.name = "next",
                         .dtype = TENSOR_F32,
                         .shape = "1, vocab",
                         .meaning = "logits of the last position, or at a mark"},
    [LAYERS_OUT_RESIDUAL] = {.name = "residual",
                             .dtype = TENSOR_F32,
                             .shape = "n, hidden",
                             .meaning = "for the part after this"},
    {0},
};

/* --- options and model --- */

static bool causal(const struct layers *l)
{
    return model_info(l->model)->causal;
}

static void range_of(const struct layers *l, size_t *first, size_t *last)
{
    *first = (size_t)l->blocks.first;
    *last = l->blocks.last == INT64_MAX ? SIZE_MAX : (size_t)l->blocks.last;
}

static thea_rc check_blocks(const struct layers *l, const struct model_info *info, const char *dir,
                            struct thea_err *err)
{
    size_t first, last;
    range_of(l, &first, &last);
    if (first < info->blocks && (last == SIZE_MAX || last < info->blocks)) return THEA_OK;
    return thea_fail(err, THEA_EUSAGE, "--blocks: %s has %zu blocks, 0-%zu", dir, info->blocks,
                     info->blocks - 1);
}

static void describe_outputs(const struct layers *l, struct stage_describe *d, const struct model_info *info,
                             bool head)
{
    stage_describe_default(d, !head ? "residual" : info->causal ? "nll" : "final");
    for (size_t i = 0; !info->causal && i < LAYERS_OF_CAUSAL; i++)
        stage_describe_without(d, layers_of_causal[i]);
    if (info->causal || !head) return;
    stage_describe_first_by(d, LAYERS_OUT_FINAL, "rows");
    if (l->rows == LAYERS_GIVE_FIRST) stage_describe_without(d, LAYERS_OUT_HIDDEN);
}

static thea_rc describe_model(struct layers *l, struct stage_describe *d, const char *dir,
                              struct thea_err *err)
{
    struct model_info info;
    double *costs = NULL, head;
    size_t first, last;
    thea_rc rc = model_read_info(&info, dir, err);
    if (rc == THEA_OK) rc = check_blocks(l, &info, dir, err);
    if (rc == THEA_OK) rc = model_costs(&costs, &head, dir, COST_CONTEXT, err);
    if (rc != THEA_OK) return rc;
    range_of(l, &first, &last);
    stage_describe_dim(d, "hidden", info.hidden);
    stage_describe_dim(d, "vocab", info.vocab);
    stage_describe_blocks(d, info.blocks, costs, 0, head);
    stage_describe_resolved(d, "model", dir);
    describe_outputs(l, d, &info, last == SIZE_MAX || last + 1 == info.blocks);
    free(costs);
    size_t pad;
    return layers_read_pad(&pad, l->pad, &info, err);
}

static thea_rc layers_describe(struct stage *st, struct stage_describe *d, struct thea_err *err)
{
    struct layers *l = stage_state(st);
    char *dir;
    thea_rc rc = model_find(&dir, l->model_name, FIND_CONFIG | FIND_WEIGHTS, err);
    if (rc == THEA_OK) rc = describe_model(l, d, dir, err);
    free(dir);
    return rc;
}

/* --- open and close --- */

/* Positions of one output frame: `chunk`, or what keeps the largest frame below the goal. */
static size_t step_of(const struct stage *st, const struct layers *l)
{
    size_t row = l->hidden;
    if (stage_connected(st, LAYERS_OUT_HIDDEN))
        row = l->hidden * (model_last(l->model) - model_first(l->model) + 2);
    if (stage_connected(st, LAYERS_OUT_LOGITS) && l->vocab > row) row = l->vocab;
    size_t fits = (FRAME_GOAL - 1) / (row * sizeof(float) + sizeof(int32_t));
    size_t step = (size_t)l->chunk < fits ? (size_t)l->chunk : fits;
    return step > 0 ? step : 1;
}

static void progress(void *context)
{
    stage_progress(context);
}

static void *floats(size_t n)
{
    return aligned_alloc(64, (n * sizeof(float) + 63) / 64 * 64);
}

static thea_rc make_buffers(struct stage *st, struct layers *l, struct thea_err *err)
{
    size_t blocks = model_info(l->model)->blocks;
    l->hidden = model_info(l->model)->hidden;
    l->vocab = model_info(l->model)->vocab;
    l->step = step_of(st, l);
    l->x = floats(l->step * l->hidden);
    l->final = floats((l->step + 1) * l->hidden);
    l->hidden_names = calloc(blocks + 1, sizeof *l->hidden_names);
    if (l->x == NULL || l->final == NULL || l->hidden_names == NULL)
        return thea_fail(err, THEA_EOS, "out of memory for chunks of %zu positions", l->step);
    for (size_t i = 0; i <= blocks; i++) snprintf(l->hidden_names[i], LAYERS_NAME_BYTES, "hidden.%zu", i);
    return THEA_OK;
}

static thea_rc layers_open(struct stage *st, struct thea_err *err)
{
    struct layers *l = stage_state(st);
    size_t first, last;
    range_of(l, &first, &last);
    const struct kernels *kernels = kernels_select(NULL);
    if (kernels == NULL)
        return thea_fail(
            err, THEA_EUSAGE,
            "THEA_KERNELS=%s: this CPU has no such kernels; there are plain, avx2 and avx512 (thea doctor)",
            getenv("THEA_KERNELS"));
    thea_rc rc = model_find(&l->dir, l->model_name, FIND_CONFIG | FIND_WEIGHTS, err);
    if (rc == THEA_OK) rc = workers_new(&l->workers, stage_threads(st), err);
    if (rc == THEA_OK) rc = model_open(&l->model, l->dir, first, last, l->workers, kernels, err);
    if (rc == THEA_OK) rc = layers_check(st, l, layers_outputs, err);
    if (rc == THEA_OK) rc = model_limit_filters(l->model, (uint64_t)l->filter_memory, err);
    if (rc == THEA_OK) rc = make_buffers(st, l, err);
    if (rc == THEA_OK && !causal(l)) rc = layers_encode_open(st, err);
    if (rc == THEA_OK) model_on_block(l->model, progress, st);
    return rc;
}

static void layers_close(struct stage *st)
{
    struct layers *l = stage_state(st);
    layers_encode_close(l);
    model_close(l->model);
    workers_free(l->workers);
    free(l->dir);
    free(l->x);
    free(l->final);
    free(l->hidden_names);
}

/* --- a document --- */

/* Attribute of a stream between parts. */
#define BLOCKS_BEFORE "blocks"

/* A part says how many blocks a stream has been through; the next must begin there, or the numbers would be
 * wrong without a word. Streams that do not say (a stage between, another program) are taken as they are. */
static thea_rc check_blocks_before(struct stage *st, struct stage_stream *s, const struct layers *l,
                                   struct thea_err *err)
{
    size_t first = model_first(l->model);
    int64_t before = stage_stream_int(s, BLOCKS_BEFORE, (int64_t)first);
    if (first > 0 && before != (int64_t)first)
        return thea_fail(err, THEA_EUSAGE,
                         "blocks %zu- need what block %zu gives, this comes from block %lld: the parts of a "
                         "pipe follow each other, as --blocks 0-%zu and --blocks %zu-",
                         first, first - 1, (long long)before - 1, first - 1, first);
    if (!model_has_head(l->model)) stage_put_int(st, s, BLOCKS_BEFORE, (int64_t)model_last(l->model) + 1);
    return THEA_OK;
}

static thea_rc layers_begin(struct stage *st, struct stage_stream *s, const struct frame *in,
                            struct thea_err *err)
{
    (void)in;
    const struct layers *l = stage_state(st);
    thea_rc rc = check_blocks_before(st, s, l, err);
    return rc == THEA_OK && causal(l) ? layers_chunk_begin(st, s, err) : rc;
}

static thea_rc layers_frame(struct stage *st, struct stage_stream *s, int port, const struct frame *in,
                            struct thea_err *err)
{
    const struct layers *l = stage_state(st);
    bool embeds = model_has_embedding(l->model);
    if (port == LAYERS_IN_RESIDUAL && embeds) return layers_wants_tokens(l, err);
    if (port != LAYERS_IN_RESIDUAL && !embeds) return layers_wants_residual(l, err);
    if (!causal(l)) return layers_encode_frame(st, s, in, err);
    return layers_chunk_frame(st, s, port, in, err);
}

static thea_rc layers_end(struct stage *st, struct stage_stream *s, struct thea_err *err)
{
    return causal(stage_state(st)) ? layers_chunk_end(st, s, err) : layers_encode_end(st, s, err);
}

static void layers_drop(struct stage *st, struct stage_stream *s)
{
    layers_encode_drop(st, s);
    layers_chunk_drop(s);
}

static const char *const layers_examples[] = {
    "thea load notes/*.md | thea tokenize -m M | thea layers -m M | thea score | thea write",
    "… | thea layers -m thea-mini --blocks 0-2 | thea layers -m thea-mini --blocks 3- | thea score | thea "
    "write",
    "thea load --format tokens ids.jsonl | thea layers -m DIR --emit logits | thea write --format "
    "safetensors -o out.safetensors",
    NULL,
};

extern const struct stage_ops layers_ops;
const struct stage_ops layers_ops = {
    .kind = "layers",
    .summary = "blocks of a model, with the embedding, final norm and head that belong to them",
    .examples = layers_examples,
    .options = layers_options,
    .inputs = layers_inputs,
    .outputs = layers_outputs,
    .state_size = sizeof(struct layers),
    .stream_size = sizeof(struct layers_document),
    .describe = layers_describe,
    .open = layers_open,
    .begin = layers_begin,
    .frame = layers_frame,
    .end = layers_end,
    .batch = layers_encode_batch,
    .drop = layers_drop,
    .close = layers_close,
};
STAGE_MAIN(layers_ops);
