/* Files of arrays: npy, safetensors. They appear whole at the end.
 *
 * By hand the numbers go to files without a name as they come. With a journal each document's tensors gather
 * by themselves, are committed in its turn to the rows in the run directory, and the file is made of those at
 * the end, as often as that takes. */
#ifndef STAGES_SUPPORT_ARRAYS_H
#define STAGES_SUPPORT_ARRAYS_H

#include "stages/support/npy.h"
#include "stages/support/results.h"
#include "stages/support/safetensors_writer.h"
#include "stages/support/turns.h"

struct arrays {
    int format;
    char *output;
    struct results *results; /* NULL: by hand */
    struct npy npy;
    struct safetensors_writer *tensors;
    uint64_t width; /* npy: of the rows so far; 0: none */
    uint64_t start; /* while rows are walked: where the first lies in their file */
    bool complete;  /* an earlier process has made the file */
    uint64_t bytes; /* of the file, once it is made */
};

/* What one document has put: its tensors' names and shapes. */
struct arrays_document {
    struct tensor *tensors; /* without data; names are owned */
    size_t count;
};

/* results: opened with rows, a journal is kept; else NULL. Errors: THEA_ECREATE, THEA_EDATA. */
THEA_CHECK thea_rc arrays_open(struct arrays *a, int format, const char *output, struct results *results,
                               struct thea_err *err);
void arrays_close(struct arrays *a);

/* safetensors: rows of <id>.<t's name>. Errors: THEA_EDOC (the name is taken, rows that do not continue). */
THEA_CHECK thea_rc arrays_take(struct arrays *a, struct arrays_document *d, struct turn *turn,
                               const struct tensor *t, struct thea_err *err);
/* The document has failed: nothing of it will be in the file. */
void arrays_forget(struct arrays *a, struct arrays_document *d);
void arrays_document_fini(struct arrays_document *d);

/* Its turn has come, it is whole. */
THEA_CHECK thea_rc arrays_put(struct arrays *a, struct turn *turn, struct thea_err *err);
/* All are there: the file appears. */
THEA_CHECK thea_rc arrays_finish(struct arrays *a, struct thea_err *err);

#endif
