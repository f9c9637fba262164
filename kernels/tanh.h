/* Hyperbolic tangent, for poolers: a vector a document, so that one version does. */
#ifndef KERNELS_TANH_H
#define KERNELS_TANH_H

#include <stddef.h>

void tanh_forward(float *y, const float *x, size_t n); /* y [n] = tanh(x [n]); y may be x */
/* dx [n] stored = dy * (1 - y^2), y of forward; dx may be dy or y. */
void tanh_backward(float *dx, const float *dy, const float *y, size_t n);

#endif
