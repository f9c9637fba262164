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
    return (size_t)1 << 2 * ((log2_of(N) + 2) / 4);
}

/* The passes of a DFT of n points that have factors: one of radix 2 when log2 is odd, then spans that are
 * powers of 4 down to 16. */
static size_t pass_floats(size_t n)
{
    size_t floats = 0;
    if (log2_of(n) % 2) floats += n, n /= 2;
    for (; n >= 16; n /= 4) floats += n / 4 * 6;
    return floats;
}

size_t fft_plan_floats(size_t N)
{
    size_t rows = fft_rows(N);
    return pass_floats(rows) + pass_floats(N / rows) + 2 * N;
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
    if (log2_of(n) % 2) {
        for (size_t j = 0; j < n / 2; j++) out = put(out, j, n);
        n /= 2;
    }
    for (; n >= 16; n /= 4)
        for (size_t j = 0; j < n / 4; j++)
            for (size_t power = 1; power <= 3; power++) out = put(out, power * j, n);
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
