/* A model directory in the making: it is written beside its place under another name, and gets its own when
 * it is whole. A directory that a killed process left is taken over and emptied. */
#ifndef BIN_THEA_MODEL_DIR_H
#define BIN_THEA_MODEL_DIR_H

#include "graph/err.h"

struct model_dir {
    char *path; /* where it will be */
    char *work; /* where it is */
    int lock;   /* on `work`, while this process writes it */
};

/* path must not be there. Errors: THEA_ECREATE (it is there; its parent is not, or may not be written),
 * THEA_EBUSY (another process is writing it). */
THEA_CHECK thea_rc model_dir_begin(struct model_dir *d, const char *path, struct thea_err *err);
/* Copy what is no weights and not config.json: tokenizer, README, licence, code; and the numbered folders of
 * sentence-transformers. Errors: THEA_EIO, THEA_ECREATE. */
THEA_CHECK thea_rc model_dir_copy(const struct model_dir *d, const char *from, struct thea_err *err);
/* A new file of it. Errors: THEA_ECREATE, THEA_EIO. */
THEA_CHECK thea_rc model_dir_write(const struct model_dir *d, const char *file, const char *text,
                                   struct thea_err *err);
/* Give it its name. Errors: THEA_ECREATE (somebody was faster), THEA_EIO. */
THEA_CHECK thea_rc model_dir_finish(struct model_dir *d, struct thea_err *err);
void model_dir_abandon(struct model_dir *d); /* remove what was not finished; nothing after finish */

#endif
