/* Workers: the threads of one stage's compute. Persistent; each gets a slice of an op; the caller is worker
 * 0. Fixed slices, fixed order of sums: the result does not depend on timing. */
#ifndef NN_WORKERS_H
#define NN_WORKERS_H

#include "graph/err.h"
#include <stddef.h>

struct workers;
THEA_CHECK thea_rc workers_new(struct workers **out, int threads, struct thea_err *err);
void workers_free(struct workers *w);
int workers_count(const struct workers *w);
/* Call task(context, i, n) for i in [0, n) with n = workers_count, on n threads; returns when all have. */
void workers_run(struct workers *w, void (*task)(void *context, int i, int n), void *context);
/* Memory of worker i's own for the length of a task: WORKERS_SCRATCH floats, 64-byte aligned. Tasks that call
 * each other's code share it. */
enum { WORKERS_SCRATCH = 1 << 18 };
float *workers_scratch(const struct workers *w, int i);
/* Slice i of n of [0, total), borders at multiples of `grain`. */
void workers_slice(size_t total, size_t grain, int i, int n, size_t *begin, size_t *end);

#endif
