#include "kernels/matmul.h"
#include "tests/kernels/check.h"

/* One product with everything it needs; x, y with gaps between rows. */
struct product {
    size_t M, N, K, ldx, ldy;
    struct guarded x, w, bias, y, panels, scratch;
    struct gemm_weights weights;
};

static struct product product_new(const struct kernels *k, size_t M, size_t N, size_t K)
{
    struct product p = {M,
                        N,
                        K,
                        K + 3,
                        N + 1,
                        .x = guarded_new(M * (K + 3), 1),
                        .w = guarded_new(N * K, 2),
                        .bias = guarded_new(N, 3),
                        .y = guarded_new(M * (N + 1), 1),
                        .panels = guarded_new(gemm_floats(k, N, K), 0),
                        .scratch = guarded_new(GEMM_SCRATCH, 0)};
    check_fill(p.x.data, p.x.n, M + K, 1);
    check_fill(p.w.data, p.w.n, N + K, 1);
    check_fill(p.bias.data, N, N, 1);
    check_fill(p.y.data, p.y.n, 7, 1);
    gemm_pack(k, p.panels.data, p.w.data, K, 0, N, N, K);
    p.weights = (struct gemm_weights){p.panels.data, p.bias.data, N, K};
    return p;
}

static void product_free(struct product *p)
{
    struct guarded *all[] = {&p->x, &p->w, &p->bias, &p->y, &p->panels, &p->scratch};
    for (size_t i = 0; i < COUNT(all); i++) {
        cr_assert(guarded_intact(all[i]), "M %zu N %zu K %zu: buffer %zu was written outside", p->M, p->N,
                  p->K, i);
        guarded_free(all[i]);
    }
}

static double gelu(double x)
{
    return 0.5 * x * erfc(-x / sqrt(2));
}

/* y by the oracle. */
static struct guarded expected(const struct product *p, gemm_epilogue epilogue)
{
    struct guarded want = guarded_new(p->y.n, 0);
    memcpy(want.data, p->y.data, p->y.n * sizeof(float));
    matmul_forward(want.data, p->ldy, p->x.data, p->ldx, p->w.data, p->K, p->M, p->N, p->K,
                   epilogue == GEMM_ADD ? 1 : 0);
    for (size_t m = 0; m < p->M; m++)
        for (size_t n = 0; n < p->N; n++) {
            float *at = &want.data[m * p->ldy + n];
            if (p->weights.bias) *at += p->weights.bias[n];
            if (epilogue == GEMM_GELU) *at = (float)gelu((double)*at);
        }
    return want;
}

static void compare(const struct kernels *k, size_t M, size_t N, size_t K, gemm_epilogue epilogue, bool bias)
{
    struct product p = product_new(k, M, N, K);
    if (!bias) p.weights.bias = NULL;
    struct guarded want = expected(&p, epilogue);
    k->gemm(p.y.data, p.ldy, p.x.data, p.ldx, &p.weights, M, 0, N, epilogue, p.scratch.data);
    EXPECT_CLOSE(p.y.data, want.data, p.y.n, 1e-5, 1e-5 * sqrt((double)K), "%s M %zu N %zu K %zu epilogue %d",
                 k->name, M, N, K, (int)epilogue);
    product_free(&p), guarded_free(&want);
}

Test(gemm, agrees_with_the_plain_product_for_odd_shapes_and_strides)
{
    static const size_t rows[] = {1, 2, 5, 6, 7, 13, 14, 15, 28, 29, 100};
    static const size_t columns[] = {1, 15, 16, 17, 32, 33, 70};
    static const size_t depths[] = {1, 2, 3, 4, 5, 64, 130};
    FOR_EACH_TABLE (k)
        for (size_t m = 0; m < COUNT(rows); m++)
            for (size_t n = 0; n < COUNT(columns); n++)
                for (size_t d = 0; d < COUNT(depths); d++) {
                    compare(k, rows[m], columns[n], depths[d], GEMM_STORE, (m + n + d) % 2);
                    compare(k, rows[m], columns[n], depths[d], GEMM_ADD, (m + n) % 2);
                    compare(k, rows[m], columns[n], depths[d], GEMM_GELU, (n + d) % 2);
                }
}

Test(gemm, agrees_with_the_plain_product_over_blocks_of_rows_and_depth)
{
    FOR_EACH_TABLE (k) {
        compare(k, 400, 40, 385, GEMM_ADD, true);
        compare(k, 200, 33, 1000, GEMM_GELU, true);
        compare(k, 90, 16, 2500, GEMM_ADD, false);
        compare(k, 3, 48, 4608, GEMM_STORE, true);
    }
}

/* The property that chunks, batches, threads and slices rest on. */
static void check_row(const struct kernels *k, const struct product *p, gemm_epilogue epilogue, size_t row,
                      size_t before, size_t count, size_t n0, size_t n1)
{
    struct guarded y = guarded_new(count * p->ldy, 0);
    check_fill(y.data, y.n, 3, 1);
    struct guarded was = guarded_new(y.n, 0);
    for (size_t c = 0; c < p->ldy; c++) y.data[before * p->ldy + c] = 0.25f;
    memcpy(was.data, y.data, y.n * sizeof(float));
    struct guarded whole = guarded_new(p->M * p->ldy, 0);
    for (size_t i = 0; i < whole.n; i++) whole.data[i] = 0.25f;
    k->gemm(whole.data, p->ldy, p->x.data, p->ldx, &p->weights, p->M, 0, p->N, epilogue, p->scratch.data);
    k->gemm(y.data, p->ldy, p->x.data + (row - before) * p->ldx, p->ldx, &p->weights, count, n0, n1, epilogue,
            p->scratch.data);
    cr_assert(
        memcmp(y.data + before * p->ldy + n0, whole.data + row * p->ldy + n0, (n1 - n0) * sizeof(float)) == 0,
        "%s K %zu: row %zu of %zu is another as row %zu of %zu, columns %zu to %zu of %zu", k->name, p->K,
        row, p->M, before, count, n0, n1, p->N);
    for (size_t i = 0; i < y.n; i++) {
        bool written = i % p->ldy >= n0 && i % p->ldy < n1;
        cr_assert(written || y.data[i] == was.data[i], "%s: element %zu lies outside the slice", k->name, i);
    }
    guarded_free(&y), guarded_free(&was), guarded_free(&whole);
}

static size_t random_below(uint64_t *state, size_t n)
{
    check_random(state);
    return (size_t)(*state >> 33) % n;
}

Test(gemm, a_rows_bits_depend_neither_on_other_rows_nor_on_slices)
{
    static const size_t depths[] = {7, 192, 384, 385, 768, 1000, 1536, 2000};
    uint64_t state = 42;
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < 48; i++) {
            size_t M = 1 + random_below(&state, 200), N = 1 + random_below(&state, 150);
            struct product p = product_new(k, M, N, depths[i % COUNT(depths)]);
            for (int trial = 0; trial < 4; trial++) {
                size_t row = random_below(&state, M), before = random_below(&state, row + 1);
                size_t count = before + 1 + random_below(&state, M - row);
                size_t units = (N + k->gemm_width - 1) / k->gemm_width, first = random_below(&state, units);
                size_t last = first + 1 + random_below(&state, units - first);
                size_t n1 = last * k->gemm_width < N ? last * k->gemm_width : N;
                check_row(k, &p, (gemm_epilogue)(trial % 3), row, before, count, first * k->gemm_width, n1);
            }
            product_free(&p);
        }
}

Test(gemm, packs_rows_in_parts_as_at_once_and_fills_the_last_panel_with_zeros)
{
    FOR_EACH_TABLE (k) {
        struct product p = product_new(k, 1, 75, 20);
        struct guarded parts = guarded_new(p.panels.n, 0);
        check_fill(parts.data, parts.n, 1, 1);
        gemm_pack(k, parts.data, p.w.data + (size_t)50 * 20, 20, 50, 25, 75, 20);
        gemm_pack(k, parts.data, p.w.data, 20, 0, 17, 75, 20);
        gemm_pack(k, parts.data, p.w.data + (size_t)17 * 20, 20, 17, 33, 75, 20);
        EXPECT_CLOSE(parts.data, p.panels.data, parts.n, 0, 0, "%s", k->name);
        size_t lane = 75 % k->gemm_width, last = 75 / k->gemm_width * k->gemm_width * 20;
        for (size_t i = 0; i < 20; i++)
            for (size_t j = lane; j < k->gemm_width; j++)
                cr_assert(parts.data[last + i * k->gemm_width + j] == 0, "%s", k->name);
        product_free(&p), guarded_free(&parts);
    }
}

Test(gemm, a_nan_spoils_its_row_only)
{
    FOR_EACH_TABLE (k) {
        struct product p = product_new(k, 31, 40, 50);
        p.x.data[9 * p.ldx + 33] = NAN;
        k->gemm(p.y.data, p.ldy, p.x.data, p.ldx, &p.weights, 31, 0, 40, GEMM_STORE, p.scratch.data);
        for (size_t i = 0; i < p.y.n; i++)
            if (i % p.ldy < 40)
                cr_assert(!isnan(p.y.data[i]) == !(i / p.ldy == 9), "%s element %zu", k->name, i);
        product_free(&p);
    }
}

Test(gemm, of_no_rows_or_columns_writes_nothing)
{
    FOR_EACH_TABLE (k) {
        struct product p = product_new(k, 2, 40, 5);
        struct guarded was = guarded_new(p.y.n, 0);
        memcpy(was.data, p.y.data, p.y.n * sizeof(float));
        k->gemm(p.y.data, p.ldy, p.x.data, p.ldx, &p.weights, 0, 0, 40, GEMM_STORE, p.scratch.data);
        k->gemm(p.y.data, p.ldy, p.x.data, p.ldx, &p.weights, 2, 32, 32, GEMM_STORE, p.scratch.data);
        EXPECT_CLOSE(p.y.data, was.data, p.y.n, 0, 0, "%s", k->name);
        product_free(&p), guarded_free(&was);
    }
}

/* gate and linear part of different rows and widths of input. */
static void compare_geglu(const struct kernels *k, size_t M, size_t N, size_t K, bool same)
{
    struct product g = product_new(k, M, N, K), u = product_new(k, M, N, K);
    check_fill(u.w.data, u.w.n, 77, 1);
    gemm_pack(k, u.panels.data, u.w.data, K, 0, N, N, K);
    if (!same) check_fill(u.x.data, u.x.n, 78, 1);
    u.weights.bias = NULL;
    const float *xu = same ? g.x.data : u.x.data;
    struct guarded gate = expected(&g, GEMM_GELU), up = expected(&u, GEMM_STORE);
    for (size_t m = 0; m < M; m++)
        for (size_t n = 0; n < N; n++) gate.data[m * g.ldy + n] *= up.data[m * g.ldy + n];
    k->gemm_geglu(g.y.data, g.ldy, g.x.data, xu, g.ldx, &g.weights, &u.weights, M, 0, N, g.scratch.data);
    for (size_t m = 0; m < M; m++)
        EXPECT_CLOSE(g.y.data + m * g.ldy, gate.data + m * g.ldy, N, 1e-5, 1e-5 * (double)K,
                     "%s geglu M %zu N %zu K %zu", k->name, M, N, K);

    /* a row alone, a panel alone */
    size_t row = M / 2, n0 = (N - 1) / k->gemm_width * k->gemm_width;
    float *alone = u.y.data;
    k->gemm_geglu(alone, u.ldy, g.x.data + row * g.ldx, xu + row * g.ldx, g.ldx, &g.weights, &u.weights, 1,
                  n0, N, g.scratch.data);
    cr_assert(memcmp(alone + n0, g.y.data + row * g.ldy + n0, (N - n0) * sizeof(float)) == 0,
              "%s geglu M %zu N %zu K %zu: row %zu has other bits alone", k->name, M, N, K, row);
    product_free(&g), product_free(&u), guarded_free(&gate), guarded_free(&up);
}

Test(gemm_geglu, agrees_with_the_formula_and_its_rows_stand_alone)
{
    static const size_t shapes[][3] = {{1, 1, 1},     {3, 17, 5},     {14, 32, 64},   {15, 33, 192},
                                       {40, 70, 100}, {200, 48, 192}, {50, 20, 1000}, {20, 16, 4096}};
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(shapes); i++) {
            compare_geglu(k, shapes[i][0], shapes[i][1], shapes[i][2], true);
            compare_geglu(k, shapes[i][0], shapes[i][1], shapes[i][2], false);
        }
}
