/* Pipelines inside Markdown: fenced blocks marked `yaml` or `yml` that have a `stages:` key. */
#ifndef BIN_THEA_MARKDOWN_H
#define BIN_THEA_MARKDOWN_H

#include <stdbool.h>
#include <stddef.h>

struct markdown_block {
    const char *text;
    size_t len, first_line;
}; /* text is borrowed; first_line counts from 1 */

bool markdown_is(const char *path); /* by its name */
/* The next pipeline at or after *at in text; *line is the number of the line at *at (begin with 0 and 1).
 * false: no more. */
bool markdown_next(struct markdown_block *out, const char *text, size_t *at, size_t *line);

#endif
