/* The vectors of an index: a .npy file (numpy.org/doc/stable/reference/generated/numpy.lib.format.html,
 * version 1.0) of f32 rows [rows, dimension] behind a header of 128 bytes, so that rows are mapped with
 * 64-byte alignment.
 *
 * The file only grows. What it holds is said elsewhere (the database's count of rows): rows behind that are
 * nobody's and are written over. The header's own count is for other readers of .npy; it may be behind by
 * what was added last, never ahead. */
#ifndef RETRIEVAL_VECTORS_H
#define RETRIEVAL_VECTORS_H

#include "graph/err.h"
#include <stdbool.h>
#include <stdint.h>

struct vectors {
    int fd; /* -1: closed */
    char *path;
    uint64_t dimension;
    void *map; /* vectors_map */
    uint64_t map_bytes;
};

/* An empty file; one that is there is emptied. On the disk when it returns, but for its name. Errors:
 * THEA_ECREATE, THEA_EIO. */
THEA_CHECK thea_rc vectors_create(struct vectors *v, const char *path, uint64_t dimension,
                                  struct thea_err *err);
/* Check that it is such a file with `rows` rows at least. Errors: THEA_ENOINPUT: it is not there; THEA_EDATA:
 * it is damaged; THEA_EIO. */
THEA_CHECK thea_rc vectors_open(struct vectors *v, const char *path, uint64_t dimension, uint64_t rows,
                                bool write, struct thea_err *err);
void vectors_close(struct vectors *v); /* closed already: nothing */

/* Write row number `row`. Errors: THEA_EIO. */
THEA_CHECK thea_rc vectors_put(struct vectors *v, uint64_t row, const float *values, struct thea_err *err);
THEA_CHECK thea_rc vectors_sync(struct vectors *v, struct thea_err *err); /* rows are on the disk */
/* Say in the header that there are so many rows. */
THEA_CHECK thea_rc vectors_stamp(struct vectors *v, uint64_t rows, struct thea_err *err);
/* The first `rows` rows in memory, until vectors_close; *out NULL for none. Errors: THEA_EOS. */
THEA_CHECK thea_rc vectors_map(struct vectors *v, const float **out, uint64_t rows, struct thea_err *err);

#endif
