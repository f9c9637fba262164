/* Layer norm (Ba, Kiros and Hinton 2016) over the last axis: y = w * (s - mean(s)) / sqrt(var(s) + eps) + b
 * with s = x, or s = x + r where a residual is added first; var is the biased one. */
#ifndef KERNELS_LAYERNORM_H
#define KERNELS_LAYERNORM_H

#include <stddef.h>

/* y [N,C] stored; mean, rstd [N] stored (each may be NULL: not wanted; backward reads both); x [N,C], r [N,C]
 * (NULL: none), w [C], b [C] (NULL: none) read. y may be x or r. */
void layernorm_forward(float *y, float *mean, float *rstd, const float *x, const float *r, const float *w,
                       const float *b, size_t N, size_t C, float eps);
void layernorm_forward_avx2(float *y, float *mean, float *rstd, const float *x, const float *r,
                            const float *w, const float *b, size_t N, size_t C, float eps);
void layernorm_forward_avx512(float *y, float *mean, float *rstd, const float *x, const float *r,
                              const float *w, const float *b, size_t N, size_t C, float eps);

/* dx [N,C] stored: the gradient of x, and of r; dw, db [C] accumulated (NULL: not wanted). dy [N,C]; x, r, w,
 * mean, rstd as in forward. dx may be dy, x or r. */
void layernorm_backward(float *dx, float *dw, float *db, const float *dy, const float *x, const float *r,
                        const float *w, const float *mean, const float *rstd, size_t N, size_t C);
void layernorm_backward_avx2(float *dx, float *dw, float *db, const float *dy, const float *x, const float *r,
                             const float *w, const float *mean, const float *rstd, size_t N, size_t C);
void layernorm_backward_avx512(float *dx, float *dw, float *db, const float *dy, const float *x,
                               const float *r, const float *w, const float *mean, const float *rstd, size_t N,
                               size_t C);

#endif
