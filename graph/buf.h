/* A growable byte buffer. Zero-initialise it (`struct buf b = {0};`), free it with buf_fini.
 * data is always followed by a NUL that len does not count, so text can be used as a string. Running out of
 * memory aborts. */
#ifndef GRAPH_BUF_H
#define GRAPH_BUF_H

#include "graph/err.h"

struct buf {
    char *data; /* NULL while empty and never written */
    size_t len;
    size_t cap;
};

void buf_fini(struct buf *b);
void buf_clear(struct buf *b); /* len = 0, memory kept */
char *buf_reserve(struct buf *b,
                  size_t more); /* room for `more` bytes after len; returns data + len; len unchanged */
void buf_add(struct buf *b, const void *bytes, size_t n);
void buf_add_text(struct buf *b, const char *text);
void buf_add_char(struct buf *b, char c);
/* Foreign text for a terminal or a line of a log: control characters (also U+0080 to U+009F) become '?'. */
void buf_add_printable(struct buf *b, const char *text);
void buf_printf(struct buf *b, const char *fmt, ...) THEA_PRINTF(2, 3);
void buf_drop_front(struct buf *b, size_t n); /* n <= len */
/* Hand the memory over to the caller (free it with free()); b is empty afterwards. Never NULL. */
char *buf_take(struct buf *b);
const char *buf_text(const struct buf *b); /* "" when empty */

#endif
