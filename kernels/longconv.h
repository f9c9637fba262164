/* Bidirectional long convolution (M2-BERT's mixer; Fu et al. 2023), two filters at a time.
 *
 * For each channel, with kernels k_fwd, k_rev [L] and a skip factor D:
 *   y[p] = sum_{j=0..p} k_fwd[j] x[p-j] + sum_{j=0..L-2-p} k_rev[j] x[p+1+j] + D x[p],   0 <= p < L;
 * k_rev[L-1] is never used. As a cyclic convolution of N >= 2L points: K[j] = k_fwd[j], K[N-1-j] = k_rev[j],
 * K[0] += D.
 *
 * The fast version takes both convolutions of a mixer in one complex transform: Z is the DFT of g + i u, K1
 * and K2 the DFTs of their kernels; with S = (K1 + K2) / 2N and T = (K1 - K2) / 2N the DFT of y + i yu is Y_k
 * = S_k Z_k + T_k conj(Z_{N-k}). S and T of k <= N / 2 are the *spectrum* of one group of channels: they
 * depend on weights only, so they are made once and used for every document. Order and layout are those of
 * the transform (fft.h) and of the table of kernels that made them: opaque, not to be kept across tables.
 *
 * A call is for one group: up to `lanes` adjacent channels of sequences that lie as rows, one a position.
 * Callers give each worker groups of its own. Accuracy: a few 1e-7 of the largest output. */
#ifndef KERNELS_LONGCONV_H
#define KERNELS_LONGCONV_H

#include "kernels/fft.h"

enum { LONGCONV_MAX = FFT_MAX / 2 }; /* positions */

/* One channel group of two sequences; element (p, c) of a at a[p * lda + c]. */
struct longconv_input {
    const float *a, *b; /* through filter 1 and filter 2 */
    size_t lda, ldb;
};
struct longconv_output {
    float *a, *b; /* may be the input's: all of it is read first */
    size_t lda, ldb;
    const float
        *gate; /* or NULL. Then only a is stored: a = (filter 1's output) * gate + (filter 2's output) */
    size_t ldgate;
};
/* The kernels of a channel group, time domain: lag j, channel c of fwd at fwd[j * ld + c]. */
struct longconv_kernel {
    const float *fwd, *rev; /* lags [0, n); others are 0 */
    size_t ld;
    const float *skip; /* D, one a channel; NULL: 0 */
};
struct longconv_kernel_gradient {
    float *fwd, *rev; /* [n] lags, rows ld apart */
    size_t ld;
};

/* The transform size for sequences of L positions, 1 <= L <= LONGCONV_MAX: the power of two >= 2 L (and >=
 * FFT_MIN). Every L with the same size can use the same spectrum, made of kernels of `size / 2` lags (or all
 * there are). */
size_t longconv_size(size_t L);

struct longconv_kernels {
    size_t lanes;
    /* Floats of one group's spectrum, and of a worker's scratch; scratch and spectra are 64-byte aligned. */
    size_t (*spectrum_floats)(size_t N);
    size_t (*scratch_floats)(size_t N);

    /* spectrum <- both kernels of one group of `channels` <= lanes channels, n lags of each. */
    void (*spectrum)(float *spectrum, const struct fft_plan *plan, const struct longconv_kernel kernels[2],
                     size_t n, size_t channels, float *scratch);

    /* y.a = filter 1 over x.a, y.b = filter 2 over x.b, L positions; stored (=). 2 L <= plan->N. */
    void (*forward)(const struct longconv_output *y, const struct longconv_input *x, const float *spectrum,
                    const struct fft_plan *plan, size_t L, size_t channels, float *scratch);

    /* Backward. dy: the gradients of y.a and y.b (without a gate); x as in forward. dx: stored (=), may be
     * dy's. gradient (as big as a spectrum): that of the kernels, accumulated (+=) in the transform's domain,
     * so that a batch costs one inverse; NULL: not wanted (x is not read then). scratch: twice forward's. */
    void (*backward)(const struct longconv_output *dx, float *gradient, const struct longconv_input *dy,
                     const struct longconv_input *x, const float *spectrum, const struct fft_plan *plan,
                     size_t L, size_t channels, float *scratch);

    /* The gradient out of the transform's domain: d[f].fwd, d[f].rev, n lags of each filter, stored (=). That
     * of D is the one of fwd at lag 0. */
    void (*kernel_gradient)(const struct longconv_kernel_gradient d[2], const float *gradient,
                            const struct fft_plan *plan, size_t n, size_t channels, float *scratch);
};

/* plain: any compiler and CPU, written over its vectors. */
extern const struct longconv_kernels longconv, longconv_avx2, longconv_avx512;

/* The definition itself, summed in double: the oracle. One filter, C channels, n kernel lags (lags >= n are
 * 0). y [L, C] stored. */
void longconv_direct_forward(float *y, size_t ldy, const float *x, size_t ldx,
                             const struct longconv_kernel *k, size_t n, size_t L, size_t C);
/* dx [L, C] stored; dk's n lags and dskip [C] accumulated (either may be NULL). */
void longconv_direct_backward(float *dx, size_t lddx, const struct longconv_kernel_gradient *dk, float *dskip,
                              const float *dy, size_t lddy, const float *x, size_t ldx,
                              const struct longconv_kernel *k, size_t n, size_t L, size_t C);

#endif
