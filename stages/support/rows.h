/* Named tensors one behind the other, as they gather in the run directory until a file of arrays is made of
 * them: each with its name, dtype and shape in front, so that the file says by itself what is in it. For this
 * machine alone: numbers are as memory has them. */
#ifndef STAGES_SUPPORT_ROWS_H
#define STAGES_SUPPORT_ROWS_H

#include "graph/wire/tensor.h"
#include "stages/support/gather.h"

/* Append t under `name`. beside, errors: gather_add. */
THEA_CHECK thea_rc rows_add(struct gather *g, const char *beside, const char *name, const struct tensor *t,
                            struct thea_err *err);
/* Call visit for each tensor in n bytes; t->data may have any alignment, `at` is where it lies among them.
 * The first failure ends the call. Errors: THEA_EDATA (these are no rows). */
typedef thea_rc (*rows_visit)(void *context, const struct tensor *t, uint64_t at, struct thea_err *err);
THEA_CHECK thea_rc rows_walk(const void *bytes, size_t n, rows_visit visit, void *context,
                             struct thea_err *err);

#endif
