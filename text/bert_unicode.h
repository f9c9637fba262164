/* What a code point is to BERT's tokenizer, from a flat table: one byte each, filled once from the ranges of
 * Unicode 8, which the reference's tables are: what came later is no mark, no punctuation and no control to
 * it. */
#ifndef TEXT_BERT_UNICODE_H
#define TEXT_BERT_UNICODE_H

#include <stdbool.h>
#include <stdint.h>

enum {
    BERT_DROPPED = 1,     /* U+0000, U+FFFD, Cc but tab, line feed and carriage return, Cf, Co */
    BERT_SPACE = 2,       /* White_Space */
    BERT_CJK = 4,         /* ideographs, each a word of its own */
    BERT_MARK = 8,        /* Mn: dropped with the accents */
    BERT_PUNCTUATION = 16 /* P, and all of ASCII's punctuation (so $ + < = > ^ ` | ~ too) */
};

extern const uint8_t *bert_table; /* 0x110000 entries; NULL before bert_unicode_init */
void bert_unicode_init(void);     /* any thread, any number of times */

static inline bool bert_is(uint32_t code, int what)
{
    return (bert_table[code] & what) != 0;
}

#endif
