/* Gaussian error linear units (Hendrycks and Gimpel 2016): gelu(x) = x Phi(x) with the normal distribution
 * function Phi(x) = (1 + erf(x / sqrt 2)) / 2; its approximation by tanh, x / (1 + exp(-2 u)) with u = sqrt(2
 * / pi) (x + 0.044715 x^3); and geglu (Shazeer 2020), gelu(gate) * lin. Rows are F wide and ld… floats apart.
 */
#ifndef KERNELS_GELU_H
#define KERNELS_GELU_H

#include <stddef.h>

/* y [N,F] = gelu(x [N,F]); y may be x. */
void gelu_forward(float *y, size_t ldy, const float *x, size_t ldx, size_t N, size_t F);
void gelu_forward_avx2(float *y, size_t ldy, const float *x, size_t ldx, size_t N, size_t F);
void gelu_forward_avx512(float *y, size_t ldy, const float *x, size_t ldx, size_t N, size_t F);
/* dx [N,F] stored = dy * gelu'(x); dx (rows lddx apart) may be dy or x. */
void gelu_backward(float *dx, size_t lddx, const float *dy, size_t lddy, const float *x, size_t ldx, size_t N,
                   size_t F);
void gelu_backward_avx2(float *dx, size_t lddx, const float *dy, size_t lddy, const float *x, size_t ldx,
                        size_t N, size_t F);
void gelu_backward_avx512(float *dx, size_t lddx, const float *dy, size_t lddy, const float *x, size_t ldx,
                          size_t N, size_t F);

/* The same of the approximation by tanh. */
void gelu_tanh_forward(float *y, size_t ldy, const float *x, size_t ldx, size_t N, size_t F);
void gelu_tanh_forward_avx2(float *y, size_t ldy, const float *x, size_t ldx, size_t N, size_t F);
void gelu_tanh_forward_avx512(float *y, size_t ldy, const float *x, size_t ldx, size_t N, size_t F);
void gelu_tanh_backward(float *dx, size_t lddx, const float *dy, size_t lddy, const float *x, size_t ldx,
                        size_t N, size_t F);
void gelu_tanh_backward_avx2(float *dx, size_t lddx, const float *dy, size_t lddy, const float *x, size_t ldx,
                             size_t N, size_t F);
void gelu_tanh_backward_avx512(float *dx, size_t lddx, const float *dy, size_t lddy, const float *x,
                               size_t ldx, size_t N, size_t F);

/* y [N,F] = gelu(gate) * lin; gate, lin [N,F] (rows ld apart, so that one [N,2F] product can hold both). y
 * may be gate or lin. */
void geglu_forward(float *y, size_t ldy, const float *gate, const float *lin, size_t ld, size_t N, size_t F);
void geglu_forward_avx2(float *y, size_t ldy, const float *gate, const float *lin, size_t ld, size_t N,
                        size_t F);
void geglu_forward_avx512(float *y, size_t ldy, const float *gate, const float *lin, size_t ld, size_t N,
                          size_t F);
/* dgate, dlin [N,F] stored, rows ldd apart; they may be gate and lin, and either may be dy. */
void geglu_backward(float *dgate, float *dlin, size_t ldd, const float *dy, size_t lddy, const float *gate,
                    const float *lin, size_t ld, size_t N, size_t F);
void geglu_backward_avx2(float *dgate, float *dlin, size_t ldd, const float *dy, size_t lddy,
                         const float *gate, const float *lin, size_t ld, size_t N, size_t F);
void geglu_backward_avx512(float *dgate, float *dlin, size_t ldd, const float *dy, size_t lddy,
                           const float *gate, const float *lin, size_t ld, size_t N, size_t F);

#endif
