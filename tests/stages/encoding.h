/* What the tests of layers of an encoder share: a stage, documents for it, what leaves of them. Values are
 * compared with nn/model.h called directly, which tests/nn compares with the reference. */
#ifndef TESTS_STAGES_ENCODING_H
#define TESTS_STAGES_ENCODING_H

#include "nn/model.h"
#include "tests/stages/helpers.h"

#define TINY THEA_SOURCE_DIR "/tests/goldens/bert-tiny"
#define M2   THEA_SOURCE_DIR "/tests/goldens/m2bert-tiny"

enum { C = 48, CONTEXT = 64, SEP = 3 };

extern const struct stage_ops layers_ops;

__attribute__((unused)) static struct thea_err err;

__attribute__((unused)) static struct harness *open_ports(const char *const *args, const char *in,
                                                          const char *const *out)
{
    struct harness *h = NULL;
    cr_assert(harness_open_ports(&h, &layers_ops, args, ARGS(in), out, &err) == THEA_OK, "%s", err.message);
    return h;
}

__attribute__((unused)) static struct harness *open_encoder(const char *batch)
{
    return open_ports(ARGS("--model", TINY, "--batch", batch), "tokens", ARGS("final"));
}

__attribute__((unused)) static thea_rc refused(const char *const *args, const char *const *in,
                                               const char *const *out)
{
    struct harness *h = NULL;
    thea_rc rc = harness_open_ports(&h, &layers_ops, args, in, out, &err);
    harness_close(h);
    return rc;
}

/* Document `stream`: n tokens that depend on it, the last one SEP. */
__attribute__((unused)) static void make_tokens(int32_t *tokens, uint64_t stream, size_t n)
{
    for (size_t i = 0; i < n; i++) tokens[i] = (int32_t)((i * 37 + stream * 101 + i * i % 13 + 5) % 800);
    if (n > 0) tokens[n - 1] = SEP;
}

__attribute__((unused)) static void feed_tokens(struct harness *h, uint64_t stream, const int32_t *tokens,
                                                size_t n, size_t piece)
{
    char id[32];
    snprintf(id, sizeof id, "doc%d", (int)stream);
    for (size_t at = 0; at < n; at += piece) {
        struct tensor t = tensor_1d("tokens", TENSOR_I32, tokens + at, n - at < piece ? n - at : piece);
        feed_tensors(h, "tokens", stream, at == 0 ? id : NULL, at, &t, 1);
    }
}

__attribute__((unused)) static void feed_whole(struct harness *h, uint64_t stream, const int32_t *tokens,
                                               size_t n, size_t piece)
{
    feed_tokens(h, stream, tokens, n, piece);
    feed_kind(h, "tokens", stream, FRAME_END);
}

__attribute__((unused)) static void feed_document(struct harness *h, uint64_t stream, size_t n)
{
    int32_t tokens[256];
    make_tokens(tokens, stream, n);
    feed_whole(h, stream, tokens, n, 7);
}

__attribute__((unused)) static void idle(struct harness *h)
{
    cr_assert(harness_idle(h, &err) == THEA_OK, "%s", err.message);
}

__attribute__((unused)) static bool ended(const struct harness *h, const char *port, uint64_t stream)
{
    for (size_t i = 0; i < harness_count(h, port); i++) {
        const struct frame *f = harness_frame(h, port, i);
        if (f->stream == stream && f->kind == FRAME_END) return true;
    }
    return false;
}

/* The rows of tensor `name` of a stream, joined; each frame must begin where the one before ended. */
__attribute__((unused)) static size_t join(const struct harness *h, const char *port, const char *name,
                                           uint64_t stream, float *out)
{
    size_t rows = 0;
    for (size_t i = 0; i < harness_count(h, port); i++) {
        const struct frame *f = harness_frame(h, port, i);
        if (f->stream != stream || f->kind != FRAME_DATA) continue;
        const struct tensor *t = frame_tensor(f, name);
        cr_assert(t != NULL && t->rank == 2 && t->shape[1] == C);
        cr_assert_eq(f->position, rows);
        memcpy(out + rows * C, t->data, t->size_bytes);
        rows += t->shape[0];
    }
    return rows;
}

/* What the model gives for one document by itself. */
__attribute__((unused)) static void compute(float *x, const int32_t *tokens, size_t n)
{
    struct workers *w;
    struct model *m;
    struct span s = {0, n};
    cr_assert(workers_new(&w, 1, &err) == THEA_OK);
    cr_assert(model_open(&m, TINY, 0, SIZE_MAX, w, kernels_select(NULL), &err) == THEA_OK, "%s", err.message);
    cr_assert(model_embed(m, x, tokens, NULL, n, 0, &err) == THEA_OK);
    cr_assert(model_encode(m, x, n, &s, 1, NULL, NULL, &err) == THEA_OK);
    model_close(m);
    workers_free(w);
}

#endif
