/* A model file mapped read-only, and the marks of files that are not what they are called. */
#ifndef NN_WEIGHTS_MAP_H
#define NN_WEIGHTS_MAP_H

#include "graph/err.h"

#include <stddef.h>

/* The file at path, whole; *map is NULL for an empty one. Errors: THEA_ENOINPUT (no such file), THEA_EPERM,
 * THEA_EIO, THEA_EDATA (no regular file), THEA_EOS. */
THEA_CHECK thea_rc map_file(void **map, size_t *size, const char *path, struct thea_err *err);
void unmap_file(void *map, size_t size); /* NULL is fine */

/* Is it the pointer that git-lfs leaves in a file's place? Errors: THEA_EDATA. */
THEA_CHECK thea_rc map_check_lfs(const void *bytes, size_t size, const char *path, struct thea_err *err);

#endif
