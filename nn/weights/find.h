/* Models by name: where `-m X` is looked for, and what is found there (specs/cli.md section 5). thea never
 * downloads. */
#ifndef NN_WEIGHTS_FIND_H
#define NN_WEIGHTS_FIND_H

#include "graph/err.h"
#include <stdbool.h>

/* What a caller will read from it; only that is asked for. */
typedef enum { FIND_TOKENIZER = 1, FIND_CONFIG = 2, FIND_WEIGHTS = 4 } find_needs;

/* *out: the model's absolute directory (free it). X is a path, else a name in THEA_MODEL_PATH,
 * $XDG_DATA_HOME/thea/models, <prefix>/share/thea/models, the Hugging Face cache. Errors THEA_ENOINPUT,
 * THEA_EDATA; each with the message cli.md shows (looked in, get it, here now). name NULL: $THEA_MODEL, else
 * THEA_EUSAGE. */
THEA_CHECK thea_rc model_find(char **out, const char *name, find_needs needs, struct thea_err *err);

/* Every model in those places, sorted by name; call visit(context, name, directory). */
void model_list(void (*visit)(void *context, const char *name, const char *dir), void *context);

#endif
