/* One line a document: JSON Lines and tab-separated values. Floats have 9 significant digits, which give the
 * same float32 back. */
#ifndef STAGES_SUPPORT_LINES_H
#define STAGES_SUPPORT_LINES_H

#include "graph/buf.h"
#include "graph/json.h"
#include "graph/wire/tensor.h"

/* {"id": …, "<key>": value}: the text of a u8, a list of the numbers of an f32 or i32 (NaN and infinities:
 * null). more: further members (", \"n\": 1"), or NULL. */
void lines_add_json(struct buf *out, const char *id, const char *key, tensor_dtype dtype, const void *data,
                    size_t bytes, const char *more);
/* id, then the text in one cell, or the numbers in one cell each, or (one_cell) all in one with blanks
 * between. Tab, newline, return, backslash are written as \t \n \r \\. */
void lines_add_tsv(struct buf *out, const char *id, tensor_dtype dtype, const void *data, size_t bytes,
                   bool one_cell);
/* The header that goes with it: id, then key, or key0, key1, … for `numbers` cells (0: one cell). */
void lines_add_tsv_header(struct buf *out, const char *key, size_t numbers);

/* Records as tsv: the members of the first that are no lists and no maps are the columns. */
struct lines_columns {
    char **keys;
    size_t count;
};
void lines_find_columns(struct lines_columns *c, const struct json_node *record);
void lines_add_columns(struct buf *out, const struct lines_columns *c); /* the header */
void lines_read_columns(struct lines_columns *c, const char *line);     /* such a header; "": none */
void lines_add_record(struct buf *out, const struct lines_columns *c,
                      const struct json_node *record); /* null and missing: empty */
void lines_columns_fini(struct lines_columns *c);

#endif
