/* The embedding: see embedding.h. */
#include "nn/embedding.h"

#include "nn/families/family.h"

#include <stdlib.h>
#include <string.h>

void embedding_load(struct embedding *e, struct loader *l, const struct model_config *c)
{
    uint64_t C = c->info.hidden;
    *e = (struct embedding){.config = c, .kernels = l->kernels};
    e->words = loader_raw(l, c->embedding_name, (const uint64_t[]){c->info.vocab, C, 0});
    if (c->position_name == NULL) return;
    e->positions = loader_raw(l, c->position_name, (const uint64_t[]){c->info.context, C, 0});
    e->types = loader_tensor(l, "", c->type_name, (const uint64_t[]){c->types, C, 0});
    e->norm = loader_tensor(l, "", c->embedding_norm_name, (const uint64_t[]){C, 0});
    e->norm_bias = loader_tensor(l, "", c->embedding_norm_bias_name, (const uint64_t[]){C, 0});
}

static thea_rc check(const struct embedding *e, const int32_t *tokens, const int32_t *types, size_t n,
                     size_t position, struct thea_err *err)
{
    const struct model_info *info = &e->config->info;
    for (size_t i = 0; i < n; i++) {
        if (tokens[i] < 0 || (size_t)tokens[i] >= info->vocab)
            return thea_fail(err, THEA_EDOC, "token %d is not in the vocabulary of %zu", tokens[i],
                             info->vocab);
        if (types != NULL && (types[i] < 0 || (size_t)types[i] >= e->config->types))
            return thea_fail(err, THEA_EDOC, "token type %d is not one of the model's %zu", types[i],
                             e->config->types);
    }
    if (e->positions != NULL && (n > info->context || position > info->context - n))
        return thea_fail(err, THEA_EDOC, "longer than the model's %zu positions (max_position_embeddings)",
                         info->context);
    return THEA_OK;
}

/* x [C] = word + type + position, in that order; scratch [C]. */
static void sum_row(const struct embedding *e, float *x, int32_t token, int32_t type, size_t position,
                    float *scratch)
{
    size_t C = e->config->info.hidden;
    weight_widen(x, e->words, (uint64_t)token * C, C, e->kernels);
    e->kernels->add(x, e->types + (size_t)type * C, C);
    weight_widen(scratch, e->positions, (uint64_t)position * C, C, e->kernels);
    e->kernels->add(x, scratch, C);
}

static thea_rc sum_rows(const struct embedding *e, float *x, const int32_t *tokens, const int32_t *types,
                        size_t n, size_t position, struct thea_err *err)
{
    size_t C = e->config->info.hidden;
    float *scratch = malloc(C * sizeof *scratch);
    if (scratch == NULL) return thea_fail(err, THEA_EOS, "out of memory");
    for (size_t i = 0; i < n; i++)
        sum_row(e, x + i * C, tokens[i], types != NULL ? types[i] : 0, position + i, scratch);
    free(scratch);
    return THEA_OK;
}

thea_rc embedding_forward(const struct embedding *e, float *x, const int32_t *tokens, const int32_t *types,
                          size_t n, size_t position, struct thea_err *err)
{
    size_t C = e->config->info.hidden;
    thea_rc rc = check(e, tokens, types, n, position, err);
    if (rc != THEA_OK) return rc;
    if (e->positions == NULL) {
        for (size_t i = 0; i < n; i++)
            weight_widen(x + i * C, e->words, (uint64_t)tokens[i] * C, C, e->kernels);
        return THEA_OK;
    }
    rc = sum_rows(e, x, tokens, types, n, position, err);
    if (rc == THEA_OK)
        e->kernels->layernorm_forward(x, NULL, NULL, x, NULL, e->norm, e->norm_bias, n, C, e->config->eps);
    return rc;
}

/* dsum [n,C]: the gradient of word + type + position. */
static void scatter(const struct embedding *e, const float *dsum, const int32_t *tokens, const int32_t *types,
                    size_t n, size_t position, struct gradients *g)
{
    const struct model_config *c = e->config;
    size_t C = c->info.hidden;
    float *words = gradients_of(g, "", c->embedding_name, c->info.vocab * C),
          *places = gradients_of(g, "", c->position_name, c->info.context * C),
          *kinds = gradients_of(g, "", c->type_name, c->types * C);
    for (size_t i = 0; i < n; i++) {
        const float *d = dsum + i * C;
        size_t type = types != NULL ? (size_t)types[i] : 0;
        if (words != NULL) e->kernels->add(words + (size_t)tokens[i] * C, d, C);
        if (places != NULL) e->kernels->add(places + (position + i) * C, d, C);
        if (kinds != NULL) e->kernels->add(kinds + type * C, d, C);
    }
}

/* memory: sums [n,C], their LayerNorm [n,C], mean [n], rstd [n]. */
static thea_rc backward_through(const struct embedding *e, float *d, const int32_t *tokens,
                                const int32_t *types, size_t n, size_t position, struct gradients *g,
                                float *memory, struct thea_err *err)
{
    const struct model_config *c = e->config;
    size_t C = c->info.hidden;
    float *sums = memory, *normed = sums + n * C, *mean = normed + n * C, *rstd = mean + n;
    thea_rc rc = sum_rows(e, sums, tokens, types, n, position, err);
    if (rc != THEA_OK) return rc;
    e->kernels->layernorm_forward(normed, mean, rstd, sums, NULL, e->norm, e->norm_bias, n, C, c->eps);
    e->kernels->layernorm_backward(d, gradients_of(g, "", c->embedding_norm_name, C),
                                   gradients_of(g, "", c->embedding_norm_bias_name, C), d, sums, NULL,
                                   e->norm, mean, rstd, n, C);
    scatter(e, d, tokens, types, n, position, g);
    return THEA_OK;
}

thea_rc embedding_backward(const struct embedding *e, float *d, const int32_t *tokens, const int32_t *types,
                           size_t n, size_t position, struct gradients *g, struct thea_err *err)
{
    if (e->positions == NULL)
        return thea_fail(err, THEA_EUSAGE, "family %s has no gradients", e->config->info.family);
    thea_rc rc = check(e, tokens, types, n, position, err);
    if (rc != THEA_OK) return rc;
    float *memory = reallocarray(NULL, n, (2 * e->config->info.hidden + 2) * sizeof *memory);
    if (memory == NULL) return thea_fail(err, THEA_EOS, "out of memory for a backward of %zu rows", n);
    rc = backward_through(e, d, tokens, types, n, position, g, memory, err);
    free(memory);
    return rc;
}
