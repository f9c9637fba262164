#include "tests/kernels/check.h"

static double exact(const float *row, const float *x, size_t d)
{
    double sum = 0;
    for (size_t c = 0; c < d; c++) sum += (double)row[c] * x[c];
    return sum;
}

Test(dot, of_each_row_is_the_sum_of_its_products)
{
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(check_sizes); i++)
            for (size_t skew = 0; skew < 3; skew++) {
                size_t d = check_sizes[i], n = 5;
                struct guarded y = guarded_new(n, skew), rows = guarded_new(n * d, 2 * skew),
                               x = guarded_new(d, skew);
                check_fill(rows.data, n * d, d, 2);
                check_fill(x.data, d, d + 1, 2);
                k->dot_rows(y.data, rows.data, x.data, n, d);
                for (size_t r = 0; r < n; r++)
                    cr_assert(
                        check_close(y.data[r], exact(rows.data + r * d, x.data, d), 1e-6, 2e-6 * (double)d),
                        "%s d %zu row %zu: %.9g", k->name, d, r, (double)y.data[r]);
                cr_assert(guarded_intact(&y));
                guarded_free(&y), guarded_free(&rows), guarded_free(&x);
            }
}

Test(dot, of_a_row_has_the_same_bits_whatever_rows_are_beside_it)
{
    enum { N = 9, D = 103 };
    FOR_EACH_TABLE (k) {
        float rows[N * D], x[D], all[N], one;
        check_fill(rows, N * D, 3, 1);
        check_fill(x, D, 4, 1);
        k->dot_rows(all, rows, x, N, D);
        for (size_t r = 0; r < N; r++) {
            k->dot_rows(&one, rows + r * D, x, 1, D);
            cr_assert_eq(memcmp(&one, &all[r], sizeof one), 0, "%s row %zu", k->name, r);
        }
    }
}

Test(dot, keeps_what_is_not_a_number)
{
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(check_sizes); i++) {
            size_t d = check_sizes[i];
            float *rows = calloc(2 * d, sizeof *rows), *x = calloc(d, sizeof *x), y[2];
            for (size_t c = 0; c < d; c++) rows[c] = rows[d + c] = x[c] = 1;
            rows[d - 1] = NAN;
            rows[d + d / 2] = INFINITY;
            k->dot_rows(y, rows, x, 2, d);
            cr_assert(isnan(y[0]) && isinf(y[1]), "%s d %zu: %g %g", k->name, d, (double)y[0], (double)y[1]);
            free(rows), free(x);
        }
}
