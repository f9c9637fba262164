/* One file of weights, mapped read-only: what its formats have in common. Every weight lies wholly inside the
 * mapping. */
#ifndef NN_WEIGHTS_WEIGHT_FILE_H
#define NN_WEIGHTS_WEIGHT_FILE_H

#include "nn/weights/weights.h"

struct weight_file {
    void *map; /* NULL: the bytes are the caller's */
    size_t map_bytes;
    struct weight *tensors; /* in the order of the file's own list */
    size_t count;
};

/* A format: bytes, which outlive *out, to weights. `path` is how errors name them. After an error *out is
 * closed. */
typedef thea_rc (*weight_file_parser)(struct weight_file *out, const void *bytes, size_t size,
                                      const char *path, struct thea_err *err);

/* Map the file and parse it. Errors: THEA_ENOINPUT (no such file), THEA_EPERM, THEA_EIO, those of parse. */
THEA_CHECK thea_rc weight_file_open(struct weight_file *out, const char *path, weight_file_parser parse,
                                    struct thea_err *err);
void weight_file_close(struct weight_file *f); /* zeroed, or closed already: fine */

#endif
