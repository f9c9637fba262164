/* UTF-8 as the edges of a pipeline need it: is it valid, where may it be cut, how wide is it on a terminal. No tables of Unicode. */
#ifndef STAGES_SUPPORT_UTF8_H
#define STAGES_SUPPORT_UTF8_H

#include "graph/buf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Length of the longest valid prefix of text [len]. *cut (may be NULL): the rest is the beginning of a character whose other bytes
 * may still come (1 to 3 bytes). Overlong forms, surrogates and code points over U+10FFFF are not valid. */
size_t utf8_valid(const char *text, size_t len, bool *cut);
/* The largest n <= len that cuts no character of valid text. */
size_t utf8_cut(const char *text, size_t len, size_t n);
/* Columns that a code point takes on a terminal: 0 (combining), 1 or 2 (East Asian, emoji). An estimate by ranges. */
int utf8_code_width(uint32_t code);
/* Decode the character at text (valid UTF-8, len >= 1); *n: its bytes. */
uint32_t utf8_decode(const char *text, size_t len, size_t *n);
size_t utf8_width(const char *text, size_t len);
/* Append text for a terminal, at most `columns` wide ("…" ends one that was cut). Control characters become spaces, so that no
 * document can send escape sequences; bytes that are not UTF-8 become "?". Returns the columns used. */
size_t utf8_add_cell(struct buf *out, const char *text, size_t len, size_t columns);

#endif
