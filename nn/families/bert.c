/* BERT (Devlin et al. 2018) and the sentence encoders built on it: bidirectional attention and a GELU
 * feed-forward, each followed by LayerNorm; learned positions. */
#include "nn/families/bert.h"

#include <string.h>

static const char *const attention_names[] = {
    [ENCODER_ATTENTION_Q] = "attention.self.query.weight",
    [ENCODER_ATTENTION_K] = "attention.self.key.weight",
    [ENCODER_ATTENTION_V] = "attention.self.value.weight",
    [ENCODER_ATTENTION_Q_BIAS] = "attention.self.query.bias",
    [ENCODER_ATTENTION_K_BIAS] = "attention.self.key.bias",
    [ENCODER_ATTENTION_V_BIAS] = "attention.self.value.bias",
    [ENCODER_ATTENTION_OUT] = "attention.output.dense.weight",
    [ENCODER_ATTENTION_OUT_BIAS] = "attention.output.dense.bias",
    [ENCODER_ATTENTION_NORM] = "attention.output.LayerNorm.weight",
    [ENCODER_ATTENTION_NORM_BIAS] = "attention.output.LayerNorm.bias",
};
static const char *const mlp_names[] = {
    [ENCODER_MLP_UP] = "intermediate.dense.weight", [ENCODER_MLP_UP_BIAS] = "intermediate.dense.bias",
    [ENCODER_MLP_DOWN] = "output.dense.weight",     [ENCODER_MLP_DOWN_BIAS] = "output.dense.bias",
    [ENCODER_MLP_NORM] = "output.LayerNorm.weight", [ENCODER_MLP_NORM_BIAS] = "output.LayerNorm.bias",
};

static const struct {
    const char *name;
    activation is;
} activations[] = {
    {"gelu", ACTIVATION_GELU},           {"gelu_python", ACTIVATION_GELU},
    {"gelu_new", ACTIVATION_GELU_TANH},  {"gelu_pytorch_tanh", ACTIVATION_GELU_TANH},
    {"gelu_fast", ACTIVATION_GELU_TANH}, {"relu", ACTIVATION_RELU},
};

static activation read_activation(struct config *c)
{
    const struct json_node *node = config_get(c, "hidden_act");
    const char *name = node == NULL ? "gelu" : json_text(node, NULL);
    for (size_t i = 0; name != NULL && i < sizeof activations / sizeof *activations; i++) {
        if (strcmp(activations[i].name, name) == 0) return activations[i].is;
    }
    config_fail(c, "hidden_act",
                "'%s' is not supported; accepted: gelu, gelu_python, gelu_new, gelu_pytorch_tanh, gelu_fast, "
                "relu",
                name != NULL ? name : json_kind_name(json_kind(node)));
    return ACTIVATION_GELU;
}

/* Variants of the architecture that share its model type. */
static void check_variant(struct config *c)
{
    const struct json_node *node = config_get(c, "position_embedding_type");
    const char *positions = json_text(node, NULL);
    if (node != NULL && (positions == NULL || strcmp(positions, "absolute") != 0)) {
        config_fail(c, "position_embedding_type", "'%s' is not supported; accepted: absolute",
                    positions != NULL ? positions : json_kind_name(json_kind(node)));
    }
    if (config_bool(c, "is_decoder", false))
        config_fail(c, "is_decoder", "a BERT that generates text is not supported; accepted: false");
}

void bert_read_common(struct model_config *out, struct config *c, size_t context_max)
{
    struct model_info *info = &out->info;
    info->hidden = config_size(c, "hidden_size", 1, 1 << 20, 768);
    info->vocab = config_size(c, "vocab_size", 1, 1 << 24, 30522);
    info->blocks = config_size(c, "num_hidden_layers", 1, FAMILY_BLOCKS_MAX, 12);
    info->context = config_size(c, "max_position_embeddings", 1, context_max, 512);
    info->feed_forward = config_size(c, "intermediate_size", 1, 1 << 24, 3072);
    out->types = config_size(c, "type_vocab_size", 1, 1 << 16, 2);
    out->eps = (float)config_number(c, "layer_norm_eps", 0, 1e-12);
    out->prefix = "encoder.layer.";
    out->embedding_name = "embeddings.word_embeddings.weight";
    out->position_name = "embeddings.position_embeddings.weight";
    out->type_name = "embeddings.token_type_embeddings.weight";
    out->embedding_norm_name = "embeddings.LayerNorm.weight";
    out->embedding_norm_bias_name = "embeddings.LayerNorm.bias";
    out->pooler_name = "pooler.dense.weight";
    out->pooler_bias_name = "pooler.dense.bias";
}

static void bert_read(struct model_config *out, struct config *c)
{
    struct model_info *info = &out->info;
    check_variant(c);
    bert_read_common(out, c, 1 << 24);
    info->heads = info->kv_heads = config_size(c, "num_attention_heads", 1, 4096, 12);
    info->head_size = info->hidden / info->heads;
    info->attention_blocks = info->blocks;
    info->tied = true;
    info->pad = 0;
    info->padding = MODEL_PAD_NONE;
    info->pooling = MODEL_POOL_MEAN;
    info->normalize = true;
    out->activation = read_activation(c);
    for (size_t i = 0; i < info->blocks; i++) {
        out->blocks[i] = (struct block_spec){&sublayer_encoder_attention, &sublayer_encoder_mlp,
                                             attention_names, mlp_names};
    }
}

const char *const bert_prefixes[] = {"module.", "model.", "bert.", NULL};
static const char *const model_types[] = {"bert", NULL};
static const char *const buffers[] = {"embeddings.position_ids", "embeddings.token_type_ids", NULL};
static const char *const rests[] = {"cls.*", "pooler.*", "classifier.*", NULL}; /* heads of other tasks */
const struct family family_bert = {
    .name = "bert",
    .model_types = model_types,
    .read = bert_read,
    .prefixes = bert_prefixes,
    .buffers = buffers,
    .rests = rests,
    .strict = true,
};
