#include "tests/kernels/check.h"

/* The formula in double: y of x (+ r). */
static void reference(double *y, const float *x, const float *r, const float *w, const float *b, size_t C,
                      double eps)
{
    double mean = 0, var = 0;
    for (size_t c = 0; c < C; c++) mean += ((double)x[c] + (r ? (double)r[c] : 0)) / (double)C;
    for (size_t c = 0; c < C; c++) {
        double d = (double)x[c] + (r ? (double)r[c] : 0) - mean;
        var += d * d / (double)C;
    }
    for (size_t c = 0; c < C; c++)
        y[c] = w[c] * (((double)x[c] + (r ? (double)r[c] : 0) - mean) / sqrt(var + eps)) + (b ? b[c] : 0);
}

struct fixture {
    struct guarded x, r, w, b, y, mean, rstd, want;
};

static struct fixture fixture_new(size_t N, size_t C, size_t skew)
{
    struct fixture f = {guarded_new(N * C, skew), guarded_new(N * C, skew), guarded_new(C, skew),
                        guarded_new(C, skew),     guarded_new(N * C, skew), guarded_new(N, skew),
                        guarded_new(N, skew),     guarded_new(N * C, 0)};
    check_fill(f.x.data, f.x.n, C, 2);
    check_fill(f.r.data, f.r.n, C + 1, 2);
    check_fill(f.w.data, C, C + 2, 2);
    check_fill(f.b.data, C, C + 3, 1);
    return f;
}

static void fixture_free(struct fixture *f)
{
    struct guarded *all[] = {&f->x, &f->r, &f->w, &f->b, &f->y, &f->mean, &f->rstd, &f->want};
    for (size_t i = 0; i < COUNT(all); i++) {
        cr_assert(guarded_intact(all[i]), "buffer %zu was written outside", i);
        guarded_free(all[i]);
    }
}

static void expect(struct fixture *f, const float *r, const float *b, size_t N, size_t C)
{
    double *y = malloc(C * sizeof *y);
    for (size_t i = 0; i < N; i++) {
        reference(y, f->x.data + i * C, r ? r + i * C : NULL, f->w.data, b, C, 1e-5);
        for (size_t c = 0; c < C; c++) f->want.data[i * C + c] = (float)y[c];
    }
    free(y);
}

Test(layernorm, agrees_with_the_formula_for_every_width_and_alignment_with_and_without_residual_and_bias)
{
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(check_sizes); i++)
            for (size_t skew = 0; skew < 4; skew++)
                for (int with = 0; with < 4; with++) {
                    size_t N = 3, C = check_sizes[i];
                    struct fixture f = fixture_new(N, C, skew);
                    const float *r = with & 1 ? f.r.data : NULL, *b = with & 2 ? f.b.data : NULL;
                    expect(&f, r, b, N, C);
                    k->layernorm_forward(f.y.data, f.mean.data, f.rstd.data, f.x.data, r, f.w.data, b, N, C,
                                         1e-5f);
                    EXPECT_CLOSE(f.y.data, f.want.data, N * C, 3e-6, 3e-6, "%s C %zu", k->name, C);
                    k->layernorm_forward(f.x.data, NULL, NULL, f.x.data, r, f.w.data, b, N, C, 1e-5f);
                    EXPECT_CLOSE(f.x.data, f.want.data, N * C, 3e-6, 3e-6, "%s in place C %zu", k->name, C);
                    fixture_free(&f);
                }
}

Test(layernorm, keeps_its_digits_far_from_zero)
{
    FOR_EACH_TABLE (k) { /* a mean a thousand times the deviation: a sum of squares would lose them */
        size_t C = 768;
        struct fixture f = fixture_new(1, C, 0);
        for (size_t c = 0; c < C; c++) f.x.data[c] += 2000;
        expect(&f, NULL, NULL, 1, C);
        k->layernorm_forward(f.y.data, NULL, NULL, f.x.data, NULL, f.w.data, NULL, 1, C, 1e-12f);
        EXPECT_CLOSE(f.y.data, f.want.data, C, 0, 1e-3, "%s", k->name);
        fixture_free(&f);
    }
}

Test(layernorm, of_a_constant_row_is_the_bias)
{
    FOR_EACH_TABLE (k) {
        float x[40], w[40], b[40], y[40], rstd;
        check_fill(w, 40, 1, 1);
        check_fill(b, 40, 2, 1);
        for (size_t c = 0; c < 40; c++) x[c] = 0.5f;
        k->layernorm_forward(y, NULL, &rstd, x, NULL, w, b, 1, 40, 1e-12f);
        EXPECT_CLOSE(y, b, 40, 0, 0, "%s", k->name);
        cr_assert(check_close((double)rstd, 1e6, 1e-5, 0), "%s: rstd %g", k->name, (double)rstd);
    }
}

Test(layernorm, a_nan_spoils_its_whole_row_and_no_other)
{
    FOR_EACH_TABLE (k)
        for (size_t at = 0; at < 35; at++) {
            float x[3 * 35], w[35], y[3 * 35];
            check_fill(x, 3 * 35, 1, 1);
            check_fill(w, 35, 2, 1);
            x[35 + at] = NAN;
            k->layernorm_forward(y, NULL, NULL, x, NULL, w, NULL, 3, 35, 1e-5f);
            for (size_t i = 0; i < 3 * 35; i++)
                cr_assert(!isnan(y[i]) == !(i / 35 == 1), "%s at %zu: element %zu", k->name, at, i);
        }
}

/* sum of dy * layernorm(x + r) in double. */
static double loss(const float *dy, const float *x, const float *r, const float *w, const float *b, size_t N,
                   size_t C)
{
    double sum = 0, *y = malloc(C * sizeof *y);
    for (size_t i = 0; i < N; i++) {
        reference(y, x + i * C, r ? r + i * C : NULL, w, b, C, 1e-5);
        for (size_t c = 0; c < C; c++) sum += dy[i * C + c] * y[c];
    }
    free(y);
    return sum;
}

/* d loss / d *at by finite differences. */
static double slope(float *at, const float *dy, const struct fixture *f, const float *r, size_t N, size_t C)
{
    float was = *at, up = was + 1e-3f, down = was - 1e-3f;
    *at = up;
    double high = loss(dy, f->x.data, r, f->w.data, f->b.data, N, C);
    *at = down;
    double low = loss(dy, f->x.data, r, f->w.data, f->b.data, N, C);
    *at = was;
    return (high - low) / ((double)up - (double)down);
}

static void check_slopes(const char *name, float *at, const float *gradient, size_t n, const float *dy,
                         const struct fixture *f, const float *r, size_t N, size_t C)
{
    for (size_t i = 0; i < n; i++) {
        double want = slope(at + i, dy, f, r, N, C);
        cr_assert(check_close(gradient[i], want, 2e-3, 2e-3), "%s C %zu: gradient %zu is %g, expected %g",
                  name, C, i, (double)gradient[i], want);
    }
}

Test(layernorm, backward_agrees_with_finite_differences)
{
    static const size_t sizes[] = {2, 3, 15, 16, 17, 33, 70};
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(sizes); i++)
            for (int with = 0; with < 2; with++) {
                size_t N = 3, C = sizes[i];
                struct fixture f = fixture_new(N, C, i % 4);
                struct guarded dy = guarded_new(N * C, 1), dw = guarded_new(C, 2), db = guarded_new(C, 3);
                float *r = with ? f.r.data : NULL;
                check_fill(dy.data, dy.n, 9, 1);
                memset(dw.data, 0, C * sizeof(float));
                memset(db.data, 0, C * sizeof(float));
                k->layernorm_forward(f.y.data, f.mean.data, f.rstd.data, f.x.data, r, f.w.data, f.b.data, N,
                                     C, 1e-5f);
                k->layernorm_backward(f.y.data, dw.data, db.data, dy.data, f.x.data, r, f.w.data, f.mean.data,
                                      f.rstd.data, N, C);
                if (C > 2) /* of two elements the norm is all but constant: rounding rules */
                    check_slopes(k->name, f.x.data, f.y.data, N * C, dy.data, &f, r, N, C);
                check_slopes(k->name, f.w.data, dw.data, C, dy.data, &f, r, N, C);
                check_slopes(k->name, f.b.data, db.data, C, dy.data, &f, r, N, C);
                cr_assert(guarded_intact(&dy) && guarded_intact(&dw) && guarded_intact(&db));
                guarded_free(&dy), guarded_free(&dw), guarded_free(&db);
                fixture_free(&f);
            }
}

Test(layernorm, backward_adds_to_parameters_and_works_in_place)
{
    const struct kernels *plain = kernels_select("plain");
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(check_sizes); i++) {
            size_t N = 2, C = check_sizes[i];
            struct fixture f = fixture_new(N, C, 1);
            struct guarded dy = guarded_new(N * C, 2), sums = guarded_new(4 * C, 0);
            float *dw = sums.data, *db = dw + C, *want_dw = db + C, *want_db = want_dw + C;
            check_fill(dy.data, dy.n, 5, 1);
            for (size_t c = 0; c < 4 * C; c++) sums.data[c] = 3;
            plain->layernorm_forward(f.y.data, f.mean.data, f.rstd.data, f.x.data, NULL, f.w.data, NULL, N, C,
                                     1e-5f);
            plain->layernorm_backward(f.want.data, want_dw, want_db, dy.data, f.x.data, NULL, f.w.data,
                                      f.mean.data, f.rstd.data, N, C);
            k->layernorm_backward(f.y.data, NULL, NULL, dy.data, f.x.data, NULL, f.w.data, f.mean.data,
                                  f.rstd.data, N, C);
            k->layernorm_backward(dy.data, dw, db, dy.data, f.x.data, NULL, f.w.data, f.mean.data,
                                  f.rstd.data, N, C);
            if (C > 1) EXPECT_CLOSE(dy.data, f.want.data, N * C, 1e-5, 2e-5, "%s C %zu", k->name, C);
            EXPECT_CLOSE(dw, want_dw, 2 * C, 1e-5, 1e-5, "%s C %zu", k->name, C);
            EXPECT_CLOSE(f.y.data, dy.data, N * C, 0, 0, "%s without parameters, C %zu", k->name, C);
            cr_assert(guarded_intact(&dy) && guarded_intact(&sums));
            guarded_free(&dy), guarded_free(&sums);
            fixture_free(&f);
        }
}
