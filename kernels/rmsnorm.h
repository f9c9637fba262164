/* Root mean square norm (Zhang and Sennrich 2019): y = w * x / sqrt(mean(x^2) + eps), over the last axis. */
#ifndef KERNELS_RMSNORM_H
#define KERNELS_RMSNORM_H

#include <stddef.h>

/* y [N,C] stored, rstd [N] stored (NULL: not wanted; backward reads it); x [N,C], w [C] read. y may be x. */
void rmsnorm_forward(float *y, float *rstd, const float *x, const float *w, size_t N, size_t C, float eps);
void rmsnorm_forward_avx2(float *y, float *rstd, const float *x, const float *w, size_t N, size_t C,
                          float eps);
void rmsnorm_forward_avx512(float *y, float *rstd, const float *x, const float *w, size_t N, size_t C,
                            float eps);

/* The same over each head's D values, in place: x [N, heads, D] with rows ldx floats apart; w [D], one for
 * all heads. */
void headnorm_forward(float *x, size_t ldx, const float *w, size_t N, size_t heads, size_t D, float eps);
void headnorm_forward_avx2(float *x, size_t ldx, const float *w, size_t N, size_t heads, size_t D, float eps);
void headnorm_forward_avx512(float *x, size_t ldx, const float *w, size_t N, size_t heads, size_t D,
                             float eps);

#endif
