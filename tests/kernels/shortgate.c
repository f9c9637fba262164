/* shortgate against its formula in double, over odd widths, and its backward against finite differences. */
#include "tests/kernels/check.h"

#include "kernels/shortgate.h"

enum { ROWS = 7 };
static const size_t widths[] = {1, 3, 8, 15, 16, 17, 32, 48, 100, 192};

struct data {
    float *a, *w, *bias;
    size_t B;
};

static struct data data_new(size_t B)
{
    struct data d = {calloc((ROWS + 2) * 3 * B, 4), calloc(9 * B, 4), calloc(3 * B, 4), B};
    check_fill(d.a, (ROWS + 2) * 3 * B, B + 1, 1);
    check_fill(d.w, 9 * B, B + 2, 1);
    check_fill(d.bias, 3 * B, B + 3, 0.5f);
    return d;
}

static void data_free(struct data *d)
{
    free(d->a);
    free(d->w);
    free(d->bias);
}

/* q of column c (of 3B) of row p. */
static double q_at(const struct data *d, size_t p, size_t c)
{
    size_t ld = 3 * d->B;
    double q = d->bias[c];
    for (size_t j = 0; j < 3; j++) q += (double)d->w[j * ld + c] * d->a[(p + j) * ld + c];
    return q;
}

Test(shortgate, forward_is_the_formula_for_every_width_and_table)
{
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(widths); i++) {
            size_t B = widths[i], ldy = 2 * B + 5;
            struct data d = data_new(B);
            struct guarded y = guarded_new(ROWS * ldy, 1);
            k->shortgate_forward(y.data, y.data + B, ldy, d.a, d.w, d.bias, ROWS, B, B);
            for (size_t p = 0; p < ROWS; p++)
                for (size_t c = 0; c < B; c++) {
                    double g = q_at(&d, p, c) * q_at(&d, p, 2 * B + c), x2 = q_at(&d, p, B + c);
                    cr_assert(check_close(y.data[p * ldy + c], g, 1e-5, 1e-5), "%s: width %zu: g", k->name,
                              B);
                    cr_assert(check_close(y.data[p * ldy + B + c], x2, 1e-5, 1e-5), "%s: width %zu: x2",
                              k->name, B);
                }
            cr_expect(guarded_intact(&y), "%s: width %zu: wrote outside", k->name, B);
            guarded_free(&y);
            data_free(&d);
        }
}

Test(shortgate, some_columns_have_the_bits_of_all)
{
    enum { B = 48, FIRST = 16 };
    static const size_t counts[] = {1, 4, 8, 15, 16, 17, 32};
    FOR_EACH_TABLE (k)
        for (size_t i = 0; i < COUNT(counts); i++) {
            size_t n = counts[i], ldy = 2 * n;
            struct data d = data_new(B);
            float all[2][ROWS * B];
            struct guarded y = guarded_new(ROWS * ldy, 1);
            k->shortgate_forward(all[0], all[1], B, d.a, d.w, d.bias, ROWS, B, B);
            k->shortgate_forward(y.data, y.data + n, ldy, d.a + FIRST, d.w + FIRST, d.bias + FIRST, ROWS, B,
                                 n);
            for (size_t p = 0; p < ROWS; p++)
                for (size_t part = 0; part < 2; part++)
                    cr_assert(memcmp(y.data + p * ldy + part * n, all[part] + p * B + FIRST, n * 4) == 0,
                              "%s: %zu columns, row %zu", k->name, n, p);
            cr_expect(guarded_intact(&y), "%s: %zu columns: wrote outside", k->name, n);
            guarded_free(&y);
            data_free(&d);
        }
}

Test(shortgate, no_rows_write_nothing)
{
    FOR_EACH_TABLE (k) {
        struct data d = data_new(16);
        struct guarded y = guarded_new(1, 0);
        k->shortgate_forward(y.data, y.data, 32, d.a, d.w, d.bias, 0, 16, 16);
        cr_expect(guarded_intact(&y));
        guarded_free(&y);
        data_free(&d);
    }
}

/* The loss whose gradients are dg and dx2, in double. */
static double loss(const struct data *d, const float *dg, const float *dx2)
{
    double sum = 0;
    for (size_t p = 0; p < ROWS; p++)
        for (size_t c = 0; c < d->B; c++)
            sum += dg[p * d->B + c] * q_at(d, p, c) * q_at(d, p, 2 * d->B + c) +
                   dx2[p * d->B + c] * q_at(d, p, d->B + c);
    return sum;
}

/* gradient [n] of the loss with respect to x [n]. */
static void expect_gradient(const char *what, const struct data *d, const float *dg, const float *dx2,
                            float *x, const float *gradient, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        float before = x[i];
        x[i] = before + 0x1p-6f;
        double up = loss(d, dg, dx2);
        x[i] = before - 0x1p-6f;
        double down = loss(d, dg, dx2);
        x[i] = before;
        double difference = (up - down) * 32;
        cr_assert(check_close(gradient[i], difference, 1e-4, 1e-4), "%s[%zu]: %g, differences give %g", what,
                  i, (double)gradient[i], difference);
    }
}

Test(shortgate, backward_agrees_with_finite_differences)
{
    for (size_t i = 0; i < COUNT(widths); i++) {
        size_t B = widths[i] < 20 ? widths[i] : 20, ld = 3 * B;
        struct data d = data_new(B);
        memset(d.a, 0, 2 * ld * sizeof *d.a);
        float *dg = calloc(ROWS * B, 4), *dx2 = calloc(ROWS * B, 4), *da = calloc(ROWS * ld, 4),
              *sums = calloc(4 * ld, 4);
        check_fill(dg, ROWS * B, 5, 1);
        check_fill(dx2, ROWS * B, 6, 1);
        shortgate_backward(da, sums, sums + 3 * ld, dg, dx2, B, d.a, d.w, d.bias, ROWS, B);
        expect_gradient("a", &d, dg, dx2, d.a + 2 * ld, da, ROWS * ld);
        expect_gradient("taps", &d, dg, dx2, d.w, sums, 3 * ld);
        expect_gradient("bias", &d, dg, dx2, d.bias, sums + 3 * ld, ld);
        shortgate_backward(da, sums, sums + 3 * ld, dg, dx2, B, d.a, d.w, d.bias, ROWS, B);
        for (size_t c = 0; c < 4 * ld; c++) sums[c] /= 2; /* parameters' gradients add up */
        expect_gradient("taps, twice", &d, dg, dx2, d.w, sums, 3 * ld);
        free(dg);
        free(dx2);
        free(da);
        free(sums);
        data_free(&d);
    }
}
