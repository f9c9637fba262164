/* The passage of a text that fits a query best, for people to read: the window in which most of the query's
 * words stand, rare ones (in this text) counting more. Words match if they are equal but for ASCII case, or
 * if one begins with the other and that has four letters at least ("file", "files"). */
#ifndef RETRIEVAL_SNIPPET_H
#define RETRIEVAL_SNIPPET_H

#include "graph/buf.h"
#include <stdint.h>

struct snippet {
    struct buf text; /* one line of valid UTF-8 without control characters; "…" where something was cut */
    struct snippet_mark {
        size_t at, n;
    } * marks; /* bytes of text that are words of the query, ascending */
    size_t mark_count;
    uint64_t line; /* of the document, from 1, in which the passage begins; 0: the text is empty */
};

/* text [len] is UTF-8; at most `width` characters of it. Nothing matches: its beginning. */
void snippet_make(struct snippet *out, const char *text, size_t len, const char *query, size_t width);
void snippet_fini(struct snippet *s);

#endif
