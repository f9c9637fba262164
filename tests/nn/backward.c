/* Backward of long documents: shared out over the workers, with the bits of one. What it computes is compared
 * with the reference, of short ones, in encoder.c and m2bert.c. */
#include "nn/gradients.h"
#include "nn/model.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define MID THEA_SOURCE_DIR "/tests/goldens/m2bert-mid"

enum { ROWS = 700, POSITION = 300 };

static struct thea_err err;

struct outcome {
    struct gradients *g;
    float *d; /* [ROWS, C] */
    size_t C;
};

/* Tokens of which each stands in several rows. */
static void make_tokens(int32_t *tokens, size_t vocab)
{
    for (size_t i = 0; i < ROWS; i++) tokens[i] = (int32_t)(i * i % 97 % vocab);
}

static void fill(float *x, size_t n, size_t step)
{
    for (size_t i = 0; i < n; i++) x[i] = (float)((int)(i * step % 2003) - 1001) / 1001.0F;
}

/* Of one block, in which rows of a document are mixed. */
static void block_backward(struct model *m, float *d, struct gradients *g)
{
    size_t floats = ROWS * model_info(m)->hidden;
    float *x = malloc(floats * sizeof *x);
    struct span documents[] = {{0, ROWS - 40}, {ROWS - 40, 40}};
    fill(x, floats, 6367);
    cr_assert(model_backward(m, x, d, ROWS, documents, 2, g, NULL, NULL, &err) == THEA_OK, "%s", err.message);
    free(x);
}

static struct outcome backward(const struct kernels *k, int threads)
{
    struct outcome o = {0};
    struct workers *workers;
    struct model *model;
    int32_t tokens[ROWS];
    cr_assert(workers_new(&workers, threads, &err) == THEA_OK, "%s", err.message);
    cr_assert(model_open(&model, MID, 0, 0, workers, k, &err) == THEA_OK, "%s", err.message);
    cr_assert(gradients_new(&o.g, &err) == THEA_OK);
    o.C = model_info(model)->hidden;
    o.d = malloc(ROWS * o.C * sizeof *o.d);
    fill(o.d, ROWS * o.C, 7919);
    block_backward(model, o.d, o.g);
    make_tokens(tokens, model_info(model)->vocab);
    cr_assert(model_embed_backward(model, o.d, tokens, NULL, ROWS, POSITION, o.g, &err) == THEA_OK, "%s",
              err.message);
    model_close(model);
    workers_free(workers);
    return o;
}

static void outcome_fini(struct outcome *o)
{
    gradients_free(o->g);
    free(o->d);
}

static void expect_same(const struct outcome *got, const struct outcome *want, int threads)
{
    cr_expect(memcmp(got->d, want->d, ROWS * want->C * sizeof *want->d) == 0, "%d threads: d", threads);
    cr_assert_gt(gradients_count(want->g), 5, "the embedding's are five");
    cr_assert_eq(gradients_count(got->g), gradients_count(want->g));
    for (size_t i = 0; i < gradients_count(want->g); i++) {
        const char *name;
        size_t n, found;
        const float *sum = gradients_at(want->g, i, &name, &n), *same = gradients_find(got->g, name, &found);
        cr_assert(same != NULL && found == n);
        cr_expect(memcmp(same, sum, n * sizeof *sum) == 0, "%d threads: %s", threads, name);
    }
}

Test(backward, gradients_have_the_same_bits_on_any_number_of_threads)
{
    struct outcome one = backward(kernels_select(NULL), 1);
    for (int threads = 2; threads <= 7; threads++) {
        struct outcome many = backward(kernels_select(NULL), threads);
        expect_same(&many, &one, threads);
        outcome_fini(&many);
    }
    outcome_fini(&one);
}

/* --- across the borders of pieces --- */

/* d . block(x + step * direction), where the direction is of one row. */
static double loss_beside(struct model *m, const float *x, const float *d, size_t row, float step)
{
    size_t C = model_info(m)->hidden, floats = ROWS * C;
    struct span document = {0, ROWS};
    float *y = malloc(floats * sizeof *y);
    double sum = 0;
    memcpy(y, x, floats * sizeof *y);
    for (size_t c = 0; c < C; c++) y[row * C + c] += step * (float)(c % 5) - step;
    cr_assert(model_encode(m, y, ROWS, &document, 1, NULL, NULL, &err) == THEA_OK, "%s", err.message);
    for (size_t i = 0; i < floats; i++) sum += (double)d[i] * (double)y[i];
    free(y);
    return sum;
}

/* A row's gradient takes rows after it: the rows about a border must have theirs like all others. (Without,
 * they are off by 2 and more; differences of floats are, by 0.3.) */
Test(backward, rows_beside_a_border_of_pieces_agree_with_finite_differences, .timeout = 600)
{
    static const size_t rows[] = {100, 253, 254, 255, 256, 257, 510, 511, 512, ROWS - 1};
    struct workers *workers;
    struct model *m;
    struct gradients *g;
    struct span document = {0, ROWS};
    const float step = 0.02F;
    cr_assert(workers_new(&workers, 2, &err) == THEA_OK);
    cr_assert(model_open(&m, MID, 0, 0, workers, kernels_select(NULL), &err) == THEA_OK, "%s", err.message);
    cr_assert(gradients_new(&g, &err) == THEA_OK);
    size_t C = model_info(m)->hidden, floats = ROWS * C;
    float *x = malloc(floats * sizeof *x), *loss = malloc(floats * sizeof *loss),
          *d = malloc(floats * sizeof *d);
    fill(x, floats, 6367);
    fill(loss, floats, 7919);
    memcpy(d, loss, floats * sizeof *d);
    cr_assert(model_backward(m, x, d, ROWS, &document, 1, g, NULL, NULL, &err) == THEA_OK, "%s", err.message);
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        double slope = (loss_beside(m, x, loss, rows[i], step) - loss_beside(m, x, loss, rows[i], -step)) /
                       (2 * (double)step),
               along = 0;
        for (size_t c = 0; c < C; c++) along += (double)d[rows[i] * C + c] * ((double)(c % 5) - 1);
        cr_expect_float_eq(along, slope, 0.02 * fabs(slope) + 0.5, "row %zu: %g, by differences %g", rows[i],
                           along, slope);
    }
    gradients_free(g);
    model_close(m);
    workers_free(workers);
    free(x);
    free(loss);
    free(d);
}

/* --- who does it --- */

static const struct kernels *real;
static atomic_int adders, normers, gaters;

static void counted_add(float *y, const float *x, size_t n)
{
    static _Thread_local bool known;
    if (!known) atomic_fetch_add(&adders, 1);
    known = true;
    real->add(y, x, n);
}

static void counted_norm(float *dx, float *dw, float *db, const float *dy, const float *x, const float *r,
                         const float *w, const float *mean, const float *rstd, size_t N, size_t C)
{
    static _Thread_local bool known;
    if (!known) atomic_fetch_add(&normers, 1);
    known = true;
    real->layernorm_backward(dx, dw, db, dy, x, r, w, mean, rstd, N, C);
}

static void counted_gate(float *da, float *dw, float *dbias, const float *dg, const float *dx2, size_t ldd,
                         const float *a, const float *w, const float *bias, size_t N, size_t B)
{
    static _Thread_local bool known;
    if (!known) atomic_fetch_add(&gaters, 1);
    known = true;
    real->shortgate_backward(da, dw, dbias, dg, dx2, ldd, a, w, bias, N, B);
}

Test(backward, all_workers_share_in_it)
{
    real = kernels_select(NULL);
    struct kernels counted = *real;
    counted.add = counted_add;
    counted.layernorm_backward = counted_norm;
    counted.shortgate_backward = counted_gate;
    struct outcome o = backward(&counted, 3);
    cr_expect_eq(atomic_load(&adders), 3);
    cr_expect_eq(atomic_load(&normers), 3, "700 rows are three pieces");
    cr_expect_eq(atomic_load(&gaters), 3, "and 660 rows of one document");
    outcome_fini(&o);
}
