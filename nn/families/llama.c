/* Llama: attention and SwiGLU in every block; with llama3 rope scaling where the config asks for it. */
#include "nn/families/family.h"

#include <string.h>

static const char *const attention_names[] = {
    [ATTENTION_NORM] = "input_layernorm.weight",    [ATTENTION_Q] = "self_attn.q_proj.weight",
    [ATTENTION_K] = "self_attn.k_proj.weight",      [ATTENTION_V] = "self_attn.v_proj.weight",
    [ATTENTION_OUT] = "self_attn.o_proj.weight",    [ATTENTION_Q_BIAS] = "self_attn.q_proj.bias",
    [ATTENTION_K_BIAS] = "self_attn.k_proj.bias",   [ATTENTION_V_BIAS] = "self_attn.v_proj.bias",
    [ATTENTION_OUT_BIAS] = "self_attn.o_proj.bias",
};
static const char *const swiglu_names[] = {
    [SWIGLU_NORM] = "post_attention_layernorm.weight",
    [SWIGLU_GATE] = "mlp.gate_proj.weight",
    [SWIGLU_UP] = "mlp.up_proj.weight",
    [SWIGLU_DOWN] = "mlp.down_proj.weight",
    [SWIGLU_GATE_BIAS] = "mlp.gate_proj.bias",
    [SWIGLU_UP_BIAS] = "mlp.up_proj.bias",
    [SWIGLU_DOWN_BIAS] = "mlp.down_proj.bias",
};

static void check_activation(struct config *c)
{
    const struct json_node *act = config_get(c, "hidden_act");
    const char *name = json_text(act, NULL);
    if (act != NULL && (name == NULL || strcmp(name, "silu") != 0)) {
        config_fail(c, "hidden_act", "'%s' is not supported; accepted: silu",
                    name != NULL ? name : json_kind_name(json_kind(act)));
    }
}

static void llama_read(struct model_config *out, struct config *c)
{
    struct model_info *info = &out->info;
    check_activation(c);
    info->hidden = config_size(c, "hidden_size", 1, 1 << 20, CONFIG_REQUIRED);
    info->vocab = config_size(c, "vocab_size", 1, 1 << 24, CONFIG_REQUIRED);
    info->blocks = config_size(c, "num_hidden_layers", 1, FAMILY_BLOCKS_MAX, CONFIG_REQUIRED);
    info->heads = config_size(c, "num_attention_heads", 1, 4096, CONFIG_REQUIRED);
    info->kv_heads = config_size(c, "num_key_value_heads", 1, 4096, info->heads);
    info->head_size = config_size(c, "head_dim", 1, 65536, info->hidden / info->heads);
    info->context = config_size(c, "max_position_embeddings", 1, 1 << 24, 2048);
    info->feed_forward = config_size(c, "intermediate_size", 1, 1 << 24, CONFIG_REQUIRED);
    info->tied = config_bool(c, "tie_word_embeddings", false);
    info->causal = true;
    info->attention_blocks = info->blocks;
    out->attention_bias = config_bool(c, "attention_bias", false);
    out->feed_forward_bias = config_bool(c, "mlp_bias", false);
    out->eps = (float)config_number(c, "rms_norm_eps", 0, 1e-6);
    rope_read(&out->rope, c, 10000);
    for (size_t i = 0; i < info->blocks; i++) {
        out->blocks[i] =
            (struct block_spec){&sublayer_attention, &sublayer_swiglu, attention_names, swiglu_names};
    }
    out->prefix = "model.layers.";
    out->embedding_name = "model.embed_tokens.weight";
    out->final_norm_name = "model.norm.weight";
    out->head_name = "lm_head.weight";
}

static const char *const model_types[] = {"llama", NULL};
const struct family family_llama = {.name = "llama", .model_types = model_types, .read = llama_read};
