/* config.json to a list of blocks: finds the family by model_type and checks what holds for all of them. */
#include "graph/buf.h"
#include "nn/families/family.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { CONFIG_BYTES_MAX = 16 << 20 };

#define X(name) extern const struct family family_##name;
#include "families.inc"
#undef X
static const struct family *const families[] = {
#define X(name) &family_##name,
#include "families.inc"
#undef X
    NULL,
};

static void known_types(struct buf *out)
{
    for (size_t i = 0; families[i] != NULL; i++) {
        for (size_t j = 0; families[i]->model_types[j] != NULL; j++) {
            buf_printf(out, "%s%s", out->len > 0 ? ", " : "", families[i]->model_types[j]);
        }
    }
}

static void find_family(struct model_config *out, struct config *c)
{
    const struct json_node *node = config_get(c, "model_type");
    const char *type = json_text(node, NULL);
    for (size_t i = 0; type != NULL && families[i] != NULL; i++) {
        for (size_t j = 0; families[i]->model_types[j] != NULL; j++) {
            if (strcmp(families[i]->model_types[j], type) != 0) continue;
            out->family = families[i];
            out->info.family = families[i]->name;
            out->info.model_type = families[i]->model_types[j];
            return;
        }
    }
    struct buf known = {0};
    known_types(&known);
    if (type != NULL) {
        config_fail(c, "model_type", "'%s' is not supported; supported: %s", type, buf_text(&known));
    } else {
        config_fail(c, "model_type", "expected a string, found %s; supported: %s",
                    node == NULL ? "nothing" : json_kind_name(json_kind(node)), buf_text(&known));
    }
    buf_fini(&known);
}

static const char *read_dtype(const struct config *c)
{
    static const char *const known[] = {"float32", "bfloat16", "float16", "float64"};
    const char *name = json_text(config_get(c, "dtype"), NULL);
    if (name == NULL) name = json_text(config_get(c, "torch_dtype"), NULL);
    for (size_t i = 0; name != NULL && i < sizeof known / sizeof *known; i++) {
        if (strcmp(known[i], name) == 0) return known[i];
    }
    return "";
}

static void check_shapes(const struct model_info *info, struct config *c)
{
    if (info->heads % info->kv_heads != 0) {
        config_fail(c, "num_key_value_heads", "%zu does not divide num_attention_heads %zu", info->kv_heads,
                    info->heads);
    }
    if (info->hidden % info->heads != 0 && (!info->causal || config_get(c, "head_dim") == NULL)) {
        config_fail(c, "num_attention_heads", "%zu does not divide hidden_size %zu%s", info->heads,
                    info->hidden, info->causal ? ", and there is no head_dim" : "");
    }
    if (info->causal && (info->head_size == 0 || info->head_size % 2 != 0))
        config_fail(c, "head_dim", "%zu must be even, for rotary positions", info->head_size);
}

/* All but the blocks': a decoder's embedding, final norm and head; an encoder's tables, LayerNorm, pooler. */
static uint64_t other_parameters(const struct model_config *c)
{
    const struct model_info *info = &c->info;
    uint64_t C = info->hidden, words = info->vocab * C;
    if (info->causal) return words * (info->tied ? 1 : 2) + C;
    uint64_t pooler = c->pooler_name != NULL ? C * C + C : 0;
    return words + (info->context + c->types) * C + 2 * C + pooler;
}

static void derive(struct model_config *out)
{
    struct model_info *info = &out->info;
    uint64_t parameters = other_parameters(out);
    for (size_t i = 0; i < info->blocks; i++) {
        parameters += out->blocks[i].mixer->parameters(out) + out->blocks[i].feed_forward->parameters(out);
        if (out->blocks[i].mixer == &sublayer_shortconv)
            info->state_bytes += sublayer_shortconv.state_bytes(out, 0);
    }
    info->parameters = parameters;
    if (!info->causal) return;
    info->kv_bytes_per_token = 2 * sizeof(float) * info->attention_blocks * info->kv_heads * info->head_size;
}

static void read_all(struct model_config *out, struct config *c)
{
    if (json_kind(c->map) != JSON_MAP_) {
        c->rc = thea_fail(c->err, THEA_EDATA, "%s: expected a JSON object, found %s", c->path,
                          json_kind_name(json_kind(c->map)));
        return;
    }
    find_family(out, c);
    if (c->rc != THEA_OK) return;
    assert(out->family != NULL);
    if (config_get(c, "quantization_config") != NULL) {
        config_fail(
            c, "quantization_config",
            "weights quantised in this way are not supported; accepted: F32, F16, BF16 weights without it");
    }
    out->info.dtype = read_dtype(c);
    out->info.pad = -1;
    out->info.normalize = true; /* of a mean; a family with a pooler says otherwise */
    out->family->read(out, c);
    if (!out->info.causal && config_get(c, "pad_token_id") != NULL)
        out->info.pad = config_token(c, "pad_token_id", out->info.vocab);
    out->info.max_length = out->info.context;
    if (c->rc == THEA_OK) check_shapes(&out->info, c);
    out->info.bos = config_token(c, "bos_token_id", out->info.vocab);
    out->info.eos = config_token(c, "eos_token_id", out->info.vocab);
    if (c->rc == THEA_OK) derive(out);
}

static thea_rc from_node(struct model_config **out, const struct json_node *node, const char *path,
                         struct thea_err *err)
{
    *out = NULL;
    struct model_config *config = calloc(1, sizeof *config);
    if (config == NULL) return thea_fail(err, THEA_EOS, "%s: out of memory", path);
    struct config c = {node, path, err, THEA_OK};
    read_all(config, &c);
    if (c.rc != THEA_OK) {
        free(config);
        return c.rc;
    }
    *out = config;
    return THEA_OK;
}

thea_rc model_config_parse(struct model_config **out, const char *text, size_t len, const char *path,
                           struct thea_err *err)
{
    *out = NULL;
    struct json_node *node = NULL;
    thea_rc rc = json_parse(&node, text, len, path, err);
    if (rc == THEA_OK) rc = from_node(out, node, path, err);
    json_free(node);
    return rc;
}

/* Sentence encoders are often trained on less than their context, and say so beside config.json. */
static thea_rc read_max_length(struct model_config *config, const char *dir, struct thea_err *err)
{
    struct buf path = {0};
    struct json_node *node = NULL;
    thea_rc rc = THEA_OK;
    buf_printf(&path, "%s/sentence_bert_config.json", dir);
    if (access(buf_text(&path), F_OK) == 0) rc = json_read_file(&node, path.data, CONFIG_BYTES_MAX, err);
    if (rc == THEA_OK && node != NULL) {
        struct config c = {node, path.data, err, THEA_OK};
        size_t most = config_size(&c, "max_seq_length", 1, 1 << 24, config->info.context);
        if (most < config->info.max_length) config->info.max_length = most;
        rc = c.rc;
    }
    json_free(node);
    buf_fini(&path);
    return rc;
}

thea_rc model_config_read(struct model_config **out, const char *dir, struct thea_err *err)
{
    *out = NULL;
    struct buf path = {0};
    buf_printf(&path, "%s/config.json", dir);
    struct json_node *node = NULL;
    thea_rc rc = json_read_file(&node, path.data, CONFIG_BYTES_MAX, err);
    if (rc == THEA_OK) rc = from_node(out, node, path.data, err);
    if (rc == THEA_OK && !(*out)->info.causal) rc = read_max_length(*out, dir, err);
    if (rc != THEA_OK) {
        free(*out);
        *out = NULL;
    }
    json_free(node);
    buf_fini(&path);
    return rc;
}

thea_rc model_read_info(struct model_info *out, const char *dir, struct thea_err *err)
{
    struct model_config *config;
    thea_rc rc = model_config_read(&config, dir, err);
    if (rc != THEA_OK) return rc;
    *out = config->info;
    free(config);
    return THEA_OK;
}

thea_rc model_costs(double **costs, double *head, const char *dir, size_t context, struct thea_err *err)
{
    struct model_config *config;
    *costs = NULL;
    thea_rc rc = model_config_read(&config, dir, err);
    if (rc != THEA_OK) return rc;
    double *out = calloc(config->info.blocks, sizeof *out);
    if (out == NULL) {
        free(config);
        return thea_fail(err, THEA_EOS, "%s: out of memory", dir);
    }
    for (size_t i = 0; i < config->info.blocks; i++) {
        const struct block_spec *b = &config->blocks[i];
        out[i] = b->mixer->flop(config, context) + b->feed_forward->flop(config, context);
    }
    *costs = out;
    *head = config->info.causal ? 2.0 * (double)config->info.hidden * (double)config->info.vocab : 0;
    free(config);
    return THEA_OK;
}
