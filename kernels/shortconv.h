/* The gated short convolution of LFM2: depthwise and causal over K positions, between two gates.
 *
 * bgu [N,3C]: each row is (B | g | u). z = B * u; v = [carry; z] (N+K-1 rows); s[t] = sum_j w[:,j] * v[t+j]
 * (+ bias); y[t] = g[t] * s[t]. carry [K-1,C] holds the last K-1 rows of z before this chunk (zeros at a
 * stream's start) and is left holding the last K-1 of v. */
#ifndef KERNELS_SHORTCONV_H
#define KERNELS_SHORTCONV_H

#include <stddef.h>

/* y [N,C], rows ldy apart, columns [c0,c1) stored; carry read and stored in those columns; w [C,K], bias [C]
 * or NULL. K >= 1. */
void shortconv_forward(float *y, size_t ldy, const float *bgu, float *carry, const float *w,
                       const float *bias, size_t N, size_t C, size_t K, size_t c0, size_t c1);
void shortconv_forward_avx2(float *y, size_t ldy, const float *bgu, float *carry, const float *w,
                            const float *bias, size_t N, size_t C, size_t K, size_t c0, size_t c1);
void shortconv_forward_avx512(float *y, size_t ldy, const float *bgu, float *carry, const float *w,
                              const float *bias, size_t N, size_t C, size_t K, size_t c0, size_t c1);

/* The last step of each: carry = the last K-1 rows of v. */
void shortconv_shift(float *carry, const float *bgu, size_t N, size_t C, size_t K, size_t c0, size_t c1);

#endif
