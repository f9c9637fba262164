/* Sums into place: residuals and biases. */
#ifndef KERNELS_ADD_H
#define KERNELS_ADD_H

#include <stddef.h>

/* y [n] += x [n]. */
void add_forward(float *y, const float *x, size_t n);
void add_forward_avx2(float *y, const float *x, size_t n);
void add_forward_avx512(float *y, const float *x, size_t n);

/* y [N,C] (rows ldy apart) += bias [C]. */
void add_bias_forward(float *y, size_t ldy, const float *bias, size_t N, size_t C);
void add_bias_forward_avx2(float *y, size_t ldy, const float *bias, size_t N, size_t C);
void add_bias_forward_avx512(float *y, size_t ldy, const float *bias, size_t N, size_t C);

#endif
