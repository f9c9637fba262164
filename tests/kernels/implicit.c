#include "tests/kernels/check.h"
#include "kernels/implicit.h"

static double *random_doubles(size_t n, uint64_t seed, double scale)
{
    double *x = aligned_alloc(64, (n * sizeof *x + 127) / 64 * 64);
    cr_assert_not_null(x);
    for (size_t i = 0; i < n; i++)
        x[i] = ((double)check_random(&seed) + 0x1p-25 * (double)check_random(&seed)) * scale;
    return x;
}

static void compare_matmul(const struct kernels *k, size_t M, size_t N, size_t K, bool add, bool turned)
{
    size_t row = turned ? 1 : K + 1, step = turned ? M + 2 : 1;
    double *x = random_doubles((M + 2) * (K + 2), M + K, 1), *w = random_doubles(K * (N + 16), N, 1);
    double *y = random_doubles(M * (N + 16), 3, 1), *start = random_doubles(M * (N + 16), 3, 1);
    k->implicit->matmul(y, N + 16, x, row, step, w, N + 16, M, N, K, add);
    for (size_t i = 0; i < M; i++)
        for (size_t j = 0; j < N + 16; j++) {
            double want = add || j >= N ? start[i * (N + 16) + j] : 0;
            for (size_t c = 0; c < K && j < N; c++) want += x[i * row + c * step] * w[c * (N + 16) + j];
            cr_assert(check_close(y[i * (N + 16) + j], want, 1e-13, 1e-13),
                      "%s M %zu N %zu K %zu at %zu, %zu", k->name, M, N, K, i, j);
        }
    free(x), free(w), free(y), free(start);
}

Test(implicit, products_agree_with_the_sum_and_leave_the_columns_beyond)
{
    static const size_t widths[] = {8, 16, 40, 128}, depths[] = {1, 5, 16, 33};
    FOR_EACH_TABLE (k)
        for (size_t n = 0; n < COUNT(widths); n++)
            for (size_t d = 0; d < COUNT(depths); d++)
                for (size_t M = 1; M < 30; M += 1 + M / 5)
                    compare_matmul(k, M, widths[n], depths[d], M % 2, n % 2);
}

Test(implicit, a_row_of_a_product_has_the_same_bits_in_any_number_of_rows)
{
    enum { M = 29, N = 32, K = 40 };
    FOR_EACH_TABLE (k) {
        double *x = random_doubles(M * K, 1, 1), *w = random_doubles(K * N, 2, 1), all[M * N], one[N];
        k->implicit->matmul(all, N, x, K, 1, w, N, M, N, K, false);
        for (size_t i = 0; i < M; i++) {
            k->implicit->matmul(one, N, x + i * K, K, 1, w, N, 1, N, K, false);
            cr_assert(memcmp(one, all + i * N, sizeof one) == 0, "%s row %zu", k->name, i);
        }
        free(x), free(w);
    }
}

Test(implicit, sines_and_cosines_are_exact_to_double_for_large_arguments_too)
{
    enum { M = 64, N = 16 };
    static const double scales[] = {1e-9, 0.01, 1, 10, 300, 1e5};
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(scales); i++) {
            double *a = random_doubles(M * N, i, scales[i]), *b = random_doubles(N, 7, 1),
                   *f = random_doubles(N, 8, 1);
            double *before = random_doubles(M * N, i, scales[i]), s[M * N], c[M * N];
            k->implicit->sine(s, a, b, f, M, N);
            k->implicit->cosine(c, a, f, M, N);
            for (size_t j = 0; j < M * N; j++) {
                cr_assert(a[j] == before[j] + b[j % N], "%s the sum", k->name);
                cr_assert(check_close(s[j], sin(f[j % N] * a[j]), 4e-16, 2e-16), "%s sin(%.17g) is %.17g",
                          k->name, f[j % N] * a[j], s[j]);
                cr_assert(check_close(c[j], cos(f[j % N] * a[j]), 0, 4e-16), "%s cos(%.17g) is %.17g",
                          k->name, f[j % N] * a[j], c[j]);
            }
            free(a), free(b), free(f), free(before);
        }
}

Test(implicit, a_nan_stays_one)
{
    FOR_EACH_TABLE (k) {
        double a[16] = {0}, b[16] = {0}, f[16], s[16], e[16];
        float t[1] = {NAN};
        for (size_t i = 0; i < 16; i++) f[i] = 1;
        a[3] = NAN, a[9] = INFINITY;
        k->implicit->sine(s, a, b, f, 1, 16);
        k->implicit->decay(e, t, f, 1, 16);
        for (size_t i = 0; i < 16; i++)
            cr_assert(!isnan(s[i]) == (i != 3 && i != 9) && isnan(e[i]), "%s lane %zu", k->name, i);
    }
}

Test(implicit, decays_are_exact_to_double_and_vanish_far_out)
{
    enum { M = 50, N = 16 };
    FOR_EACH_TABLE (k) {
        float t[M];
        double rate[N], e[M * N];
        for (size_t i = 0; i < M; i++) t[i] = (float)i / (M - 1);
        for (size_t j = 0; j < N; j++) rate[j] = j == 15 ? 1e4 : (double)(j * j) * 1.37;
        k->implicit->decay(e, t, rate, M, N);
        for (size_t i = 0; i < M * N; i++)
            cr_assert(check_close(e[i], exp(-(double)t[i / N] * rate[i % N]), 1e-15, 1e-300),
                      "%s element %zu: %.17g", k->name, i, e[i]);
    }
}

Test(implicit, values_are_gated_rounded_and_widened)
{
    enum { M = 5, N = 32 };
    FOR_EACH_TABLE (k) {
        double *r = random_doubles(M * N, 1, 3), *e = random_doubles(M * N, 2, 1), wide[M * N];
        float got[M * (N + 1)], narrow[M * N];
        k->implicit->gate(got, N + 1, r, e, M, N);
        k->implicit->narrow(narrow, r, M * N);
        k->implicit->widen(wide, narrow, M * N);
        for (size_t i = 0; i < M * N; i++) {
            cr_assert(got[i / N * (N + 1) + i % N] == (float)(r[i] * e[i]), "%s gate %zu", k->name, i);
            cr_assert(narrow[i] == (float)r[i] && wide[i] == (double)(float)r[i], "%s element %zu", k->name,
                      i);
        }
        free(r), free(e);
    }
}
