/* Records of documents as a table for people: the lowest, the highest, the totals; and the most surprising
 * lines over all of them.
 *
 * A record is a map with "id"; its numbers are the columns (those of the first record; `perplexity`, which
 * tokenizers do not share, is left out). With bits_per_byte the rows are sorted by it and its total is
 * weighted by bytes; else they stay in order. The lists of maps called "top" ({line, bits_per_byte, text})
 * make the second table. Only what is printed is kept in memory of the latter. */
#ifndef STAGES_SUPPORT_TABLE_H
#define STAGES_SUPPORT_TABLE_H

#include "graph/buf.h"
#include "graph/json.h"

struct table;

struct table *table_new(void);
void table_free(struct table *t); /* NULL is fine */
/* Errors: THEA_EDOC: the record is no map with an id. */
THEA_CHECK thea_rc table_add(struct table *t, const struct json_node *record, struct thea_err *err);
/* rows: shown at most, half of them from the end; 0: all. width: columns of the page, 40 at least. */
void table_print(const struct table *t, size_t rows, size_t width, struct buf *out);

#endif
