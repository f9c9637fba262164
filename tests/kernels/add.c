#include "tests/kernels/check.h"

Test(add, adds_each_element_and_nothing_else)
{
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(check_sizes); i++)
            for (size_t skew = 0; skew < 3; skew++) {
                size_t n = check_sizes[i];
                struct guarded y = guarded_new(n, skew), x = guarded_new(n, 2 * skew),
                               was = guarded_new(n, 0);
                check_fill(y.data, n, n, 5);
                check_fill(x.data, n, n + 1, 5);
                x.data[n / 2] = n % 2 ? NAN : INFINITY;
                memcpy(was.data, y.data, n * sizeof(float));
                k->add(y.data, x.data, n);
                for (size_t j = 0; j < n; j++)
                    cr_assert(check_close(y.data[j], was.data[j] + x.data[j], 0, 0), "%s n %zu element %zu",
                              k->name, n, j);
                cr_assert(guarded_intact(&y));
                guarded_free(&y), guarded_free(&x), guarded_free(&was);
            }
}

Test(add_bias, adds_the_bias_to_each_row_and_skips_what_lies_between_rows)
{
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(check_sizes); i++) {
            size_t C = check_sizes[i], N = 3, ld = C + 3;
            struct guarded y = guarded_new(N * ld, 1), bias = guarded_new(C, 3), was = guarded_new(N * ld, 0);
            check_fill(y.data, y.n, C, 5);
            check_fill(bias.data, C, C + 1, 5);
            memcpy(was.data, y.data, y.n * sizeof(float));
            k->add_bias(y.data, ld, bias.data, N, C);
            for (size_t j = 0; j < y.n; j++) {
                float want = was.data[j] + (j % ld < C ? bias.data[j % ld] : 0);
                cr_assert(y.data[j] == want, "%s C %zu element %zu", k->name, C, j);
            }
            cr_assert(guarded_intact(&y));
            guarded_free(&y), guarded_free(&bias), guarded_free(&was);
        }
}
