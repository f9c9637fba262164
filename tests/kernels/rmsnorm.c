#include "tests/kernels/check.h"

/* The formula in double. */
static void reference(float *y, float *rstd, const float *x, const float *w, size_t N, size_t C, double eps)
{
    for (size_t i = 0; i < N; i++) {
        double sum = 0;
        for (size_t c = 0; c < C; c++) sum += (double)x[i * C + c] * x[i * C + c];
        double r = 1 / sqrt(sum / (double)C + eps);
        rstd[i] = (float)r;
        for (size_t c = 0; c < C; c++) y[i * C + c] = (float)(w[c] * (x[i * C + c] * r));
    }
}

static void compare(const struct kernels *k, size_t N, size_t C, float scale, size_t skew)
{
    struct guarded x = guarded_new(N * C, skew), w = guarded_new(C, skew), y = guarded_new(N * C, skew),
                   rstd = guarded_new(N, skew);
    struct guarded want = guarded_new(N * C, 0), want_rstd = guarded_new(N, 0);
    check_fill(x.data, x.n, C, scale);
    check_fill(w.data, w.n, C + 1, 2);
    reference(want.data, want_rstd.data, x.data, w.data, N, C, 1e-5);
    k->rmsnorm_forward(y.data, rstd.data, x.data, w.data, N, C, 1e-5f);
    EXPECT_CLOSE(y.data, want.data, y.n, 2e-6, 0, "%s C %zu", k->name, C);
    EXPECT_CLOSE(rstd.data, want_rstd.data, N, 2e-6, 0, "%s rstd, C %zu", k->name, C);
    k->rmsnorm_forward(x.data, NULL, x.data, w.data, N, C, 1e-5f); /* in place */
    EXPECT_CLOSE(x.data, want.data, x.n, 2e-6, 0, "%s in place, C %zu", k->name, C);
    cr_assert(guarded_intact(&y) && guarded_intact(&rstd) && guarded_intact(&x), "%s C %zu wrote outside",
              k->name, C);
    guarded_free(&x), guarded_free(&w), guarded_free(&y), guarded_free(&rstd), guarded_free(&want),
        guarded_free(&want_rstd);
}

Test(rmsnorm, agrees_with_the_formula_for_every_width_scale_and_alignment)
{
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(check_sizes); i++)
            for (size_t skew = 0; skew < 4; skew++) {
                compare(k, 3, check_sizes[i], 1, skew);
                compare(k, 2, check_sizes[i], 1e4f, skew);
                compare(k, 2, check_sizes[i], 1e-6f, skew);
            }
}

Test(rmsnorm, of_zeros_is_zeros)
{
    FOR_EACH_TABLE (k) {
        float x[33] = {0}, w[33], y[33];
        check_fill(w, 33, 1, 1);
        memset(y, 0xff, sizeof y);
        k->rmsnorm_forward(y, NULL, x, w, 1, 33, 1e-5f);
        for (size_t c = 0; c < 33; c++) cr_assert(y[c] == 0, "%s", k->name);
    }
}

Test(rmsnorm, a_nan_spoils_its_whole_row_and_no_other)
{
    FOR_EACH_TABLE (k)
        for (size_t at = 0; at < 35; at++) {
            float x[3 * 35], w[35], y[3 * 35];
            check_fill(x, 3 * 35, 1, 1);
            check_fill(w, 35, 2, 1);
            x[35 + at] = NAN;
            k->rmsnorm_forward(y, NULL, x, w, 3, 35, 1e-5f);
            for (size_t i = 0; i < 3 * 35; i++)
                cr_assert(!isnan(y[i]) == !(i / 35 == 1), "%s at %zu: element %zu", k->name, at, i);
        }
}

Test(headnorm, norms_each_head_in_place_and_leaves_the_rest_of_the_row)
{
    static const size_t sizes[] = {1, 2, 5, 8, 16, 20, 32, 64, 80, 128};
    FOR_EACH_TABLE (k)
        for (size_t s = 0; s < COUNT(sizes); s++) {
            size_t D = sizes[s], heads = 3, N = 4, ld = heads * D + 5;
            struct guarded x = guarded_new(N * ld, 1), want = guarded_new(N * ld, 0), w = guarded_new(D, 3),
                           rstd = guarded_new(1, 0);
            check_fill(x.data, x.n, D, 3);
            check_fill(w.data, D, D + 1, 1);
            memcpy(want.data, x.data, x.n * sizeof(float));
            for (size_t i = 0; i < N; i++)
                for (size_t h = 0; h < heads; h++)
                    reference(want.data + i * ld + h * D, rstd.data, x.data + i * ld + h * D, w.data, 1, D,
                              1e-6);
            k->headnorm_forward(x.data, ld, w.data, N, heads, D, 1e-6f);
            EXPECT_CLOSE(x.data, want.data, x.n, 2e-6, 0, "%s D %zu", k->name, D);
            cr_assert(guarded_intact(&x));
            guarded_free(&x), guarded_free(&want), guarded_free(&w), guarded_free(&rstd);
        }
}
