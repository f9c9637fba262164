/* A .npy file (numpy.org/doc/stable/reference/generated/numpy.lib.format.html, version 1.0) of f32 rows [n,
 * columns], n known at the end; the rows' names beside it, in NAME.ids.txt, one a line. Both appear whole at
 * the end. */
#ifndef STAGES_SUPPORT_NPY_H
#define STAGES_SUPPORT_NPY_H

#include "stages/support/outlet.h"

struct npy {
    struct outlet rows, ids;
    uint64_t count, columns; /* columns 0: no row came yet */
};

/* Errors: THEA_ECREATE. */
THEA_CHECK thea_rc npy_open(struct npy *n, const char *path, struct thea_err *err);
/* Errors: THEA_EDOC (another width), THEA_EIO. Backslash and newline in an id are written as \\ and \n. */
THEA_CHECK thea_rc npy_add(struct npy *n, const char *id, const float *row, uint64_t columns,
                           struct thea_err *err);
THEA_CHECK thea_rc npy_finish(struct npy *n, struct thea_err *err);
void npy_close(struct npy *n);

#endif
