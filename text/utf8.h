/* UTF-8: stepping through valid text, checking foreign text, and the lossy reading of broken bytes. */
#ifndef TEXT_UTF8_H
#define TEXT_UTF8_H

#include "graph/buf.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { UTF8_MAX = 4 };

/* The code point at *pos of VALID text; *pos moves past it. */
static inline uint32_t utf8_next(const char *text, size_t *pos)
{
    const unsigned char *s = (const unsigned char *)text + *pos;
    if (s[0] < 0x80) return *pos += 1, s[0];
    if (s[0] < 0xE0) return *pos += 2, (uint32_t)(s[0] & 0x1F) << 6 | (s[1] & 0x3F);
    if (s[0] < 0xF0)
        return *pos += 3, (uint32_t)(s[0] & 0x0F) << 12 | (uint32_t)(s[1] & 0x3F) << 6 | (s[2] & 0x3F);
    *pos += 4;
    return (uint32_t)(s[0] & 0x07) << 18 | (uint32_t)(s[1] & 0x3F) << 12 | (uint32_t)(s[2] & 0x3F) << 6 |
           (s[3] & 0x3F);
}

/* Bytes of the character that begins with this byte, in valid text. */
static inline size_t utf8_length(char first)
{
    unsigned char c = (unsigned char)first;
    return c < 0x80 ? 1 : c < 0xE0 ? 2 : c < 0xF0 ? 3 : 4;
}

/* Where the character before `pos` (> 0) begins, in valid text. */
static inline size_t utf8_before(const char *text, size_t pos)
{
    do pos--;
    while (pos > 0 && ((unsigned char)text[pos] & 0xC0) == 0x80);
    return pos;
}

size_t utf8_put(char out[UTF8_MAX], uint32_t code); /* bytes written */
void utf8_add(struct buf *to, uint32_t code);
size_t utf8_count(const char *text, size_t len); /* characters of valid text */
bool utf8_is_ascii(const char *text, size_t len);

/* True if all of it is valid UTF-8; else *bad is the offset of the first byte that is not. */
bool utf8_valid(const char *text, size_t len, size_t *bad);

/* Append the text with each maximal broken sequence as one U+FFFD (Unicode 15, section 3.9; Rust's
 * from_utf8_lossy). last: nothing will follow; otherwise a sequence that may still become whole is left.
 * Returns the bytes taken. */
size_t utf8_add_lossy(struct buf *to, const char *bytes, size_t len, bool last);

#endif
