/* What a code point is, from a flat table: one byte each, filled once from utf8proc; letters and numbers up
 * to Unicode 16. */
#ifndef TEXT_UNICODE_H
#define TEXT_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    UNICODE_LETTER = 1,       /* L */
    UNICODE_NUMBER = 2,       /* N */
    UNICODE_SPACE = 4,        /* White_Space: what \s is to the reference's regexes; U+180E is none */
    UNICODE_WORD = 8,         /* \w: Alphabetic, M, Nd, Pc, join controls */
    UNICODE_PUNCTUATION = 16, /* P, and all of ASCII's punctuation (so $ + < = > ^ ` | ~ too) */
    UNICODE_MARK = 32,        /* M */
    UNICODE_JOINS = 64, /* may combine with what stands before it: M, and the vowels and finals of Hangul */
};

extern const uint8_t *unicode_table; /* 0x110000 entries; NULL before unicode_init */
void unicode_init(void);             /* any thread, any number of times */

static inline bool unicode_is(uint32_t code, int what)
{
    return (unicode_table[code] & what) != 0;
}

#endif
