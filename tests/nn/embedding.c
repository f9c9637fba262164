/* The embedding's backward: shared out over the workers, with the bits of one. What it computes is compared
 * with the reference in encoder.c and m2bert.c. */
#include "nn/gradients.h"
#include "nn/model.h"

#include <criterion/criterion.h>
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
    for (size_t i = 0; i < ROWS * o.C; i++) o.d[i] = (float)((int)(i * 7919 % 2003) - 1001) / 1001.0F;
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
    cr_assert(gradients_count(want->g) == 5 && gradients_count(got->g) == 5);
    for (size_t i = 0; i < 5; i++) {
        const char *name;
        size_t n, found;
        const float *sum = gradients_at(want->g, i, &name, &n), *same = gradients_find(got->g, name, &found);
        cr_assert(same != NULL && found == n);
        cr_expect(memcmp(same, sum, n * sizeof *sum) == 0, "%d threads: %s", threads, name);
    }
}

Test(embedding, gradients_have_the_same_bits_on_any_number_of_threads)
{
    struct outcome one = backward(kernels_select(NULL), 1);
    for (int threads = 2; threads <= 7; threads++) {
        struct outcome many = backward(kernels_select(NULL), threads);
        expect_same(&many, &one, threads);
        outcome_fini(&many);
    }
    outcome_fini(&one);
}

/* --- who does it --- */

static const struct kernels *real;
static atomic_int adders, normers;

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

Test(embedding, all_workers_share_in_its_backward)
{
    real = kernels_select(NULL);
    struct kernels counted = *real;
    counted.add = counted_add;
    counted.layernorm_backward = counted_norm;
    struct outcome o = backward(&counted, 3);
    cr_expect_eq(atomic_load(&adders), 3);
    cr_expect_eq(atomic_load(&normers), 3, "700 rows are three pieces");
    outcome_fini(&o);
}
