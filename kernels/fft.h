/* The transform under the long convolution: a complex DFT of N points whose SIMD lanes are channels, so that
 * no butterfly shuffles. A point is `lanes` real parts, then as many imaginary ones.
 *
 * Four steps (Bailey 1990): index n = columns n1 + n2, a DFT of `rows` points down each column, a factor
 * w_N^(n2 k1), a DFT of `columns` points along each row. Both are passes of radix 8 and 4, decimating in
 * frequency forward and in time backward: the spectrum stays in bit-reversed order (of k1 over rows, of k2
 * within a row; k = k1 + rows k2) and nothing is ever reordered. In that order the partner of frequency k, N
 * - k, is found by complementing bits, which is how two real sequences share one complex transform
 * (longconv.h). */
#ifndef KERNELS_FFT_H
#define KERNELS_FFT_H

#include <stddef.h>

enum { FFT_MIN = 128, FFT_MAX = 1 << 17 };

struct fft_plan {
    size_t N;             /* a power of two in [FFT_MIN, FFT_MAX] */
    size_t rows, columns; /* N = rows * columns; rows is 32 or 256; columns >= 4 */
    /* Factors as pairs (cos, -sin); the first two: for each pass, of span m and radix R, and each of its j <
     * m / R those of places 1 to R - 1: w_m^(j reversed(place)). */
    const float *row_factors;    /* of the DFT along a row (`columns` points) */
    const float *column_factors; /* of the DFT down a column (`rows` points) */
    const float *step_factors;   /* [columns][rows]: w_N^(n2 k1), k1 in bit-reversed order */
};

/* The radix of the pass of span m > 4, a power of two, so that the last pass is of span 4; floats of its
 * factors. */
static inline size_t fft_radix(size_t m)
{
    return m == 8 ? 2 : m == 16 || m == 64 ? 4 : 8;
}
static inline size_t fft_pass_floats(size_t m)
{
    return m / fft_radix(m) * (fft_radix(m) - 1) * 2;
}

/* 32, and 256 from 8,192 points on: columns begin with radix 8, and one fits into L1. */
size_t fft_rows(size_t N);
/* Floats of a plan's factors. N: as in the plan. */
size_t fft_plan_floats(size_t N);
/* Compute the factors (in double) into `factors` [fft_plan_floats(N)], which the plan then borrows. */
void fft_plan_init(struct fft_plan *plan, size_t N, float *factors);
/* The frequency at a place of the spectrum, in [0, N). */
size_t fft_frequency(const struct fft_plan *plan, size_t place);

#endif
