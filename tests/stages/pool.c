/* pool: what each pooling takes of the rows. */
#include "nn/pooler.h"
#include "tests/stages/helpers.h"

#include <math.h>

extern const struct stage_ops pool_ops;

enum { ROWS = 5, WIDTH = 3 };
static const float rows[ROWS][WIDTH] = {{1, 2, 3}, {-1, 0.5F, 0}, {4, 4, -4}, {0.25F, 8, 1}, {3, -6, 2}};

static struct harness *open_pool(const char *const *args)
{
    struct harness *h = NULL;
    struct thea_err err = {0};
    cr_assert_eq(harness_open(&h, &pool_ops, args, NULL, &err), THEA_OK, "%s", err.message);
    return h;
}

static void feed_rows(struct harness *h, uint64_t stream, size_t chunk)
{
    for (size_t at = 0; at < ROWS; at += chunk) {
        size_t n = ROWS - at < chunk ? ROWS - at : chunk;
        struct tensor t = tensor_2d("final", TENSOR_F32, rows[at], n, WIDTH);
        feed_tensors(h, "final", stream, "d", at, &t, 1);
    }
    feed_kind(h, "final", stream, FRAME_END);
}

static void expect_vector(const char *const *args, const double *expected, double tolerance)
{
    for (size_t chunk = 1; chunk <= ROWS; chunk++) {
        struct harness *h = open_pool(args);
        feed_rows(h, 1, chunk);
        const struct tensor *t = frame_tensor(harness_frame(h, "vector", 0), "vector");
        cr_assert(t != NULL && t->rank == 1 && t->shape[0] == WIDTH);
        for (size_t i = 0; i < WIDTH; i++)
            cr_assert_float_eq((double)((const float *)t->data)[i], expected[i], tolerance,
                               "element %zu, chunk %zu", i, chunk);
        cr_assert_str_eq(frame_attr_text(harness_frame(h, "vector", 0), "id", ""), "d");
        harness_close(h);
    }
}

Test(pool, mean_is_over_all_positions)
{
    expect_vector(ARGS("--no-normalize"), (const double[]){7.25 / 5, 8.5 / 5, 2.0 / 5}, 1e-7);
}

Test(pool, last_and_cls_take_one_row)
{
    expect_vector(ARGS("--pooling", "last", "--no-normalize"), (const double[]){3, -6, 2}, 0);
    expect_vector(ARGS("--pooling", "cls", "--no-normalize"), (const double[]){1, 2, 3}, 0);
}

Test(pool, the_default_is_a_mean_of_length_1)
{
    double m[WIDTH] = {7.25 / 5, 8.5 / 5, 2.0 / 5}, length = sqrt(m[0] * m[0] + m[1] * m[1] + m[2] * m[2]);
    expect_vector(NULL, (const double[]){m[0] / length, m[1] / length, m[2] / length}, 1e-7);
}

Test(pool, a_vector_of_zeros_stays_one)
{
    static const float zero[WIDTH];
    struct harness *h = open_pool(NULL);
    struct tensor t = tensor_2d("final", TENSOR_F32, zero, 1, WIDTH);
    feed_tensors(h, "final", 1, "z", 0, &t, 1);
    feed_kind(h, "final", 1, FRAME_END);
    const float *v = frame_tensor(harness_frame(h, "vector", 0), "vector")->data;
    cr_assert(v[0] == 0 && v[1] == 0 && v[2] == 0);
    harness_close(h);
}

Test(pool, streams_do_not_mix)
{
    struct harness *h = open_pool(ARGS("--no-normalize"));
    struct tensor a = tensor_2d("final", TENSOR_F32, rows[0], 1, WIDTH),
                  b = tensor_2d("final", TENSOR_F32, rows[2], 1, WIDTH);
    feed_tensors(h, "final", 1, "a", 0, &a, 1);
    feed_tensors(h, "final", 2, "b", 0, &b, 1);
    feed_kind(h, "final", 2, FRAME_END);
    feed_kind(h, "final", 1, FRAME_END);
    const float *first = frame_tensor(harness_frame(h, "vector", 0), "vector")->data;
    cr_assert_float_eq(first[2], -4, 0);
    harness_close(h);
}

Test(pool, an_empty_document_is_its_error)
{
    struct harness *h = open_pool(NULL);
    feed_kind(h, "final", 1, FRAME_END);
    cr_assert_not_null(error_of(h, "vector", 0));
    cr_assert_not_null(strstr(error_of(h, "vector", 0), "empty"));
    harness_close(h);
}

Test(pool, rows_that_are_not_finite_are_the_documents_error)
{
    float bad[WIDTH] = {1, NAN, 2};
    struct harness *h = open_pool(NULL);
    struct tensor t = tensor_2d("final", TENSOR_F32, bad, 1, WIDTH);
    feed_tensors(h, "final", 1, "n", 0, &t, 1);
    feed_kind(h, "final", 1, FRAME_END);
    cr_assert_not_null(error_of(h, "vector", 0));
    harness_close(h);
}

Test(pool, rows_of_two_widths_are_the_documents_error)
{
    struct harness *h = open_pool(NULL);
    struct tensor a = tensor_2d("final", TENSOR_F32, rows[0], 1, 3),
                  b = tensor_2d("final", TENSOR_F32, rows[0], 1, 2);
    feed_tensors(h, "final", 1, "w", 0, &a, 1);
    feed_tensors(h, "final", 1, NULL, 1, &b, 1);
    cr_assert_not_null(error_of(h, "vector", 0));
    harness_close(h);
}

Test(pool, pooler_is_refused_with_what_is_accepted)
{
    struct harness *h = NULL;
    struct thea_err err = {0};
    cr_assert_eq(harness_open(&h, &pool_ops, ARGS("--pooling", "pooler"), NULL, &err), THEA_EUSAGE);
    cr_assert_not_null(strstr(err.message, "mean, last, cls"), "%s", err.message);
    cr_assert_not_null(strstr(err.message, "--model"), "%s", err.message);
    cr_assert_eq(harness_open(&h, &pool_ops,
                              ARGS("--pooling", "pooler", "--model", THEA_SOURCE_DIR "/models/thea-mini"),
                              NULL, &err),
                 THEA_EUSAGE);
    cr_assert_not_null(strstr(err.message, "has no pooler"), "%s", err.message);
}

/* The stage's own table: the pooler's weights are read by tests of nn. */
Test(pool, pooler_takes_the_first_row_through_the_models_pooler)
{
    enum { C = 48 };
    float first[2 * C];
    struct harness *h = open_pool(
        ARGS("--pooling", "pooler", "--no-normalize", "--model", THEA_SOURCE_DIR "/tests/goldens/bert-tiny"));
    for (size_t i = 0; i < 2 * C; i++) first[i] = sinf((float)i);
    struct tensor t = tensor_2d("final", TENSOR_F32, first, 2, C);
    feed_tensors(h, "final", 1, "d", 0, &t, 1);
    feed_kind(h, "final", 1, FRAME_END);
    struct pooler *p;
    struct thea_err err = {0};
    float want[C];
    cr_assert_eq(pooler_open(&p, THEA_SOURCE_DIR "/tests/goldens/bert-tiny", kernels_select(NULL), &err),
                 THEA_OK);
    pooler_forward(p, want, first);
    const struct frame *f = harness_frame(h, "vector", 0);
    cr_assert(memcmp(frame_tensor(f, "vector")->data, want, sizeof want) == 0);
    cr_assert_str_eq(frame_attr_text(f, "pooling", ""), "pooler");
    pooler_close(p);
    harness_close(h);
}

Test(pool, positions_that_only_fill_up_do_not_count)
{
    struct attr padded = {.key = "padded_from", .type = ATTR_INT, .integer = 3};
    static const char *const poolings[] = {"mean", "last"};
    for (size_t i = 0; i < 2; i++) {
        struct harness *h = open_pool(ARGS("--pooling", poolings[i], "--no-normalize"));
        for (size_t at = 0; at < ROWS; at += 2) {
            struct tensor t = tensor_2d("final", TENSOR_F32, rows[at], ROWS - at < 2 ? ROWS - at : 2, WIDTH);
            struct frame f = {.kind = FRAME_DATA,
                              .stream = 1,
                              .position = at,
                              .port = "final",
                              .tensors = &t,
                              .tensor_count = 1,
                              .attrs = &padded,
                              .attr_count = at == 0};
            feed(h, "final", &f);
        }
        feed_kind(h, "final", 1, FRAME_END);
        const float *v = frame_tensor(harness_frame(h, "vector", 0), "vector")->data;
        cr_expect_float_eq(v[1], i == 0 ? 6.5F / 3 : 4, 1e-6, "%s: %g", poolings[i], (double)v[1]);
        harness_close(h);
    }
}

Test(pool, refuses_to_take_a_mean_of_the_first_position_alone)
{
    static const char *const poolings[] = {"mean", "last", "cls"};
    struct attr first = {.key = "rows", .type = ATTR_TEXT, .text = "first"};
    struct tensor t = tensor_2d("final", TENSOR_F32, rows[0], 1, WIDTH);
    struct frame f = {.kind = FRAME_DATA,
                      .stream = 1,
                      .port = "final",
                      .tensors = &t,
                      .tensor_count = 1,
                      .attrs = &first,
                      .attr_count = 1};
    for (size_t i = 0; i < 3; i++) {
        struct thea_err err = {0};
        struct harness *h = open_pool(ARGS("--pooling", poolings[i]));
        cr_expect_eq(harness_feed(h, "final", &f, &err), i == 2 ? THEA_OK : THEA_EUSAGE, "%s", poolings[i]);
        if (i < 2) cr_expect_not_null(strstr(err.message, "layers --rows all"), "%s", err.message);
        harness_close(h);
    }
}

Test(pool, the_model_says_how_and_the_user_wins)
{
    struct harness *h =
        open_pool(ARGS("--model", THEA_SOURCE_DIR "/tests/goldens/bert-tiny", "--pooling", "cls"));
    float row[48] = {3, 4};
    struct tensor t = tensor_2d("final", TENSOR_F32, row, 1, 48);
    feed_tensors(h, "final", 1, "d", 0, &t, 1);
    feed_kind(h, "final", 1, FRAME_END);
    const struct frame *f = harness_frame(h, "vector", 0);
    const float *v = frame_tensor(f, "vector")->data;
    cr_expect(v[0] == 0.6F && v[1] == 0.8F);
    cr_expect_str_eq(frame_attr_text(f, "pooling", ""), "cls");
    harness_close(h);
}

Test(pool, a_model_fixes_the_width)
{
    struct harness *h = NULL;
    struct thea_err err = {0};
    cr_assert_eq(
        harness_open(&h, &pool_ops, ARGS("--model", THEA_SOURCE_DIR "/models/thea-mini"), NULL, &err),
        THEA_OK, "%s", err.message);
    struct tensor t = tensor_2d("final", TENSOR_F32, rows, ROWS, WIDTH);
    struct frame f = {.kind = FRAME_DATA, .stream = 1, .port = "final", .tensors = &t, .tensor_count = 1};
    cr_assert_neq(harness_feed(h, "final", &f, &err), THEA_OK, "a width of 3 is not thea-mini's 128");
    harness_close(h);
}
