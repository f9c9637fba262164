#include "kernels/matmul.h"
#include "tests/kernels/check.h"

static void compare(const struct kernels *k, size_t M, size_t N, size_t K, float beta)
{
    size_t ldy = N + 2, ldx = K + 1, ldw = K + 3;
    struct guarded y = guarded_new(M * ldy, 1), want = guarded_new(M * ldy, 0), x = guarded_new(M * ldx, 1),
                   w = guarded_new(N * ldw, 2);
    check_fill(x.data, x.n, M + K, 1);
    check_fill(w.data, w.n, N + K, 1);
    check_fill(y.data, y.n, 5, 1);
    if (beta == 0)
        for (size_t m = 0; m < M; m++)
            for (size_t n = 0; n < N; n++) y.data[m * ldy + n] = NAN; /* not read */
    memcpy(want.data, y.data, y.n * sizeof(float));
    matmul_forward(want.data, ldy, x.data, ldx, w.data, ldw, M, N, K, beta);
    k->matmul(y.data, ldy, x.data, ldx, w.data, ldw, M, N, K, beta);
    EXPECT_CLOSE(y.data, want.data, y.n, 1e-5, 1e-5, "M %zu N %zu K %zu beta %g", M, N, K, (double)beta);
    cr_assert(guarded_intact(&y));
    guarded_free(&y), guarded_free(&want), guarded_free(&x), guarded_free(&w);
}

Test(matmul, agrees_with_the_plain_product_for_odd_shapes_and_strides)
{
    static const size_t sizes[] = {1, 2, 3, 16, 17, 65, 130};
    const struct kernels *k = kernels_select(NULL);
    for (size_t m = 0; m < COUNT(sizes); m++)
        for (size_t n = 0; n < COUNT(sizes); n++)
            for (size_t d = 0; d < COUNT(sizes); d++) {
                compare(k, sizes[m], sizes[n], sizes[d], 0);
                compare(k, sizes[m], sizes[n], sizes[d], 1);
            }
}

Test(matmul, without_rows_columns_or_depth)
{
    const struct kernels *k = kernels_select(NULL);
    float y[4] = {1, 2, 3, 4}, x[4] = {1, 1, 1, 1};
    k->matmul(y, 2, x, 2, x, 2, 0, 2, 2, 0);
    k->matmul(y, 2, x, 2, x, 2, 2, 0, 2, 0);
    k->matmul(y, 2, x, 2, x, 2, 2, 2, 0, 1);
    cr_assert(y[0] == 1 && y[1] == 2 && y[2] == 3 && y[3] == 4);
    for (size_t M = 1; M <= 2; M++) {
        float z[4] = {1, 2, 3, 4};
        k->matmul(z, 2, x, 2, x, 2, M, 2, 0, 0);
        for (size_t i = 0; i < 2 * M; i++) cr_assert(z[i] == 0, "M %zu", M);
    }
}

Test(matmul, a_nan_spoils_its_row_only)
{
    const struct kernels *k = kernels_select(NULL);
    float x[3 * 20], w[5 * 20], y[3 * 5];
    check_fill(x, 60, 1, 1);
    check_fill(w, 100, 2, 1);
    x[20 + 19] = NAN;
    k->matmul(y, 5, x, 20, w, 20, 3, 5, 20, 0);
    for (size_t i = 0; i < 15; i++) cr_assert(!isnan(y[i]) == !(i / 5 == 1), "element %zu", i);
}

Test(matmul, gradients_agree_with_the_plain_ones_for_odd_shapes_and_strides)
{
    static const size_t sizes[] = {1, 3, 16, 17, 65};
    const struct kernels *k = kernels_select(NULL);
    for (size_t i = 0; i < COUNT(sizes) * COUNT(sizes) * COUNT(sizes); i++) {
        size_t M = sizes[i % 5], N = sizes[i / 5 % 5], K = sizes[i / 25];
        size_t ldy = N + 2, ldx = K + 1, ldw = K + 3;
        struct guarded dy = guarded_new(M * ldy, 1), x = guarded_new(M * ldx, 2), w = guarded_new(N * ldw, 3);
        struct guarded dx = guarded_new(M * ldx, 1), dw = guarded_new(N * ldw, 1);
        struct guarded want_dx = guarded_new(M * ldx, 0), want_dw = guarded_new(N * ldw, 0);
        struct guarded *filled[] = {&dy, &x, &w, &dx, &dw, &want_dx, &want_dw};
        for (size_t f = 0; f < COUNT(filled); f++)
            check_fill(filled[f]->data, filled[f]->n, f < 3 ? f : 3, 1);
        for (int beta = 1; beta >= 0; beta--) {
            matmul_backward_input(want_dx.data, ldx, dy.data, ldy, w.data, ldw, M, N, K, (float)beta);
            k->matmul_backward_input(dx.data, ldx, dy.data, ldy, w.data, ldw, M, N, K, (float)beta);
            EXPECT_CLOSE(dx.data, want_dx.data, dx.n, 1e-5, 1e-5, "dx M %zu N %zu K %zu", M, N, K);
        }
        matmul_backward_weight(want_dw.data, ldw, dy.data, ldy, x.data, ldx, M, N, K);
        k->matmul_backward_weight(dw.data, ldw, dy.data, ldy, x.data, ldx, M, N, K);
        EXPECT_CLOSE(dw.data, want_dw.data, dw.n, 1e-5, 1e-5, "dw M %zu N %zu K %zu", M, N, K);
        for (size_t f = 0; f < COUNT(filled); f++) {
            cr_assert(guarded_intact(filled[f]));
            guarded_free(filled[f]);
        }
    }
}
