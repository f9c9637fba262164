/* Weights: the tensors of a model's files, mapped read-only, by name. Hugging Face directories
 * (model.safetensors, or shards with model.safetensors.index.json; else pytorch_model.bin likewise). Nothing
 * is read before it is asked for: pages come with the first use. Files are checked before use. */
#ifndef NN_WEIGHTS_WEIGHTS_H
#define NN_WEIGHTS_WEIGHTS_H

#include "graph/err.h"
#include "nn/weights/dtype.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct weight {
    const char *name;
    tensor_dtype dtype;     /* DTYPE_OTHER: one that thea has no code for */
    const char *dtype_name; /* "F32", "BOOL" */
    uint32_t rank;
    uint64_t shape[TENSOR_RANK_MAX];
    const void *data;    /* mapped; may be unaligned */
    uint64_t size_bytes; /* from data to the last element's end */
    /* Not in C order without gaps: element (i, j, …) is stride[0] i + stride[1] j + … elements from data.
     * weight_widen reads it. Only in pytorch_model.bin. */
    bool strided;
    uint64_t stride[TENSOR_RANK_MAX];
};

struct weights; /* a set of mapped files */

/* Are there weights in dir at all, by their names? Errors: THEA_ENOINPUT. */
THEA_CHECK thea_rc weights_check(const char *dir, struct thea_err *err);

/* dir: a model directory. Errors: THEA_ENOINPUT (no weights there; a shard of the index is missing: names
 * it), THEA_EDATA (damaged: names file, tensor, what was expected; a git-lfs pointer says so). */
THEA_CHECK thea_rc weights_open(struct weights **out, const char *dir, struct thea_err *err);
void weights_close(struct weights *w);
/* Read every file wholly, as far as it has sums of its bytes (pytorch_model.bin has). Errors: THEA_EDATA. */
THEA_CHECK thea_rc weights_verify(const struct weights *w, const char *dir, struct thea_err *err);
/* Names as a family knows them: each prefix in turn is taken from the front of every name that begins with
 * it; then tensors whose name fits one of `buffers` (fnmatch patterns) are dropped. Lists end with NULL, and
 * may be NULL. Errors: THEA_EDATA (two tensors get one name: names both). */
THEA_CHECK thea_rc weights_rename(struct weights *w, const char *const *prefixes, const char *const *buffers,
                                  const char *dir, struct thea_err *err);
const struct weight *weights_find(const struct weights *w, const char *name); /* NULL if none */
size_t weights_count(const struct weights *w);
const struct weight *weights_at(const struct weights *w, size_t i); /* sorted by name */

size_t weights_index(const struct weights *w, const struct weight *t); /* of one that find or at gave */

#endif
