/* Tensors of frames: dtypes, sizes, shapes and their patterns. C order, outermost dimension first. */
#ifndef GRAPH_WIRE_TENSOR_H
#define GRAPH_WIRE_TENSOR_H

#include "schemas/dtype.h" /* tensor_dtype_info, tensor_size */

/* "f32" and so on. Errors: THEA_EUSAGE with the list of those accepted. */
THEA_CHECK thea_rc tensor_dtype_parse(tensor_dtype *out, const char *name, struct thea_err *err);

uint64_t tensor_elements(const struct tensor *t);
/* "f32 [512, 128]" into out (at least 128 bytes; a longer one ends in "..."). Returns out. */
const char *tensor_describe(char *out, const struct tensor *t);

/* A tensor over the caller's memory: tensor_of("tokens", TENSOR_I32, ids, 1, n) or (…, 2, n, C). Dimensions
 * are uint64_t. */
struct tensor tensor_1d(const char *name, tensor_dtype dtype, const void *data, uint64_t n);
struct tensor tensor_2d(const char *name, tensor_dtype dtype, const void *data, uint64_t rows,
                        uint64_t columns);

/* Does t fit the pattern of a port: dtype, and a shape such as "n, 128"? Words are free sizes (the same word
 * twice: the same size), numbers are fixed; "*" is any shape, "" a scalar. Errors: THEA_EFRAME with what was
 * expected and found. */
THEA_CHECK thea_rc tensor_match(const struct tensor *t, tensor_dtype dtype, const char *shape,
                                struct thea_err *err);

#endif
