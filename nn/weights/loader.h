/* Loader: takes a part's weights out of its files as f32. A tensor that is f32 and aligned is used where it
 * is mapped; others are widened once into the loader's memory. All that is missing or has another shape is
 * collected, to be told in one error. */
#ifndef NN_WEIGHTS_LOADER_H
#define NN_WEIGHTS_LOADER_H

#include "graph/buf.h"
#include "kernels/kernels.h"
#include "nn/linear.h"
#include "nn/weights/weights.h"

#include <stdbool.h>

struct loader {
    const struct weights *weights;
    const struct kernels *kernels;
    unsigned char *memory; /* reserved for all tensors as f32; pages come with use */
    size_t reserved, used;
    bool *used_tensors;  /* [weights_count]: asked for */
    struct buf problems; /* a line each */
    size_t problem_count;
};

THEA_CHECK thea_rc loader_init(struct loader *l, const struct weights *weights, const struct kernels *kernels,
                               struct thea_err *err);
/* Every tensor that nobody has asked for is wrong, but those that elsewhere(context, name) knows. */
void loader_check_left_over(struct loader *l, bool (*elsewhere)(const void *context, const char *name),
                            const void *context);
/* Something else that is wrong with the weights, a line: what, then which tensor. */
void loader_problem(struct loader *l, const char *fmt, ...) THEA_PRINTF(2, 3);
/* What was wrong, all of it: THEA_EDATA. `what`: the model's directory. */
THEA_CHECK thea_rc loader_check(const struct loader *l, const char *what, struct thea_err *err);
void loader_fini(struct loader *l); /* the weights handed out end here */

/* The tensor `prefix`+`name` of the given shape (sizes, ended by 0), as f32; NULL when something is wrong
 * (collected). */
const float *loader_tensor(struct loader *l, const char *prefix, const char *name, const uint64_t *shape);
/* A linear layer of `parts` stacked matrices [rows[i], in], and its biases [rows[i]] when biases is not NULL.
 */
void loader_linear(struct loader *l, struct linear *out, const char *prefix, const char *const *names,
                   const char *const *biases, const size_t *rows, size_t parts, size_t in);
/* Pack a linear layer (linear.h) into the loader's memory, once. */
void loader_pack(struct loader *l, struct linear *x);
/* A matrix left in the file's dtype; NULL when something is wrong. */
const struct weight *loader_raw(struct loader *l, const char *name, const uint64_t *shape);

/* Widen n elements of w, from element `at`, to f32. */
void weight_widen(float *dst, const struct weight *w, uint64_t at, size_t n, const struct kernels *k);

#endif
