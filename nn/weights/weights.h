/* Weights: the tensors of a model's files, mapped read-only, by name. Hugging Face directories
 * (model.safetensors, or shards with model.safetensors.index.json). Nothing is read before it is asked for:
 * pages come with the first use. Files are checked before use. */
#ifndef NN_WEIGHTS_WEIGHTS_H
#define NN_WEIGHTS_WEIGHTS_H

#include "graph/err.h"
#include "schemas/codec.h" /* tensor_dtype */
#include <stddef.h>
#include <stdint.h>

struct weight {
    const char *name;
    tensor_dtype dtype;
    uint32_t rank;
    uint64_t shape[8];
    const void *data; /* mapped; may be unaligned */
    uint64_t size_bytes;
};

struct weights; /* a set of mapped files */

/* Are there weights in dir at all, by their names? Errors: THEA_ENOINPUT. */
THEA_CHECK thea_rc weights_check(const char *dir, struct thea_err *err);

/* dir: a model directory. Errors: THEA_ENOINPUT (no weights there; a shard of the index is missing: names
 * it), THEA_EDATA (damaged: names file, tensor, what was expected; a git-lfs pointer says so). */
THEA_CHECK thea_rc weights_open(struct weights **out, const char *dir, struct thea_err *err);
void weights_close(struct weights *w);
const struct weight *weights_find(const struct weights *w, const char *name); /* NULL if none */
size_t weights_count(const struct weights *w);
const struct weight *weights_at(const struct weights *w, size_t i); /* sorted by name */

#endif
