/* Element types that model files know, under each container's name for them. thea computes with f32, f16 and
 * bf16; the others may lie in a file, for instance as buffers, and are refused only as weights. */
#ifndef NN_WEIGHTS_DTYPE_H
#define NN_WEIGHTS_DTYPE_H

#include "schemas/codec.h"

#include <stddef.h>
#include <stdint.h>

/* What `weight.dtype` is where frames have no such type: F64, BOOL, F8_E4M3, … */
#define DTYPE_OTHER ((tensor_dtype)255)

struct dtype {
    const char *name;    /* safetensors': "BF16" */
    const char *torch;   /* "bfloat16" */
    const char *storage; /* torch's class: "BFloat16Storage"; NULL if none */
    tensor_dtype dtype;
    uint32_t bits;
};

const struct dtype *dtype_named(const char *name);         /* NULL if unknown, or name is NULL */
const struct dtype *dtype_of_torch(const char *torch);     /* "float32" */
const struct dtype *dtype_of_storage(const char *storage); /* "FloatStorage" */
const struct dtype *dtype_of(tensor_dtype dtype);          /* NULL for those that files do not have */
const char *dtype_names(void);                             /* "F32, F16, …", for messages */

#endif
