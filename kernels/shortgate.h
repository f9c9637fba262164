/* Short causal convolution and gate of the Monarch Mixer (Fu et al. 2023): of rows (x1 | x2 | v), each B
 * wide, q[p] = bias + w0 a[p-2] + w1 a[p-1] + w2 a[p],    g = q_x1 * q_v,    x2 = q_x2. */
#ifndef KERNELS_SHORTGATE_H
#define KERNELS_SHORTGATE_H

#include <stddef.h>

enum { SHORTGATE_TAPS = 3 };

/* g, x2 [N, columns] stored, rows ldy apart: of the first `columns` <= B of each third. a [2 + N, 3B]: two
 * rows of the past (zeros before the first), then N; w [3, 3B] (tap, column), bias [3B] read. Callers that
 * want columns from c on add c to a, w and bias. */
void shortgate_forward(float *g, float *x2, size_t ldy, const float *a, const float *w, const float *bias,
                       size_t N, size_t B, size_t columns);
void shortgate_forward_avx2(float *g, float *x2, size_t ldy, const float *a, const float *w,
                            const float *bias, size_t N, size_t B, size_t columns);
void shortgate_forward_avx512(float *g, float *x2, size_t ldy, const float *a, const float *w,
                              const float *bias, size_t N, size_t B, size_t columns);
/* da [N,3B] stored: the gradient of a's rows from its third on, a whole document's; dw [3, 3B], dbias [3B]
 * accumulated; dg, dx2 [N,B] (rows ldd apart), a, w, bias read. */
void shortgate_backward(float *da, float *dw, float *dbias, const float *dg, const float *dx2, size_t ldd,
                        const float *a, const float *w, const float *bias, size_t N, size_t B);

#endif
