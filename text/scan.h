/* Hand-written scanners for the pre-tokenizer patterns that most models use. Each finds the same pieces as
 * its pattern does; PCRE2 is the general way and, in tests/text/scan.c, the oracle. */
#ifndef TEXT_SCAN_H
#define TEXT_SCAN_H

#include <stddef.h>

/* The end of the piece that begins at pos < len of a valid text. Pieces follow each other without gaps. */
typedef size_t (*scan_fn)(const char *text, size_t len, size_t pos);

size_t scan_gpt2(const char *text, size_t len, size_t pos);
size_t scan_llama3(const char *text, size_t len, size_t pos);
size_t scan_qwen(const char *text, size_t len, size_t pos);

struct scan_pattern {
    const char *pattern;
    scan_fn scan;
};
extern const struct scan_pattern scan_patterns[]; /* ended by {0} */
#define SCAN_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"

scan_fn scan_find(const char *pattern, size_t len); /* NULL if no scanner is made for it */

#endif
