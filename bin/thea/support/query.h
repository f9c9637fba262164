/* The vector of a query, made as an index's vectors were: by the pipeline `embed` with the index's model and
 * pooling. */
#ifndef BIN_THEA_QUERY_H
#define BIN_THEA_QUERY_H

#include "bin/thea/support/command.h"
#include "retrieval/index.h"

/* vector [info->model.dimension] is written. model: a directory. The result is the exit status; a failure was
 * told. The run's directory is gone afterwards. */
int query_embed(float *vector, const struct index_info *info, const char *model, const char *text,
                const struct command_args *args);

#endif
