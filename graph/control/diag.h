/* Diagnostics: every mistake of a pipeline file, each with file:line:column, a caret, the nearest valid name
 * and what is accepted. Codes are stable ("E021"); `thea explain` prints their pages (graph/control/codes.c).
 * Collected, sorted by place, printed at once. */
#ifndef GRAPH_CONTROL_DIAG_H
#define GRAPH_CONTROL_DIAG_H

#include "graph/buf.h"
#include <stdbool.h>

/* A place in a text: line and column from 1 (columns count characters), length in characters (0: no caret).
 * Line 0: no line, `file` says it all. */
struct diag_place {
    const char *file;
    size_t line, column, length;
};

struct diag_list; /* the diagnostics of one or more files */
struct diag_list *diag_list_new(void);
void diag_list_free(struct diag_list *list);

/* Texts are copied. `message` is the headline without code; `details` are lines that follow the caret (NULL:
 * none). At most 50 are kept per file. */
void diag_add(struct diag_list *list, const char *code, struct diag_place place, const char *details,
              const char *fmt, ...) THEA_PRINTF(5, 6);
size_t diag_count(const struct diag_list *list);
/* The source text of a file, for the excerpts; copied. */
void diag_source(struct diag_list *list, const char *file, const char *text, size_t len);
void diag_print_text(const struct diag_list *list, struct buf *out, bool color);
/* One JSON object a line: file, line, column, length (from 1, in characters), code, message, details;
 * `range`, `severity` and `source` as the Language Server Protocol has them (from 0). */
void diag_print_json(const struct diag_list *list, struct buf *out);
/* The i-th as added: its code (NULL: none); its message and details alone, without place and final newline.
 */
const char *diag_code_at(const struct diag_list *list, size_t i);
size_t diag_last(const struct diag_list *list,
                 size_t first); /* of the i >= first, the one that is printed last */
void diag_print_plain(const struct diag_list *list, size_t i, struct buf *out);
void diag_print_cli(const struct diag_list *list,
                    struct buf *out); /* "FILE: message", the first's; says how many more there are */

/* The page of a code: NULL if there is none. Codes in order: diag_code(i), NULL at the end. */
const char *diag_explain(const char *code);
const char *diag_code(size_t i);
const char *diag_title(const char *code); /* its headline; NULL if there is no such code */

#endif
