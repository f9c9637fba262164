/* Bidirectional attention of one document (Vaswani et al. 2017): every row sees all of the document's keys.
 * Forward reads keys and values in the layout of attention.h and has its bits: a row's result does not depend
 * on which rows are computed with it. Backward takes rows as the products made them, one head at a time, and
 * computes the weights again. */
#ifndef KERNELS_ATTENTION_FULL_H
#define KERNELS_ATTENTION_FULL_H

#include "kernels/kernels.h"

/* o[i,h,:] = softmax over the cache's positions [0, keys) of (q[i,h,:] . k[j,g,:] * scale), times v, for kv
 * heads [g0, g1); the rest as attention_forward. */
void attention_full_forward(float *o, size_t ldo, const float *q, size_t ldq, const struct attention_cache *c,
                            size_t keys, size_t n, size_t H, size_t g0, size_t g1, float scale,
                            float *scratch);
void attention_full_forward_avx2(float *o, size_t ldo, const float *q, size_t ldq,
                                 const struct attention_cache *c, size_t keys, size_t n, size_t H, size_t g0,
                                 size_t g1, float scale, float *scratch);
void attention_full_forward_avx512(float *o, size_t ldo, const float *q, size_t ldq,
                                   const struct attention_cache *c, size_t keys, size_t n, size_t H,
                                   size_t g0, size_t g1, float scale, float *scratch);

/* One head: dq, dk, dv [n,D] (rows ldd apart) stored; dout [n,D] (rows ldo apart) is the gradient of o; q, k,
 * v [n,D], rows ld apart. scratch: 2 n floats. */
void attention_full_backward(float *dq, float *dk, float *dv, size_t ldd, const float *dout, size_t ldo,
                             const float *q, const float *k, const float *v, size_t ld, size_t n, size_t D,
                             float scale, float *scratch);

#endif
