/* One safetensors file: its header checked, its tensors mapped read-only. Format: u64 (little endian) header
 * length, that many bytes of JSON {name: {dtype, shape, data_offsets: [begin, end]}, "__metadata__": {text:
 * text}}, then the data, which the tensors cover without gap or overlap. */
#ifndef NN_WEIGHTS_SAFETENSORS_H
#define NN_WEIGHTS_SAFETENSORS_H

#include "nn/weights/weight_file.h"

/* Errors: THEA_ENOINPUT (no such file), THEA_EPERM, THEA_EIO, THEA_EDATA (names file, tensor, what was found
 * and expected). */
THEA_CHECK thea_rc safetensors_open(struct weight_file *out, const char *path, struct thea_err *err);
/* The same for bytes in memory that outlive it (close does not free them); `path` is how errors name them. */
THEA_CHECK thea_rc safetensors_parse(struct weight_file *out, const void *bytes, size_t size,
                                     const char *path, struct thea_err *err);

#endif
