/* What a frame's bytes must know of dtypes: their names and sizes. Stages use graph/wire/tensor.h, which
 * includes this. */
#ifndef SCHEMAS_DTYPE_H
#define SCHEMAS_DTYPE_H

#include "schemas/codec.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Block-quantised types: `block_elements` elements of a row take `block_bytes` bytes. Plain types: 1 element.
 */
struct tensor_dtype_info {
    const char *name;
    uint32_t block_elements;
    uint32_t block_bytes;
};
const struct tensor_dtype_info *tensor_dtype_info(tensor_dtype dtype); /* NULL if unknown */

/* Bytes of a tensor; fails (false) on overflow, on rank over TENSOR_RANK_MAX, on an unknown dtype, or when
 * the innermost dimension is no whole number of blocks. The product of the dimensions that are not 0 must not
 * overflow either, so that strides never do. */
bool tensor_size(uint64_t *out, tensor_dtype dtype, uint32_t rank, const uint64_t *shape);

#ifdef __cplusplus
}
#endif
#endif
