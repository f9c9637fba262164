/* A part of a model: its sublayers in order, with embedding and head where it owns them. See model.h.
 * Workspaces are reserved once; a call of model_forward allocates nothing. */
#include "nn/model_impl.h"
#include "nn/model_weights.h"

#include "nn/kv.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

struct model_state {
    struct model *model;
    unsigned char *memory;
    size_t position;
};

const struct model_info *model_info(const struct model *m)
{
    return &m->config->info;
}
bool model_has_embedding(const struct model *m)
{
    return m->first == 0;
}
bool model_has_head(const struct model *m)
{
    return m->last + 1 == m->config->info.blocks;
}
size_t model_first(const struct model *m)
{
    return m->first;
}
size_t model_last(const struct model *m)
{
    return m->last;
}

void model_on_block(struct model *m, void (*done)(void *context), void *context)
{
    m->on_block = done;
    m->on_block_context = context;
}

static thea_rc check_range(struct model *m, size_t first, size_t last, const char *dir, struct thea_err *err)
{
    size_t blocks = m->config->info.blocks;
    m->first = first;
    m->last = last == SIZE_MAX ? blocks - 1 : last;
    if (m->first <= m->last && m->last < blocks) return THEA_OK;
    if (last == SIZE_MAX)
        return thea_fail(err, THEA_EUSAGE, "blocks %zu-: %s has blocks 0-%zu", first, dir, blocks - 1);
    return thea_fail(err, THEA_EUSAGE, "blocks %zu-%zu: %s has blocks 0-%zu", first, last, dir, blocks - 1);
}

static thea_rc load_sublayer(struct model *m, size_t block, const struct sublayer_kind *kind,
                             const char *const *names, struct thea_err *err)
{
    struct sublayer *s = &m->sublayers[m->sublayer_count++];
    snprintf(s->prefix, sizeof s->prefix, "%s%zu.", m->config->prefix, block);
    s->names = names;
    s->kind = kind;
    s->self = calloc(1, kind->self_size);
    if (s->self == NULL) return thea_fail(err, THEA_EOS, "out of memory");
    kind->load(s->self, &m->loader, m->config, s->prefix, names);
    s->state_at = m->state_bytes;
    if (kind->state_bytes != NULL)
        m->state_bytes += (kind->state_bytes(m->config, m->config->info.context) + 4095) / 4096 * 4096;
    return THEA_OK;
}

static thea_rc load_blocks(struct model *m, struct thea_err *err)
{
    m->sublayers = calloc(2 * (m->last - m->first + 1), sizeof *m->sublayers);
    if (m->sublayers == NULL) return thea_fail(err, THEA_EOS, "out of memory");
    thea_rc rc = THEA_OK;
    for (size_t i = m->first; i <= m->last && rc == THEA_OK; i++) {
        const struct block_spec *b = &m->config->blocks[i];
        rc = load_sublayer(m, i, b->mixer, b->mixer_names, err);
        if (rc == THEA_OK) rc = load_sublayer(m, i, b->feed_forward, b->feed_forward_names, err);
    }
    return rc;
}

static thea_rc load_weights(struct model *m, const char *dir, struct thea_err *err)
{
    bool causal = m->config->info.causal;
    thea_rc rc = model_weights_open(&m->weights, m->config, dir, err);
    if (rc == THEA_OK) rc = loader_init(&m->loader, m->weights, m->kernels, err);
    if (rc != THEA_OK) return rc;
    if (model_has_embedding(m)) embedding_load(&m->embedding, &m->loader, m->config);
    rc = load_blocks(m, err);
    if (rc == THEA_OK && causal && model_has_head(m))
        rc = head_load(&m->head, &m->loader, m->config, m->workers, err);
    if (rc != THEA_OK) return rc;
    model_weights_check_rest(&m->loader, m->config, m->first, m->last);
    return loader_check(&m->loader, dir, err);
}

size_t model_width(const struct model *m, bool whole)
{
    size_t widest = 0;
    for (size_t i = 0; i < m->sublayer_count; i++) {
        const struct sublayer_kind *kind = m->sublayers[i].kind;
        size_t width = kind->whole == whole ? kind->width(m->config) : 0;
        widest = width > widest ? width : widest;
    }
    return widest;
}

static size_t scratch_floats(const struct model *m)
{
    size_t most = 0;
    for (size_t i = 0; i < m->sublayer_count; i++) {
        const struct sublayer_kind *kind = m->sublayers[i].kind;
        size_t floats = kind->scratch != NULL ? kind->scratch(m->config, m->kernels) : 0;
        most = floats > most ? floats : most;
    }
    return (most + 15) / 16 * 16;
}

static size_t at_least(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* One reservation, touched as far as the rows of a call reach: scratch a worker, norm [n,C], cos and sin
 * [n,D/2] (rotary positions are the decoders'), wide [n,width]. */
static thea_rc make_workspace(struct model *m, struct thea_err *err)
{
    const struct model_info *info = &m->config->info;
    size_t half = info->causal ? info->head_size / 2 : 0, scratch = scratch_floats(m);
    m->batch_rows = info->causal ? ROWS_MAX : at_least(info->context, BATCH_ROWS_MIN);
    size_t rows = m->batch_rows, workers = (size_t)workers_count(m->workers);
    size_t wide = at_least(rows * model_width(m, true), ROWS_MAX * model_width(m, false));
    size_t floats = scratch * workers + rows * info->hidden + 2 * ROWS_MAX * half + wide;
    m->workspace_bytes = (floats + 4 * 16) * sizeof(float);
    void *memory;
    thea_rc rc = kv_reserve(&memory, m->workspace_bytes, err);
    if (rc != THEA_OK) return rc;
    if (!info->causal)
        madvise(memory, m->workspace_bytes, MADV_HUGEPAGE); /* read by channel as well as by row */
    float *at = m->workspace = memory;
    m->run = (struct run){
        .kernels = m->kernels, .workers = m->workers, .scratch_floats = scratch, .context = info->context};
    m->run.scratch = at, at += scratch * workers;
    m->run.norm = at, at += rows * info->hidden;
    m->cos = at, at += ROWS_MAX * half;
    m->sin = at, at += ROWS_MAX * half;
    m->run.wide = m->workspace + ((size_t)(at - m->workspace) + 15) / 16 * 16;
    if (half == 0) return THEA_OK;
    m->inv = malloc(half * sizeof *m->inv);
    if (m->inv == NULL) return thea_fail(err, THEA_EOS, "out of memory");
    rope_frequencies(m->inv, &m->config->rope, info->head_size);
    return THEA_OK;
}

thea_rc model_open(struct model **out, const char *dir, size_t first, size_t last, struct workers *workers,
                   const struct kernels *kernels, struct thea_err *err)
{
    *out = NULL;
    struct model *m = calloc(1, sizeof *m);
    if (m == NULL) return thea_fail(err, THEA_EOS, "out of memory");
    m->workers = workers;
    m->kernels = kernels;
    thea_rc rc = model_config_read(&m->config, dir, err);
    if (rc == THEA_OK) rc = check_range(m, first, last, dir, err);
    if (rc == THEA_OK) rc = load_weights(m, dir, err);
    if (rc == THEA_OK) rc = model_prepare(m, MODEL_FILTER_MEMORY, err);
    if (rc == THEA_OK) rc = make_workspace(m, err);
    if (rc != THEA_OK) {
        model_close(m);
        return rc;
    }
    *out = m;
    return THEA_OK;
}

void model_close(struct model *m)
{
    if (m == NULL) return;
    for (size_t i = 0; i < m->sublayer_count; i++) {
        const struct sublayer *s = &m->sublayers[i];
        if (s->self != NULL && s->kind->fini != NULL) s->kind->fini(s->self);
        free(s->self);
    }
    free(m->sublayers);
    filter_bank_free(m->filters);
    head_free(&m->head);
    loader_fini(&m->loader);
    weights_close(m->weights);
    kv_release(m->workspace, m->workspace_bytes);
    free(m->inv);
    free(m->config);
    free(m);
}

thea_rc model_state_new(struct model_state **out, struct model *m, struct thea_err *err)
{
    *out = NULL;
    struct model_state *s = calloc(1, sizeof *s);
    if (s == NULL) return thea_fail(err, THEA_EOS, "out of memory");
    void *memory;
    thea_rc rc = kv_reserve(&memory, m->state_bytes, err);
    if (rc != THEA_OK) {
        free(s);
        return rc;
    }
    s->model = m;
    s->memory = memory;
    *out = s;
    return THEA_OK;
}

void model_state_free(struct model_state *s)
{
    if (s == NULL) return;
    kv_release(s->memory, s->model->state_bytes);
    free(s);
}

uint64_t model_state_bytes(const struct model_state *s)
{
    uint64_t total = 0;
    for (size_t i = 0; i < s->model->sublayer_count; i++) {
        const struct sublayer_kind *kind = s->model->sublayers[i].kind;
        if (kind->state_touched != NULL) total += kind->state_touched(s->model->config, s->position);
    }
    return total;
}

thea_rc model_embed(struct model *m, float *x, const int32_t *tokens, const int32_t *types, size_t n,
                    size_t position, struct thea_err *err)
{
    assert(model_has_embedding(m));
    return embedding_forward(&m->embedding, x, tokens, types, n, position, err);
}

static void set_table(struct model *m, size_t position, size_t n)
{
    if (m->table_position != position || m->table_rows < n) {
        rope_table(m->cos, m->sin, m->inv, position, n, m->config->info.head_size / 2);
        m->table_position = position;
        m->table_rows = n;
    }
    m->run.cos = m->cos;
    m->run.sin = m->sin;
}

/* One block over n rows, in even passes of at most ROWS_MAX. */
static void forward_block(struct model *m, struct model_state *s, size_t block, float *x, size_t n)
{
    const struct sublayer *sublayer = &m->sublayers[2 * (block - m->first)];
    size_t passes = (n + ROWS_MAX - 1) / ROWS_MAX;
    for (size_t i = 0, at = 0; i < passes; i++) {
        size_t rows = (n - at + (passes - i) - 1) / (passes - i);
        m->run.x = x + at * m->config->info.hidden;
        m->run.n = rows;
        m->run.position = s->position + at;
        set_table(m, m->run.position, rows);
        for (int j = 0; j < 2; j++)
            sublayer[j].kind->forward(sublayer[j].self, s->memory + sublayer[j].state_at, &m->run);
        at += rows;
    }
}

thea_rc model_forward(struct model *m, struct model_state *s, float *x, size_t n,
                      void (*after_block)(void *context, size_t block, const float *x, size_t n),
                      void *context, struct thea_err *err)
{
    assert(m->config->info.causal);
    size_t room = m->config->info.context - s->position;
    if (n > room) {
        return thea_fail(err, THEA_EDOC, "longer than the model's %zu positions (max_position_embeddings)",
                         m->config->info.context);
    }
    for (size_t block = m->first; block <= m->last; block++) {
        forward_block(m, s, block, x, n);
        if (after_block != NULL) after_block(context, block, x, n);
        if (m->on_block != NULL) m->on_block(m->on_block_context);
    }
    s->position += n;
    return THEA_OK;
}

void model_final(struct model *m, float *y, const float *x, size_t n)
{
    assert(model_has_head(m));
    if (!m->config->info.causal) {
        if (y != x) memcpy(y, x, n * m->config->info.hidden * sizeof *y);
        return;
    }
    head_norm(&m->head, y, x, n);
}

void model_logits(struct model *m, float *logits, const float *final, size_t n)
{
    assert(model_has_head(m) && m->config->info.causal);
    linear_forward(&m->head.logits, m->kernels, m->workers, logits, m->head.V, final, m->head.C, n, false);
}

thea_rc model_nll(struct model *m, float *nll, const float *final, const int32_t *targets, size_t n,
                  struct thea_err *err)
{
    assert(model_has_head(m) && m->config->info.causal);
    for (size_t i = 0; i < n; i++) {
        if (targets[i] < 0 || (size_t)targets[i] >= m->head.V) {
            return thea_fail(err, THEA_EDOC, "token %d is not in the vocabulary of %zu", targets[i],
                             m->head.V);
        }
    }
    head_nll(&m->head, nll, final, targets, n);
    return THEA_OK;
}
