/* Causal grouped-query attention over a KV cache (Vaswani et al. 2017; Ainslie et al. 2023), with the softmax
 * computed online over blocks of keys (Milakov and Gimelshein 2018; Dao et al. 2022): memory does not grow
 * with n x T.
 *
 * The cache, for each kv head (heads head_stride floats apart), D16 = D rounded up to 16, Q =
 * ATTENTION_BLOCK: K [cap/16][D][16]          16 positions side by side: one vector of scores is D
 * multiply-adds of a vector and a number V [cap/Q][D16/16][Q][16]   16 columns side by side, a key block of
 * them contiguous, so that it uses every set of the L1 cache Key blocks begin at multiples of Q whatever the
 * chunk, and each output is one chain of sums in the order of the positions: a row's result is the same, bit
 * for bit, in every chunk that contains it. */
#ifndef KERNELS_ATTENTION_H
#define KERNELS_ATTENTION_H

#include "kernels/kernels.h"

#define ATTENTION_BLOCK 128 /* keys; a multiple of 16 */

static inline size_t attention_round_up(size_t n, size_t multiple)
{
    return (n + multiple - 1) / multiple * multiple;
}

/* Element d of key p, relative to its head's K; the 16 keys of a panel follow one another. */
static inline size_t attention_k_offset(size_t p, size_t d, size_t D)
{
    return p / 16 * (16 * D) + d * 16 + p % 16;
}

/* Element d of value p, relative to its head's V. */
static inline size_t attention_v_offset(size_t p, size_t d, size_t D)
{
    size_t block = p / ATTENTION_BLOCK, row = p % ATTENTION_BLOCK;
    return (block * (attention_round_up(D, 16) / 16) + d / 16) * (ATTENTION_BLOCK * 16) + row * 16 + d % 16;
}

/* The contracts are in kernels.h. */
void attention_append(struct attention_cache *c, const float *k, const float *v, size_t ld, size_t pos,
                      size_t n, size_t g0, size_t g1);
void attention_append_avx2(struct attention_cache *c, const float *k, const float *v, size_t ld, size_t pos,
                           size_t n, size_t g0, size_t g1);
void attention_append_avx512(struct attention_cache *c, const float *k, const float *v, size_t ld, size_t pos,
                             size_t n, size_t g0, size_t g1);

void attention_forward(float *o, size_t ldo, const float *q, size_t ldq, const struct attention_cache *c,
                       size_t pos, size_t n, size_t H, size_t g0, size_t g1, float scale, float *scratch);
size_t attention_scratch(size_t D, size_t heads_per_group);

void attention_forward_avx2(float *o, size_t ldo, const float *q, size_t ldq, const struct attention_cache *c,
                            size_t pos, size_t n, size_t H, size_t g0, size_t g1, float scale,
                            float *scratch);
size_t attention_scratch_avx2(size_t D, size_t heads_per_group);

void attention_forward_avx512(float *o, size_t ldo, const float *q, size_t ldq,
                              const struct attention_cache *c, size_t pos, size_t n, size_t H, size_t g0,
                              size_t g1, float scale, float *scratch);
size_t attention_scratch_avx512(size_t D, size_t heads_per_group);

#endif
