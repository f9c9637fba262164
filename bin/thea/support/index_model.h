/* The model of an index: is the one that a command names (or that the index remembers) the one that made it?
 */
#ifndef BIN_THEA_INDEX_MODEL_H
#define BIN_THEA_INDEX_MODEL_H

#include "retrieval/index.h"

/* *dir: the directory of the model to use with the index; free() it. name: as the user gave it; NULL: the
 * index knows where it was. Errors: THEA_EDATA: another model; those of model_find. */
THEA_CHECK thea_rc index_model_find(char **dir, const struct index_info *info, const char *index,
                                    const char *name, struct thea_err *err);

#endif
