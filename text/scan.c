/* See scan.h. A piece's kind is decided by its first one or two characters, then its run is followed; only
 * whitespace looks back. */
#include "text/scan.h"

#include "text/unicode.h"
#include "text/utf8.h"

#include <string.h>

enum {
    LETTER = UNICODE_LETTER,
    NUMBER = UNICODE_NUMBER,
    SPACE = UNICODE_SPACE,
    ANY = LETTER | NUMBER | SPACE
};

/* Kind of the character at pos: one of LETTER, NUMBER, SPACE, or 0 for anything else. *next: the position
 * after it. */
static inline int kind_at(const char *text, size_t pos, size_t *next)
{
    unsigned char c = (unsigned char)text[pos];
    if (c < 0x80) {
        *next = pos + 1;
        return unicode_table[c] & ANY;
    }
    *next = pos;
    uint32_t code = utf8_next(text, next);
    return unicode_table[code] & ANY;
}

static inline size_t run_of(const char *text, size_t len, size_t pos, int kind)
{
    size_t next;
    while (pos < len && kind_at(text, pos, &next) == kind) pos = next;
    return pos;
}

static inline bool is_newline(char c)
{
    return c == '\n' || c == '\r';
}

/* \s+(?!\S)|\s+ : all of a run that ends the text, else all but its last character, unless it is the only
 * one. */
static size_t spaces(const char *text, size_t len, size_t pos, size_t end)
{
    if (end == len) return end;
    size_t last = utf8_before(text, end);
    return last > pos ? last : end;
}

/* 's|'t|'re|'ve|'m|'ll|'d after an apostrophe at pos; fold: in either case (ſ, U+017F, is a small s). 0:
 * none. */
static size_t contraction(const char *text, size_t len, size_t pos, bool fold)
{
    if (pos + 1 >= len) return 0;
    char a = text[pos + 1], b = pos + 2 < len ? text[pos + 2] : '\0';
    if (fold && (unsigned char)a == 0xC5) return (unsigned char)b == 0xBF ? pos + 3 : 0;
    if (fold && a >= 'A' && a <= 'Z') a = (char)(a + 32);
    if (fold && b >= 'A' && b <= 'Z') b = (char)(b + 32);
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return pos + 2;
    if ((a == 'r' || a == 'v') && b == 'e') return pos + 3;
    return a == 'l' && b == 'l' ? pos + 3 : 0;
}

size_t scan_gpt2(const char *text, size_t len, size_t pos)
{
    size_t next, end;
    if (text[pos] == '\'' && (end = contraction(text, len, pos, false)) != 0) return end;
    size_t from = text[pos] == ' ' && pos + 1 < len ? pos + 1 : pos;
    int kind = kind_at(text, from, &next);
    if (kind != SPACE) return run_of(text, len, next, kind);
    return spaces(text, len, pos, run_of(text, len, from, SPACE));
}

/* ` ?[^\s\p{L}\p{N}]+[\r\n]*` from its first other character on. */
static size_t others(const char *text, size_t len, size_t pos)
{
    pos = run_of(text, len, pos, 0);
    while (pos < len && is_newline(text[pos])) pos++;
    return pos;
}

/* `\s*[\r\n]+|\s+(?!\S)|\s+` at a whitespace character. */
static size_t lines(const char *text, size_t len, size_t pos)
{
    size_t end = run_of(text, len, pos, SPACE);
    for (size_t i = end; i > pos; i--)
        if (is_newline(text[i - 1])) return i;
    return spaces(text, len, pos, end);
}

static inline size_t scan_llama(const char *text, size_t len, size_t pos, int digits)
{
    size_t next, after, end;
    char c = text[pos];
    int kind = kind_at(text, pos, &next);
    if (kind == LETTER) return run_of(text, len, next, LETTER);
    if (c == '\'' && (end = contraction(text, len, pos, true)) != 0) return end;
    if (kind == NUMBER) {
        for (int n = 1; n < digits && next < len && kind_at(text, next, &after) == NUMBER; n++) next = after;
        return next;
    }
    int second = next < len ? kind_at(text, next, &after) : SPACE;
    if (second == LETTER && !is_newline(c))
        return run_of(text, len, after, LETTER); /* one character that is no letter may go first */
    if (kind == 0) return others(text, len, next);
    if (c == ' ' && second == 0) return others(text, len, after);
    return lines(text, len, pos);
}

size_t scan_llama3(const char *text, size_t len, size_t pos)
{
    return scan_llama(text, len, pos, 3);
}

size_t scan_qwen(const char *text, size_t len, size_t pos)
{
    return scan_llama(text, len, pos, 1);
}

#define LLAMA(numbers)                                                                                       \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" numbers                                    \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

const struct scan_pattern scan_patterns[] = {
    {SCAN_GPT2, scan_gpt2},
    {LLAMA("\\p{N}{1,3}"), scan_llama3},
    {LLAMA("\\p{N}"), scan_qwen},
    {0},
};

scan_fn scan_find(const char *pattern, size_t len)
{
    for (const struct scan_pattern *p = scan_patterns; p->pattern != NULL; p++)
        if (strlen(p->pattern) == len && memcmp(p->pattern, pattern, len) == 0) return p->scan;
    return NULL;
}
