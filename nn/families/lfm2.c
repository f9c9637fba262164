/* LFM2: blocks of attention or gated short convolution, each with a SwiGLU feed-forward. Two spellings of its
 * config are about: transformers' own and that of the files on the hub; where both are there, the comments
 * say which wins. */
#include "nn/families/family.h"

#include <math.h>
#include <string.h>

static const char *const attention_names[] = {
    [ATTENTION_NORM] = "operator_norm.weight",           [ATTENTION_Q] = "self_attn.q_proj.weight",
    [ATTENTION_K] = "self_attn.k_proj.weight",           [ATTENTION_V] = "self_attn.v_proj.weight",
    [ATTENTION_OUT] = "self_attn.out_proj.weight",       [ATTENTION_Q_NORM] = "self_attn.q_layernorm.weight",
    [ATTENTION_K_NORM] = "self_attn.k_layernorm.weight", [ATTENTION_ROLES] = NULL,
};
static const char *const shortconv_names[] = {
    [SHORTCONV_NORM] = "operator_norm.weight",   [SHORTCONV_IN] = "conv.in_proj.weight",
    [SHORTCONV_CONV] = "conv.conv.weight",       [SHORTCONV_OUT] = "conv.out_proj.weight",
    [SHORTCONV_IN_BIAS] = "conv.in_proj.bias",   [SHORTCONV_CONV_BIAS] = "conv.conv.bias",
    [SHORTCONV_OUT_BIAS] = "conv.out_proj.bias",
};
static const char *const swiglu_names[] = {
    [SWIGLU_NORM] = "ffn_norm.weight",
    [SWIGLU_GATE] = "feed_forward.w1.weight",
    [SWIGLU_UP] = "feed_forward.w3.weight",
    [SWIGLU_DOWN] = "feed_forward.w2.weight",
    [SWIGLU_ROLES] = NULL,
};

static void set_block(struct model_config *out, size_t i, bool attends)
{
    out->blocks[i] =
        (struct block_spec){attends ? &sublayer_attention : &sublayer_shortconv, &sublayer_swiglu,
                            attends ? attention_names : shortconv_names, swiglu_names};
    out->info.attention_blocks += attends;
}

static void read_layer_types(struct model_config *out, struct config *c, const struct json_node *types)
{
    if (json_kind(types) != JSON_LIST_ || json_count(types) != out->info.blocks) {
        config_fail(c, "layer_types", "expected a list of %zu names (num_hidden_layers), found %s of %zu",
                    out->info.blocks, json_kind_name(json_kind(types)), json_count(types));
        return;
    }
    for (size_t i = 0; i < out->info.blocks; i++) {
        const char *name = json_text(json_item(types, i), NULL);
        if (name == NULL) {
            config_fail(c, "layer_types", "entry %zu: expected a string, found %s", i,
                        json_kind_name(json_kind(json_item(types, i))));
            return;
        }
        set_block(out, i, strcmp(name, "conv") != 0);
    }
}

static void read_attention_indices(struct model_config *out, struct config *c, const struct json_node *list)
{
    bool attends[FAMILY_BLOCKS_MAX] = {false};
    if (json_kind(list) != JSON_LIST_)
        config_fail(c, "full_attn_idxs", "expected a list, found %s", json_kind_name(json_kind(list)));
    for (size_t i = 0; i < json_count(list); i++) {
        const struct json_node *item = json_item(list, i);
        int64_t at = json_int(item);
        if (json_kind(item) != JSON_INT_ || at < 0 || (uint64_t)at >= out->info.blocks) {
            config_fail(c, "full_attn_idxs", "entry %zu must be a block number of 0 to %zu", i,
                        out->info.blocks - 1);
            return;
        }
        attends[at] = true;
    }
    for (size_t i = 0; i < out->info.blocks; i++) set_block(out, i, attends[i]);
}

/* layer_types wins; without either list every block attends. */
static void read_blocks(struct model_config *out, struct config *c)
{
    const struct json_node *types = config_get(c, "layer_types"), *indices = config_get(c, "full_attn_idxs");
    if (types != NULL) {
        read_layer_types(out, c, types);
    } else if (indices != NULL) {
        read_attention_indices(out, c, indices);
    } else {
        for (size_t i = 0; i < out->info.blocks; i++) set_block(out, i, true);
    }
}

/* F: block_ff_dim wins over intermediate_size; then two thirds, times the multiplier, rounded up, unless the
 * config says that it is final. */
static size_t read_feed_forward(struct config *c)
{
    const char *key = config_get(c, "block_ff_dim") != NULL ? "block_ff_dim" : "intermediate_size";
    size_t f = config_size(c, key, 1, 1 << 24, 12288);
    if (!config_bool(c, "block_auto_adjust_ff_dim", true)) return f;
    f = 2 * f / 3;
    const struct json_node *multiplier = json_member(c->map, "block_ffn_dim_multiplier");
    if (multiplier == NULL ||
        json_kind(multiplier) != JSON_NULL_) { /* null means: do not multiply, do not round */
        size_t m = config_size(c, "block_multiple_of", 1, 1 << 20, 256);
        double scaled = trunc(config_number(c, "block_ffn_dim_multiplier", 0, 1.0) * (double)f);
        if (scaled > 1 << 24)
            config_fail(c, "block_ffn_dim_multiplier", "a feed-forward of %g is impossible", scaled);
        f = scaled > 1 << 24 ? m : ((size_t)scaled + m - 1) / m * m;
    }
    if (f == 0) config_fail(c, key, "too small: the feed-forward would have no width");
    return f;
}

static void lfm2_read(struct model_config *out, struct config *c)
{
    struct model_info *info = &out->info;
    info->hidden = config_size(c, "hidden_size", 1, 1 << 20, 2560);
    info->vocab = config_size(c, "vocab_size", 1, 1 << 24, 65536);
    info->blocks = config_size(c, "num_hidden_layers", 1, FAMILY_BLOCKS_MAX, 32);
    info->heads = config_size(c, "num_attention_heads", 1, 4096, 32);
    info->kv_heads = config_size(c, "num_key_value_heads", 1, 4096, 8);
    info->head_size = config_size(c, "head_dim", 1, 65536, info->hidden / info->heads);
    info->context = config_size(c, "max_position_embeddings", 1, 1 << 24, 128000);
    info->feed_forward = read_feed_forward(c);
    info->conv_taps = config_size(c, "conv_L_cache", 1, 1024, 3);
    info->tied = config_bool(
        c, config_get(c, "tie_embedding") != NULL ? "tie_embedding" : "tie_word_embeddings", true);
    info->causal = true;
    out->conv_bias = config_bool(c, "conv_bias", false);
    out->head_norm = true;
    out->eps = (float)config_number(c, "norm_eps", 0, 1e-5);
    rope_read(&out->rope, c, 1e6);
    read_blocks(out, c);
    out->prefix = "model.layers.";
    out->embedding_name = "model.embed_tokens.weight";
    out->final_norm_name = "model.embedding_norm.weight"; /* despite its name the last norm */
    out->head_name = "lm_head.weight";
}

static const char *const model_types[] = {"lfm2", NULL};
const struct family family_lfm2 = {.name = "lfm2", .model_types = model_types, .read = lfm2_read};
