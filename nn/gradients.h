/* Gradients of parameters, by the names of their tensors: sums that a backward adds to. */
#ifndef NN_GRADIENTS_H
#define NN_GRADIENTS_H

#include "graph/err.h"

#include <stddef.h>

struct gradients;

THEA_CHECK thea_rc gradients_new(struct gradients **out, struct thea_err *err);
void gradients_free(struct gradients *g);
void gradients_zero(struct gradients *g); /* the sums; names and buffers stay */

/* The gradient of tensor `prefix`+`name` of n elements, to add to: zeros when it is first asked for. Valid
 * until gradients_free. NULL: nobody wants it (g is NULL), or there was no memory, which gradients_check then
 * tells; who adds skips it. */
float *gradients_of(struct gradients *g, const char *prefix, const char *name, size_t n);
/* Errors: THEA_EOS when a gradients_of had no memory. */
THEA_CHECK thea_rc gradients_check(const struct gradients *g, struct thea_err *err);

size_t gradients_count(const struct gradients *g);
/* Entry i, in the order in which they were first asked for; n gets its elements. */
const float *gradients_at(const struct gradients *g, size_t i, const char **name, size_t *n);
const float *gradients_find(const struct gradients *g, const char *name, size_t *n); /* NULL if none */

#endif
