/* Softmax and its running statistics. A NaN among the inputs makes the sum NaN; logits of -inf count as
 * probability 0. */
#ifndef KERNELS_SOFTMAX_H
#define KERNELS_SOFTMAX_H

#include <stddef.h>

/* x [n] = softmax(x / temperature), in place. temperature > 0. All -inf gives NaN. */
void softmax_forward(float *x, size_t n, float temperature);
void softmax_forward_avx2(float *x, size_t n, float temperature);
void softmax_forward_avx512(float *x, size_t n, float temperature);

/* One tile of logits [N,V] (rows ld apart) joins each row's running max [N] and sum [N] of exp(logit - max)
 * (Milakov and Gimelshein 2018). Start with -inf and 0; log-sum-exp is max + log(sum). */
void logsumexp_update(float *max, float *sum, const float *logits, size_t ld, size_t N, size_t V);
void logsumexp_update_avx2(float *max, float *sum, const float *logits, size_t ld, size_t N, size_t V);
void logsumexp_update_avx512(float *max, float *sum, const float *logits, size_t ld, size_t N, size_t V);

#endif
