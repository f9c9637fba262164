/* Rotary position embedding (Su et al. 2021), half-split convention: (x[i], x[i + D/2]) turns by the angle of
 * its row and i. */
#ifndef KERNELS_ROPE_H
#define KERNELS_ROPE_H

#include <stddef.h>

/* In place: x [N, heads, D] with rows ldx floats apart; cos, sin [N, D/2] read. D is even. Backward is the
 * same with sin negated. */
void rope_forward(float *x, size_t ldx, const float *cos, const float *sin, size_t N, size_t heads, size_t D);
void rope_forward_avx2(float *x, size_t ldx, const float *cos, const float *sin, size_t N, size_t heads,
                       size_t D);
void rope_forward_avx512(float *x, size_t ldx, const float *cos, const float *sin, size_t N, size_t heads,
                         size_t D);

#endif
