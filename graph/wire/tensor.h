/* Tensors of frames: dtypes, sizes, shapes and their patterns. C order, outermost dimension first. */
#ifndef GRAPH_WIRE_TENSOR_H
#define GRAPH_WIRE_TENSOR_H

#include "schemas/codec.h"

/* Block-quantised types: `block_elements` elements of a row take `block_bytes` bytes. Plain types: 1 element. */
struct tensor_dtype_info { const char *name; uint32_t block_elements; uint32_t block_bytes; };
const struct tensor_dtype_info *tensor_dtype_info(tensor_dtype dtype); /* NULL if unknown */
THEA_CHECK thea_rc tensor_dtype_parse(tensor_dtype *out, const char *name, struct thea_err *err);

/* Bytes of a tensor; fails (false) on overflow or when the innermost dimension is no whole number of blocks. */
bool tensor_size(uint64_t *out, tensor_dtype dtype, uint32_t rank, const uint64_t *shape);
uint64_t tensor_elements(const struct tensor *t);
/* "f32 [512, 128]" into out (at least 128 bytes). */
const char *tensor_describe(char *out, const struct tensor *t);

/* A tensor over the caller's memory: tensor_of("tokens", TENSOR_I32, ids, 1, n) or (…, 2, n, C). Dimensions are uint64_t. */
struct tensor tensor_1d(const char *name, tensor_dtype dtype, const void *data, uint64_t n);
struct tensor tensor_2d(const char *name, tensor_dtype dtype, const void *data, uint64_t rows, uint64_t columns);

/* Does t fit the pattern of a port: dtype, and a shape such as "n, 128"? Words are free sizes, numbers are fixed; "*" is any shape.
 * Errors: THEA_EFRAME with what was expected and found. */
THEA_CHECK thea_rc tensor_match(const struct tensor *t, tensor_dtype dtype, const char *shape, struct thea_err *err);

#endif
