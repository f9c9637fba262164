/* What a document's result looks like as lines: JSON Lines, tsv. */
#ifndef STAGES_SUPPORT_FORM_H
#define STAGES_SUPPORT_FORM_H

#include "stages/support/lines.h"
#include <stdbool.h>

struct form { /* of one output */
    int format;
    bool records;  /* data: JSON maps, a line each; else numbers or text of `dtype` under `key` */
    bool one_cell; /* tsv: a document's numbers are one cell, not one each */
    const char *key;
    tensor_dtype dtype;
    struct lines_columns columns; /* tsv of records; empty until the first record, or form_take_header */
};

/* A document's lines into out. more: further members of a JSON line (lines.h), or NULL. Errors: THEA_EDOC. */
THEA_CHECK thea_rc form_add(struct form *f, const char *id, const char *data, size_t n, const char *more,
                            struct buf *out, struct thea_err *err);
/* What comes before them at the start of a file, when they are the first there. */
void form_add_header(const struct form *f, size_t n, struct buf *out);
/* An output that goes on has this first line: the columns are those. Returns how many there are. */
size_t form_take_header(struct form *f, const char *line);
void form_fini(struct form *f);

#endif
