/* The Monarch Mixer's laws, with small random models: gradients agree with finite differences, and a
 * document's rows depend, bit for bit, on nothing but the document and the weights. */
#include "tests/nn/m2bert.h"
#include "tests/support/m2bert_model.h"
#include "tests/support/run.h"

#include "nn/gradients.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* 40 channels: passes of 16, 16 and 8. Documents of several transform sizes, the longest possible among them.
 */
static const struct m2bert_model shape = {.hidden = 40,
                                          .feed_forward = 48,
                                          .blocks = 2,
                                          .context = 300,
                                          .vocab = 16,
                                          .filter_width = 8,
                                          .filter_features = 5,
                                          .seed = 3,
                                          .prefix = "bert."};
static const size_t lengths[] = {300, 7, 8, 1, 200, 31};
enum { DOCS = sizeof lengths / sizeof *lengths };

struct opened {
    struct workers *workers;
    struct model *model;
};

static void open_part(struct opened *o, const char *dir, size_t first, size_t last, int threads)
{
    struct thea_err err;
    cr_assert(workers_new(&o->workers, threads, &err) == THEA_OK, "%s", err.message);
    cr_assert(model_open(&o->model, dir, first, last, o->workers, kernels_select(NULL), &err) == THEA_OK,
              "%s", err.message);
}

static void close_part(struct opened *o)
{
    model_close(o->model);
    workers_free(o->workers);
}

static int32_t token_at(size_t doc, size_t i)
{
    return (int32_t)((doc * 7 + i * i + i / 3) % shape.vocab);
}

/* x [rows, C] = documents [first, first + count) embedded; spans [count]. Gives the rows. */
static size_t embed(struct model *m, float *x, struct span *spans, size_t first, size_t count)
{
    struct thea_err err;
    int32_t tokens[512];
    size_t at = 0;
    for (size_t d = 0; d < count; d++) {
        size_t n = lengths[first + d];
        for (size_t i = 0; i < n; i++) tokens[i] = token_at(first + d, i);
        spans[d] = (struct span){at, n};
        cr_assert(model_embed(m, x + at * shape.hidden, tokens, NULL, n, 0, &err) == THEA_OK, "%s",
                  err.message);
        at += n;
    }
    return at;
}

static size_t total(void)
{
    size_t rows = 0;
    for (size_t d = 0; d < DOCS; d++) rows += lengths[d];
    return rows;
}

static void encode(struct model *m, float *x, size_t n, const struct span *spans, size_t count)
{
    struct thea_err err;
    cr_assert(model_encode(m, x, n, spans, count, NULL, NULL, &err) == THEA_OK, "%s", err.message);
}

/* The last hidden states of documents [first, first + count) as one batch; free it. */
static float *run_batch(const struct opened *o, size_t first, size_t count)
{
    struct span spans[DOCS];
    float *x = m2_floats(total() * shape.hidden);
    size_t rows = embed(o->model, x, spans, first, count);
    encode(o->model, x, rows, spans, count);
    return x;
}

static char *write_model(const struct m2bert_model *m)
{
    char *dir = run_temp_dir();
    m2bert_model_write(dir, m);
    return dir;
}

/* --- what rows depend on --- */

Test(monarch, a_documents_bits_do_not_depend_on_its_batch_mates)
{
    char *dir = write_model(&shape);
    struct opened o;
    open_part(&o, dir, 0, SIZE_MAX, 1);
    float *all = run_batch(&o, 0, DOCS);
    for (size_t d = 0, at = 0; d < DOCS; at += lengths[d++]) {
        float *alone = run_batch(&o, d, 1);
        cr_expect(memcmp(alone, all + at * shape.hidden, lengths[d] * shape.hidden * sizeof *all) == 0,
                  "document %zu of %zu positions", d, lengths[d]);
        free(alone);
    }
    free(all);
    close_part(&o);
    free(dir);
}

Test(monarch, bits_do_not_depend_on_threads_parts_or_memory_for_filters)
{
    char *dir = write_model(&shape);
    struct opened one, three, first, second;
    struct thea_err err;
    struct span spans[DOCS];
    open_part(&one, dir, 0, SIZE_MAX, 1);
    open_part(&three, dir, 0, SIZE_MAX, 3);
    open_part(&first, dir, 0, 0, 2);
    open_part(&second, dir, 1, 1, 1);
    size_t bytes = total() * shape.hidden * sizeof(float);
    float *whole = run_batch(&one, 0, DOCS), *threaded = run_batch(&three, 0, DOCS),
          *parts = m2_floats(bytes / 4);
    size_t rows = embed(first.model, parts, spans, 0, DOCS);
    encode(first.model, parts, rows, spans, DOCS);
    encode(second.model, parts, rows, spans, DOCS);
    cr_expect(memcmp(whole, threaded, bytes) == 0, "three threads");
    cr_expect(memcmp(whole, parts, bytes) == 0, "two parts");
    cr_assert(model_limit_filters(one.model, 0, &err) == THEA_OK, "%s", err.message);
    float *forgetful = run_batch(&one, 0, DOCS);
    cr_expect(memcmp(whole, forgetful, bytes) == 0, "no memory for filters");
    free(whole);
    free(threaded);
    free(parts);
    free(forgetful);
    close_part(&one);
    close_part(&three);
    close_part(&first);
    close_part(&second);
    free(dir);
}

Test(monarch, first_positions_alone_have_the_bits_that_they_have_among_all)
{
    char *dir = write_model(&shape);
    struct opened o;
    struct thea_err err;
    struct span spans[DOCS];
    open_part(&o, dir, 0, SIZE_MAX, 2);
    size_t C = shape.hidden;
    float *all = run_batch(&o, 0, DOCS), *first = m2_floats(total() * C);
    size_t rows = embed(o.model, first, spans, 0, DOCS);
    cr_assert(model_encode_first(o.model, first, rows, spans, DOCS, &err) == THEA_OK, "%s", err.message);
    for (size_t d = 0; d < DOCS; d++)
        cr_expect(memcmp(first + d * C, all + spans[d].at * C, C * sizeof *all) == 0, "document %zu", d);
    free(all);
    free(first);
    close_part(&o);
    free(dir);
}

/* --- gradients --- */

/* The loss sum(direction * hidden), in double. */
static double loss(const struct m2bert_model *m, const float *direction)
{
    char *dir = write_model(m);
    struct opened o;
    open_part(&o, dir, 0, SIZE_MAX, 1);
    float *x = run_batch(&o, 0, DOCS);
    double sum = 0;
    for (size_t i = 0; i < total() * shape.hidden; i++) sum += (double)direction[i] * x[i];
    free(x);
    close_part(&o);
    m2bert_model_remove(dir);
    free(dir);
    return sum;
}

static double along(const float *gradient, const char *name, size_t n, double *norm)
{
    float *direction = m2_floats(n);
    double sum = 0, squares = 0;
    m2bert_direction(direction, name, n);
    for (size_t i = 0; i < n; i++) {
        sum += (double)gradient[i] * direction[i];
        squares += (double)gradient[i] * gradient[i];
    }
    free(direction);
    *norm = sqrt(squares / 3); /* what a random direction gives */
    return sum;
}

/* Every tensor moved along a direction: the loss changes as its gradient says. */
Test(monarch, gradients_agree_with_finite_differences, .timeout = 600)
{
    struct m2bert_model m = shape;
    struct opened o;
    struct gradients *g;
    struct thea_err err;
    struct span spans[DOCS];
    char *dir = write_model(&shape);
    size_t C = shape.hidden, rows = total();
    float *x = m2_floats(rows * C), *d = m2_floats(rows * C), *direction = m2_floats(rows * C);
    m2bert_direction(direction, "loss", rows * C);
    memcpy(d, direction, rows * C * sizeof *d);
    open_part(&o, dir, 0, SIZE_MAX, 2);
    cr_assert(gradients_new(&g, &err) == THEA_OK);
    embed(o.model, x, spans, 0, DOCS);
    cr_assert(model_backward(o.model, x, d, rows, spans, DOCS, g, NULL, NULL, &err) == THEA_OK, "%s",
              err.message);
    for (size_t i = 0; i < DOCS; i++) {
        int32_t tokens[512];
        for (size_t t = 0; t < lengths[i]; t++) tokens[t] = token_at(i, t);
        cr_assert(model_embed_backward(o.model, d + spans[i].at * C, tokens, NULL, lengths[i], 0, g, &err) ==
                  THEA_OK);
    }
    cr_expect(gradients_count(g) == 5 + 2 * (5 + 6 + 2 * 17), "%zu tensors", gradients_count(g));
    for (size_t i = 0; i < gradients_count(g); i++) {
        size_t n;
        double norm;
        const float *gradient = gradients_at(g, i, &m.moved, &n);
        double expected = along(gradient, m.moved, n, &norm);
        m.step = 0x1p-9;
        double up = loss(&m, direction);
        m.step = -m.step;
        double difference = (up - loss(&m, direction)) * 0x1p8;
        cr_expect(fabs(expected - difference) <= 0.01 * (norm + fabs(expected)),
                  "%s: %g, differences give %g", m.moved, expected, difference);
    }
    gradients_free(g);
    free(x);
    free(d);
    free(direction);
    close_part(&o);
    free(dir);
}

/* The gradients of loss(), and in d [rows, C] that of the embedding's output. */
static struct gradients *backward_with(const char *dir, float *d, int threads, bool keep_filters)
{
    struct opened o;
    struct gradients *g;
    struct thea_err err;
    struct span spans[DOCS];
    size_t rows = total();
    float *x = m2_floats(rows * shape.hidden);
    m2bert_direction(d, "loss", rows * shape.hidden);
    open_part(&o, dir, 0, SIZE_MAX, threads);
    if (!keep_filters) cr_assert(model_limit_filters(o.model, 0, &err) == THEA_OK, "%s", err.message);
    cr_assert(gradients_new(&g, &err) == THEA_OK);
    embed(o.model, x, spans, 0, DOCS);
    cr_assert(model_backward(o.model, x, d, rows, spans, DOCS, g, NULL, NULL, &err) == THEA_OK, "%s",
              err.message);
    close_part(&o);
    free(x);
    return g;
}

Test(monarch, gradients_have_the_same_bits_on_any_number_of_threads)
{
    char *dir = write_model(&shape);
    size_t floats = total() * shape.hidden;
    float *want_d = m2_floats(floats), *d = m2_floats(floats);
    struct gradients *want = backward_with(dir, want_d, 1, true);
    for (int threads = 1; threads <= 5; threads++) {
        struct gradients *g = backward_with(dir, d, threads, threads != 1);
        cr_expect(memcmp(d, want_d, floats * sizeof *d) == 0, "%d threads: the input's", threads);
        cr_assert(gradients_count(g) == gradients_count(want) && gradients_count(g) > 80);
        for (size_t i = 0; i < gradients_count(g); i++) {
            const char *name;
            size_t n;
            const float *sum = gradients_at(want, i, &name, &n);
            cr_expect(memcmp(gradients_find(g, name, &n), sum, n * sizeof *sum) == 0, "%d threads: %s",
                      threads, name);
        }
        gradients_free(g);
    }
    gradients_free(want);
    free(want_d);
    free(d);
    free(dir);
}
