/* The arithmetic of implicit filters (nn/filter.h), in double: products, sines and decays over rows of lags.
 *
 * N, the width of rows, is a multiple of IMPLICIT_WIDTH (callers pad with zeros); row distances are too.
 * Buffers of doubles are 64-byte aligned. Each element is one chain of operations, whatever the number of
 * rows in a call. */
#ifndef KERNELS_IMPLICIT_H
#define KERNELS_IMPLICIT_H

#include <stdbool.h>
#include <stddef.h>

enum { IMPLICIT_WIDTH = 8 };

struct implicit_kernels {
    /* y [M,N] (rows ldy apart) = x . w (+ y, if add): element (i, k) of x [M,K] at x[i * row + k * step], w
     * [K,N] with rows ldw apart. */
    void (*matmul)(double *y, size_t ldy, const double *x, size_t row, size_t step, const double *w,
                   size_t ldw, size_t M, size_t N, size_t K, bool add);
    /* a [M,N] += b [N]; s [M,N] = sin(freq [N] (.) a). To 2e-16 for |freq a| < 1e6. s may be a. */
    void (*sine)(double *s, double *a, const double *b, const double *freq, size_t M, size_t N);
    /* c [M,N] = cos(freq (.) a). */
    void (*cosine)(double *c, const double *a, const double *freq, size_t M, size_t N);
    /* e [M,N] = exp(-t [M] rate [N]), t and rate >= 0; to 4e-16 relative, 0 or tiny below e^-700. */
    void (*decay)(double *e, const float *t, const double *rate, size_t M, size_t N);
    /* k [M,N] (rows ldk apart) = r (.) e, rounded. */
    void (*gate)(float *k, size_t ldk, const double *r, const double *e, size_t M, size_t N);
    /* y [n] = x [n], n a multiple of IMPLICIT_WIDTH. */
    void (*widen)(double *y, const float *x, size_t n);
    void (*narrow)(float *y, const double *x, size_t n);
};

extern const struct implicit_kernels implicit, implicit_avx2, implicit_avx512;

#endif
