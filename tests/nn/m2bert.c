/* M2-BERT against the recorded values of the reference: every hidden state and mixer output, and every
 * gradient. */
#include "tests/nn/m2bert.h"
#include "tests/nn/golden.h"

#include "nn/gradients.h"
#include "nn/model_impl.h"

#include <criterion/criterion.h>
#include <criterion/parameterized.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Ten to twenty times what a float32 run of the reference differs from its float64 run. */
static const double hidden_tolerance = 2e-4, mixer_tolerance = 1e-4, embedding_tolerance = 3e-4,
                    loss_tolerance = 2e-4, gradient_tolerance = 5e-4;

struct which {
    char golden[16], name[8];
};
static const struct which forward_cases[] = {
    {"m2bert-tiny", "full"}, {"m2bert-tiny", "short"}, {"m2bert-tiny", "one"},
    {"m2bert-tiny", "two"},  {"m2bert-mid", "full"},   {"m2bert-mid", "n512"},
    {"m2bert-mid", "n509"},  {"m2bert-grad", "full"},  {"m2bert-grad", "n13"},
};
enum { FORWARD_CASES = sizeof forward_cases / sizeof *forward_cases };

static struct criterion_test_params cases(size_t n, const struct which *all)
{
    struct which *which = cr_malloc(n * sizeof *which);
    memcpy(which, all, n * sizeof *which);
    return cr_make_param_array(struct which, which, n, NULL);
}

static void expect_near(const struct m2_case *c, const char *name, const float *values, size_t n,
                        double tolerance)
{
    double d = m2_distance(values, m2_recorded(c, name, n), n);
    cr_expect(d <= tolerance, "%s: %s%s is off by %g", c->dir, c->prefix, name, d);
}

/* All that a run leaves behind each block: hidden [blocks + 1][rows, C]. */
struct seen {
    const struct m2_case *c;
    float *hidden;
};

static void keep(void *context, size_t block, const float *x, size_t n)
{
    struct seen *s = context;
    size_t floats = s->c->rows * s->c->C;
    cr_assert(n == s->c->rows);
    memcpy(s->hidden + (block + 1) * floats, x, floats * sizeof *x);
}

static float *run(const struct m2_case *c)
{
    struct thea_err err;
    size_t floats = c->rows * c->C;
    struct seen seen = {c, m2_floats((c->blocks + 1) * floats)};
    float *x = m2_floats(floats);
    m2_embed(c, x);
    memcpy(seen.hidden, x, floats * sizeof *x);
    cr_assert(model_encode(c->model, x, c->rows, c->spans, c->docs, keep, &seen, &err) == THEA_OK, "%s",
              err.message);
    free(x);
    return seen.hidden;
}

/* m [rows, C] = the mixer of a block alone. */
static void mix(const struct m2_case *c, size_t block, float *m)
{
    struct thea_err err;
    struct run r = c->model->run;
    const struct sublayer *s = &c->model->sublayers[2 * block];
    r.x = m;
    r.n = c->rows;
    r.spans = c->spans;
    r.span_count = c->docs;
    cr_assert(s->kind->encode(s->self, &r, &err) == THEA_OK, "%s", err.message);
}

static const float *pooler(const struct m2_case *c, const char *name, const uint64_t *shape)
{
    const struct weight *w = loader_raw(&c->model->loader, name, shape);
    cr_assert(w != NULL && w->dtype == TENSOR_F32);
    return w->data;
}

/* embedding [docs, C] = tanh(W h[0] + b). */
static void embed(const struct m2_case *c, float *embedding, const float *hidden)
{
    size_t C = c->C;
    const float *w = pooler(c, "pooler.dense.weight", (const uint64_t[]){C, C, 0}),
                *b = pooler(c, "pooler.dense.bias", (const uint64_t[]){C, 0});
    for (size_t i = 0; i < c->docs * C; i++) {
        double sum = b[i % C];
        for (size_t j = 0; j < C; j++) sum += (double)w[i % C * C + j] * hidden[i / C * c->length * C + j];
        embedding[i] = (float)tanh(sum);
    }
}

ParameterizedTestParameters(m2bert, hidden_states_mixers_and_embeddings_are_the_references)
{
    return cases(FORWARD_CASES, forward_cases);
}
ParameterizedTest(struct which *which, m2bert, hidden_states_mixers_and_embeddings_are_the_references)
{
    struct m2_case c;
    m2_open(&c, which->golden, which->name, 2);
    size_t floats = c.rows * c.C;
    float *hidden = run(&c), *m = m2_floats(floats), *embedding = m2_floats(c.docs * c.C);
    for (size_t i = 0; i <= c.blocks; i++) {
        char name[32];
        snprintf(name, sizeof name, "hidden.%zu", i);
        expect_near(&c, name, hidden + i * floats, floats, hidden_tolerance);
        if (i == c.blocks) break;
        snprintf(name, sizeof name, "mixer.%zu", i);
        memcpy(m, hidden + i * floats, floats * sizeof *m);
        mix(&c, i, m);
        expect_near(&c, name, m, floats, mixer_tolerance);
    }
    embed(&c, embedding, hidden + c.blocks * floats);
    double d = golden_distance(embedding, m2_recorded(&c, "pooled", c.docs * c.C), c.docs * c.C);
    cr_expect(d <= embedding_tolerance, "%s: %spooled is off by %g", c.dir, c.prefix, d);
    free(hidden);
    free(m);
    free(embedding);
    m2_close(&c);
}

/* --- gradients --- */

struct compared {
    const struct m2_case *c;
    size_t count;
};

static void compare_dhidden(void *context, size_t block, const float *d, size_t n)
{
    struct compared *s = context;
    char name[32];
    snprintf(name, sizeof name, "dhidden.%zu", block);
    expect_near(s->c, name, d, n * s->c->C, loss_tolerance);
    s->count++;
}

/* d [rows, C] = the gradient of the recorded loss, sum(embedding * loss_dir) + mean(w * hidden^2) with
 * w[p][c] = (0.5 + p / T) (1 + c / C), and the pooler's gradients. Gives the loss. */
static double loss(const struct m2_case *c, const float *hidden, float *d, float *dw, float *db)
{
    size_t C = c->C, T = c->length;
    const float *w = pooler(c, "pooler.dense.weight", (const uint64_t[]){C, C, 0});
    const struct m2_case full = {.file = c->file}; /* loss_dir has no prefix in any case */
    const float *direction = m2_recorded(&full, "loss_dir", 8 * C);
    float *embedding = m2_floats(c->docs * C);
    double sum = 0;
    for (size_t i = 0; i < c->rows * C; i++) {
        double weight = (0.5 + (double)(i / C % T) / (double)T) * (1 + (double)(i % C) / (double)C) /
                        (double)(c->rows * C);
        sum += weight * hidden[i] * hidden[i];
        d[i] = (float)(2 * weight * hidden[i]);
    }
    embed(c, embedding, hidden);
    for (size_t i = 0; i < c->docs * C; i++) {
        size_t row = i / C * T * C;
        float dz = direction[i] * (1 - embedding[i] * embedding[i]);
        sum += (double)embedding[i] * direction[i];
        db[i % C] += dz;
        for (size_t j = 0; j < C; j++) {
            d[row + j] += dz * w[i % C * C + j];
            dw[i % C * C + j] += dz * hidden[row + j];
        }
    }
    free(embedding);
    return sum;
}

/* Every recorded gradient, by name; and there are no others than those. */
static void compare_gradients(const struct m2_case *c, const struct gradients *g)
{
    size_t recorded = 0;
    char prefix[48];
    snprintf(prefix, sizeof prefix, "%sgrad.bert.", c->prefix);
    for (size_t i = 0; i < c->file.count; i++) {
        const struct weight *w = &c->file.tensors[i];
        if (strncmp(w->name, prefix, strlen(prefix)) != 0) continue;
        size_t n;
        const char *name = w->name + strlen(prefix);
        const float *sum = gradients_find(g, name, &n);
        recorded++;
        cr_expect(sum != NULL && n * sizeof *sum == w->size_bytes, "%s", w->name);
        if (sum == NULL || n * sizeof *sum != w->size_bytes) continue;
        double d = m2_distance(sum, w->data, n);
        cr_expect(d <= gradient_tolerance, "%s is off by %g", w->name, d);
    }
    cr_expect(recorded == gradients_count(g), "%zu recorded, %zu made", recorded, gradients_count(g));
}

ParameterizedTestParameters(m2bert, every_gradient_is_the_references)
{
    static const struct which all[] = {{"m2bert-grad", "full"}, {"m2bert-grad", "n13"}};
    return cases(2, all);
}
ParameterizedTest(struct which *which, m2bert, every_gradient_is_the_references)
{
    struct m2_case c;
    struct thea_err err;
    struct gradients *g;
    m2_open(&c, which->golden, which->name, 2);
    size_t floats = c.rows * c.C, C = c.C;
    float *hidden = run(&c), *d = m2_floats(floats);
    cr_assert(gradients_new(&g, &err) == THEA_OK, "%s", err.message);
    float value =
        (float)loss(&c, hidden + c.blocks * floats, d, gradients_of(g, "", "pooler.dense.weight", C * C),
                    gradients_of(g, "", "pooler.dense.bias", C));
    expect_near(&c, "loss", &value, 1, loss_tolerance);
    struct compared compared = {&c, 0};
    compare_dhidden(&compared, c.blocks, d, c.rows);
    cr_assert(model_backward(c.model, hidden, d, c.rows, c.spans, c.docs, g, compare_dhidden, &compared,
                             &err) == THEA_OK,
              "%s", err.message);
    cr_expect(compared.count == c.blocks + 1);
    for (size_t i = 0; i < c.docs; i++)
        cr_assert(model_embed_backward(c.model, d + i * c.length * C, c.tokens + i * c.length, NULL, c.length,
                                       0, g, &err) == THEA_OK,
                  "%s", err.message);
    compare_gradients(&c, g);
    gradients_free(g);
    free(hidden);
    free(d);
    m2_close(&c);
}
