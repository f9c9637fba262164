/* Characters (UTF-8) as the edges of a pipeline need them: valid in pieces, where to cut, how wide on a
 * terminal. No tables of Unicode. */
#ifndef STAGES_SUPPORT_CHARS_H
#define STAGES_SUPPORT_CHARS_H

#include "graph/buf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the longest valid prefix of text [len]. *cut (may be NULL): the rest is the beginning of a
 * character whose other bytes may still come (1 to 3 bytes). Overlong forms, surrogates and code points over
 * U+10FFFF are not valid. */
size_t chars_valid(const char *text, size_t len, bool *cut);
/* The largest n <= len that cuts no character of valid text. */
size_t chars_cut(const char *text, size_t len, size_t n);
/* Columns that a code point takes on a terminal: 0 (combining), 1 or 2 (East Asian, emoji). An estimate by
 * ranges. */
int chars_code_width(uint32_t code);
/* Decode the character at text (valid UTF-8, len >= 1); *n: its bytes. */
uint32_t chars_decode(const char *text, size_t len, size_t *n);
size_t chars_width(const char *text, size_t len);
/* Append text for a terminal, at most `columns` wide ("…" ends one that was cut). Control characters become
 * spaces, so that no document can send escape sequences; bytes that are not UTF-8 become "?". Returns the
 * columns used. */
size_t chars_add_cell(struct buf *out, const char *text, size_t len, size_t columns);

#endif
