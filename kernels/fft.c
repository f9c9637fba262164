/* fft: the factors, computed in double and rounded once. */
#include "kernels/fft.h"
#include <assert.h>
#include <math.h>

static size_t log2_of(size_t n)
{
    return (size_t)__builtin_ctzl(n);
}

static size_t reversed(size_t place, size_t bits)
{
    size_t r = 0;
    for (size_t i = 0; i < bits; i++) r |= (place >> i & 1) << (bits - 1 - i);
    return r;
}

size_t fft_rows(size_t N)
{
    return N < (1 << 13) ? 32 : 256;
}

static size_t passes_floats(size_t n)
{
    size_t floats = 0;
    for (size_t m = n; m > 4; m /= fft_radix(m)) floats += fft_pass_floats(m);
    return floats;
}

size_t fft_plan_floats(size_t N)
{
    size_t rows = fft_rows(N);
    return passes_floats(rows) + passes_floats(N / rows) + 2 * N;
}

/* e^(-2 pi i k / n) */
static float *put(float *out, size_t k, size_t n)
{
    double angle = 2 * M_PI * (double)(k % n) / (double)n;
    *out++ = (float)cos(angle);
    *out++ = (float)-sin(angle);
    return out;
}

static float *put_passes(float *out, size_t n)
{
    for (size_t m = n; m > 4; m /= fft_radix(m)) {
        size_t radix = fft_radix(m);
        for (size_t j = 0; j < m / radix; j++)
            for (size_t place = 1; place < radix; place++)
                out = put(out, j * reversed(place, log2_of(radix)), m);
    }
    return out;
}

void fft_plan_init(struct fft_plan *plan, size_t N, float *factors)
{
    assert(N >= FFT_MIN && N <= FFT_MAX && (N & (N - 1)) == 0);
    size_t rows = fft_rows(N), columns = N / rows, bits = log2_of(rows);
    float *row = factors, *column = put_passes(row, columns), *step = put_passes(column, rows), *out = step;
    for (size_t n2 = 0; n2 < columns; n2++)
        for (size_t place = 0; place < rows; place++) out = put(out, n2 * reversed(place, bits), N);
    *plan = (struct fft_plan){.N = N,
                              .rows = rows,
                              .columns = columns,
                              .row_factors = row,
                              .column_factors = column,
                              .step_factors = step};
}

size_t fft_frequency(const struct fft_plan *plan, size_t place)
{
    size_t k1 = reversed(place / plan->columns, log2_of(plan->rows));
    size_t k2 = reversed(place % plan->columns, log2_of(plan->columns));
    return k1 + plan->rows * k2;
}
