/* The embedding: see embedding.h. */
#include "nn/embedding.h"

#include "nn/blocks/block.h"
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
static void sum_row(const struct embedding *e, float *x, int32_t token, size_t type, size_t position,
                    float *scratch)
{
    size_t C = e->config->info.hidden;
    weight_widen(x, e->words, (uint64_t)token * C, C, e->kernels);
    e->kernels->add(x, e->types + type * C, C);
    weight_widen(scratch, e->positions, (uint64_t)position * C, C, e->kernels);
    e->kernels->add(x, scratch, C);
}

/* What rows are made of: the tokens of one document. */
struct rows {
    const struct embedding *e;
    const int32_t *tokens, *types; /* types NULL: all 0 */
    size_t n, position;            /* of the first */
};

static size_t type_of(const struct rows *r, size_t i)
{
    return r->types != NULL ? (size_t)r->types[i] : 0;
}

/* Rows [begin, end) of x [n,C]; scratch [C]. */
static void sum_rows(const struct rows *r, float *x, size_t begin, size_t end, float *scratch)
{
    size_t C = r->e->config->info.hidden;
    for (size_t i = begin; i < end; i++)
        sum_row(r->e, x + i * C, r->tokens[i], type_of(r, i), r->position + i, scratch);
}

static thea_rc sum_all(const struct rows *r, float *x, struct thea_err *err)
{
    float *scratch = malloc(r->e->config->info.hidden * sizeof *scratch);
    if (scratch == NULL) return thea_fail(err, THEA_EOS, "out of memory");
    sum_rows(r, x, 0, r->n, scratch);
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
    rc = sum_all(&(struct rows){e, tokens, types, n, position}, x, err);
    if (rc == THEA_OK)
        e->kernels->layernorm_forward(x, NULL, NULL, x, NULL, e->norm, e->norm_bias, n, C, e->config->eps);
    return rc;
}

/* --- backward: rows are shared out, but for the tables' sums, where columns are: a token may stand in many
 * rows, and its sum takes them in their order whoever adds them --- */

enum { LINE_FLOATS = 16 };

struct backward {
    struct rows rows;
    const struct run *run;
    const float *d;                   /* [n,C]: the gradient of word + type + position */
    float *words, *positions, *types; /* the tables' gradients; NULL: not wanted */
    float *sums;                      /* [n,C]: word + type + position */
};

static void sums_task(const void *context, size_t begin, size_t end, int worker)
{
    const struct backward *b = context;
    sum_rows(&b->rows, b->sums, begin, end, workers_scratch(b->run->workers, worker));
}

static void scatter_task(const void *context, size_t begin, size_t end, int worker)
{
    const struct backward *b = context;
    const struct kernels *k = b->rows.e->kernels;
    size_t C = b->rows.e->config->info.hidden, columns = end - begin;
    (void)worker;
    for (size_t i = 0; i < b->rows.n; i++) {
        const float *d = b->d + i * C + begin;
        size_t token = (size_t)b->rows.tokens[i], position = b->rows.position + i;
        if (b->words != NULL) k->add(b->words + token * C + begin, d, columns);
        if (b->positions != NULL) k->add(b->positions + position * C + begin, d, columns);
        if (b->types != NULL) k->add(b->types + type_of(&b->rows, i) * C + begin, d, columns);
    }
}

/* y [n,C] is scratch. */
static thea_rc backward_through(struct backward *b, float *d, float *y, struct gradients *g,
                                struct thea_err *err)
{
    const struct embedding *e = b->rows.e;
    const struct model_config *c = e->config;
    size_t C = c->info.hidden, n = b->rows.n;
    run_rows(b->run, n, 1, sums_task, b);
    thea_rc rc = run_layernorm_backward(b->run, d, gradients_of(g, "", c->embedding_norm_name, C),
                                        gradients_of(g, "", c->embedding_norm_bias_name, C), b->sums, NULL,
                                        e->norm, y, n, C, c->eps, err);
    b->d = d;
    b->words = gradients_of(g, "", c->embedding_name, c->info.vocab * C);
    b->positions = gradients_of(g, "", c->position_name, c->info.context * C);
    b->types = gradients_of(g, "", c->type_name, c->types * C);
    if (rc == THEA_OK) run_rows(b->run, C, LINE_FLOATS, scatter_task, b);
    return rc;
}

thea_rc embedding_backward(const struct embedding *e, const struct run *run, float *d, const int32_t *tokens,
                           const int32_t *types, size_t n, size_t position, struct gradients *g,
                           struct thea_err *err)
{
    size_t C = e->config->info.hidden;
    if (e->positions == NULL)
        return thea_fail(err, THEA_EUSAGE, "family %s has no gradients", e->config->info.family);
    thea_rc rc = check(e, tokens, types, n, position, err);
    if (rc != THEA_OK) return rc;
    float *memory = reallocarray(NULL, n, 2 * C * sizeof *memory);
    if (memory == NULL) return thea_fail(err, THEA_EOS, "out of memory for a backward of %zu rows", n);
    struct backward b = {.rows = {e, tokens, types, n, position}, .run = run, .sums = memory};
    rc = backward_through(&b, d, memory + n * C, g, err);
    free(memory);
    return rc;
}
