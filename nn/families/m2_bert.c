/* M2-BERT (Monarch Mixer): long convolutions with implicit filters instead of attention, a block-diagonal GLU
 * instead of the dense feed-forward. Names and keys are those of the published checkpoints. A block is
 * m = mixer(h); h = LayerNorm(mlp(m) + m): there is no residual connection around the mixer. Tokens that fill
 * up count like others: the answer depends on them. */
#include "kernels/longconv.h"
#include "nn/blocks/monarch.h"
#include "nn/families/bert.h"

static const char *const mixer_names[] = {
    [MONARCH_MIXER_IN] = "attention.in_linear.weight",
    [MONARCH_MIXER_IN_BIAS] = "attention.in_linear.bias",
    [MONARCH_MIXER_TAPS] = "attention.short_filter.weight",
    [MONARCH_MIXER_TAPS_BIAS] = "attention.short_filter.bias",
    [MONARCH_MIXER_GATED] = "attention.filter_fn.",
    [MONARCH_MIXER_RESIDUAL] = "attention.filter_fn2.",
    [MONARCH_MIXER_OUT] = "attention.out_linear.weight",
    [MONARCH_MIXER_OUT_BIAS] = "attention.out_linear.bias",
    [MONARCH_MIXER_ROLES] = NULL,
};
static const char *const mlp_names[] = {
    [MONARCH_MLP_UP] = "mlp.gated_layers.weight",   [MONARCH_MLP_DOWN] = "mlp.wo.weight",
    [MONARCH_MLP_DOWN_BIAS] = "mlp.wo.bias",        [MONARCH_MLP_NORM] = "mlp.layernorm.weight",
    [MONARCH_MLP_NORM_BIAS] = "mlp.layernorm.bias", [MONARCH_MLP_ROLES] = NULL,
};

/* Architectures of the same name that are others: each flag, what it must be, and what it is when absent. */
static const struct {
    const char *key;
    bool want, fallback;
} flags[] = {
    {"monarch_mixer_sequence_mixing", true, true},
    {"bidirectional", true, true},
    {"residual_long_conv", true, true},
    {"use_glu_mlp", true, true},
    {"use_monarch_mlp", true, true},
    {"use_positional_encodings", true, true},
    {"hyena_training_additions", false, false},
};

static void check_flags(struct config *c)
{
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        if (config_bool(c, flags[i].key, flags[i].fallback) == flags[i].want) continue;
        config_fail(c, flags[i].key, "%s is not supported; supported: %s", flags[i].want ? "false" : "true",
                    flags[i].want ? "true" : "false");
    }
}

static void check_sizes(const struct model_config *out, struct config *c)
{
    const struct model_info *info = &out->info;
    size_t n = out->monarch.blocks, l_max = config_size(c, "long_conv_l_max", 1, 1 << 24, info->context);
    if (n % 2 != 0 || info->hidden % n != 0 || info->feed_forward % n != 0) {
        config_fail(c, "monarch_mlp_nblocks",
                    "%zu must be even and divide hidden_size %zu and intermediate_size %zu", n, info->hidden,
                    info->feed_forward);
    }
    if (info->hidden / n > GEMM_GEGLU_K) {
        config_fail(c, "monarch_mlp_nblocks", "%zu blocks of hidden_size %zu are wider than %d", n,
                    info->hidden, GEMM_GEGLU_K);
    }
    if (l_max != info->context) {
        config_fail(c, "long_conv_l_max", "%zu must be max_position_embeddings, %zu", l_max, info->context);
    }
    double w_mod = config_number(c, "hyena_w_mod", 0, 1);
    if (w_mod < 1 || w_mod > 1) config_fail(c, "hyena_w_mod", "%g is not supported; supported: 1", w_mod);
}

static void m2_bert_read(struct model_config *out, struct config *c)
{
    struct model_info *info = &out->info;
    bert_read_common(out, c, LONGCONV_MAX);
    info->heads = info->kv_heads = 1; /* it has none; num_attention_heads is a rest of BERT's config */
    info->head_size = info->hidden;
    info->conv_taps = MONARCH_TAPS;
    info->pad = (int)config_size(c, "pad_token_id", 0, info->vocab - 1, 0);
    info->padding = MODEL_PAD_MAX;
    info->pooling = MODEL_POOL_POOLER;
    info->normalize = false;
    out->monarch.blocks = config_size(c, "monarch_mlp_nblocks", 2, MONARCH_BLOCKS_MAX, 4);
    out->monarch.filter_width = config_size(c, "hyena_filter_order", 1, 1 << 16, 128);
    out->monarch.filter_features = config_size(c, "hyena_emb_dim", 1, 1 << 16, 5);
    check_flags(c);
    check_sizes(out, c);
    for (size_t i = 0; i < info->blocks; i++) {
        out->blocks[i] =
            (struct block_spec){&sublayer_monarch_mixer, &sublayer_monarch_mlp, mixer_names, mlp_names};
    }
}

static const char *const model_types[] = {"m2_bert", NULL};
/* The tables of a GPU library's FFT, and what follows from the maximum length. */
static const char *const buffers[] = {"*flashfft.*", "embeddings.position_ids", "embeddings.token_type_ids",
                                      NULL};
/* The head of pretraining. */
static const char *const rests[] = {"cls.*", NULL};
const struct family family_m2_bert = {
    .name = "m2_bert",
    .model_types = model_types,
    .read = m2_bert_read,
    .prefixes = bert_prefixes,
    .buffers = buffers,
    .rests = rests,
    .strict = true,
};
