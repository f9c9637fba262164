#include "tests/kernels/check.h"

static double reference_lse(const float *x, size_t n)
{
    double max = -INFINITY, sum = 0;
    for (size_t i = 0; i < n; i++) max = fmax(max, x[i]);
    for (size_t i = 0; i < n; i++) sum += exp(x[i] - max);
    return max + log(sum);
}

Test(softmax, agrees_with_the_formula_for_every_length_range_and_temperature)
{
    static const float scales[] = {0.1f, 5, 80, 1e4f}, temperatures[] = {0.3f, 1, 2.5f};
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(check_sizes); i++)
            for (size_t s = 0; s < COUNT(scales); s++)
                for (size_t t = 0; t < COUNT(temperatures); t++) {
                    size_t n = check_sizes[i];
                    struct guarded x = guarded_new(n, i % 4), want = guarded_new(n, 0);
                    check_fill(x.data, n, n, scales[s]);
                    double max = -INFINITY, sum = 0;
                    for (size_t j = 0; j < n; j++) max = fmax(max, x.data[j]);
                    for (size_t j = 0; j < n; j++) sum += exp((x.data[j] - max) / temperatures[t]);
                    for (size_t j = 0; j < n; j++)
                        want.data[j] = (float)(exp((x.data[j] - max) / temperatures[t]) / sum);
                    k->softmax(x.data, n, temperatures[t]);
                    /* the exponent is a float: its rounding grows with the range, which no order of
                     * operations avoids */
                    EXPECT_CLOSE(x.data, want.data, n, 2e-6 + 2e-7 * (double)(scales[s] / temperatures[t]),
                                 1e-37, "%s n %zu scale %g", k->name, n, (double)scales[s]);
                    cr_assert(guarded_intact(&x));
                    guarded_free(&x), guarded_free(&want);
                }
}

Test(softmax, masked_logits_get_exactly_nothing)
{
    FOR_EACH_TABLE (k)
        for (size_t n = 2; n < 40; n++) {
            float x[40];
            for (size_t i = 0; i < n; i++) x[i] = i % 3 ? -INFINITY : 2;
            k->softmax(x, n, 1);
            size_t kept = (n + 2) / 3;
            for (size_t i = 0; i < n; i++)
                cr_assert(i % 3 ? x[i] == 0 : check_close(x[i], 1.0 / (double)kept, 1e-6, 0),
                          "%s n %zu element %zu", k->name, n, i);
        }
}

Test(softmax, nothing_to_choose_or_a_nan_gives_nan)
{
    FOR_EACH_TABLE (k)
        for (size_t n = 1; n < 40; n++) {
            float none[40], nan[40];
            for (size_t i = 0; i < n; i++) none[i] = -INFINITY, nan[i] = (float)i;
            nan[n / 2] = NAN;
            k->softmax(none, n, 1);
            k->softmax(nan, n, 1);
            for (size_t i = 0; i < n; i++)
                cr_assert(isnan(none[i]) && isnan(nan[i]), "%s n %zu element %zu", k->name, n, i);
        }
}

Test(logsumexp, of_tiles_in_any_cut_equals_that_of_the_whole_row)
{
    static const size_t cuts[] = {1, 7, 16, 100, 1000};
    static const float scales[] = {1, 30, 1e4f};
    enum { V = 1000, N = 3, LD = V + 5 };
    static float logits[N * LD];
    FOR_EACH_TABLE (k)
        for (size_t c = 0; c < COUNT(cuts); c++)
            for (size_t s = 0; s < COUNT(scales); s++) {
                struct guarded max = guarded_new(N, 1), sum = guarded_new(N, 2);
                check_fill(logits, N * LD, c, scales[s]);
                for (size_t i = 0; i < N; i++) max.data[i] = -INFINITY, sum.data[i] = 0;
                for (size_t v = 0; v < V; v += cuts[c])
                    k->logsumexp_update(max.data, sum.data, logits + v, LD, N,
                                        V - v < cuts[c] ? V - v : cuts[c]);
                for (size_t i = 0; i < N; i++) {
                    double got = max.data[i] + log(sum.data[i]), want = reference_lse(logits + i * LD, V);
                    cr_assert(check_close(got, want, 1e-6, 1e-6), "%s cut %zu: %.9g, expected %.9g", k->name,
                              cuts[c], got, want);
                }
                cr_assert(guarded_intact(&max) && guarded_intact(&sum));
                guarded_free(&max), guarded_free(&sum);
            }
}

Test(logsumexp, tiles_of_minus_infinity_weigh_nothing)
{
    FOR_EACH_TABLE (k)
        for (size_t n = 1; n < 40; n++) {
            float none[40], some[40], max = -INFINITY, sum = 0;
            for (size_t i = 0; i < n; i++) none[i] = -INFINITY, some[i] = 3;
            k->logsumexp_update(&max, &sum, none, n, 1, n);
            cr_assert(max == -INFINITY && sum == 0, "%s n %zu", k->name, n);
            k->logsumexp_update(&max, &sum, some, n, 1, n);
            k->logsumexp_update(&max, &sum, none, n, 1, n);
            cr_assert(max == 3 && check_close(sum, (double)n, 1e-6, 0), "%s n %zu: sum %g", k->name, n,
                      (double)sum);
        }
}

Test(logsumexp, a_nan_shows_in_its_row_whatever_follows)
{
    FOR_EACH_TABLE (k)
        for (size_t at = 0; at < 37; at++) {
            float x[2 * 37], max[2] = {-INFINITY, -INFINITY}, sum[2] = {0, 0};
            check_fill(x, 2 * 37, at, 1);
            x[37 + at] = NAN;
            k->logsumexp_update(max, sum, x, 37, 2, 37);
            x[37 + at] = 50;
            k->logsumexp_update(max, sum, x, 37, 2, 37);
            cr_assert(isnan(sum[1]) && !isnan(sum[0]), "%s at %zu: sums %g %g", k->name, at, (double)sum[0],
                      (double)sum[1]);
        }
}
