#include "tests/kernels/check.h"

static double gelu(double x)
{
    return 0.5 * x * erfc(-x / sqrt(2));
}

static double gelu_tanh(double x)
{
    return 0.5 * x * (1 + tanh(sqrt(2 / M_PI) * (x + 0.044715 * x * x * x)));
}

typedef double function(double x);
typedef void forward(float *y, size_t ldy, const float *x, size_t ldx, size_t N, size_t F);
typedef void backward(float *dx, size_t lddx, const float *dy, size_t lddy, const float *x, size_t ldx,
                      size_t N, size_t F);

static double slope(function *f, double x)
{
    return (f(x + 1e-5) - f(x - 1e-5)) / 2e-5;
}

/* Over every width: into another buffer and in place, with gaps between rows. */
static void check_forward(const struct kernels *k, forward *run, function *f)
{
    for (size_t i = 0; i < COUNT(check_sizes); i++)
        for (size_t skew = 0; skew < 4; skew++) {
            size_t F = check_sizes[i], N = 3, ldx = F + 3, ldy = F + 1;
            struct guarded x = guarded_new(N * ldx, skew), y = guarded_new(N * ldy, skew + 1),
                           want = guarded_new(N * ldy, 0), in_place = guarded_new(N * ldx, 0);
            check_fill(x.data, x.n, F, 8);
            memcpy(want.data, y.data, y.n * sizeof(float)); /* the gaps stay */
            memcpy(in_place.data, x.data, x.n * sizeof(float));
            for (size_t r = 0; r < N; r++)
                for (size_t c = 0; c < F; c++)
                    in_place.data[r * ldx + c] = want.data[r * ldy + c] = (float)f(x.data[r * ldx + c]);
            run(y.data, ldy, x.data, ldx, N, F);
            for (size_t r = 0; r < N; r++)
                EXPECT_CLOSE(y.data + r * ldy, want.data + r * ldy, F, 3e-7, 3e-7, "%s F %zu", k->name, F);
            cr_assert(memcmp(y.data + F, want.data + F, sizeof(float)) == 0, "%s: a gap", k->name);
            run(x.data, ldx, x.data, ldx, N, F);
            EXPECT_CLOSE(x.data, in_place.data, x.n, 3e-7, 3e-7, "%s in place, F %zu", k->name, F);
            cr_assert(guarded_intact(&x) && guarded_intact(&y));
            guarded_free(&x), guarded_free(&y), guarded_free(&want), guarded_free(&in_place);
        }
}

static void check_backward(const struct kernels *k, backward *run, function *f)
{
    for (size_t i = 0; i < COUNT(check_sizes); i++) {
        size_t F = check_sizes[i], N = 2, ld = F + 2;
        struct guarded x = guarded_new(N * ld, 1), dy = guarded_new(N * ld, 2), dx = guarded_new(N * ld, 3);
        check_fill(x.data, x.n, F, 7);
        check_fill(dy.data, dy.n, F + 1, 1);
        run(dx.data, ld, dy.data, ld, x.data, ld, N, F);
        for (size_t r = 0; r < N; r++)
            for (size_t c = 0; c < F; c++) {
                double want = dy.data[r * ld + c] * slope(f, x.data[r * ld + c]);
                cr_assert(check_close(dx.data[r * ld + c], want, 1e-6, 1e-6),
                          "%s F %zu: slope at %g is %g, expected %g", k->name, F, (double)x.data[r * ld + c],
                          (double)dx.data[r * ld + c], want);
            }
        run(x.data, ld, dy.data, ld, x.data, ld, N, F); /* in place */
        for (size_t r = 0; r < N; r++)
            EXPECT_CLOSE(x.data + r * ld, dx.data + r * ld, F, 0, 0, "%s in place, F %zu", k->name, F);
        cr_assert(guarded_intact(&x) && guarded_intact(&dx) && guarded_intact(&dy));
        guarded_free(&x), guarded_free(&dy), guarded_free(&dx);
    }
}

Test(gelu, agrees_with_the_formula_for_every_width_and_alignment)
{
    FOR_EACH_TABLE (k) {
        check_forward(k, k->gelu_forward, gelu);
        check_forward(k, k->gelu_tanh_forward, gelu_tanh);
    }
}

Test(gelu, backward_agrees_with_finite_differences)
{
    FOR_EACH_TABLE (k) {
        check_backward(k, k->gelu_backward, gelu);
        check_backward(k, k->gelu_tanh_backward, gelu_tanh);
    }
}

/* A dense sample. Down the lower tail digits are lost as exp loses them, by the size of its argument. */
Test(gelu, is_precise_over_the_whole_range)
{
    FOR_EACH_TABLE (k) {
        float x[1 << 12], y[1 << 12];
        for (int block = -16; block < 16; block++) {
            for (size_t i = 0; i < COUNT(x); i++) x[i] = (float)block + (float)i / (float)COUNT(x);
            k->gelu_forward(y, 0, x, 0, 1, COUNT(x));
            for (size_t i = 0; i < COUNT(x); i++) {
                double want = gelu((double)x[i]), below = fmin((double)x[i], 0);
                cr_assert(check_close((double)y[i], want, 5e-7 + 1e-7 * below * below, 1e-36),
                          "%s: gelu(%.9g) is %.9g, expected %.9g", k->name, (double)x[i], (double)y[i], want);
            }
        }
    }
}

Test(gelu, of_large_small_and_special_values)
{
    static const float values[] = {0,     -0.0f,  1e-38f, -1e-38f, 1e-7f,    50,        -50,
                                   1e10f, -1e10f, 3e38f,  -3e38f,  INFINITY, -INFINITY, NAN};
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(values); i++)
            for (size_t at = 0; at < 19; at += 9) { /* in a whole vector and in the rest of a row */
                float x[19] = {0}, y[19], one[19], dx[19];
                for (size_t c = 0; c < 19; c++) one[c] = 1;
                x[at] = values[i];
                double v = (double)values[i], limit = isnan(v) ? v : v > 5 ? v : v < -5 ? 0 : v / 2;
                double step = isnan(v) ? v : v > 5 ? 1 : v < -5 ? 0 : 0.5;
                k->gelu_forward(y, 0, x, 0, 1, 19);
                cr_assert(check_close((double)y[at], limit, 1e-6, 1e-14), "%s: gelu(%g) is %g", k->name, v,
                          (double)y[at]);
                k->gelu_tanh_forward(y, 0, x, 0, 1, 19);
                cr_assert(check_close((double)y[at], limit, 1e-6, 1e-14), "%s: tanh, gelu(%g) is %g", k->name,
                          v, (double)y[at]);
                k->gelu_backward(dx, 0, one, 0, x, 0, 1, 19);
                cr_assert(check_close((double)dx[at], step, 1e-6, 1e-6), "%s: slope at %g is %g", k->name, v,
                          (double)dx[at]);
                k->gelu_tanh_backward(dx, 0, one, 0, x, 0, 1, 19);
                cr_assert(check_close((double)dx[at], step, 1e-6, 1e-6), "%s: tanh, slope at %g is %g",
                          k->name, v, (double)dx[at]);
            }
}

Test(geglu, is_gelu_of_the_gate_times_the_linear_part)
{
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(check_sizes); i++) {
            size_t F = check_sizes[i], N = 3, ld = 2 * F + 1;
            struct guarded x = guarded_new(N * ld, 1), y = guarded_new(N * F, 2),
                           want = guarded_new(N * F, 0);
            check_fill(x.data, x.n, F, 4);
            for (size_t r = 0; r < N; r++)
                for (size_t c = 0; c < F; c++)
                    want.data[r * F + c] = (float)(gelu(x.data[r * ld + c]) * x.data[r * ld + F + c]);
            k->geglu_forward(y.data, F, x.data, x.data + F, ld, N, F);
            EXPECT_CLOSE(y.data, want.data, N * F, 1e-6, 1e-6, "%s F %zu", k->name, F);
            k->geglu_forward(x.data, ld, x.data, x.data + F, ld, N, F); /* over the gate */
            for (size_t r = 0; r < N; r++)
                EXPECT_CLOSE(x.data + r * ld, y.data + r * F, F, 0, 0, "%s in place, F %zu", k->name, F);
            cr_assert(guarded_intact(&x) && guarded_intact(&y));
            guarded_free(&x), guarded_free(&y), guarded_free(&want);
        }
}

Test(geglu, backward_agrees_with_finite_differences_also_in_place)
{
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(check_sizes); i++) {
            size_t F = check_sizes[i], N = 2, ld = 2 * F + 1;
            struct guarded x = guarded_new(N * ld, 1), d = guarded_new(N * ld, 2), dy = guarded_new(N * F, 3);
            check_fill(x.data, x.n, F, 4);
            check_fill(dy.data, dy.n, F + 1, 1);
            k->geglu_backward(d.data, d.data + F, ld, dy.data, F, x.data, x.data + F, ld, N, F);
            for (size_t r = 0; r < N; r++)
                for (size_t c = 0; c < F; c++) {
                    double a = x.data[r * ld + c], b = x.data[r * ld + F + c], g = dy.data[r * F + c];
                    cr_assert(check_close(d.data[r * ld + c], g * b * slope(gelu, a), 1e-6, 2e-6), "%s",
                              k->name);
                    cr_assert(check_close(d.data[r * ld + F + c], g * gelu(a), 1e-6, 2e-6), "%s", k->name);
                }
            k->geglu_backward(x.data, x.data + F, ld, dy.data, F, x.data, x.data + F, ld, N, F);
            for (size_t r = 0; r < N; r++)
                EXPECT_CLOSE(x.data + r * ld, d.data + r * ld, 2 * F, 0, 0, "%s in place", k->name);
            cr_assert(guarded_intact(&x) && guarded_intact(&d) && guarded_intact(&dy));
            guarded_free(&x), guarded_free(&d), guarded_free(&dy);
        }
}

Test(tanh, and_its_backward_agree_with_the_formula)
{
    FOR_EACH_TABLE (k) {
        float x[77], y[77], dy[77], dx[77];
        check_fill(x, 77, 1, 6);
        check_fill(dy, 77, 2, 1);
        k->tanh_forward(y, x, 77);
        k->tanh_backward(dx, dy, y, 77);
        for (size_t i = 0; i < 77; i++) {
            cr_assert(check_close((double)y[i], tanh((double)x[i]), 3e-7, 0), "%s", k->name);
            cr_assert(check_close((double)dx[i], (double)dy[i] * slope(tanh, (double)x[i]), 1e-5, 1e-6), "%s",
                      k->name);
        }
    }
}
