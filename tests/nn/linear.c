#include "nn/linear.h"
#include "tests/kernels/check.h"

enum { IN = 50, ROWS_A = 33, ROWS_B = 40, OUT = ROWS_A + ROWS_B, N = 130 };

struct fixture {
    const struct kernels *k;
    struct workers *workers;
    struct linear l;
    float x[N * IN], y[N * OUT], a[ROWS_A * IN], b[ROWS_B * IN], bias[OUT];
    float *panels;
};

static struct fixture *fixture_new(const struct kernels *k, int threads, bool packed)
{
    struct fixture *f = calloc(1, sizeof *f);
    struct thea_err err;
    cr_assert(f && workers_new(&f->workers, threads, &err) == THEA_OK);
    f->k = k;
    check_fill(f->x, COUNT(f->x), 1, 1);
    check_fill(f->a, COUNT(f->a), 2, 1);
    check_fill(f->b, COUNT(f->b), 3, 1);
    check_fill(f->bias, OUT, 4, 1);
    check_fill(f->y, COUNT(f->y), 5, 1);
    f->l = (struct linear){
        .part = {{f->a, ROWS_A}, {f->b, ROWS_B}}, .parts = 2, .in = IN, .out = OUT, .bias = f->bias};
    size_t bytes = (linear_packed_floats(&f->l, k) * sizeof(float) + 63) / 64 * 64;
    cr_assert_gt(bytes, 0);
    f->panels = aligned_alloc(64, bytes);
    if (packed) linear_pack(&f->l, k, f->panels);
    return f;
}

static void fixture_free(struct fixture *f)
{
    workers_free(f->workers);
    free(f->panels);
    free(f);
}

static double weight(const struct fixture *f, size_t row, size_t i)
{
    return row < ROWS_A ? f->a[row * IN + i] : f->b[(row - ROWS_A) * IN + i];
}

static double output(const struct fixture *f, size_t n, size_t row)
{
    double sum = f->bias[row];
    for (size_t i = 0; i < IN; i++) sum += f->x[n * IN + i] * weight(f, row, i);
    return sum;
}

static double gelu(double x)
{
    return 0.5 * x * erfc(-x / sqrt(2));
}

Test(linear, is_the_same_function_packed_or_not_on_one_worker_or_several)
{
    static const size_t counts[] = {1, 5, N};
    FOR_EACH_TABLE (k)
        for (int threads = 1; threads <= 3; threads += 2)
            for (int packed = 0; packed < 2; packed++)
                for (size_t c = 0; c < COUNT(counts); c++) {
                    struct fixture *f = fixture_new(k, threads, packed), *was = fixture_new(k, 1, false);
                    size_t n = counts[c];
                    linear_forward(&f->l, k, f->workers, f->y, OUT, f->x, IN, n, true);
                    for (size_t i = 0; i < n * OUT; i++)
                        cr_assert(
                            check_close((double)f->y[i], was->y[i] + output(f, i / OUT, i % OUT), 1e-5, 1e-4),
                            "%s, %d threads, packed %d, element %zu", k->name, threads, packed, i);
                    linear_gelu(&f->l, k, f->workers, f->y, OUT, f->x, IN, n);
                    for (size_t i = 0; i < n * OUT; i++)
                        cr_assert(check_close((double)f->y[i], gelu(output(f, i / OUT, i % OUT)), 1e-5, 1e-4),
                                  "%s, %d threads, packed %d, gelu, element %zu", k->name, threads, packed,
                                  i);
                    cr_assert_arr_eq(f->y + n * OUT, was->y + n * OUT, (N - n) * OUT * sizeof(float));
                    fixture_free(f), fixture_free(was);
                }
}

Test(linear, packed_gives_a_row_the_same_bits_alone_in_a_batch_and_on_any_number_of_workers)
{
    FOR_EACH_TABLE (k) {
        struct fixture *f = fixture_new(k, 1, true);
        linear_forward(&f->l, k, f->workers, f->y, OUT, f->x, IN, N, false);
        for (int threads = 1; threads <= 4; threads++) {
            struct fixture *g = fixture_new(k, threads, true);
            linear_forward(&g->l, k, g->workers, g->y, OUT, g->x, IN, N, false);
            cr_assert_arr_eq(f->y, g->y, sizeof f->y, "%s, %d threads", k->name, threads);
            for (size_t row = 0; row < N; row += 7) {
                linear_forward(&g->l, k, g->workers, g->y, OUT, g->x + row * IN, IN, 1, false);
                cr_assert_arr_eq(g->y, f->y + row * OUT, OUT * sizeof(float), "%s, row %zu", k->name, row);
            }
            linear_rows(&g->l, g->y, OUT, g->x, IN, N, GEMM_STORE, workers_scratch(g->workers, threads - 1));
            cr_assert_arr_eq(f->y, g->y, sizeof f->y, "%s, rows", k->name);
            fixture_free(g);
        }
        fixture_free(f);
    }
}

Test(linear, geglu_takes_gate_and_linear_part_from_inputs_of_their_own)
{
    FOR_EACH_TABLE (k)
        for (int threads = 1; threads <= 3; threads++) {
            struct fixture *gate = fixture_new(k, threads, true), *up = fixture_new(k, 1, false);
            check_fill(up->a, COUNT(up->a), 12, 1);
            check_fill(up->x, COUNT(up->x), 11, 1);
            linear_pack(&up->l, k, up->panels);
            linear_geglu(&gate->l, &up->l, gate->workers, gate->y, OUT, gate->x, up->x, IN, N);
            for (size_t i = 0; i < COUNT(gate->y); i++) {
                double want = gelu(output(gate, i / OUT, i % OUT)) * output(up, i / OUT, i % OUT);
                cr_assert(check_close((double)gate->y[i], want, 1e-4, 1e-4), "%s, element %zu", k->name, i);
            }
            linear_geglu_rows(&gate->l, &up->l, up->y, OUT, gate->x, up->x, IN, N,
                              workers_scratch(up->workers, 0));
            cr_assert_arr_eq(up->y, gate->y, sizeof up->y);
            fixture_free(gate), fixture_free(up);
        }
}

Test(linear, whose_weights_are_missing_is_left_unpacked)
{
    const struct kernels *k = kernels_select("plain");
    struct linear none = {.in = 4, .out = 4}, half = {.part = {{NULL, 4}}, .parts = 1, .in = 4, .out = 4};
    cr_assert_eq(linear_packed_floats(&none, k), 0);
    cr_assert_eq(linear_packed_floats(&half, k), 0);
    linear_pack(&half, k, NULL);
    cr_assert_null(half.panels);
}

/* sum of dy * y in double. */
static double loss(const struct fixture *f, const float *dy, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n * OUT; i++) sum += dy[i] * output(f, i / OUT, i % OUT);
    return sum;
}

static void check_slopes(const struct fixture *f, float *at, const float *gradient, size_t count,
                         const float *dy, size_t n, double before)
{
    for (size_t i = 0; i < count; i += 11) {
        float was = at[i];
        at[i] = was + 0.125f;
        double high = loss(f, dy, n);
        at[i] = was - 0.125f;
        double want = before + (high - loss(f, dy, n)) * 4;
        at[i] = was;
        cr_assert(check_close((double)gradient[i], want, 1e-4, 1e-4), "gradient %zu is %g, expected %g", i,
                  (double)gradient[i], want);
    }
}

Test(linear, backward_agrees_with_finite_differences)
{
    enum { ROWS = 6 };
    const struct kernels *k = kernels_select(NULL);
    struct fixture *f = fixture_new(k, 1, false);
    float dy[ROWS * OUT], dx[ROWS * IN], da[ROWS_A * IN], db[ROWS_B * IN], dbias[ROWS_B];
    check_fill(dy, COUNT(dy), 9, 1);
    for (size_t i = 0; i < COUNT(db); i++) db[i] = 2; /* parameters' gradients are added to, */
    for (size_t i = 0; i < COUNT(da); i++) da[i] = 2;
    for (size_t i = 0; i < COUNT(dbias); i++) dbias[i] = 2;
    memset(dx, 0xff, sizeof dx); /* the input's are stored */
    struct linear_gradients g = {.w = {da, db}, .bias = {NULL, dbias}};
    linear_backward(&f->l, k, f->workers, dx, IN, false, &g, dy, OUT, f->x, IN, ROWS);
    check_slopes(f, f->x, dx, COUNT(dx), dy, ROWS, 0);
    check_slopes(f, f->a, da, COUNT(da), dy, ROWS, 2);
    check_slopes(f, f->b, db, COUNT(db), dy, ROWS, 2);
    check_slopes(f, f->bias + ROWS_A, dbias, ROWS_B, dy, ROWS, 2);
    for (size_t i = 0; i < COUNT(dx); i++) f->y[i] = dx[i] + 1;
    for (size_t i = 0; i < COUNT(dx); i++) dx[i] = 1;
    linear_backward(&f->l, k, f->workers, dx, IN, true, NULL, dy, OUT, f->x, IN, ROWS);
    EXPECT_CLOSE(dx, f->y, COUNT(dx), 1e-5, 1e-4, "added to");
    linear_backward(&f->l, k, f->workers, NULL, 0, false, &g, dy, OUT, f->x, IN, ROWS); /* parameters alone */
    fixture_free(f);
}

/* More rows than a piece has, and outputs that end in the middle of one. */
Test(linear, backward_has_the_same_bits_on_any_number_of_workers)
{
    enum { WIDE = 150, ROWS = 450 };
    struct thea_err err;
    float *w = malloc(WIDE * IN * sizeof *w), *x = malloc(ROWS * IN * sizeof *x),
          *dy = malloc(ROWS * WIDE * sizeof *dy);
    check_fill(w, WIDE * IN, 1, 1);
    check_fill(x, ROWS * IN, 2, 1);
    check_fill(dy, ROWS * WIDE, 3, 1);
    struct linear l = {.part = {{w, 20}, {w + 20 * IN, WIDE - 20}}, .parts = 2, .in = IN, .out = WIDE};
    FOR_EACH_TABLE (k) {
        struct {
            float dx[ROWS * IN], dw[WIDE * IN], dbias[WIDE];
        } *want = calloc(1, sizeof *want), *got = malloc(sizeof *got);
        for (int threads = 1; threads <= 5; threads++) {
            struct workers *workers;
            memset(got, 0, sizeof *got);
            struct linear_gradients g = {{got->dw, got->dw + 20 * IN}, {got->dbias, got->dbias + 20}};
            cr_assert(workers_new(&workers, threads, &err) == THEA_OK);
            linear_backward(&l, k, workers, got->dx, IN, false, &g, dy, WIDE, x, IN, ROWS);
            workers_free(workers);
            if (threads == 1) memcpy(want, got, sizeof *got);
            cr_expect(memcmp(want, got, sizeof *got) == 0, "%s, %d workers", k->name, threads);
        }
        float dw[WIDE * IN] = {0}, dbias[WIDE] = {0}, *dx = calloc(ROWS * IN, sizeof *dx);
        const struct kernels *plain = kernels_select("plain");
        plain->matmul_backward_weight(dw, IN, dy, WIDE, x, IN, ROWS, WIDE, IN);
        plain->matmul_backward_input(dx, IN, dy, WIDE, w, IN, ROWS, WIDE, IN, 0);
        for (size_t i = 0; i < (size_t)ROWS * WIDE; i++) dbias[i % WIDE] += dy[i];
        EXPECT_CLOSE(want->dx, dx, (size_t)ROWS * IN, 1e-4, 1e-4, "dx, %s", k->name);
        EXPECT_CLOSE(want->dw, dw, COUNT(dw), 1e-4, 1e-4, "dw, %s", k->name);
        EXPECT_CLOSE(want->dbias, dbias, COUNT(dbias), 1e-4, 1e-4, "dbias, %s", k->name);
        free(want), free(got), free(dx);
    }
    free(w), free(x), free(dy);
}
