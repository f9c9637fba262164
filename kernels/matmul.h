/* y [M,N] (rows ldy apart) = x [M,K] (rows ldx apart) . w [N,K]^T (rows ldw apart) + beta * y; beta is 0 (y
 * is not read) or 1. */
#ifndef KERNELS_MATMUL_H
#define KERNELS_MATMUL_H

#include <stddef.h>

/* The oracle: sums in double. */
void matmul_forward(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw, size_t M,
                    size_t N, size_t K, float beta);
/* OpenBLAS, on the caller's thread. y's bits may depend on M and on how N is cut. */
void matmul_forward_openblas(float *y, size_t ldy, const float *x, size_t ldx, const float *w, size_t ldw,
                             size_t M, size_t N, size_t K, float beta);

/* Gradients: dx [M,K] = dy [M,N] . w [N,K] + beta * dx; dw [N,K] += dy^T . x [M,K]. */
void matmul_backward_input(float *dx, size_t lddx, const float *dy, size_t lddy, const float *w, size_t ldw,
                           size_t M, size_t N, size_t K, float beta);
void matmul_backward_input_openblas(float *dx, size_t lddx, const float *dy, size_t lddy, const float *w,
                                    size_t ldw, size_t M, size_t N, size_t K, float beta);
void matmul_backward_weight(float *dw, size_t lddw, const float *dy, size_t lddy, const float *x, size_t ldx,
                            size_t M, size_t N, size_t K);
void matmul_backward_weight_openblas(float *dw, size_t lddw, const float *dy, size_t lddy, const float *x,
                                     size_t ldx, size_t M, size_t N, size_t K);

void matmul_setup_openblas(void); /* once, before the first product: one thread */

#endif
