/* Encoders: batches of whole documents through a part's blocks, forward and backward. See model.h. */
#include "nn/model_impl.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

size_t model_batch_rows(const struct model *m)
{
    return m->batch_rows;
}

static thea_rc check_spans(const struct model *m, size_t n, const struct span *spans, size_t count,
                           struct thea_err *err)
{
    size_t at = 0, context = m->config->info.context;
    for (size_t i = 0; i < count; at += spans[i].n, i++) {
        assert(spans[i].at == at && spans[i].n > 0);
        if (spans[i].n > context) {
            return thea_fail(err, THEA_EDOC,
                             "longer than the model's %zu positions (max_position_embeddings)", context);
        }
    }
    assert(at == n);
    return THEA_OK;
}

/* All rows at once, with their documents. */
static thea_rc forward_whole(struct model *m, const struct sublayer *s, float *x, size_t n,
                             const struct span *spans, size_t span_count, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    m->run.x = x;
    m->run.n = n;
    m->run.spans = spans;
    m->run.span_count = span_count;
    if (s->kind->encode != NULL) {
        rc = s->kind->encode(s->self, &m->run, err);
    } else {
        s->kind->forward(s->self, NULL, &m->run);
    }
    m->run.spans = NULL;
    m->run.span_count = 0;
    return rc;
}

/* Row by row, so in even passes of at most ROWS_MAX, whatever the documents. */
static void forward_rows(struct model *m, const struct sublayer *s, float *x, size_t n)
{
    size_t passes = (n + ROWS_MAX - 1) / ROWS_MAX;
    for (size_t i = 0, at = 0; i < passes; i++) {
        size_t rows = (n - at + (passes - i) - 1) / (passes - i);
        m->run.x = x + at * m->config->info.hidden;
        m->run.n = rows;
        s->kind->forward(s->self, NULL, &m->run);
        at += rows;
    }
}

static thea_rc forward_sublayer(struct model *m, const struct sublayer *s, float *x, size_t n,
                                const struct span *spans, size_t span_count, struct thea_err *err)
{
    if (s->kind->whole) return forward_whole(m, s, x, n, spans, span_count, err);
    forward_rows(m, s, x, n);
    return THEA_OK;
}

/* The first `count` sublayers. */
static thea_rc forward_some(struct model *m, size_t count, float *x, size_t n, const struct span *spans,
                            size_t span_count,
                            void (*after_block)(void *context, size_t block, const float *x, size_t n),
                            void *context, struct thea_err *err)
{
    assert(!m->config->info.causal && n <= m->batch_rows);
    thea_rc rc = check_spans(m, n, spans, span_count, err);
    if (rc != THEA_OK) return rc;
    m->run.position = 0;
    for (size_t i = 0; i < count; i++) {
        rc = forward_sublayer(m, &m->sublayers[i], x, n, spans, span_count, err);
        if (rc != THEA_OK) return rc;
        if (i % 2 == 0) continue;
        if (after_block != NULL) after_block(context, m->first + i / 2, x, n);
        if (m->on_block != NULL) m->on_block(m->on_block_context);
    }
    return THEA_OK;
}

thea_rc model_encode(struct model *m, float *x, size_t n, const struct span *spans, size_t span_count,
                     void (*after_block)(void *context, size_t block, const float *x, size_t n),
                     void *context, struct thea_err *err)
{
    return forward_some(m, m->sublayer_count, x, n, spans, span_count, after_block, context, err);
}

/* A feed-forward computes each row from that row, so the others need not be there. */
thea_rc model_encode_first(struct model *m, float *x, size_t n, const struct span *spans, size_t span_count,
                           struct thea_err *err)
{
    assert(model_has_head(m));
    size_t C = m->config->info.hidden, last = m->sublayer_count - 1;
    thea_rc rc = forward_some(m, last, x, n, spans, span_count, NULL, NULL, err);
    if (rc != THEA_OK) return rc;
    for (size_t i = 0; i < span_count; i++) memmove(x + i * C, x + spans[i].at * C, C * sizeof *x);
    rc = forward_sublayer(m, &m->sublayers[last], x, span_count, NULL, 0, err);
    if (rc == THEA_OK && m->on_block != NULL) m->on_block(m->on_block_context);
    return rc;
}

static thea_rc backward_sublayer(const struct model *m, const struct sublayer *s, const float *x, float *d,
                                 size_t n, const struct span *spans, size_t span_count, struct gradients *g,
                                 struct thea_err *err)
{
    struct run run = m->run;
    run.x = run.norm = run.wide = NULL;
    run.n = n;
    run.spans = spans;
    run.span_count = span_count;
    run.prefix = s->prefix;
    run.names = s->names;
    return s->kind->backward(s->self, &run, x, d, g, err);
}

/* inputs [sublayers][n, C]: what enters each sublayer. */
static thea_rc forward_keeping(struct model *m, float *inputs, const float *x, size_t n,
                               const struct span *spans, size_t span_count, struct thea_err *err)
{
    thea_rc rc = THEA_OK;
    size_t floats = n * m->config->info.hidden;
    memcpy(inputs, x, floats * sizeof *x);
    for (size_t i = 0; i + 1 < m->sublayer_count && rc == THEA_OK; i++) {
        float *next = inputs + (i + 1) * floats;
        memcpy(next, inputs + i * floats, floats * sizeof *x);
        rc = forward_sublayer(m, &m->sublayers[i], next, n, spans, span_count, err);
    }
    return rc;
}

static thea_rc check_backward(const struct model *m, struct thea_err *err)
{
    for (size_t i = 0; i < m->sublayer_count; i++) {
        if (m->sublayers[i].kind->backward != NULL) continue;
        return thea_fail(err, THEA_EUSAGE, "family %s has no gradients: its %s cannot go backward",
                         m->config->info.family, m->sublayers[i].kind->name);
    }
    return THEA_OK;
}

thea_rc model_backward(struct model *m, const float *x, float *d, size_t n, const struct span *spans,
                       size_t span_count, struct gradients *g,
                       void (*after_block)(void *context, size_t block, const float *d, size_t n),
                       void *context, struct thea_err *err)
{
    assert(n <= m->batch_rows);
    thea_rc rc = check_backward(m, err);
    if (rc == THEA_OK) rc = check_spans(m, n, spans, span_count, err);
    if (rc != THEA_OK) return rc;
    size_t floats = n * m->config->info.hidden;
    float *inputs = reallocarray(NULL, m->sublayer_count, floats * sizeof *inputs);
    if (inputs == NULL) return thea_fail(err, THEA_EOS, "out of memory for a backward of %zu rows", n);
    m->run.position = 0;
    rc = forward_keeping(m, inputs, x, n, spans, span_count, err);
    for (size_t i = m->sublayer_count; i-- > 0 && rc == THEA_OK;) {
        rc = backward_sublayer(m, &m->sublayers[i], inputs + i * floats, d, n, spans, span_count, g, err);
        if (rc == THEA_OK && i % 2 == 0 && after_block != NULL) after_block(context, m->first + i / 2, d, n);
    }
    free(inputs);
    return rc == THEA_OK ? gradients_check(g, err) : rc;
}

thea_rc model_embed_backward(struct model *m, float *d, const int32_t *tokens, const int32_t *types, size_t n,
                             size_t position, struct gradients *g, struct thea_err *err)
{
    assert(model_has_embedding(m));
    thea_rc rc = embedding_backward(&m->embedding, &m->run, d, tokens, types, n, position, g, err);
    return rc == THEA_OK ? gradients_check(g, err) : rc;
}
