/* Weights written as one safetensors file, in another dtype if wanted. A tensor with several names is written
 * under each, for a safetensors file cannot share; but a table of words that the model's head shares is
 * written once, and the other name noted in the file's metadata, as safetensors' own save_model does. */
#ifndef NN_WEIGHTS_SAVE_H
#define NN_WEIGHTS_SAVE_H

#include "kernels/kernels.h"
#include "nn/weights/weights.h"

struct save_options {
    const struct dtype *dtype; /* of all floating tensors: F32, F16 or BF16; NULL: as they are */
    bool tied;                 /* the model's head may be its table of words */
    const struct kernels *kernels;
    /* Called as bytes are written; false stops. May be NULL. */
    bool (*progress)(void *context, uint64_t done, uint64_t total);
    void *context;
};

struct save_report {
    size_t tensors;          /* written */
    size_t shared;           /* names that only the metadata has */
    uint64_t bytes;          /* of the file */
    uint64_t infinite;       /* finite values that the new dtype cannot hold */
    char infinite_name[128]; /* the first tensor that has some */
};

/* path must not be there. What was begun is removed on failure. Errors: THEA_ECREATE, THEA_EIO, THEA_EDATA (a
 * tensor that cannot be written: names it), THEA_ECLOSED (progress said stop), THEA_EOS. */
THEA_CHECK thea_rc weights_save(const struct weights *w, const char *path, const struct save_options *options,
                                struct save_report *report, struct thea_err *err);

#endif
