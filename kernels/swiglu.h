/* The gate of a SwiGLU feed-forward (Shazeer 2020): silu(a) * b with silu(a) = a / (1 + exp(-a)). */
#ifndef KERNELS_SWIGLU_H
#define KERNELS_SWIGLU_H

#include <stddef.h>

/* a [N,F] = silu(a) * b; b [N,F] read; rows of both ld floats apart. */
void swiglu_forward(float *a, const float *b, size_t ld, size_t N, size_t F);
void swiglu_forward_avx2(float *a, const float *b, size_t ld, size_t N, size_t F);
void swiglu_forward_avx512(float *a, const float *b, size_t ld, size_t N, size_t F);

#endif
