/* Does what is connected to layers fit the model, and the part of it? See layers_step.h. */
#include "stages/support/layers_step.h"

enum { HIDDEN_MAX = 250 };

const int layers_of_causal[LAYERS_OF_CAUSAL] = {LAYERS_OUT_NLL, LAYERS_OUT_LOGITS, LAYERS_OUT_NEXT};

thea_rc layers_wants_residual(const struct layers *l, struct thea_err *err)
{
    size_t first = model_first(l->model);
    return thea_fail(err, THEA_EUSAGE,
                     "blocks %zu- need residual: put `thea layers --blocks 0-%zu` before it", first,
                     first - 1);
}

thea_rc layers_wants_tokens(const struct layers *l, struct thea_err *err)
{
    return thea_fail(err, THEA_EUSAGE,
                     "blocks 0-%zu begin with the embedding: they need tokens, as `thea tokenize` gives "
                     "them, not residual",
                     model_last(l->model));
}

/* What an encoder cannot give, though its ports are in the table. */
static thea_rc check_encoder(const struct stage *st, const struct layers *l, const struct stage_port *outputs,
                             struct thea_err *err)
{
    const struct model_info *info = model_info(l->model);
    if (info->causal) return THEA_OK;
    for (size_t i = 0; i < LAYERS_OF_CAUSAL; i++) {
        if (!stage_connected(st, layers_of_causal[i])) continue;
        return thea_fail(
            err, THEA_EUSAGE,
            "%s needs a causal model: %s is an encoder (%s), which gives final and hidden; try `thea "
            "layers --emit final | thea pool`",
            outputs[layers_of_causal[i]].name, l->dir, info->model_type);
    }
    if (stage_input_connected(st, LAYERS_IN_FEEDBACK))
        return thea_fail(err, THEA_EUSAGE, "feedback needs a causal model: %s is an encoder (%s)", l->dir,
                         info->model_type);
    return THEA_OK;
}

static thea_rc check_inputs(const struct stage *st, const struct layers *l, struct thea_err *err)
{
    bool tokens = stage_input_connected(st, LAYERS_IN_TOKENS),
         residual = stage_input_connected(st, LAYERS_IN_RESIDUAL);
    bool embeds = model_has_embedding(l->model);
    if (tokens && !residual && !embeds) return layers_wants_residual(l, err);
    if (residual && !tokens && embeds) return layers_wants_tokens(l, err);
    if (stage_input_connected(st, LAYERS_IN_FEEDBACK) && !embeds) {
        return thea_fail(err, THEA_EUSAGE, "feedback goes to the part with block 0, not to blocks %zu-",
                         model_first(l->model));
    }
    return THEA_OK;
}

static thea_rc check_outputs(const struct stage *st, const struct layers *l, const struct stage_port *outputs,
                             struct thea_err *err)
{
    size_t blocks = model_info(l->model)->blocks, first = model_first(l->model), last = model_last(l->model);
    bool head = model_has_head(l->model);
    const int of_head[] = {LAYERS_OUT_NLL, LAYERS_OUT_FINAL, LAYERS_OUT_LOGITS, LAYERS_OUT_NEXT};
    for (size_t i = 0; !head && i < sizeof of_head / sizeof *of_head; i++) {
        if (!stage_connected(st, of_head[i])) continue;
        return thea_fail(
            err, THEA_EUSAGE,
            "%s comes from the part with the last block, %zu; blocks %zu-%zu give residual and hidden",
            outputs[of_head[i]].name, blocks - 1, first, last);
    }
    if (head && stage_connected(st, LAYERS_OUT_RESIDUAL)) {
        return thea_fail(
            err, THEA_EUSAGE, "blocks %zu-%zu end the model, so nothing takes their residual; they give %s",
            first, last, model_info(l->model)->causal ? "nll, final, logits, hidden, next" : "final, hidden");
    }
    if (stage_connected(st, LAYERS_OUT_HIDDEN) && last - first + 2 > HIDDEN_MAX) {
        return thea_fail(err, THEA_EUSAGE,
                         "hidden: %zu tensors are too many for one frame; take fewer --blocks at a time",
                         last - first + 2);
    }
    return THEA_OK;
}

thea_rc layers_check(const struct stage *st, const struct layers *l, const struct stage_port *outputs,
                     struct thea_err *err)
{
    thea_rc rc = check_encoder(st, l, outputs, err);
    if (rc == THEA_OK) rc = check_inputs(st, l, err);
    return rc == THEA_OK ? check_outputs(st, l, outputs, err) : rc;
}
