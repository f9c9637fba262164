/* LayerNorm (Ba, Kiros and Hinton 2016), plain: y = w * (x - mean) / sqrt(var + eps) + b, over the last axis.
 */
#ifndef NN_LAYERNORM_PLAIN_H
#define NN_LAYERNORM_PLAIN_H

#include <stddef.h>

/* y [N,C], mean [N], rstd [N] stored (mean, rstd may be NULL); x [N,C], w, b [C] read. y may be x. */
void layernorm_plain_forward(float *y, float *mean, float *rstd, const float *x, const float *w,
                             const float *b, size_t N, size_t C, float eps);
/* dx [N,C] stored, may be dy; dw, db [C] accumulated, may be NULL. */
void layernorm_plain_backward(float *dx, float *dw, float *db, const float *dy, const float *x,
                              const float *w, const float *mean, const float *rstd, size_t N, size_t C);

#endif
