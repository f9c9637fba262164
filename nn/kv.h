/* The memory of one stream's state in a part: KV caches and convolution carries. Address space is reserved
 * for the whole context; pages are zero and come with the first touch, so a stream costs what its length
 * fills and nothing is ever moved. */
#ifndef NN_KV_H
#define NN_KV_H

#include "kernels/kernels.h"
#include "graph/err.h"

/* Zeroed, 4096-byte aligned. Errors: THEA_EOS. */
THEA_CHECK thea_rc kv_reserve(void **out, size_t bytes, struct thea_err *err);
void kv_release(void *memory, size_t bytes);

/* The cache of one attention sublayer, laid over reserved memory (kv_cache_bytes of it). */
struct attention_cache kv_cache(void *memory, size_t context, size_t kv_heads, size_t head_size);
size_t kv_cache_bytes(size_t context, size_t kv_heads, size_t head_size);
/* Bytes that `positions` positions have touched. */
size_t kv_touched_bytes(size_t positions, size_t kv_heads, size_t head_size);

#endif
